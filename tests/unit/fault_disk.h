/* fault_disk.h - a disk for tests: counts every call, fails the ones it is told to, loses power.
 *
 * Each file has two contents: what was written and what is durable; they differ by sectors. Names
 * likewise, by operations that wait for sync_dir. A power cut decides for each sector whether it
 * arrived, and which of the waiting directory operations did: the first few, or any. Written for
 * single-threaded tests: the same calls, the same outcome. */
#ifndef AL_TEST_FAULT_DISK_H
#define AL_TEST_FAULT_DISK_H

#include "store/disk.h"
#include "support.h"

#define FAULT_SECTOR 512u
#define FAULT_FILES  64u
#define FAULT_OPS    256u

enum fault_call {
    FAULT_OPEN = 1,
    FAULT_WRITE = 2,
    FAULT_READ = 4,
    FAULT_FLUSH = 8,
    FAULT_RENAME = 16,
    FAULT_UNLINK = 32,
    FAULT_SYNC_DIR = 64,
    FAULT_OTHER = 128, /* size, list, lock */
    FAULT_CHANGES = FAULT_WRITE | FAULT_FLUSH | FAULT_RENAME | FAULT_UNLINK | FAULT_SYNC_DIR,
    FAULT_ALL = 255,
};

/* Contents of one file, whatever it is called. */
struct fault_inode {
    uint8_t *seen, *durable; /* cap bytes each */
    uint8_t *dirty;          /* one byte per sector */
    uint64_t size, durable_size, cap;
    unsigned open_files;
    bool is_used;
};

struct fault_name {
    char name[64];
    int inode;
};

struct fault_op {
    char from[64], to[64]; /* create: to; unlink: from; rename: both */
    int inode;
};

struct fault_disk {
    struct fault_inode inodes[FAULT_FILES];
    struct fault_name seen[FAULT_FILES], durable[FAULT_FILES];
    size_t seen_count, durable_count;
    struct fault_op ops[FAULT_OPS];
    size_t op_count;
    unsigned open_files;

    uint64_t made; /* files created so far */

    unsigned count_mask; /* which calls are counted */
    uint64_t calls;      /* counted so far */
    uint64_t fail_at;    /* counted call that fails; 0: none */
    int fail_error;      /* with this */
    bool fail_once;      /* and those behind it do not */
    bool is_dead;        /* after a call failed without fail_once: everything fails */
    bool applies_failed; /* a failing write or rename happens nevertheless */
    uint64_t capacity;   /* bytes of all files together */
};

struct fault_disk *fault_disk_new(void);
void fault_disk_free(struct fault_disk *fault);
/* A process opens the disk; close_disk ends that, the disk stays. */
struct al_disk *fault_disk_attach(struct fault_disk *fault);
/* Bytes of all files together, as they are seen. */
uint64_t fault_disk_used(const struct fault_disk *fault);
/* Nothing fails any more. */
void fault_disk_heal(struct fault_disk *fault);
/* The process dies: files are closed, everything stays as it was last seen. */
void fault_disk_kill(struct fault_disk *fault);
/* The power goes. chance: of 256, that a sector or directory operation that waits arrives. */
void fault_disk_cut(struct fault_disk *fault, struct al_test_random *random, unsigned chance);
/* The content of a file, NULL if there is none; changes count as durable. */
uint8_t *fault_disk_file(struct fault_disk *fault, const char *name, uint64_t **ret_size);
/* A copy of everything durable and seen, without faults. */
struct fault_disk *fault_disk_clone(const struct fault_disk *fault);

#endif
