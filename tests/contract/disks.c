/* disks.c - see disks.h. */
#include "disks.h"
#include "base/errors.h"
#include "os/file_disk.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

const struct disk_kind disk_kinds[] = {
    {"memory", NULL, false},
    {"directory", "/var/tmp", true},
    {"tmpfs", "/dev/shm", true},
};
const size_t disk_kind_count = sizeof(disk_kinds) / sizeof(disk_kinds[0]);

int disk_place_new(void **state)
{
    const struct disk_kind *kind = *state;
    struct disk_place *place = calloc(1, sizeof(*place));

    place->kind = kind;
    *state = place;
    if (!kind->base)
        return 0;
    snprintf(place->path, sizeof(place->path), "%s/al-disk-XXXXXX", kind->base);
    if (!mkdtemp(place->path))
        place->path[0] = 0; /* the test is skipped */
    return 0;
}

int disk_place_free(void **state)
{
    struct disk_place *place = *state;
    DIR *dir = place->path[0] ? opendir(place->path) : NULL;
    struct dirent *entry;

    while (dir && (entry = readdir(dir)))
        if (entry->d_name[0] != '.')
            unlinkat(dirfd(dir), entry->d_name, 0);
    if (dir) {
        closedir(dir);
        rmdir(place->path);
    }
    free(place);
    return 0;
}

struct al_disk *disk_place_open(const struct disk_place *place)
{
    struct al_disk *disk = NULL;

    if (!place->kind->base)
        assert_int_equal(al_mem_disk_new(&disk), 0);
    else if (!place->path[0])
        skip();
    else
        assert_int_equal(al_file_disk_open(place->path, false, &disk), 0);
    return disk;
}

int disk_tests_run(const char *suite, const struct disk_test *tests, size_t count)
{
    size_t total = count * disk_kind_count, n = 0;
    struct CMUnitTest *list = calloc(total, sizeof(*list));
    char(*names)[128] = calloc(total, sizeof(*names));
    int failed;

    for (size_t k = 0; k < disk_kind_count; k++) {
        for (size_t i = 0; i < count; i++, n++) {
            snprintf(names[n], sizeof(names[n]), "%s: %s", disk_kinds[k].name, tests[i].name);
            list[n] = (struct CMUnitTest){.name = names[n],
                                          .test_func = tests[i].run,
                                          .setup_func = disk_place_new,
                                          .teardown_func = disk_place_free,
                                          .initial_state = (void *)(uintptr_t)&disk_kinds[k]};
        }
    }
    failed = _cmocka_run_group_tests(suite, list, total, NULL, NULL);
    free(names);
    free(list);
    return failed;
}
