/* entropy.c - getrandom, which may give less than was asked for when a signal comes in. */
#include "os/entropy.h"

#include "base/errors.h"

#include <errno.h>
#include <stdint.h>
#include <sys/random.h>

int al_entropy_fill(void *p, size_t n)
{
    uint8_t *out = p;

    while (n > 0) {
        ssize_t got = getrandom(out, n, 0);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return -AL_E_IO;
        out += got;
        n -= (size_t)got;
    }
    return 0;
}
