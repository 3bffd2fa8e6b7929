/* error.c - the words for what went wrong, kept per thread; and the allocator. */
#include "base/errors.h"
#include "client/client.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define X(symbol, number, retryable, text) \
    _Static_assert((int)AL_ERR_##symbol == (int)AL_E_##symbol, "published numbers are the same");
AL_ERRORS(X)
#undef X

static _Thread_local char last_error[640];

const char *al_last_error(void)
{
    return last_error;
}

const char *al_version(void)
{
    return AL_VERSION;
}

int ali_client_fail(int error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(last_error, sizeof(last_error), format, args);
    va_end(args);
    return error;
}

int ali_client_failed(int error, const char *detail)
{
    return ali_client_fail(error, "%s", detail && *detail ? detail : al_error_text(error));
}

static void *memory_malloc(void *ctx, void *ptr, size_t old_size, size_t new_size)
{
    (void)ctx;
    (void)old_size;
    if (new_size == 0) {
        free(ptr);
        return NULL;
    }
    return realloc(ptr, new_size);
}

struct al_alloc ali_client_alloc(const struct al_client_memory *memory)
{
    if (memory)
        return (struct al_alloc){.realloc_fn = memory->realloc_fn, .ctx = memory->ctx};
    return (struct al_alloc){.realloc_fn = memory_malloc};
}
