/* test_disk.c - what the store may expect of any disk. */
#include "base/errors.h"
#include "disks.h"
#include "support.h"
#include <stdlib.h>

#define RW (AL_DISK_READ | AL_DISK_WRITE)

static uint8_t *block(uint8_t fill)
{
    static _Alignas(AL_DISK_BLOCK) uint8_t memory[2][4 * AL_DISK_BLOCK];
    static unsigned which;
    uint8_t *p = memory[which++ % 2];

    memset(p, fill, sizeof(memory[0]));
    return p;
}

static struct al_disk_file *make(struct al_disk *disk, const char *name, unsigned flags)
{
    struct al_disk_file *file;

    assert_int_equal(disk->ops->open(disk, name, RW | AL_DISK_CREATE | flags, &file), 0);
    return file;
}

static void open_and_create(void **state)
{
    struct al_disk *disk = disk_place_open(*state);
    struct al_disk_file *file, *again;

    for (unsigned direct = 0; direct <= AL_DISK_DIRECT; direct += AL_DISK_DIRECT) {
        const char *name = direct ? "one" : "two";

        assert_int_equal(disk->ops->open(disk, name, AL_DISK_READ | direct, &file),
                         -AL_E_NOT_FOUND);
        assert_int_equal(disk->ops->open(disk, name, RW | direct, &file), -AL_E_NOT_FOUND);
        file = make(disk, name, direct);
        assert_int_equal(disk->ops->open(disk, name, RW | AL_DISK_CREATE | direct, &again),
                         -AL_E_EXISTS);
        assert_int_equal(disk->ops->open(disk, name, AL_DISK_READ | direct, &again), 0);
        disk->ops->close(disk, again);
        disk->ops->close(disk, file);
    }
    disk->ops->close_disk(disk);
}

static void read_what_was_written(void **state)
{
    struct al_disk *disk = disk_place_open(*state);

    for (unsigned direct = 0; direct <= AL_DISK_DIRECT; direct += AL_DISK_DIRECT) {
        struct al_disk_file *file = make(disk, direct ? "one" : "two", direct);
        uint8_t *out = block(0xab), *in = block(0);
        uint64_t size;
        size_t n;

        assert_int_equal(disk->ops->size(disk, file, &size), 0);
        assert_int_equal(size, 0);
        assert_int_equal(disk->ops->read(disk, file, in, 4096, 0, &n), 0);
        assert_int_equal(n, 0);
        assert_int_equal(disk->ops->write(disk, file, out, 8192, 4096), 0);
        assert_int_equal(disk->ops->flush(disk, file), 0);
        assert_int_equal(disk->ops->size(disk, file, &size), 0);
        assert_int_equal(size, 12288);
        assert_int_equal(disk->ops->read(disk, file, in, 4 * 4096, 0, &n), 0);
        assert_int_equal(n, 12288); /* fewer only at the end */
        assert_int_equal(in[0], 0); /* a hole is zeros */
        assert_int_equal(in[4095], 0);
        assert_memory_equal(in + 4096, out, 8192);
        assert_int_equal(disk->ops->read(disk, file, in, 4096, 12288, &n), 0);
        assert_int_equal(n, 0);
        memset(out, 0xcd, 4096); /* over what is there */
        assert_int_equal(disk->ops->write(disk, file, out, 4096, 4096), 0);
        assert_int_equal(disk->ops->read(disk, file, in, 4096, 4096, &n), 0);
        assert_memory_equal(in, out, 4096);
        memset(out, 0, 4096); /* zeros count as well */
        assert_int_equal(disk->ops->write(disk, file, out, 4096, 4096), 0);
        assert_int_equal(disk->ops->read(disk, file, in, 4096, 4096, &n), 0);
        assert_memory_equal(in, out, 4096);
        disk->ops->close(disk, file);
    }
    disk->ops->close_disk(disk);
}

struct names {
    unsigned count, stop_after;
    bool seen_a, seen_b;
};

static int see(void *ctx, const char *name)
{
    struct names *names = ctx;

    names->count++;
    names->seen_a |= strcmp(name, "a") == 0;
    names->seen_b |= strcmp(name, "b") == 0;
    return names->count == names->stop_after ? 42 : 0;
}

static void names_change(void **state)
{
    struct al_disk *disk = disk_place_open(*state);
    struct al_disk_file *file = make(disk, "a", AL_DISK_DIRECT), *other;
    struct names names = {0};
    uint8_t *p = block(7);
    size_t n;

    assert_int_equal(disk->ops->write(disk, file, p, 4096, 0), 0);
    assert_int_equal(disk->ops->rename(disk, "nothing", "b"), -AL_E_NOT_FOUND);
    assert_int_equal(disk->ops->unlink(disk, "nothing"), -AL_E_NOT_FOUND);
    assert_int_equal(disk->ops->rename(disk, "a", "b"), 0);
    assert_int_equal(disk->ops->sync_dir(disk), 0);
    assert_int_equal(disk->ops->list(disk, see, &names), 0);
    assert_true(names.count == 1 && names.seen_b);
    /* An open file does not care about its name. */
    assert_int_equal(disk->ops->write(disk, file, p, 4096, 4096), 0);
    other = make(disk, "a", AL_DISK_DIRECT);
    disk->ops->close(disk, other);
    assert_int_equal(disk->ops->rename(disk, "b", "a"), 0); /* replaces */
    names = (struct names){0};
    assert_int_equal(disk->ops->list(disk, see, &names), 0);
    assert_true(names.count == 1 && names.seen_a);
    assert_int_equal(disk->ops->unlink(disk, "a"), 0);
    assert_int_equal(disk->ops->read(disk, file, p, 4096, 4096, &n), 0); /* still open */
    assert_int_equal(n, 4096);
    disk->ops->close(disk, file);
    assert_int_equal(disk->ops->open(disk, "a", RW, &file), -AL_E_NOT_FOUND);
    disk->ops->close(disk, make(disk, "a", 0));
    disk->ops->close(disk, make(disk, "b", 0));
    names = (struct names){.stop_after = 1};
    assert_int_equal(disk->ops->list(disk, see, &names), 42);
    assert_int_equal(names.count, 1);
    disk->ops->close_disk(disk);
}

static void one_owner(void **state)
{
    const struct disk_place *place = *state;
    struct al_disk *disk = disk_place_open(place), *second;
    uint64_t space;

    assert_int_equal(disk->ops->lock(disk), 0);
    assert_int_equal(disk->ops->space(disk, &space), 0);
    assert_true(space > 0);
    if (place->kind->is_lasting) {
        second = disk_place_open(place);
        assert_int_equal(second->ops->lock(second), -AL_E_LOCKED);
        second->ops->close_disk(second);
        disk->ops->close_disk(disk);
        disk = disk_place_open(place); /* closing gives it back */
        assert_int_equal(disk->ops->lock(disk), 0);
    }
    disk->ops->close_disk(disk);
}

static void lasts(void **state)
{
    const struct disk_place *place = *state;
    struct al_disk *disk = disk_place_open(place);
    struct al_disk_file *file = make(disk, "a", AL_DISK_DIRECT);
    uint8_t *p = block(9);
    size_t n = 0;

    assert_int_equal(disk->ops->write(disk, file, p, 4096, 0), 0);
    assert_int_equal(disk->ops->flush(disk, file), 0);
    disk->ops->close(disk, file);
    assert_int_equal(disk->ops->sync_dir(disk), 0);
    if (place->kind->is_lasting) {
        disk->ops->close_disk(disk);
        disk = disk_place_open(place);
        assert_int_equal(disk->ops->open(disk, "a", AL_DISK_READ | AL_DISK_DIRECT, &file), 0);
        assert_int_equal(disk->ops->read(disk, file, block(0), 8192, 0, &n), 0);
        assert_int_equal(n, 4096);
        disk->ops->close(disk, file);
    }
    disk->ops->close_disk(disk);
}

/* Random writes against a copy in memory. */
static void like_an_array(void **state)
{
    struct al_test_random random = al_test_random_new("disk");
    struct al_disk *disk = disk_place_open(*state);
    struct al_disk_file *file = make(disk, "a", AL_DISK_DIRECT);
    size_t blocks = 64, n;
    uint8_t *model = calloc(blocks, AL_DISK_BLOCK), *p;
    uint64_t end = 0;

    for (int i = 0; i < 300; i++) {
        size_t count = 1 + al_test_below(&random, 4);
        uint64_t at = al_test_below(&random, blocks - count + 1) * AL_DISK_BLOCK;

        p = block((uint8_t)al_test_below(&random, 3));
        assert_int_equal(disk->ops->write(disk, file, p, count * AL_DISK_BLOCK, at), 0);
        memcpy(model + at, p, count * AL_DISK_BLOCK);
        if (at + count * AL_DISK_BLOCK > end)
            end = at + count * AL_DISK_BLOCK;
        count = 1 + al_test_below(&random, 4);
        at = al_test_below(&random, blocks) * AL_DISK_BLOCK;
        assert_int_equal(disk->ops->read(disk, file, p, count * AL_DISK_BLOCK, at, &n), 0);
        assert_int_equal(n, at >= end                          ? 0
                            : end - at < count * AL_DISK_BLOCK ? end - at
                                                               : count * AL_DISK_BLOCK);
        if (n)
            assert_memory_equal(p, model + at, n);
    }
    disk->ops->close(disk, file);
    disk->ops->close_disk(disk);
    free(model);
}

/* Reads that are under way while the caller does something else, where the disk has them. */
static void read_ahead(void **state)
{
    struct al_disk *disk = disk_place_open(*state);
    uint8_t *memory = aligned_alloc(AL_DISK_BLOCK, 4 * AL_DISK_BLOCK);
    uint8_t *out = block(0x5c);
    struct al_disk_file *file;
    size_t n = 0;

    assert_int_equal(disk->ops->read_begin == NULL, disk->ops->read_end == NULL);
    for (unsigned direct = 0; disk->ops->read_begin && direct <= AL_DISK_DIRECT;
         direct += AL_DISK_DIRECT) {
        const char *name = direct ? "one" : "two";

        file = make(disk, name, direct);
        out[AL_DISK_BLOCK] = (uint8_t)(1 + direct);
        assert_int_equal(disk->ops->write(disk, file, out, 2 * AL_DISK_BLOCK, 0), 0);
        assert_int_equal(disk->ops->flush(disk, file), 0);
        for (unsigned i = 0; i < 100; i++) {
            unsigned first = i % 3; /* the last one begins at the end of the file */
            size_t there = (2 - first) * AL_DISK_BLOCK;

            memset(memory, 0, 4 * AL_DISK_BLOCK);
            disk->ops->read_begin(disk, file, memory, 4 * AL_DISK_BLOCK, first * AL_DISK_BLOCK);
            assert_int_equal(disk->ops->read_end(disk, file, &n), 0);
            assert_int_equal(n, there);
            assert_memory_equal(memory, out + first * AL_DISK_BLOCK, there);
        }
        disk->ops->close(disk, file);
        /* An error is that of an ordinary read. */
        assert_int_equal(disk->ops->open(disk, name, AL_DISK_WRITE | direct, &file), 0);
        assert_int_equal(disk->ops->read(disk, file, memory, AL_DISK_BLOCK, 0, &n), -AL_E_IO);
        disk->ops->read_begin(disk, file, memory, AL_DISK_BLOCK, 0);
        assert_int_equal(disk->ops->read_end(disk, file, &n), -AL_E_IO);
        disk->ops->close(disk, file);
    }
    disk->ops->close_disk(disk);
    free(memory);
}

int main(void)
{
    const struct disk_test tests[] = {
        {"open and create", open_and_create},
        {"read what was written", read_what_was_written},
        {"names change", names_change},
        {"one owner", one_owner},
        {"lasts", lasts},
        {"like an array", like_an_array},
        {"read ahead", read_ahead},
    };

    return disk_tests_run("disk", tests, sizeof(tests) / sizeof(tests[0]));
}
