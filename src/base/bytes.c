/* bytes.c - growing buffers and varints. */
#include "base/bytes.h"
#include "base/errors.h"

void al_buf_init(struct al_buf *buf, const struct al_alloc *alloc)
{
    *buf = (struct al_buf){.alloc = alloc};
}

void al_buf_deinit(struct al_buf *buf)
{
    if (buf->alloc)
        al_alloc_free(buf->alloc, buf->data, buf->cap);
    *buf = (struct al_buf){.alloc = buf->alloc};
}

int al_buf_reserve(struct al_buf *buf, size_t more)
{
    size_t need = buf->size + more, cap = buf->cap ? buf->cap : 256;
    uint8_t *data;

    if (more <= buf->cap - buf->size)
        return 0;
    if (more > SIZE_MAX / 2 - buf->size)
        return -AL_E_NOMEM;
    while (cap < need)
        cap += cap / 2 + 64;
    data = buf->alloc->realloc_fn(buf->alloc->ctx, buf->data, buf->cap, cap);
    if (!data)
        return -AL_E_NOMEM;
    buf->data = data;
    buf->cap = cap;
    return 0;
}

int al_buf_put(struct al_buf *buf, const void *p, size_t n)
{
    int r = al_buf_reserve(buf, n);

    if (r < 0)
        return r;
    if (n)
        memcpy(buf->data + buf->size, p, n);
    buf->size += n;
    return 0;
}

void al_buf_drop(struct al_buf *buf, size_t n)
{
    if (n < buf->size)
        memmove(buf->data, buf->data + n, buf->size - n);
    buf->size -= n;
}

size_t al_varint_put(uint8_t *p, uint64_t v)
{
    size_t n = 0;

    while (v >= 0x80) {
        p[n++] = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    p[n++] = (uint8_t)v;
    return n;
}

size_t al_varint_get(const uint8_t *p, const uint8_t *end, uint64_t *ret_v)
{
    uint64_t v = 0;

    for (size_t n = 0; n < 10 && p + n < end; n++) {
        v |= (uint64_t)(p[n] & 0x7f) << (7 * n);
        if (!(p[n] & 0x80)) {
            *ret_v = v;
            return n + 1;
        }
    }
    return 0;
}
