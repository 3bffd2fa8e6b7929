/* crc32c.h - CRC-32C (Castagnoli), as in iSCSI and ext4: check value of "123456789" is 0xe3069283.
 */
#ifndef AL_BASE_CRC32C_H
#define AL_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* The checksum of n bytes; pass 0 to begin, or an earlier result to go on. Uses SSE4.2 where the
 * processor has it, a table otherwise. */
uint32_t al_crc32c(uint32_t crc, const void *p, size_t n);
/* The table version, for tests that compare the two. */
uint32_t al_crc32c_portable(uint32_t crc, const void *p, size_t n);

#endif
