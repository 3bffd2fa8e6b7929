/* hash.h - keyed hashing over libsodium: for tables whose keys come from outside, and digests. */
#ifndef AL_CRYPTO_HASH_H
#define AL_CRYPTO_HASH_H

#include "base/bytes.h"

/* SipHash-2-4 under a 16-byte seed: hash tables cannot be flooded without knowing the seed. */
uint64_t al_hash64(const uint8_t seed[16], const void *p, size_t n);
/* 128-bit BLAKE2b digest of the concatenation of `count` parts: same parts, same digest, on every
 * machine. Used to compare the bodies of two messages that carry the same idempotency key. */
void al_digest128(const struct al_str *parts, unsigned count, uint8_t ret_digest[16]);
/* 256-bit BLAKE2b digest of the bytes of `count` parts, one behind the other. */
void al_digest256(const struct al_str *parts, unsigned count, uint8_t ret_digest[32]);
/* The chain of a group's messages: each hash covers the one before it, so that the last one vouches
 * for all. hash = digest256(prev ‖ u64 seq ‖ u64 wall_ms ‖ u8 what ‖ u8 length ‖ author ‖
 * digest256(envelope)); the one before the first message is digest256 of the group's name. */
struct al_chain_link {
    uint64_t seq, wall_ms;
    uint8_t what;
    struct al_str author, envelope;
};
void al_chain_begin(struct al_str group, uint8_t ret_hash[32]);
/* ret_hash may be prev. */
void al_chain_next(const uint8_t prev[32], const struct al_chain_link *link, uint8_t ret_hash[32]);

#endif
