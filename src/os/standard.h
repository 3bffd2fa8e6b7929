/* standard.h - the three standard descriptors of a program. */
#ifndef AL_OS_STANDARD_H
#define AL_OS_STANDARD_H

/* For programs, first thing in main: makes sure that 0, 1 and 2 are taken. A program that is
 * started with one of them closed would get its journal or a socket there, and write its log or its
 * output into it. What was closed stays of no use: reading 0 and writing 1 or 2 fails with EBADF.
 * 0 or -AL_E_IO (errno). */
int al_standard_guard(void);

#endif
