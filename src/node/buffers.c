/* buffers.c - the bytes of connections: no memory while there is nothing to hold.
 *
 * A busy node has a few connections with much to say and thousands with nothing. So a connection
 * borrows a buffer when bytes come and gives it back when they are gone; the stock hands the same
 * warm memory to the next one. Sizes go in steps of four, bigger ones come straight from the
 * allocator and go straight back. What is kept beyond a small stock goes back as well once it has
 * not been wanted for a moment (turn.c). */
#include "base/errors.h"
#include "node/runner_internal.h"

#include <assert.h>

#define SMALLEST ((size_t)4096)

static size_t class_bytes(unsigned class_index)
{
    return SMALLEST << (2 * class_index);
}

/* The class for n bytes; ALI_BUFFER_CLASSES: larger than all. */
static unsigned class_of(size_t n)
{
    unsigned i = 0;

    while (i < ALI_BUFFER_CLASSES && class_bytes(i) < n)
        i++;
    return i;
}

void ali_buffers_init(struct ali_buffers *stock, const struct al_alloc *alloc)
{
    *stock = (struct ali_buffers){.alloc = alloc};
}

void ali_buffers_deinit(struct ali_buffers *stock)
{
    for (unsigned i = 0; i < ALI_BUFFER_CLASSES; i++) {
        while (stock->free_lists[i]) {
            struct ali_spare *p = stock->free_lists[i];

            stock->free_lists[i] = p->next;
            al_alloc_free(stock->alloc, p, class_bytes(i));
        }
    }
}

/* Memory for at least n bytes; *ret_cap is what it really has. */
static void *take(struct ali_buffers *stock, size_t n, size_t *ret_cap)
{
    unsigned class_index = class_of(n);
    struct ali_spare *p;

    if (class_index == ALI_BUFFER_CLASSES) {
        *ret_cap = n + n / 2; /* grows on: leave room */
        return al_alloc_new(stock->alloc, *ret_cap);
    }
    *ret_cap = class_bytes(class_index);
    p = stock->free_lists[class_index];
    if (!p)
        return al_alloc_new(stock->alloc, *ret_cap);
    stock->free_lists[class_index] = p->next;
    stock->kept_bytes -= *ret_cap;
    return p;
}

static void give(struct ali_buffers *stock, void *p, size_t cap)
{
    unsigned class_index = class_of(cap);
    struct ali_spare *spare = p;

    if (!p)
        return;
    if (class_index == ALI_BUFFER_CLASSES || stock->kept_bytes + cap > ALI_BUFFERS_KEPT_MAX) {
        al_alloc_free(stock->alloc, p, cap);
        return;
    }
    spare->next = stock->free_lists[class_index];
    stock->free_lists[class_index] = spare;
    stock->kept_bytes += cap;
    stock->is_pressed |= stock->kept_bytes > ALI_BUFFERS_KEPT;
}

void ali_buffers_trim(struct ali_buffers *stock, size_t kept_max)
{
    for (unsigned i = ALI_BUFFER_CLASSES; i-- > 0;) {
        while (stock->free_lists[i] && stock->kept_bytes > kept_max) {
            struct ali_spare *p = stock->free_lists[i];

            stock->free_lists[i] = p->next;
            stock->kept_bytes -= class_bytes(i);
            al_alloc_free(stock->alloc, p, class_bytes(i));
        }
    }
}

int ali_buffer_reserve(struct ali_buffers *stock, struct ali_buffer *buf, size_t more)
{
    size_t size = ali_buffer_size(buf), cap;
    uint8_t *p;

    if (buf->cap - buf->end >= more)
        return 0;
    /* Moving to the front is cheap when little is left of much. */
    if (buf->cap - size >= more && size <= buf->cap / 2) {
        memmove(buf->data, buf->data + buf->begin, size);
    } else {
        p = take(stock, size + more, &cap);
        if (!p)
            return -AL_E_NOMEM;
        if (size)
            memcpy(p, buf->data + buf->begin, size);
        give(stock, buf->data, buf->cap);
        buf->data = p;
        buf->cap = cap;
    }
    buf->begin = 0;
    buf->end = size;
    return 0;
}

int ali_buffer_put(struct ali_buffers *stock, struct ali_buffer *buf, const void *p, size_t n)
{
    if (buf->cap - buf->end < n && ali_buffer_reserve(stock, buf, n))
        return -AL_E_NOMEM;
    memcpy(buf->data + buf->end, p, n);
    buf->end += n;
    return 0;
}

void ali_buffer_drop(struct ali_buffers *stock, struct ali_buffer *buf)
{
    give(stock, buf->data, buf->cap);
    *buf = (struct ali_buffer){0};
}
