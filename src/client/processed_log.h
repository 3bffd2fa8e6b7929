/* processed_log.h - the file of a processed-store: numbered entries behind a header.
 *
 * Header, 32 bytes: "ALPROC01", u32 version 1, 16 bytes 0, u32 CRC of the 28 before. Entries stand
 * behind it at multiples of 8: a head of 32 bytes {u32 magic, u32 size of the body, u64 its own
 * offset, u64 `durable`, u32 CRC of the body, u32 CRC of the 28 before}, the body (a message id and
 * an ACK body of the protocol), zeros up to the next multiple of 8. CRC is CRC-32C.
 *
 * `durable` is how much of the file was flushed when the entry was written. So a crash and damage
 * are told apart as in the journal: a bad entry below the highest `durable` that can be found
 * anywhere is damage; above it is what a crash left of an entry that nobody relied on.
 *
 * Not thread-safe; processed.c has the lock. */
#ifndef AL_CLIENT_PROCESSED_LOG_H
#define AL_CLIENT_PROCESSED_LOG_H

#include "base/recent.h"
#include "os/append_file.h"
#include <agentlink/message.h>

struct ali_processed_entry {
    struct al_message_id id;
    uint64_t offset; /* of its head */
    uint32_t size;   /* of its body */
};

struct ali_processed_log {
    struct al_alloc alloc;
    struct al_append_file *file;
    uint64_t size, durable;    /* bytes of the file; of them flushed */
    uint64_t bytes, bytes_max; /* of the entries that still count */
    uint8_t seed[16];
    struct al_recent entries; /* struct ali_processed_entry */
    struct al_buf scratch;
};

/* Opens or creates the file and reads all of it. 0 or the errors of al_processed_open(). */
int ali_processed_log_open(struct ali_processed_log *log, const char *path, uint32_t entries_max,
                           uint64_t bytes_max);
void ali_processed_log_close(struct ali_processed_log *log);
/* The entry of a message, or NULL. */
const struct ali_processed_entry *ali_processed_log_find(const struct ali_processed_log *log,
                                                         const struct al_message_id *id);
/* Writes an entry at the end; it counts when the file was flushed. 0, -AL_E_NOMEM (nothing was
 * written), -AL_E_IO, -AL_E_DISK_FULL (the file must not be used any more). */
int ali_processed_log_append(struct ali_processed_log *log, const struct al_message_id *id,
                             struct al_str ack);
/* Reads the ACK body of an entry into `buf`. 0, -AL_E_NOMEM, -AL_E_IO, -AL_E_DAMAGED. */
int ali_processed_log_read(struct ali_processed_log *log, const struct ali_processed_entry *entry,
                           struct al_buf *buf, struct al_str *ret_ack);
/* True when more of the file is dead than alive, or it is over its bound. */
bool ali_processed_log_is_long(const struct ali_processed_log *log);
/* Writes the entries that count to a new file, durably. 0; otherwise the old one goes on, or, after
 * -AL_E_IO, must not be used any more. */
int ali_processed_log_compact(struct ali_processed_log *log);

#endif
