/* errors.c - texts of the error table. */
#include "base/errors.h"
#include <stddef.h>

struct row {
    const char *name;
    const char *text;
    bool retryable;
};

static const struct row rows[] = {[0] = {"OK", "success", false},
#define AL_X(symbol, number, retryable, text) [number] = {#symbol, text, retryable},
                                  AL_ERRORS(AL_X)
#undef AL_X
};

static const struct row *find(int error)
{
    unsigned index = error < 0 ? -(unsigned)error : (unsigned)error;

    if (index >= sizeof(rows) / sizeof(rows[0]) || !rows[index].name)
        return NULL;
    return &rows[index];
}

const char *al_error_text(int error)
{
    const struct row *row = find(error);

    return row ? row->text : "unknown error";
}

const char *al_error_name(int error)
{
    const struct row *row = find(error);

    return row ? row->name : "UNKNOWN";
}

bool al_error_is_retryable(int error)
{
    const struct row *row = find(error);

    return row && row->retryable;
}
