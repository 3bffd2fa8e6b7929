/* standard.c - /dev/null in the place of closed standard descriptors.
 *
 * Opened the wrong way round on purpose: whoever closed standard output does not want what is
 * written there to be lost in silence, least of all before it is acknowledged. */
#include "os/standard.h"

#include "base/errors.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

int al_standard_guard(void)
{
    for (int wanted = STDIN_FILENO; wanted <= STDERR_FILENO; wanted++) {
        int fd;

        if (fcntl(wanted, F_GETFD) >= 0 || errno != EBADF)
            continue;
        /* The lowest free number: those below are taken, so it is this one. */
        fd = open("/dev/null", wanted == STDIN_FILENO ? O_WRONLY : O_RDONLY);
        if (fd != wanted)
            return -AL_E_IO;
    }
    return 0;
}
