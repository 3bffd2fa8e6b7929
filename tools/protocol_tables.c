/* protocol_tables.c - prints the tables of docs/spec/protocol.md from the tables in the sources.
 *
 * Output: for each table a line "@ NAME" and the table in Markdown. tools/protocol-doc puts them
 * between the marks of the document, or checks that they are there. */
#include "base/errors.h"
#include "wire/messages.h"
#include <stdio.h>

/* Rows of a message's table. */
#define ROW(field, type, meaning) printf("| `%s` | " type " | %s |\n", #field, meaning);
#define ROW_U8(field, doc)        ROW(field, "u8", doc)
#define ROW_U16(field, doc)       ROW(field, "u16", doc)
#define ROW_U32(field, doc)       ROW(field, "u32", doc)
#define ROW_U64(field, doc)       ROW(field, "u64", doc)
#define ROW_ID(field, doc)        ROW(field, "id", doc)
#define ROW_STR(field, doc)       ROW(field, "str", doc)
#define ROW_BYTES(field, doc)     ROW(field, "bytes", doc)

/* Directions of AL_MESSAGES. */
#define DIRECTION_C "C→N"
#define DIRECTION_N "N→C"
#define DIRECTION_B "both"

#define AL_X(symbol, lower, number, direction, doc)                                       \
    static void print_##lower(void)                                                       \
    {                                                                                     \
        printf("@ " #symbol "\n| field | type | meaning |\n|---|---|---|\n");             \
        AL_FIELDS_##symbol(ROW_U8, ROW_U16, ROW_U32, ROW_U64, ROW_ID, ROW_STR, ROW_BYTES) \
    }
AL_MESSAGES(AL_X)
AL_INNER(AL_X)
#undef AL_X

static void print_messages(void)
{
    printf("@ MESSAGES\n| number | name | direction | meaning |\n|---|---|---|---|\n");
#define AL_X(symbol, lower, number, direction, doc)                                             \
    printf("| 0x%02x | `%s` | " DIRECTION_##direction " | %s |\n", (unsigned)(number), #symbol, \
           doc);
    AL_MESSAGES(AL_X)
#undef AL_X
}

static void print_errors(void)
{
    printf("@ ERRORS\n| number | name | retryable | text |\n|---|---|---|---|\n");
#define AL_X(symbol, number, retryable, text) \
    printf("| %d | `%s` | %s | %s |\n", number, #symbol, (retryable) ? "yes" : "no", text);
    AL_ERRORS(AL_X)
#undef AL_X
}

int main(void)
{
    print_messages();
    print_errors();
#define AL_X(symbol, lower, number, direction, doc) print_##lower();
    AL_MESSAGES(AL_X)
    AL_INNER(AL_X)
#undef AL_X
    return 0;
}
