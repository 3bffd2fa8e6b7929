/* rand.h - the simulator's own random numbers: xoshiro256** seeded by splitmix64.
 *
 * Everything a run does follows from one seed, so numbers are drawn in program order only: never
 * two draws in one expression (compilers may evaluate arguments in either order), no floating
 * point, nothing that depends on addresses. */
#ifndef AL_SIM_RAND_H
#define AL_SIM_RAND_H

#include <stdbool.h>
#include <stdint.h>

struct sim_rand {
    uint64_t s[4];
};

/* A well-mixed function of x: for seeds, ids and hashes. */
static inline uint64_t sim_mix64(uint64_t x)
{
    x += 0x9e3779b97f4a7c15ull;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

static inline void sim_rand_init(struct sim_rand *rand, uint64_t seed)
{
    for (unsigned i = 0; i < 4; i++)
        rand->s[i] = sim_mix64(seed + i * 0x9e3779b97f4a7c15ull);
}

static inline uint64_t sim_rotl64(uint64_t x, unsigned k)
{
    return (x << k) | (x >> (64 - k));
}

static inline uint64_t sim_rand_next(struct sim_rand *rand)
{
    uint64_t *s = rand->s, result = sim_rotl64(s[1] * 5, 7) * 9, t = s[1] << 17;

    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = sim_rotl64(s[3], 45);
    return result;
}

/* 0 … n - 1; n must not be 0. */
static inline uint64_t sim_rand_below(struct sim_rand *rand, uint64_t n)
{
    __extension__ typedef unsigned __int128 wide;

    return (uint64_t)(((wide)sim_rand_next(rand) * n) >> 64);
}

/* lo … hi, both included. */
static inline uint64_t sim_rand_range(struct sim_rand *rand, uint64_t lo, uint64_t hi)
{
    return lo + sim_rand_below(rand, hi - lo + 1);
}

/* True in `n` of 1000 cases. */
static inline bool sim_rand_permille(struct sim_rand *rand, uint32_t n)
{
    return sim_rand_below(rand, 1000) < n;
}

/* 1 … hi, small numbers far more often than large ones: the size of the range is drawn first. */
static inline uint64_t sim_rand_skewed(struct sim_rand *rand, uint64_t hi)
{
    unsigned bits = 1;

    while (bits < 63 && (1ull << bits) < hi)
        bits++;
    bits = (unsigned)sim_rand_below(rand, bits + 1);
    return sim_rand_below(rand, (1ull << bits) < hi ? 1ull << bits : hi) + 1;
}

#endif
