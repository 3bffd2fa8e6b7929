/* crc32c.c - CRC-32C by the processor's instruction or by a table of four bits at a time.
 *
 * The portable version needs only a 16-entry table: it is for processors without the instruction
 * and for the test that compares both; nothing on x86-64 since 2008 takes it. */
#include "base/crc32c.h"
#include <string.h>

uint32_t al_crc32c_portable(uint32_t crc, const void *p, size_t n)
{
    static const uint32_t nibble[16] = {
        0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3,
        0x61c69362, 0x7198540d, 0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
        0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
    };
    const uint8_t *b = p;

    crc = ~crc;
    for (size_t i = 0; i < n; i++) {
        crc ^= b[i];
        crc = nibble[crc & 15] ^ (crc >> 4);
        crc = nibble[crc & 15] ^ (crc >> 4);
    }
    return ~crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t crc_sse42(uint32_t crc, const void *p, size_t n)
{
    const uint8_t *b = p;
    uint64_t c = ~crc;

    for (; n >= 8; n -= 8, b += 8) {
        uint64_t v;

        memcpy(&v, b, 8);
        c = __builtin_ia32_crc32di(c, v);
    }
    for (; n; n--, b++)
        c = __builtin_ia32_crc32qi((uint32_t)c, *b);
    return ~(uint32_t)c;
}

uint32_t al_crc32c(uint32_t crc, const void *p, size_t n)
{
    if (__builtin_cpu_supports("sse4.2"))
        return crc_sse42(crc, p, n);
    return al_crc32c_portable(crc, p, n);
}
#else
uint32_t al_crc32c(uint32_t crc, const void *p, size_t n)
{
    return al_crc32c_portable(crc, p, n);
}
#endif
