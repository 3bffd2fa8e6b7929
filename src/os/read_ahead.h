/* read_ahead.h - one read of a file under way while its owner computes.
 *
 * A thread of its own makes the same pread that the owner would make. It lives as long as the
 * al_read_ahead: from the first piece asked for until the file is closed. */
#ifndef AL_OS_READ_AHEAD_H
#define AL_OS_READ_AHEAD_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct al_read_ahead;

/* Reads like al_disk_ops.read; called in the thread. `file` is what al_read_ahead_new was given. */
typedef int al_read_ahead_fn(void *file, void *p, size_t n, uint64_t offset, size_t *ret_n);

/* Starts the thread. NULL: no memory or no thread; then the owner reads by itself. */
struct al_read_ahead *al_read_ahead_new(al_read_ahead_fn *fn, void *file);
/* Waits for a read that is under way, ends the thread, frees. NULL is accepted. */
void al_read_ahead_free(struct al_read_ahead *ahead);
/* Begins to read; the memory is the thread's until al_read_ahead_end. None may be under way. */
void al_read_ahead_begin(struct al_read_ahead *ahead, void *p, size_t n, uint64_t offset);
/* Waits for the read that was begun and returns what it returned. */
int al_read_ahead_end(struct al_read_ahead *ahead, size_t *ret_n);

#endif
