/* sim_disk.h - a disk that fails as disks do.
 *
 * Every file has two images: what a reader sees now (the page cache) and what would be there after
 * a power cut (the platter). They differ by sectors of 512 bytes that were written and not flushed.
 * A power cut decides for each of them on its own: old content, new content, or a mixture of the
 * two. Directory operations wait likewise for sync_dir. A flush that fails leaves some pages
 * "clean" that never reached the platter, as Linux does: the cache shows them until the process is
 * gone or the power is, and no later flush writes them.
 *
 * A handle (struct al_disk) is one process' use of the disk. When that process is killed or the
 * power goes, the handle is dead: every call on it fails and changes nothing, so the code under
 * test can be unwound by its ordinary error paths. The disk itself lives on.
 *
 * Corruption of data that was durable is separate from all this: sim_disk_corrupt. */
#ifndef AL_SIM_DISK_H
#define AL_SIM_DISK_H

#include "faults.h"
#include "rand.h"
#include "store/disk.h"

#define SIM_SECTOR   512u
#define SIM_NAME_MAX 64u

struct sim_disk;

/* What goes wrong by itself; set at any time. */
struct sim_disk_faults {
    uint64_t cut_after;      /* the end comes at the n-th changing call from now; 0: never */
    bool cut_is_kill;        /* that end is the process', not the power's: the page cache stays */
    uint32_t write_permille; /* share of calls that fail, by kind of call; times 1/100 */
    uint32_t flush_permille;
    uint32_t read_permille;
    uint32_t name_permille;
    uint32_t full_permille;
    bool persistent; /* the first error of a kind stays until the handle is closed */
};

/* A new, empty disk. `tally` counts its faults; it must live as long. Never fails (out of memory
 * ends the program, as everywhere in the simulator). */
struct sim_disk *sim_disk_new(uint64_t seed, struct sim_tally *tally);
void sim_disk_free(struct sim_disk *disk);
/* A process opens the disk: a handle for the store, which closes it. The one before must be
 * closed or dead. */
struct al_disk *sim_disk_attach(struct sim_disk *disk);
/* A disk of its own behind a handle, both freed by close_disk: for the contract suite. */
struct al_disk *sim_disk_standalone(uint64_t seed);

/* Called for every changing call that succeeds, and for the ends: text as in the trace. */
typedef void sim_disk_watch_fn(void *ctx, const char *text, const uint64_t arg[3]);
void sim_disk_watch(struct sim_disk *disk, sim_disk_watch_fn *fn, void *ctx);
/* Is shown what is about to be written, with the ctx of the watcher. */
typedef void sim_disk_write_fn(void *ctx, const void *bytes, size_t n, uint64_t offset);
void sim_disk_on_write(struct sim_disk *disk, sim_disk_write_fn *fn);

struct sim_disk_faults *sim_disk_faults(struct sim_disk *disk);
/* Room for all files together; writes beyond it say disk full. */
void sim_disk_set_capacity(struct sim_disk *disk, uint64_t bytes);
uint64_t sim_disk_used(const struct sim_disk *disk);

/* The process is gone; the page cache stays, but pages of failed flushes may be evicted. */
void sim_disk_kill(struct sim_disk *disk);
/* The power goes: what was not flushed is decided. */
void sim_disk_power_cut(struct sim_disk *disk);
/* True when cut_after has struck since the last attach. */
bool sim_disk_was_cut(const struct sim_disk *disk);
/* A misuse of the interface (unaligned direct access, file left open), or NULL. */
const char *sim_disk_misuse(const struct sim_disk *disk);

/* A copy as another process would see it now. With `cut`, as it would be after a power cut at
 * this moment; the original is not touched. No faults of its own. */
struct sim_disk *sim_disk_clone(const struct sim_disk *disk, uint64_t seed, bool cut,
                                struct sim_tally *tally);
/* A hash of all names and contents. */
uint64_t sim_disk_hash(const struct sim_disk *disk);

/* Damages one durable sector (SIM_FAULT_BIT_FLIP, _STALE_SECTOR, _MISDIRECTED, _ZEROED_SECTOR);
 * false when there was nothing to damage. With old_only, only in files that were not written since
 * another one was. What was done can be undone by sim_disk_repair. */
bool sim_disk_corrupt(struct sim_disk *disk, enum sim_fault kind, bool old_only);
/* Takes the newest journal file away, for good; false when that leaves neither a journal file nor a
 * snapshot (such a directory looks new: documented). Its name goes to ret_name. */
bool sim_disk_lose_newest(struct sim_disk *disk, char ret_name[96]);
/* Puts back what sim_disk_corrupt destroyed, except where something else was written since. */
void sim_disk_repair(struct sim_disk *disk);
/* Persistent errors that have begun stop. */
void sim_disk_heal(struct sim_disk *disk);
/* True while something that sim_disk_corrupt did may still stand. */
bool sim_disk_is_corrupt(const struct sim_disk *disk);
/* Words about the newest corruption, for the trace: file number, offset. */
void sim_disk_last_corruption(const struct sim_disk *disk, char ret_text[96]);

#endif
