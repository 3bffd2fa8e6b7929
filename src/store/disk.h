/* disk.h - what the store needs of a disk: files in one directory, blocking calls.
 *
 * Implementations: os/file_disk.c (a directory), store/mem_disk.c (memory only: `inproc:` and
 * tests), sim/sim_disk.c (faults). All pass the contract suite tests/contract/test_disk.c.
 *
 * Every call returns 0 or a negative AL_E_ value: -AL_E_IO, -AL_E_DISK_FULL, -AL_E_NOT_FOUND,
 * -AL_E_EXISTS, -AL_E_NOMEM, -AL_E_LOCKED. Writes and reads of files opened with
 * AL_DISK_DIRECT are aligned: offset, size and memory to AL_DISK_BLOCK. Calls on different files
 * may come from different threads at one time; so may reads of one file beside one writer. */
#ifndef AL_STORE_DISK_H
#define AL_STORE_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AL_DISK_BLOCK 4096u

enum {
    AL_DISK_READ = 1,
    AL_DISK_WRITE = 2,
    AL_DISK_CREATE = 4, /* must not exist */
    AL_DISK_DIRECT = 8, /* past the page cache if the file system can; aligned access */
};

struct al_disk;
struct al_disk_file;

struct al_disk_ops {
    int (*open)(struct al_disk *disk, const char *name, unsigned flags,
                struct al_disk_file **ret_file);
    /* Never fails: what must be on disk was flushed before. */
    void (*close)(struct al_disk *disk, struct al_disk_file *file);
    int (*size)(struct al_disk *disk, struct al_disk_file *file, uint64_t *ret_size);
    /* Writes all n bytes; returning 0 does not mean that they are durable. */
    int (*write)(struct al_disk *disk, struct al_disk_file *file, const void *p, size_t n,
                 uint64_t offset);
    /* Reads up to n bytes; fewer only at the end of the file. */
    int (*read)(struct al_disk *disk, struct al_disk_file *file, void *p, size_t n, uint64_t offset,
                size_t *ret_n);
    /* Returns 0 only when everything written to the file before is durable. */
    int (*flush)(struct al_disk *disk, struct al_disk_file *file);
    int (*rename)(struct al_disk *disk, const char *from, const char *to);
    int (*unlink)(struct al_disk *disk, const char *name);
    /* Makes creations, renames and unlinks durable. */
    int (*sync_dir)(struct al_disk *disk);
    /* Calls fn with every name, in any order; stops when it returns non-zero and returns that. */
    int (*list)(struct al_disk *disk, int (*fn)(void *ctx, const char *name), void *ctx);
    int (*space)(struct al_disk *disk, uint64_t *ret_free_bytes);
    /* Exclusive use of the directory until close_disk; -AL_E_LOCKED if somebody else has it. */
    int (*lock)(struct al_disk *disk);
    void (*close_disk)(struct al_disk *disk);
    /* Optional, both or none: a read that is under way while the caller computes. read_begin asks
     * for n bytes and does not wait; read_end waits and is then what `read` would have been, errors
     * included. Between them p is the disk's, and the file is neither written, read nor closed;
     * one read at a time per file. What the first one takes (a thread) goes with close. */
    void (*read_begin)(struct al_disk *disk, struct al_disk_file *file, void *p, size_t n,
                       uint64_t offset);
    int (*read_end)(struct al_disk *disk, struct al_disk_file *file, size_t *ret_n);
};

/* Implementations embed this as their first member. */
struct al_disk {
    const struct al_disk_ops *ops;
};

/* A disk in memory; 0 or -AL_E_NOMEM. close_disk frees it. */
int al_mem_disk_new(struct al_disk **ret_disk);

#endif
