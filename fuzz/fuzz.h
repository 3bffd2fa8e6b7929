/* fuzz.h - what every fuzz target has: libFuzzer's entry point, declared once. */
#ifndef AL_FUZZ_FUZZ_H
#define AL_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* Called with each input; returns 0. Anything wrong must crash: assert, sanitizer. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
