/* frame.h - the bytes on disk: frames, segment headers, snapshot headers. Pure encode/decode.
 *
 * Everything on disk is either a header block (4096 bytes under one CRC) or a frame (40 bytes of
 * header under a CRC of its own, then a payload under another). The header CRC covers the length,
 * so a wrong length is never followed. Salt, segment number and own offset are in every frame, so
 * a frame that was written elsewhere, earlier or by somebody else is never taken for this one.
 * docs/spec/disk-format.md is the reference; this file follows it. */
#ifndef AL_STORE_FRAME_H
#define AL_STORE_FRAME_H

#include "base/bytes.h"
#include "crypto/seal.h"
#include "store/disk.h"
#include <stdbool.h>

#define ALI_FRAME_SIZE      40u
#define ALI_FRAME_HEAD      32u /* of these, what a seal or a tag covers: all but the checksums */
#define ALI_BATCH_INFO_SIZE 56u
#define ALI_BATCH_HEAD      (ALI_FRAME_SIZE + ALI_BATCH_INFO_SIZE)
#define ALI_FRAME_VERSION   1u
#define ALI_FORMAT_VERSION  1u
#define ALI_CLOSING_SIZE    64u           /* payload of a closing frame */
#define ALI_CLOSING_AT      AL_DISK_BLOCK /* where the closing block stands */

/* Flags of a frame. */
enum { ALI_FRAME_IS_BATCH = 1, ALI_FRAME_IS_SNAPSHOT = 2, ALI_FRAME_IS_CLOSING = 4 };
/* Flags of a segment: zeros stood behind the header at first; the file had its size from the
 * beginning (otherwise it grows as it is written). */
enum { ALI_SEGMENT_ZEROED = 1, ALI_SEGMENT_SIZED = 2 };

/* Offsets of the fields that the core thread fills in when it appends. */
enum { ALI_AT_LENGTH = 0, ALI_AT_TYPE = 4, ALI_AT_LSN = 8 };

struct ali_frame {
    uint32_t length; /* of the payload */
    uint16_t type;
    uint8_t flags;
    uint64_t lsn;    /* batch: LSN of its first record; snapshot: LSN of the snapshot */
    uint64_t salt;   /* first 8 bytes of the file's salt */
    uint32_t offset; /* own place in the file, low 32 bits */
    uint32_t number; /* low half of the segment id; snapshot: running number of the frame */
    uint32_t payload_crc;
};

/* Writes the 40 bytes of a frame header. `weak` is a planted bug: the CRC leaves out the length. */
void ali_frame_encode(uint8_t *out, bool weak, const struct ali_frame *frame);
/* Completes a record's header in which length, type and LSN stand already: others may be reading
 * those, so they are not written again. */
void ali_frame_complete(uint8_t *out, bool weak, const struct ali_frame *frame);
/* The same in two steps, for what is sealed in between: all but the checksums, then these. */
void ali_frame_place(uint8_t *out, const struct ali_frame *frame);
void ali_frame_finish(uint8_t *out, bool weak, uint32_t payload_crc);
/* True if the header CRC and version are right. */
bool ali_frame_decode(const uint8_t *p, bool weak, struct ali_frame *ret_frame);

struct ali_batch_info {
    uint64_t durable_lsn; /* newest durable record before this batch was written */
    uint32_t bytes;       /* from the batch frame to the end of the last record */
    uint32_t count;       /* records; 0: a seal */
    uint8_t salt[16];
    uint64_t segment_id;
};

#define ALI_BATCH_TAG_AT 40u /* in them; zeros where nothing is sealed */
/* Writes the 56 bytes. */
void ali_batch_info_encode(uint8_t *out, const struct ali_batch_info *info);
/* True if reserved bytes are zero. The tag of a sealed segment is for the caller to check. */
bool ali_batch_info_decode(const uint8_t *p, bool is_sealed, struct ali_batch_info *ret_info);

struct ali_segment_header {
    uint64_t id;
    uint8_t salt[16];
    uint64_t first_lsn;
    uint64_t durable_lsn;
    uint64_t generation; /* number of the start of the store that made it */
    uint64_t bytes;      /* size it was made for */
    uint32_t flags;
    /* Incompatible features: the second block is the closing block; everything is sealed. */
    bool has_closing, is_sealed;
};

/* In the header block of a sealed file: the tag, and two slots for its key (sealed.c). The block's
 * CRC leaves the slots out: they have their own, and lie inside one sector of the disk. */
enum { ALI_HEADER_TAG_AT = 96, ALI_SLOTS_AT = 128, ALI_SLOT_SIZE = 128, ALI_SLOTS_END = 384 };

/* True if a header block, of a segment or a snapshot, says that its file is sealed. */
bool ali_block_is_sealed(const uint8_t *block);
/* Puts the CRC over everything else in a header block. */
void ali_block_finish(uint8_t *block);
/* Fills one block. */
void ali_segment_header_encode(uint8_t *block, const struct ali_segment_header *header);
/* 0; -AL_E_DAMAGED: not a whole header; -AL_E_FORMAT: a version or feature we do not know. */
int ali_segment_header_decode(const uint8_t *block, struct ali_segment_header *ret_header);

/* What a closing block says: the journal goes on in another segment. */
struct ali_closing {
    uint64_t id; /* of the segment in which the block stands */
    uint8_t salt[16];
    uint64_t next_id; /* of the one that continues it */
    uint8_t next_salt[16];
    uint64_t next_lsn; /* its first LSN */
};

/* Fills one block. `seal`: keys of the segment in which it stands; NULL: it is not sealed. */
void ali_closing_encode(uint8_t *block, const struct ali_closing *closing,
                        const struct al_seal *seal);
/* True if every byte of the block is right; whether it is this segment's is for the caller. `seal`
 * NULL: the segment is not sealed, or (is_sealed) its keys are not known. */
bool ali_closing_decode(const uint8_t *block, bool is_sealed, const struct al_seal *seal,
                        struct ali_closing *ret_closing);

struct ali_snapshot_header {
    uint64_t sequence; /* number of the snapshot, in its name too */
    uint8_t salt[16];
    uint64_t lsn;
    uint64_t next_segment_id; /* segments below it that the store section leaves out are free */
    uint64_t generation;
    bool is_sealed; /* an incompatible feature */
};

/* Fills one block. */
void ali_snapshot_header_encode(uint8_t *block, const struct ali_snapshot_header *header);
/* As ali_segment_header_decode. */
int ali_snapshot_header_decode(const uint8_t *block, struct ali_snapshot_header *ret_header);

/* Kinds of snapshot frames (their type). */
enum { ALI_SNAP_STORE = 1, ALI_SNAP_ITEMS = 2, ALI_SNAP_END = 3 };
#define ALI_SNAP_END_SIZE 24u

/* To whole blocks. */
static inline uint64_t ali_round_up(uint64_t n)
{
    return (n + AL_DISK_BLOCK - 1) & ~(uint64_t)(AL_DISK_BLOCK - 1);
}
/* Likewise. */
static inline uint64_t ali_round_down(uint64_t n)
{
    return n & ~(uint64_t)(AL_DISK_BLOCK - 1);
}
/* True if n bytes are zero. */
bool ali_is_zero(const uint8_t *p, size_t n);

/* ---- names ------------------------------------------------------------------------------ */

/* What a file is, by its name. */
enum ali_name_kind {
    ALI_NAME_OTHER,
    ALI_NAME_JOURNAL,
    ALI_NAME_FREE,
    ALI_NAME_SNAPSHOT,
    ALI_NAME_NEW
};
#define ALI_NAME_CAP 32u

/* "journal-", "free-", "snapshot-", "new-" and 16 hexadecimal digits. */
void ali_name_format(enum ali_name_kind kind, uint64_t number, char ret_name[ALI_NAME_CAP]);
enum ali_name_kind ali_name_parse(const char *name, uint64_t *ret_number);

/* Appends text and numbers to a fixed buffer; cuts what does not fit. Always terminated. */
void ali_text_add(char *buf, size_t cap, const char *text);
void ali_text_add_number(char *buf, size_t cap, uint64_t number);

#endif
