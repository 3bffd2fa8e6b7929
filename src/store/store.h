/* store.h - the journal and the snapshots of one node.
 *
 * The store keeps records in segments (zeroed beforehand, recycled), flushes them in batches, and
 * finds them again by LSN. It knows nothing of what they mean. docs/spec/disk-format.md says every
 * byte.
 *
 * Threads. "core": append, take, done, snapshot_*, segments, release - one thread. "flush": flush -
 * one thread (may be the core's own). "worker": read, maintain, snapshot_write/commit - one thread
 * (may be the core's own). What they share is guarded inside by one mutex that no path holds during
 * I/O.
 *
 * Crash: at any system call, also during recovery, the next open finds every record whose LSN
 * was returned by al_store_done, in order, and of the others a prefix. */
#ifndef AL_STORE_STORE_H
#define AL_STORE_STORE_H

#include "base/bytes.h"
#include "crypto/seal.h"
#include "store/disk.h"
#include <stdbool.h>

struct al_store;
struct al_batch;
struct al_snapshot_writer;

/* Sealing: what new segments and snapshots hold is secret and authentic, under a key that stands in
 * each of them, wrapped under the master key (docs/spec/disk-format.md). What is not sealed can be
 * read with and without. */
struct al_store_seal {
    bool is_on;                /* new files are sealed; needs the key */
    bool has_key;              /* `key` is set: sealed files can be read */
    uint8_t key[AL_SEAL_KEY];  /* the master key */
    uint8_t seed[AL_SEAL_KEY]; /* random, another one at every open: file keys come from it */
};

struct al_store_config {
    struct al_alloc alloc;        /* thread-safe */
    uint64_t segment_bytes;       /* 0: default (32 MiB); multiple of AL_DISK_BLOCK */
    uint64_t first_segment_bytes; /* 0: default (1 MiB): start-up stays instant */
    uint64_t reserve_bytes;       /* kept free on the disk for acks; 0: default (64 MiB) */
    uint32_t read_bytes;          /* recovery's reads; 0: default (2 MiB); as segment_bytes */
    uint64_t random_seed;         /* of segment salts */
    struct al_store_seal seal;    /* copied; wiped when the store is closed */
    uint64_t plants;              /* simulator builds: bits of planted bugs; 0 everywhere else */
};

/* What recovery found; texts are for people. */
struct al_store_report {
    uint64_t snapshot_lsn;        /* 0: none */
    uint32_t snapshot_generation; /* damaged ones passed over, 0: it is the newest; see detail */
    uint64_t records_replayed;
    uint64_t last_lsn;
    uint64_t torn_bytes; /* discarded behind the last whole record */
    char detail[512];    /* of damage, also of a snapshot passed over: file, offset, what to do */
};

/* Where recovery delivers: every item of the snapshot, then snapshot_done (only if there is one),
 * then every record behind it. Each may be NULL. A callback that returns non-zero ends the opening
 * with that value. */
struct al_store_replay {
    int (*snapshot_item)(void *ctx, struct al_str item);
    int (*snapshot_done)(void *ctx, uint64_t snapshot_lsn);
    int (*record)(void *ctx, uint64_t lsn, uint16_t type, struct al_str payload);
    void *ctx;
};

/* Locks the directory, recovers (newest good snapshot, every record behind it), rewrites the kept
 * unsealed tail into a fresh segment and flushes it. The store takes over the disk, also on
 * failure. -AL_E_LOCKED, -AL_E_DAMAGED (acknowledged data is damaged, or a file of it is gone;
 * nothing was changed or deleted), -AL_E_SEAL_KEY (there are sealed files, and this is not their
 * key; nothing was changed), -AL_E_FORMAT, -AL_E_IO, -AL_E_NOMEM, or what a callback returned.
 * ret_report is always filled. */
int al_store_open(const struct al_store_config *config, struct al_disk *disk,
                  const struct al_store_replay *replay, struct al_store_report *ret_report,
                  struct al_store **ret_store);
/* Closes files; does not flush. No other call may be under way. NULL is accepted. */
void al_store_close(struct al_store *store);

/* True if any segment or snapshot in the directory says that it is sealed. Keeps the disk open.
 * 0, -AL_E_IO, -AL_E_NOMEM. */
int al_store_is_sealed(const struct al_alloc *alloc, struct al_disk *disk, bool *ret_is_sealed);

/* core: adds a record to the batch that is being filled. LSNs must be consecutive.
 * -AL_E_NOMEM; -AL_E_POISONED. */
int al_store_append(struct al_store *store, uint64_t lsn, uint16_t type, struct al_str payload);
/* core: bytes in the batch that is being filled, 0: nothing to take. */
size_t al_store_filling(const struct al_store *store);
/* core: closes the batch being filled and gives it out for flushing; NULL if it is empty or
 * another one is out. A store with nothing to write but an unsealed tail older than
 * al_store_seal_due gives out an empty sealing batch when `seal` is set. */
struct al_batch *al_store_take(struct al_store *store, bool seal);
/* flush: frames, writes and flushes the batch; blocks. 0, or negative: the journal is poisoned,
 * for good, and every later call says -AL_E_POISONED. */
int al_store_flush(struct al_store *store, struct al_batch *batch);
/* core: takes back a flushed batch; *ret_lsn is the newest durable LSN. */
void al_store_done(struct al_store *store, struct al_batch *batch, uint64_t *ret_lsn);
/* core: true while the newest durable batch is not yet known to be durable on disk (no later batch
 * or seal carries its LSN); seal it when the node has been idle for 100 ms. */
bool al_store_wants_seal(const struct al_store *store);

/* worker (or core): reads records by LSN, in the order given; calls fn for each with a view that is
 * valid during the call. Looks first at batches still in memory. 0, -AL_E_DAMAGED, -AL_E_NOT_FOUND,
 * -AL_E_IO, -AL_E_NOMEM or what fn returned. */
int al_store_read(struct al_store *store, const uint64_t *lsns, size_t count,
                  int (*fn)(void *ctx, uint64_t lsn, uint16_t type, struct al_str payload),
                  void *ctx);
/* core: like al_store_read but only from memory, never blocks; -AL_E_NOT_FOUND if any is missing
 * (fn has then been called for none). */
int al_store_read_cached(struct al_store *store, const uint64_t *lsns, size_t count,
                         int (*fn)(void *ctx, uint64_t lsn, uint16_t type, struct al_str payload),
                         void *ctx);

/* A closed segment (there is a later one), oldest first. */
struct al_segment_info {
    uint64_t id;
    uint64_t first_lsn, last_lsn;
    uint64_t bytes;
};
/* core: up to cap closed segments that no snapshot needs for recovery (everything in them is below
 * the older kept snapshot); returns how many. */
size_t al_store_segments(struct al_store *store, struct al_segment_info *ret_list, size_t cap);
/* worker: calls fn with every record of a closed segment. Errors as al_store_read. */
int al_store_scan(struct al_store *store, uint64_t segment_id,
                  int (*fn)(void *ctx, uint64_t lsn, uint16_t type, struct al_str payload),
                  void *ctx);
/* core: nothing in this segment is needed any more. It is recycled when a snapshot that begins
 * after this call has been committed: until then every snapshot may count on it. */
void al_store_release(struct al_store *store, uint64_t segment_id);
/* core: so many bytes are likely to be written until segments are released again, much more than
 * a segment. What is not there then is zeroed while it is needed, and written twice; so maintain
 * prepares it while nothing is written (the newest batch is a seal), at most 31 segments, and only
 * if the disk has room for as many again. */
void al_store_expect(struct al_store *store, uint64_t bytes);
/* core: true if maintain has something to do. */
bool al_store_wants_maintain(const struct al_store *store);
/* worker: samples the free space, prepares the next segment (zeroed), recycles or deletes released
 * ones, in slices of at most about 10 ms of I/O; 1: call again, 0: done for now, negative: error.
 * -AL_E_DISK_FULL (also when only the reserve is left) and -AL_E_NOMEM are not fatal: call again
 * after about a second, al_store_wants_maintain stays true. Every other error has poisoned the
 * store. */
int al_store_maintain(struct al_store *store);
/* core: false when less than the reserve was free when it was last looked at: publishes must be
 * refused, acks go on. */
bool al_store_has_space(const struct al_store *store);
/* core: looks itself, if 128 KiB were appended since it last did, or `now`. Maintain may be late,
 * and somebody else may be filling the disk: a segment that cannot be made stops the node. */
void al_store_watch_space(struct al_store *store, bool now);
/* core: bytes of journal since the newest snapshot began, also of what was replayed: what the next
 * start would have to read. A driver takes one every 64 MiB. */
uint64_t al_store_since_snapshot(const struct al_store *store);

/* core: begins the snapshot of the state at lsn. */
int al_store_snapshot_begin(struct al_store *store, uint64_t lsn,
                            struct al_snapshot_writer **ret_writer);
/* worker: appends bytes of the item stream ({u32 length, item} …). */
int al_store_snapshot_write(struct al_snapshot_writer *writer, struct al_str bytes);
/* worker: flushes, reads back and verifies, renames, syncs the directory; the oldest of three
 * generations goes. Waits for nothing: records up to its LSN must be durable already, otherwise
 * -AL_E_BUSY and it may be called again. The writer is freed unless -AL_E_BUSY. -AL_E_DISK_FULL,
 * -AL_E_NOMEM and -AL_E_DAMAGED (what was read back is not what was written) cost only this
 * snapshot; any other error has poisoned the store. */
int al_store_snapshot_commit(struct al_snapshot_writer *writer);
/* worker: gives up; the writer is freed. */
void al_store_snapshot_abort(struct al_snapshot_writer *writer);

/* ---- another master key (agentlink journal rekey) ------------------------------------------ */

struct al_store_rekey {
    uint8_t old_key[AL_SEAL_KEY], new_key[AL_SEAL_KEY];
    uint8_t seed[AL_SEAL_KEY]; /* random, another one each time */
    bool is_end; /* false: the new key opens every file as well; true: it alone does */
};
/* Changes the header blocks of a directory that the caller has locked (disk->ops->lock), first
 * without and then with is_end; in between the new key is put in its place. Can be repeated.
 * *ret_files: changed. 0; -AL_E_SEAL_KEY: a file is sealed under neither key; -AL_E_DAMAGED,
 * -AL_E_FORMAT (ret_report->detail names the file); -AL_E_IO, -AL_E_NOMEM. */
int al_store_rekey(const struct al_alloc *alloc, struct al_disk *disk,
                   const struct al_store_rekey *how, struct al_store_report *ret_report,
                   uint64_t *ret_files);

/* The name of the master key where it stands beside the data (os/key_file.h): no stranger. */
#define AL_STORE_KEY_FILE "master.key"

/* ---- offline verification (agentlink journal verify) ------------------------------------- */

struct al_verify_row {
    const char *file;
    const char *kind; /* "segment", "snapshot", "other" */
    uint64_t first_lsn, last_lsn, records, bytes;
    const char *verdict; /* "ok", "torn tail", "damaged", "free", "unknown" */
    uint64_t offset;     /* of the first bad byte's frame */
    const char *detail;
};
/* Checks every frame of every file, changes nothing, keeps the disk open. Calls fn per file. 0 if
 * all is well (a torn tail is well), -AL_E_DAMAGED, -AL_E_LOCKED is not checked: it may run beside
 * a node but then the tail may look torn. `key` is the master key of sealed files: with it every
 * seal and tag is checked too. NULL: checksums and order only, which needs no key. */
int al_store_verify(const struct al_alloc *alloc, struct al_disk *disk,
                    const uint8_t key[AL_SEAL_KEY],
                    void (*fn)(void *ctx, const struct al_verify_row *row), void *ctx,
                    struct al_store_report *ret_report);

#endif
