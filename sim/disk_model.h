/* disk_model.h - the inside of the simulated disk, shared by its two files. */
#ifndef AL_SIM_DISK_MODEL_H
#define AL_SIM_DISK_MODEL_H

#include "sim_disk.h"

#define SIM_NAMES       4000u
#define SIM_OPS         512u
#define SIM_FILE_MAX    (64u << 20)
#define SIM_CORRUPTIONS 8u

/* Images of a file: what readers see, what a power cut leaves, and what stood on the platter
 * before the newest change of each sector (for stale sectors). */
enum { SIM_IMAGE_CACHE, SIM_IMAGE_SAFE, SIM_IMAGE_BEFORE, SIM_IMAGES };

/* A sector: the same in cache and platter; written and not flushed; shown by the cache, dropped by
 * a failed flush. */
enum { SIM_CLEAN, SIM_PENDING, SIM_PHANTOM };

struct sim_inode {
    uint8_t *image[SIM_IMAGES];
    uint8_t *state; /* per sector */
    uint32_t size, safe_size, cap;
    uint32_t pending_first, pending_end; /* sectors outside are not pending */
    uint32_t opens;
    uint64_t written_at; /* number of the newest write: tells older files from newer ones */
    bool used;           /* sim_disk_collect: something refers to it */
};

struct sim_names {
    struct {
        char name[SIM_NAME_MAX];
        uint32_t inode;
    } entry[SIM_NAMES];
    uint32_t count;
};

enum sim_op_kind { SIM_OP_CREATE, SIM_OP_RENAME, SIM_OP_UNLINK };

struct sim_op {
    enum sim_op_kind kind;
    uint32_t inode;
    char from[SIM_NAME_MAX], to[SIM_NAME_MAX];
};

enum sim_call {
    SIM_CALL_WRITE,
    SIM_CALL_FLUSH,
    SIM_CALL_READ,
    SIM_CALL_NAME,
    SIM_CALL_FULL,
    SIM_CALLS
};

struct sim_handle {
    struct al_disk base;
    struct sim_disk *disk;
    uint32_t generation;
    bool dead, owns_disk;
};

struct sim_corruption {
    uint32_t inode, sector;
    uint8_t before[SIM_SECTOR], after[SIM_SECTOR];
};

struct sim_disk {
    struct sim_rand rand;
    struct sim_tally *tally;
    struct sim_inode **inodes;
    uint32_t inode_count;
    struct sim_names now, safe; /* the directory as seen, and as a power cut would leave it */
    struct sim_op ops[SIM_OPS]; /* what lies between the two */
    uint32_t op_count;
    struct sim_handle *current;
    uint32_t generation, locked_by, open_files;
    uint64_t capacity, write_count;
    struct sim_disk_faults faults;
    bool stuck[SIM_CALLS]; /* persistent errors that have begun */
    bool was_cut;
    const char *misuse;
    sim_disk_watch_fn *watch;
    void *watch_ctx;
    sim_disk_write_fn *on_write; /* with the same ctx; NULL: none */
    struct sim_corruption corruption[SIM_CORRUPTIONS];
    uint32_t corruption_count;
};

struct al_disk_file {
    uint32_t inode;
    unsigned flags;
    uint32_t generation;
};

/* realloc that ends the program when there is no memory. */
void *sim_xrealloc(void *ptr, size_t size);
uint32_t sim_inode_new(struct sim_disk *disk);
void sim_inode_grow(struct sim_inode *inode, uint32_t size);
int sim_names_find(const struct sim_names *names, const char *name);
void sim_names_set(struct sim_names *names, const char *name, uint32_t inode);
void sim_names_copy(struct sim_names *to, const struct sim_names *from);
void sim_names_remove(struct sim_names *names, const char *name);
void sim_disk_collect(struct sim_disk *disk);

void sim_disk_commit_oldest(struct sim_disk *disk);
/* Tells the watcher; a file's name counts as two numbers. */
void sim_disk_tell(struct sim_disk *disk, const char *text, const char *name, uint64_t more);
/* The sector's cached content reaches the platter. */
void sim_sector_persist(struct sim_inode *inode, uint32_t sector);

#endif
