/* seals.c - keys of sealed files, as they come to the disk: none is used for two files.
 *
 * Every header block of a sealed segment or snapshot that is written is unwrapped with the master
 * key. A key that was there before, in this file or another, before a crash or after it, would mean
 * that nonces are used twice. */
#include "crypto/seal.h"
#include "ledger.h"
#include "store/frame.h"
#include <stdlib.h>
#include <string.h>

/* Where they stand in a slot: docs/spec/disk-format.md. */
#define NONCE_AT 24u
#define KEY_AT   48u

struct sim_seals {
    uint8_t (*keys)[AL_SEAL_KEY];
    size_t count, cap;
};

struct sim_seals *sim_seals_new(void)
{
    struct sim_seals *seals = sim_xrealloc(NULL, sizeof(*seals));

    memset(seals, 0, sizeof(*seals));
    return seals;
}

void sim_seals_free(struct sim_seals *seals)
{
    if (seals)
        free(seals->keys);
    free(seals);
}

static bool is_header(const uint8_t *block)
{
    return memcmp(block, "ALJOURN1", 8) == 0 || memcmp(block, "ALSNAPS1", 8) == 0;
}

void sim_seals_write(void *ctx, const void *bytes, size_t n, uint64_t offset)
{
    struct sim *sim = ctx;
    struct sim_seals *seals = sim->ledger->seals;
    const uint8_t *block = bytes, *slot = block + ALI_SLOTS_AT;
    uint8_t master[AL_SEAL_KEY], key[AL_SEAL_KEY];

    if (offset != 0 || n < AL_DISK_BLOCK || !is_header(block) || !ali_block_is_sealed(block))
        return;
    memset(master, SIM_MASTER_KEY, sizeof(master));
    if (!al_seal_unwrap(master, slot + NONCE_AT, al_str_of(block, ALI_HEADER_TAG_AT), slot + KEY_AT,
                        key)) {
        sim_fail(sim, "a header is written whose key does not open with the master key");
        return;
    }
    for (size_t i = 0; i < seals->count; i++)
        if (memcmp(seals->keys[i], key, sizeof(key)) == 0)
            sim_fail(sim, "a file is sealed under a key that was used before");
    if (seals->count == seals->cap) {
        seals->cap = seals->cap ? 2 * seals->cap : 64;
        seals->keys = sim_xrealloc(seals->keys, seals->cap * sizeof(*seals->keys));
    }
    memcpy(seals->keys[seals->count++], key, sizeof(key));
    sim->tally.reached[SIM_REACHED_SEALED]++;
}
