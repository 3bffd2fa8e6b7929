/* records.c - codec of the journal's records, made from their table. */
#include "core/records.h"
#include "base/errors.h"
#include "wire/messages.h"

#define AL_X(symbol, lower, number, doc)                                           \
    size_t ali_size_rec_##lower(const struct ali_rec_##lower *m)                   \
    {                                                                              \
        size_t size = 0;                                                           \
                                                                                   \
        AL_SIZE_FIELDS(AL_FIELDS_REC_##symbol)                                     \
        return size + m->ext.n;                                                    \
    }                                                                              \
                                                                                   \
    uint8_t *ali_encode_rec_##lower(uint8_t *out, const struct ali_rec_##lower *m) \
    {                                                                              \
        AL_ENCODE_FIELDS(AL_FIELDS_REC_##symbol)                                   \
        if (m->ext.n)                                                              \
            memcpy(out, m->ext.p, m->ext.n);                                       \
        return out + m->ext.n;                                                     \
    }                                                                              \
                                                                                   \
    int ali_decode_rec_##lower(struct al_str body, struct ali_rec_##lower *m)      \
    {                                                                              \
        const uint8_t *in = body.p, *end = body.p + body.n;                        \
                                                                                   \
        AL_DECODE_FIELDS(AL_FIELDS_REC_##symbol)                                   \
        m->ext = al_str_of(in, (uint32_t)(end - in));                              \
        return al_wire_check_optional(in, end) < 0 ? -AL_E_DAMAGED : 0;            \
    }
AL_RECORDS(AL_X)
#undef AL_X

struct al_str ali_ext_put_u32(uint8_t room[8], uint16_t tag, uint32_t value)
{
    al_put16(room, tag);
    al_put16(room + 2, 4);
    al_put32(room + 4, value);
    return al_str_of(room, value ? 8 : 0);
}

struct al_str ali_ext_put_u64(uint8_t room[12], uint16_t tag, uint64_t value)
{
    al_put16(room, tag);
    al_put16(room + 2, 8);
    al_put64(room + 4, value);
    return al_str_of(room, 12);
}

uint32_t ali_ext_get_u32(struct al_str ext, uint16_t tag)
{
    struct al_str value;

    return al_ext_find(ext, tag, &value) && value.n == 4 ? al_get32(value.p) : 0;
}
