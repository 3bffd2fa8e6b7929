/* disks.h - the implementations of al_disk that every contract suite runs against. */
#ifndef AL_TEST_DISKS_H
#define AL_TEST_DISKS_H

#include "store/disk.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* A disk that is made and made again: what was written is there the second time if is_lasting. */
struct disk_kind {
    const char *name;
    const char *base; /* directory in which to make one; NULL: not in a directory */
    bool is_lasting;
};

struct disk_place {
    const struct disk_kind *kind;
    char path[128];
};

/* Cmocka set-up and tear-down: the test's state is a struct disk_place. The kind comes as the
 * initial state; a kind that this machine does not have skips the test. */
int disk_place_new(void **state);
int disk_place_free(void **state);
/* Opens the disk of a place. */
struct al_disk *disk_place_open(const struct disk_place *place);

/* All kinds: memory, a directory on the temporary file system, one in memory (no O_DIRECT). */
extern const struct disk_kind disk_kinds[];
extern const size_t disk_kind_count;

/* Runs each test against each kind. */
struct disk_test {
    const char *name;
    CMUnitTestFunction run;
};
int disk_tests_run(const char *suite, const struct disk_test *tests, size_t count);

#endif
