/* entropy.h - random bytes of the operating system. */
#ifndef AL_OS_ENTROPY_H
#define AL_OS_ENTROPY_H

#include <stddef.h>

/* Fills n bytes from the kernel's cryptographic source. 0 or -AL_E_IO (no such source). Any
 * thread; blocks only in the first moments of a boot. */
int al_entropy_fill(void *p, size_t n);

#endif
