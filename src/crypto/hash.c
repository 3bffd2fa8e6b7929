/* hash.c - SipHash and BLAKE2b from libsodium. */
#include "crypto/hash.h"
#include <sodium/crypto_generichash.h>
#include <sodium/crypto_shorthash.h>

uint64_t al_hash64(const uint8_t seed[16], const void *p, size_t n)
{
    uint8_t out[8];

    crypto_shorthash(out, p, n, seed);
    return al_get64(out);
}

void al_digest128(const struct al_str *parts, unsigned count, uint8_t ret_digest[16])
{
    crypto_generichash_state state;

    crypto_generichash_init(&state, NULL, 0, 16);
    for (unsigned i = 0; i < count; i++) {
        uint8_t len[4];

        al_put32(len, parts[i].n); /* lengths go in, so that parts cannot shift */
        crypto_generichash_update(&state, len, sizeof(len));
        if (parts[i].n)
            crypto_generichash_update(&state, parts[i].p, parts[i].n);
    }
    crypto_generichash_final(&state, ret_digest, 16);
}

void al_digest256(const struct al_str *parts, unsigned count, uint8_t ret_digest[32])
{
    crypto_generichash_state state;

    crypto_generichash_init(&state, NULL, 0, 32);
    for (unsigned i = 0; i < count; i++)
        if (parts[i].n)
            crypto_generichash_update(&state, parts[i].p, parts[i].n);
    crypto_generichash_final(&state, ret_digest, 32);
}

void al_chain_begin(struct al_str group, uint8_t ret_hash[32])
{
    al_digest256(&group, 1, ret_hash);
}

void al_chain_next(const uint8_t prev[32], const struct al_chain_link *link, uint8_t ret_hash[32])
{
    uint8_t numbers[18], body[32];
    struct al_str parts[4] = {al_str_of(prev, 32), al_str_of(numbers, sizeof(numbers)),
                              link->author, al_str_of(body, sizeof(body))};

    al_put64(numbers, link->seq);
    al_put64(numbers + 8, link->wall_ms);
    numbers[16] = link->what;
    numbers[17] = (uint8_t)link->author.n;
    al_digest256(&link->envelope, 1, body);
    al_digest256(parts, 4, ret_hash);
}
