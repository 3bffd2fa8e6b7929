/* codec.c - encoders and decoders, made from the table of messages. */
#include "base/errors.h"
#include "base/limits.h"
#include "wire/messages.h"
#include <assert.h>

int al_wire_check_optional(const uint8_t *in, const uint8_t *end)
{
    while (in < end) {
        if (end - in < 4 || end - in - 4 < al_get16(in + 2))
            return -AL_E_PROTOCOL;
        in += 4 + al_get16(in + 2);
    }
    return 0;
}

#define AL_X(symbol, lower, number, direction, doc)                          \
    size_t al_size_##lower(const struct al_msg_##lower *m)                   \
    {                                                                        \
        size_t size = 0;                                                     \
                                                                             \
        (void)m;                                                             \
        AL_SIZE_FIELDS(AL_FIELDS_##symbol)                                   \
        return size;                                                         \
    }                                                                        \
                                                                             \
    uint8_t *al_encode_##lower(uint8_t *out, const struct al_msg_##lower *m) \
    {                                                                        \
        AL_ENCODE_FIELDS(AL_FIELDS_##symbol)                                 \
        return out;                                                          \
    }                                                                        \
                                                                             \
    int al_decode_##lower(struct al_str body, struct al_msg_##lower *m)      \
    {                                                                        \
        const uint8_t *in = body.p, *end = body.p + body.n;                  \
                                                                             \
        AL_DECODE_FIELDS(AL_FIELDS_##symbol)                                 \
        return al_wire_check_optional(in, end);                              \
    }                                                                        \
                                                                             \
    int al_put_##lower(struct al_buf *buf, const struct al_msg_##lower *m)   \
    {                                                                        \
        size_t size = al_size_##lower(m);                                    \
        int r = al_buf_reserve(buf, AL_WIRE_HEADER_SIZE + size);             \
        uint8_t *out, *end;                                                  \
                                                                             \
        if (r < 0)                                                           \
            return r;                                                        \
        out = buf->data + buf->size;                                         \
        al_put32(out, (uint32_t)size);                                       \
        al_put32(out + 4, (number));                                         \
        end = al_encode_##lower(out + AL_WIRE_HEADER_SIZE, m);               \
        assert((size_t)(end - out) == AL_WIRE_HEADER_SIZE + size);           \
        buf->size += AL_WIRE_HEADER_SIZE + size;                             \
        (void)end;                                                           \
        return 0;                                                            \
    }

AL_MESSAGES(AL_X)
AL_INNER(AL_X)
#undef AL_X

const char *al_msg_name(unsigned type)
{
    switch (type) {
#define AL_X(symbol, lower, number, direction, doc) \
    case (number):                                  \
        return #symbol;
        AL_MESSAGES(AL_X)
#undef AL_X
    default:
        return NULL;
    }
}

int64_t al_frame_next(struct al_str data, uint32_t frame_max, struct al_frame *ret_frame)
{
    uint32_t size;

    if (data.n < AL_WIRE_HEADER_SIZE)
        return 0;
    size = al_get32(data.p);
    if (size > frame_max)
        return -AL_E_TOO_LARGE;
    if (data.p[5] != 0 || al_get16(data.p + 6) != 0 || !al_msg_name(data.p[4]))
        return -AL_E_PROTOCOL;
    if (data.n - AL_WIRE_HEADER_SIZE < size)
        return 0;
    ret_frame->type = data.p[4];
    ret_frame->body = al_str_of(data.p + AL_WIRE_HEADER_SIZE, size);
    return (int64_t)AL_WIRE_HEADER_SIZE + size;
}

int al_ext_find(struct al_str ext, uint16_t tag, struct al_str *ret_value)
{
    const uint8_t *in = ext.p, *end;

    if (ext.n == 0)
        return 0;
    end = in + ext.n;
    while (end - in >= 4) {
        uint16_t len = al_get16(in + 2);

        if (end - in - 4 < len)
            return 0;
        if (al_get16(in) == tag) {
            *ret_value = al_str_of(in + 4, len);
            return 1;
        }
        in += 4 + len;
    }
    return 0;
}

int al_ext_put(struct al_buf *buf, uint16_t tag, struct al_str value)
{
    uint8_t head[4];
    int r;

    if (value.n > UINT16_MAX)
        return -AL_E_TOO_LARGE;
    al_put16(head, tag);
    al_put16(head + 2, (uint16_t)value.n);
    r = al_buf_reserve(buf, 4 + (size_t)value.n);
    if (r < 0)
        return r;
    (void)al_buf_put(buf, head, 4);
    return al_buf_put(buf, value.p, value.n);
}

static int take_text16(struct al_str *in, struct al_str *ret_text)
{
    if (in->n < 2 || in->n - 2 < al_get16(in->p))
        return -AL_E_PROTOCOL;
    *ret_text = al_str_of(in->p + 2, al_get16(in->p));
    in->p += 2 + ret_text->n;
    in->n -= 2 + ret_text->n;
    return 0;
}

int al_headers_next(struct al_str *headers, struct al_str *ret_name, struct al_str *ret_value)
{
    if (headers->n == 0)
        return 0;
    if (take_text16(headers, ret_name) < 0 || take_text16(headers, ret_value) < 0)
        return -AL_E_PROTOCOL;
    return 1;
}

int al_headers_put(struct al_buf *buf, struct al_str name, struct al_str value)
{
    uint8_t len[2];
    int r;

    if (name.n > UINT16_MAX || value.n > UINT16_MAX)
        return -AL_E_TOO_LARGE;
    r = al_buf_reserve(buf, 4 + (size_t)name.n + value.n);
    if (r < 0)
        return r;
    al_put16(len, (uint16_t)name.n);
    (void)al_buf_put(buf, len, 2);
    (void)al_buf_put(buf, name.p, name.n);
    al_put16(len, (uint16_t)value.n);
    (void)al_buf_put(buf, len, 2);
    return al_buf_put(buf, value.p, value.n);
}
