/* file_disk.h - a directory as al_disk: O_DIRECT where the file system has it, fdatasync else. */
#ifndef AL_OS_FILE_DISK_H
#define AL_OS_FILE_DISK_H

#include "store/disk.h"

/* Opens the directory, creating it (mode 0700) with its parents if `create`. 0, -AL_E_NOT_FOUND,
 * -AL_E_DENIED, -AL_E_IO, -AL_E_NOMEM; errno tells more. */
int al_file_disk_open(const char *path, bool create, struct al_disk **ret_disk);

#endif
