/* append_file.h - one file that grows at its end, belongs to one process, and can be replaced.
 *
 * For small stores beside the journal. Not thread-safe: the owner has a lock. After an error of
 * write or flush the content at the end is unknown, and the file must not be used any more. */
#ifndef AL_OS_APPEND_FILE_H
#define AL_OS_APPEND_FILE_H

#include <stddef.h>
#include <stdint.h>

struct al_append_file;

/* Opens or creates (mode 0600, its directory flushed) and locks the file; *ret_size: its bytes.
 * 0; -AL_E_LOCKED: another process has it; -AL_E_NOT_FOUND: no such directory; -AL_E_NOMEM;
 * -AL_E_IO, -AL_E_DISK_FULL, -AL_E_INVALID (the path is too long). */
int al_append_file_open(const char *path, struct al_append_file **ret_file, uint64_t *ret_size);
/* Reads n bytes at offset, all of them. 0, -AL_E_IO (also: the file is shorter). */
int al_append_file_read(struct al_append_file *file, uint64_t offset, void *p, size_t n);
/* Writes n bytes at offset. 0, -AL_E_IO, -AL_E_DISK_FULL. Durable after al_append_file_flush(). */
int al_append_file_write(struct al_append_file *file, uint64_t offset, const void *p, size_t n);
/* Makes durable what was written. 0, -AL_E_IO, -AL_E_DISK_FULL. */
int al_append_file_flush(struct al_append_file *file);
/* Cuts the file off behind `size` bytes and makes that durable. 0, -AL_E_IO. */
int al_append_file_cut(struct al_append_file *file, uint64_t size);
/* An empty file beside it, locked, that is to take its place. 0, -AL_E_NOMEM, -AL_E_IO. */
int al_append_file_fresh(const struct al_append_file *file, struct al_append_file **ret_fresh);
/* Flushes `fresh` and gives it the place and name of `file`: after a crash it is one or the other.
 * Frees `fresh` in every case. On failure the old one is still in use, unless the error came from
 * the directory: 0, -AL_E_IO, -AL_E_DISK_FULL. */
int al_append_file_adopt(struct al_append_file *file, struct al_append_file *fresh);
/* Lets go of it. NULL is accepted. */
void al_append_file_close(struct al_append_file *file);

#endif
