/* sandbox.h - a process gives up what it will not need: landlock and seccomp, from inside. */
#ifndef AL_OS_SANDBOX_H
#define AL_OS_SANDBOX_H

#include <stddef.h>

/* What is in force, as bits. */
enum {
    AL_SANDBOX_FILES = 1, /* landlock: writes, makes, removes only where it was said */
    AL_SANDBOX_CALLS = 2, /* seccomp: the listed system calls only */
};

/* For this thread and all that it starts from now on; it cannot be taken back. `dirs` (count of
 * them) are the directories below which files may be written, made and removed; those that cannot
 * be opened are passed over. Returns the bits of what the kernel has put in force; 0: it has
 * neither. Call it while there is one thread. In builds with sanitizers, whose runtimes do what
 * they like, nothing is done and the result is 0. */
unsigned al_sandbox_enter(const char *const *dirs, size_t count);
/* The same in words, for a log: "landlock,seccomp", "landlock", "seccomp" or "none". */
const char *al_sandbox_text(unsigned in_force);

#endif
