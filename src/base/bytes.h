/* bytes.h - little-endian loads and stores, byte views, and growing buffers. Leaf: no I/O.
 *
 * Memory comes from the injected allocator: the pure rooms call no malloc of their own, so a test
 * can fail any allocation and a node can account for all of them. */
#ifndef AL_BASE_BYTES_H
#define AL_BASE_BYTES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* An allocator. realloc_fn(ctx, NULL, 0, n) allocates, (ctx, p, old, 0) frees and returns NULL.
 * `old_size` is always the size that was asked for. Returns NULL when there is no memory. */
struct al_alloc {
    void *(*realloc_fn)(void *ctx, void *ptr, size_t old_size, size_t new_size);
    void *ctx;
};

/* Memory for `size` bytes, not initialised; NULL when there is none. */
static inline void *al_alloc_new(const struct al_alloc *alloc, size_t size)
{
    return alloc->realloc_fn(alloc->ctx, NULL, 0, size);
}
/* Like al_alloc_new, zeroed. */
static inline void *al_alloc_zero(const struct al_alloc *alloc, size_t size)
{
    void *ptr = al_alloc_new(alloc, size);

    if (ptr)
        memset(ptr, 0, size);
    return ptr;
}
/* Frees; NULL is accepted. */
static inline void al_alloc_free(const struct al_alloc *alloc, void *ptr, size_t size)
{
    if (ptr)
        alloc->realloc_fn(alloc->ctx, ptr, size, 0);
}

/* A view of bytes owned by somebody else. Not terminated. */
struct al_str {
    const uint8_t *p;
    uint32_t n;
};

/* A view of n bytes at p; n must fit into 32 bits. */
static inline struct al_str al_str_of(const void *p, size_t n)
{
    return (struct al_str){(const uint8_t *)p, (uint32_t)n};
}
/* A view of a C string without its NUL; NULL gives an empty view. */
static inline struct al_str al_str_c(const char *text)
{
    return al_str_of(text, text ? strlen(text) : 0);
}
/* True if both hold the same bytes. */
static inline int al_str_eq(struct al_str a, struct al_str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* Loads and stores of little-endian integers at any alignment. */
static inline uint16_t al_get16(const void *p)
{
    uint16_t v;
    memcpy(&v, p, 2);
    return v;
}
static inline uint32_t al_get32(const void *p)
{
    uint32_t v;
    memcpy(&v, p, 4);
    return v;
}
static inline uint64_t al_get64(const void *p)
{
    uint64_t v;
    memcpy(&v, p, 8);
    return v;
}
static inline void al_put16(void *p, uint16_t v)
{
    memcpy(p, &v, 2);
}
static inline void al_put32(void *p, uint32_t v)
{
    memcpy(p, &v, 4);
}
static inline void al_put64(void *p, uint64_t v)
{
    memcpy(p, &v, 8);
}

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "formats are little-endian; a big-endian port needs byte swaps in bytes.h"
#endif

/* A growing byte buffer. */
struct al_buf {
    uint8_t *data;
    size_t size; /* bytes in use */
    size_t cap;  /* bytes allocated */
    const struct al_alloc *alloc;
};

/* An empty buffer; allocates nothing. The allocator must outlive it. */
void al_buf_init(struct al_buf *buf, const struct al_alloc *alloc);
/* Frees; afterwards it is an empty buffer again. */
void al_buf_deinit(struct al_buf *buf);
/* Makes room for `more` bytes behind the used ones. 0 or -AL_E_NOMEM; content stays. */
int al_buf_reserve(struct al_buf *buf, size_t more);
/* Appends; 0 or -AL_E_NOMEM. */
int al_buf_put(struct al_buf *buf, const void *p, size_t n);
/* Drops the first n bytes by moving the rest forward. n must not exceed size. */
void al_buf_drop(struct al_buf *buf, size_t n);
/* Keeps the allocation, forgets the content. */
static inline void al_buf_clear(struct al_buf *buf)
{
    buf->size = 0;
}

/* Writes v as an LEB128 varint, at most 10 bytes; returns the length. */
size_t al_varint_put(uint8_t *p, uint64_t v);
/* Reads a varint from [p, end); returns its length, 0 if it is cut or longer than 10 bytes. */
size_t al_varint_get(const uint8_t *p, const uint8_t *end, uint64_t *ret_v);

/* Maps signed to unsigned so that small magnitudes stay small (0, -1, 1, -2 … to 0, 1, 2, 3 …),
 * and back. */
static inline uint64_t al_zigzag(int64_t v)
{
    return ((uint64_t)v << 1) ^ (v < 0 ? UINT64_MAX : 0);
}
static inline int64_t al_unzigzag(uint64_t v)
{
    return (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
}

#endif
