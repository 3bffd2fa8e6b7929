/* id.h - message ids: random 128-bit numbers in UUID version 4 form, a type of their own. */
#ifndef AL_BASE_ID_H
#define AL_BASE_ID_H

#include "base/bytes.h"
#include <stdbool.h>

/* The 16 bytes in the order of the text form. */
struct al_id {
    uint8_t b[16];
};

#define AL_ID_TEXT_LEN 36u /* xxxxxxxx-xxxx-4xxx-yxxx-xxxxxxxxxxxx, without terminator */

/* Makes a version 4 id from 16 random bytes of a cryptographic source. */
struct al_id al_id_from_random(const uint8_t random[16]);
/* True for the id of 16 zero bytes, which stands for "none". */
static inline bool al_id_is_zero(const struct al_id *id)
{
    return (al_get64(id->b) | al_get64(id->b + 8)) == 0;
}
/* True if both are the same. */
static inline bool al_id_eq(const struct al_id *a, const struct al_id *b)
{
    return memcmp(a->b, b->b, 16) == 0;
}
/* Total order by bytes: negative, 0, positive. */
static inline int al_id_compare(const struct al_id *a, const struct al_id *b)
{
    return memcmp(a->b, b->b, 16);
}
/* Writes 36 characters and a NUL. */
void al_id_format(const struct al_id *id, char ret_text[AL_ID_TEXT_LEN + 1]);
/* Reads the 36-character form (either case); 0 or -AL_E_INVALID. */
int al_id_parse(struct al_str text, struct al_id *ret_id);

#endif
