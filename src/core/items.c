/* items.c - codec of the items of a snapshot, made from their table. */
#include "core/items.h"
#include "base/errors.h"
#include "core/state.h"

#define AL_X(symbol, lower)                                                        \
    static size_t size_##lower(const struct ali_item_##lower *m)                   \
    {                                                                              \
        size_t size = 0;                                                           \
                                                                                   \
        AL_SIZE_FIELDS(AL_FIELDS_ITEM_##symbol)                                    \
        return size + m->ext.n;                                                    \
    }                                                                              \
                                                                                   \
    int ali_put_item_##lower(struct al_buf *buf, const struct ali_item_##lower *m) \
    {                                                                              \
        size_t size = 1 + size_##lower(m);                                         \
        int r = al_buf_reserve(buf, 4 + size);                                     \
        uint8_t *out;                                                              \
                                                                                   \
        if (r < 0)                                                                 \
            return r;                                                              \
        out = buf->data + buf->size;                                               \
        al_put32(out, (uint32_t)size);                                             \
        out[4] = ALI_PART_##symbol;                                                \
        out += 5;                                                                  \
        AL_ENCODE_FIELDS(AL_FIELDS_ITEM_##symbol)                                  \
        if (m->ext.n)                                                              \
            memcpy(out, m->ext.p, m->ext.n);                                       \
        out += m->ext.n;                                                           \
        buf->size = (size_t)(out - buf->data);                                     \
        return 0;                                                                  \
    }                                                                              \
                                                                                   \
    int ali_decode_item_##lower(struct al_str body, struct ali_item_##lower *m)    \
    {                                                                              \
        const uint8_t *in = body.p, *end = body.p + body.n;                        \
                                                                                   \
        AL_DECODE_FIELDS(AL_FIELDS_ITEM_##symbol)                                  \
        m->ext = al_str_of(in, (uint32_t)(end - in));                              \
        return al_wire_check_optional(in, end) < 0 ? -AL_E_DAMAGED : 0;            \
    }
AL_ITEMS(AL_X)
#undef AL_X
