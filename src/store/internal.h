/* internal.h - what the files of src/store share. Not for other rooms.
 *
 * Who owns what. The core thread owns the batches and chunks (batch.c); the flush thread owns the
 * active segment's file and position (flush.c); the worker owns the reader and whatever maintain
 * and snapshots have open. Shared between them, under `lock`: the segment table, the free list,
 * the chunk list, the snapshot generations. No disk call is ever made with the lock held. */
#ifndef AL_STORE_INTERNAL_H
#define AL_STORE_INTERNAL_H

#include "base/crc32c.h"
#include "base/errors.h"
#include "store/frame.h"
#include "store/plants.h"
#include "store/store.h"
#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>

#define ALI_SEGMENT_DEFAULT (32u << 20)
#define ALI_FIRST_DEFAULT   (1u << 20)
#define ALI_RESERVE_DEFAULT (64ull << 20)
#define ALI_BATCH_MAX       (8u << 20)  /* a batch is closed beyond this, unless it is one record */
#define ALI_CHUNK_BYTES     (2u << 20)  /* memory image of the journal's end, in pieces of this */
#define ALI_CACHE_BYTES     (8u << 20)  /* chunks kept altogether when none is busy */
#define ALI_RING            (1u << 17)  /* newest records that can be found in memory */
#define ALI_INDEX_STEP      (64u << 10) /* a sparse index entry every so many bytes */
#define ALI_READ_CHUNK      (2u << 20)  /* recovery reads this much at once, unless told */
#define ALI_WATCH_BYTES     (128u << 10) /* appended between two looks at the space */
#define ALI_ZERO_SLICE      (1u << 20)   /* maintain writes this much at once */
#define ALI_FREE_MAX        32u /* prepared segments kept at most: 1 GiB of the default size */
/* Segments that must fit on the disk besides what is prepared while nothing is written. */
#define ALI_AHEAD_ROOM     ALI_FREE_MAX
#define ALI_INDEX_IS_BATCH 0x80000000u

/* ---- batches ---------------------------------------------------------------------------- */

/* A piece of memory that holds batches as they will stand on disk, each on a block boundary. */
struct ali_chunk {
    struct ali_chunk *next; /* the one with later LSNs */
    uint8_t *mem;           /* block-aligned */
    size_t cap, used;       /* used: where the next batch begins */
    uint64_t first_lsn;     /* of the oldest record in it; 0: none yet */
    uint32_t refs;          /* batches in it that are not durable yet */
};

struct al_batch {
    struct al_batch *next;
    struct ali_chunk *chunk;
    uint8_t *mem; /* chunk->mem + where it begins */
    size_t room;  /* bytes that fit before the slow path */
    size_t size;  /* bytes in use, with the batch frame, without padding */
    uint64_t first_lsn;
    uint32_t count; /* 0: a seal */
};

/* ---- segments --------------------------------------------------------------------------- */

struct ali_index_entry {
    uint32_t delta; /* LSN - first_lsn; ALI_INDEX_IS_BATCH: a batch frame stands there */
    uint32_t offset;
};

struct ali_segment {
    uint64_t id;
    uint64_t first_lsn, last_lsn; /* last_lsn == first_lsn - 1: empty */
    uint64_t begin; /* where the first batch stands: behind the header and the closing block */
    uint64_t used;  /* end of the durable batches */
    uint64_t bytes; /* size of the file as far as it is prepared */
    uint8_t salt[16];
    bool closed;    /* nothing is appended to it any more, and the one behind it has its name */
    bool released;  /* the core needs nothing in it */
    bool is_sized;  /* the file has all of `bytes`; otherwise it grows as it is written */
    bool is_zeroed; /* zeros stood behind the header when it was made */
    bool listed;    /* the newest snapshot names it: must not go before the next */
    bool is_sealed; /* its records are secret, everything in it is authentic */
    bool has_keys;  /* of a sealed one: `seal` is set. Read from its header when first needed */
    struct al_seal seal;
    struct ali_index_entry *index;
    uint32_t index_count, index_cap;
};

/* A frame that a walk can begin with. */
struct ali_place {
    uint64_t at, lsn;
    bool is_batch;
};

struct ali_free {
    uint64_t number; /* in the name */
    uint64_t bytes;
};

struct ali_table {
    struct ali_segment **list; /* by id; first LSNs do not fall */
    size_t count, cap;
};

/* ---- reading ---------------------------------------------------------------------------- */

/* A file seen through a window of large aligned reads. A reader that reads ahead has the next piece
 * under way while the window is looked at: two windows of memory instead of one. */
struct ali_reader {
    const struct al_alloc *alloc;
    struct al_disk *disk;
    uint64_t plants;
    struct al_disk_file *file;
    char name[ALI_NAME_CAP];
    uint8_t *mem;
    size_t cap;
    size_t chunk;      /* bytes to read at least */
    size_t piece;      /* read ahead, as long as the chunk is this; 0: nothing is */
    uint8_t *view;     /* the window, in mem */
    uint8_t *next_mem; /* where the next piece is read to, behind room for the end of this one */
    uint64_t next_at;
    size_t next_size;    /* 0: none is under way */
    uint64_t at;         /* file offset of the window */
    size_t size;         /* bytes in it */
    uint64_t limit;      /* nothing is read behind this: the size of the file or less */
    const uint8_t *key;  /* master key of sealed files; NULL: not known */
    bool needs_no_key;   /* without the key of a sealed snapshot, look at its checksums */
    struct al_buf plain; /* what was opened last */
};

/* Walks the frames of one segment. */
struct ali_scan {
    struct ali_reader *reader;
    struct ali_segment *segment;  /* id, salt, first_lsn are used */
    uint64_t at;                  /* next frame */
    uint64_t batch_at, batch_end; /* batch_end 0: a batch frame comes next */
    uint32_t batch_left;          /* records of the batch not seen yet */
    bool is_loose;                /* began inside a batch: its bounds are not known */
    uint64_t expect;              /* LSN of the next record */
    uint64_t from;                /* records below it need not be opened */
    uint64_t durable;             /* highest durable LSN carried by any batch seen */
    uint64_t records;
    const char *bad; /* why the walk ended */
    uint64_t bad_at;
    bool is_forged; /* the checksum was right and the seal was not: no crash does that */
};

struct ali_record {
    uint64_t lsn, at;
    uint16_t type;
    bool first; /* first of its batch */
    struct al_str payload;
};

/* ---- the store -------------------------------------------------------------------------- */

/* A segment that maintain is preparing. */
struct ali_zeroing {
    bool busy;
    uint64_t number;
    struct al_disk_file *file;
    uint64_t at, bytes;
};

struct al_store {
    struct al_store_config config;
    struct al_alloc alloc;
    struct al_disk *disk;
    pthread_mutex_t lock;
    atomic_int poisoned;

    /* core */
    struct al_batch *fill;                   /* being filled; NULL: none */
    struct al_batch *pending, **pending_end; /* closed, to be taken */
    struct al_batch *out;                    /* given out for flushing */
    struct al_batch *spare;                  /* structs for reuse */
    size_t tag_bytes;                        /* room behind each record for its tag; 0: no seals */
    struct ali_chunk *chunks;                /* oldest first; changed under lock */
    size_t chunk_bytes;                      /* all chunks together */
    size_t last_size;                        /* of the last batch: predicts the next */
    _Atomic uint32_t *ring;                  /* LSN -> offset in its chunk */
    _Atomic uint64_t appended;               /* newest record in memory */
    uint64_t durable;                        /* newest record given back by done */
    uint64_t carried;                        /* highest durable LSN that is on disk */
    uint64_t appended_bytes;                 /* since open */
    uint64_t watched_bytes;        /* appended_bytes when the core last looked at the space */
    uint64_t snapshot_began_bytes; /* appended_bytes when the newest snapshot began */
    uint8_t *seal_mem;             /* one block */
    struct al_batch seal;

    /* flush */
    struct ali_segment *active;
    struct al_disk_file *active_file;
    uint8_t *sealed_mem; /* a batch as it goes to a sealed segment */
    size_t sealed_cap;
    uint64_t flushed;       /* newest durable record */
    uint64_t flushed_bytes; /* since open */

    /* under lock */
    struct ali_table table;
    struct al_seal_source seal_source; /* of file keys */
    uint64_t next_segment_id;
    uint64_t next_number; /* of free- and new- files */
    struct ali_free free_list[ALI_FREE_MAX];
    size_t free_count;
    size_t free_target;        /* prepared ahead by zeroing */
    size_t free_ahead;         /* as well while nothing is written: al_store_expect */
    size_t free_stock;         /* kept of what is released: begun between the last two snapshots */
    uint64_t snapshot_segment; /* next_segment_id of the newest snapshot, 0: none */
    uint64_t durable_shared;   /* `flushed` for the worker */
    uint64_t snapshot_sequence[2], snapshot_lsn[2]; /* newest, older; sequence 0: none */
    uint64_t next_snapshot;
    struct al_snapshot_writer *writer;
    bool passed_over; /* recovery passed over a damaged snapshot, and there is no newer one yet */

    /* worker */
    struct ali_reader reader;
    struct ali_scan cursor;
    uint64_t cursor_segment; /* 0: the reader has no file open */
    uint64_t space_bytes;    /* left on the disk when it was last looked at */
    struct al_buf copy;
    struct ali_zeroing zeroing;
    uint64_t generation;

    atomic_bool maintain_due;
    atomic_bool is_quiet; /* nothing has been written since the last seal */
    atomic_bool has_space;
};

/* Around everything that threads share; never around a disk call. */
static inline void ali_lock(struct al_store *store)
{
    pthread_mutex_lock(&store->lock);
}
/* The end of it. */
static inline void ali_unlock(struct al_store *store)
{
    pthread_mutex_unlock(&store->lock);
}
/* A write or flush has failed: nothing is accepted any more. */
static inline bool ali_is_poisoned(const struct al_store *store)
{
    return atomic_load_explicit(&store->poisoned, memory_order_relaxed) != 0;
}
/* Poisons the store unless the error is one that harms nothing; returns the error. */
int ali_fail(struct al_store *store, int error, bool disk_full_is_harmless);

/* Block-aligned memory; freed with the same size. NULL: no memory. */
uint8_t *ali_pages_new(const struct al_alloc *alloc, size_t size);
void ali_pages_free(const struct al_alloc *alloc, uint8_t *pages, size_t size);

/* ---- batch.c ---- */
/* The frame of a record that is in memory, or NULL. Core thread, or any with the lock held. */
const uint8_t *ali_cache_find(const struct al_store *store, uint64_t lsn);
void ali_batches_free(struct al_store *store);
/* Recovery: closes the batch being filled; all are in store->pending. */
void ali_batches_close(struct al_store *store);
/* Recovery: everything pending is durable. */
void ali_batches_done(struct al_store *store);

/* ---- segment.c ---- */
/* Adds a segment at the end; takes it over on success. Lock held or nobody else running. */
int ali_table_add(const struct al_alloc *alloc, struct ali_table *table,
                  struct ali_segment *segment);
/* The segment that holds lsn, NULL if none does. */
struct ali_segment *ali_table_find(const struct ali_table *table, uint64_t lsn);
struct ali_segment *ali_table_by_id(const struct ali_table *table, uint64_t id);
void ali_table_remove(struct ali_table *table, const struct ali_segment *segment);
void ali_table_free(const struct al_alloc *alloc, struct ali_table *table);
struct ali_segment *ali_segment_new(const struct al_alloc *alloc, uint64_t id, uint64_t bytes);
void ali_segment_free(const struct al_alloc *alloc, struct ali_segment *segment);
/* Notes a frame in the sparse index when it is due; drops it when there is no room. */
void ali_index_note(struct ali_segment *segment, uint64_t lsn, uint64_t offset, bool is_batch);
/* Where to begin to walk towards lsn: the closest entry at or below it. */
struct ali_place ali_index_find(const struct ali_segment *segment, uint64_t lsn, bool batch_only);
/* Makes a segment that begins at first_lsn, from a prepared file or from nothing. The list
 * `batch` (may be NULL) is written before the segment gets its name. 0 or an error; closes what it
 * opened. */
int ali_segment_create(struct al_store *store, uint64_t first_lsn, uint64_t durable_lsn,
                       struct al_batch *batch, struct ali_segment **ret_segment,
                       struct al_disk_file **ret_file);

/* ---- flush.c ---- */
/* Completes the frames of a batch for its place in a segment, seals them if the segment is sealed,
 * and zeroes the padding. *ret_bytes: what to write, until the next call. 0 or -AL_E_NOMEM. */
int ali_batch_frame(struct al_store *store, struct al_batch *batch, struct ali_segment *segment,
                    uint64_t at, uint64_t durable_lsn, struct al_str *ret_bytes);

/* ---- sealed.c ---- */
/* Makes a sealed file's key, and puts it, wrapped, and the tag into the header block; the rest of
 * the block is complete. */
void ali_sealed_begin(struct al_store *store, uint8_t *block, struct al_seal *ret_seal);
/* Takes the keys out of a header block that was decoded. 0; -AL_E_SEAL_KEY: not under this master
 * key (NULL: none); -AL_E_DAMAGED: under this one, but it is not what was sealed. */
int ali_sealed_open(const uint8_t *key, const uint8_t *block, struct al_seal *ret_seal);
/* True if the slots of a sealed header block are whole: what can be said without a key. */
bool ali_sealed_slots_are_whole(const uint8_t *block);
/* Reads the keys of a sealed segment whose file is open in the reader, unless they are there.
 * Errors as ali_sealed_open, and those of reading. */
int ali_sealed_load(struct ali_reader *reader, struct ali_segment *segment);
/* The keys of a segment; NULL: it is not sealed, or they are not known. */
static inline const struct al_seal *ali_seal_of(const struct ali_segment *segment)
{
    return segment->is_sealed && segment->has_keys ? &segment->seal : NULL;
}
/* Rewrapping, see rekey.c. Both change only the block: 1: it is another one now, 0: it is as
 * wanted, -AL_E_SEAL_KEY: no slot is of one of the keys, -AL_E_DAMAGED. */
int ali_sealed_add(const uint8_t *old_key, const uint8_t *new_key,
                   const uint8_t nonce[AL_SEAL_NONCE], uint8_t *block);
int ali_sealed_keep(const uint8_t *key, uint8_t *block);
/* Appends "sealed under the key <id>" to a text: the key that opens a file. */
void ali_sealed_say(char *text, size_t cap, const uint8_t *block);

/* ---- reader.c ---- */
void ali_reader_init(struct ali_reader *reader, const struct al_alloc *alloc, struct al_disk *disk,
                     size_t chunk);
void ali_reader_deinit(struct ali_reader *reader);
/* Opens a file (closing the one before); limit is its size. */
int ali_reader_open(struct ali_reader *reader, const char *name);
void ali_reader_close(struct ali_reader *reader);
/* A view of n bytes at `at`, valid until the next call. 0; 1: the file ends before; or an error. */
int ali_reader_get(struct ali_reader *reader, uint64_t at, size_t n, const uint8_t **ret_p);

/* Reads a durable record from disk; the view is valid until the next call. Worker. */
int ali_read_stored(struct al_store *store, uint64_t lsn, struct ali_record *ret_record);

/* ---- scan.c ---- */
void ali_scan_begin(struct ali_scan *scan, struct ali_reader *reader, struct ali_segment *segment,
                    struct ali_place place);
/* 1: a record; 0: the walk ended (scan->bad says why, at bad_at); or an error of reading. */
int ali_scan_next(struct ali_scan *scan, struct ali_record *ret_record);
/* Behind a bad place: looks at every block for batch frames and raises scan->durable. */
int ali_scan_rest(struct ali_scan *scan, uint64_t *ret_torn_end);

/* ---- closing.c ---- */
/* What stands in the closing block of a segment. */
enum ali_closing_state {
    ALI_CLOSING_NONE,  /* a segment of an earlier version: it has no such block */
    ALI_CLOSING_BLANK, /* nothing was ever written */
    ALI_CLOSING_WHOLE,
    ALI_CLOSING_TORN /* something was: torn by a crash, or damaged later */
};
/* True if the segment has a closing block. */
static inline bool ali_has_closing(const struct ali_segment *segment)
{
    return segment->begin > ALI_CLOSING_AT;
}
/* Reads the closing block; the segment's file is open in the reader. *ret_closing is written only
 * when the state is WHOLE. */
int ali_closing_read(struct ali_reader *reader, const struct ali_segment *segment,
                     enum ali_closing_state *ret_state, struct ali_closing *ret_closing);
/* Writes and flushes the closing block of `segment`: `next` has its durable name. `file` is the
 * segment's; NULL: it is opened for this. */
int ali_closing_write(struct al_store *store, const struct ali_segment *segment,
                      struct al_disk_file *file, const struct ali_segment *next);
/* The newest segment of the table has just got its durable name: the one before it, if there is
 * one, says so and is closed. `file` as above. */
int ali_closing_follow(struct al_store *store, struct al_disk_file *file);

/* ---- snapshot_load.c ---- */
struct ali_snapshot_file {
    uint64_t sequence;
    struct ali_snapshot_header header;
    uint64_t bytes; /* of the file */
    uint64_t item_bytes;
    uint64_t bad_at; /* when it is damaged */
    const char *bad;
    bool has_keys;
    struct al_seal seal; /* of a sealed one, if has_keys */
};
/* Reads only the header. 0, -AL_E_DAMAGED (snapshot->bad), -AL_E_SEAL_KEY, -AL_E_FORMAT, -AL_E_IO,
 * … */
int ali_snapshot_peek(struct ali_reader *reader, struct ali_snapshot_file *snapshot);
/* Checks the whole file and, when `section` is given, appends the store section to it. */
int ali_snapshot_check(struct ali_reader *reader, struct ali_snapshot_file *snapshot,
                       struct al_buf *section);
/* Calls item for each item of a file that was checked. */
int ali_snapshot_load(struct ali_reader *reader, struct ali_snapshot_file *snapshot,
                      const struct al_store_replay *replay);
/* The store section: segments as a snapshot keeps them. */
int ali_section_put(struct al_buf *buf, const struct ali_segment *segment);
/* Takes the next segment off the section. 1, 0 at the end, -AL_E_DAMAGED, -AL_E_NOMEM. */
int ali_section_next(const struct al_alloc *alloc, struct al_str *section,
                     struct ali_segment **ret_segment);

/* ---- recover.c ---- */
int ali_recover(struct al_store *store, const struct al_store_replay *replay,
                struct al_store_report *report);

/* ---- maintain.c ---- */
void ali_space_sample(struct al_store *store);
/* True if the segment's file may be used for something else. Lock held. */
bool ali_segment_is_free(const struct al_store *store, const struct ali_segment *segment);

#endif
