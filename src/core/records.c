/* records.c - codec of the journal's records, made from their table. */
#include "core/records.h"
#include "base/errors.h"

#define AL_X(symbol, lower, number, doc)                                           \
    size_t ali_size_rec_##lower(const struct ali_rec_##lower *m)                   \
    {                                                                              \
        size_t size = 0;                                                           \
                                                                                   \
        (void)m;                                                                   \
        AL_SIZE_FIELDS(AL_FIELDS_REC_##symbol)                                     \
        return size;                                                               \
    }                                                                              \
                                                                                   \
    uint8_t *ali_encode_rec_##lower(uint8_t *out, const struct ali_rec_##lower *m) \
    {                                                                              \
        AL_ENCODE_FIELDS(AL_FIELDS_REC_##symbol)                                   \
        return out;                                                                \
    }                                                                              \
                                                                                   \
    int ali_decode_rec_##lower(struct al_str body, struct ali_rec_##lower *m)      \
    {                                                                              \
        const uint8_t *in = body.p, *end = body.p + body.n;                        \
                                                                                   \
        AL_DECODE_FIELDS(AL_FIELDS_REC_##symbol)                                   \
        return al_wire_check_optional(in, end) < 0 ? -AL_E_DAMAGED : 0;            \
    }
AL_RECORDS(AL_X)
#undef AL_X
