/* fuzz_frames.c - the frame splitter and every decoder of the protocol on hostile bytes.
 *
 * The input is what a client might send: a run of frames. What decodes must encode to the same
 * bytes again, up to its optional fields, which ties the decoder to the encoder; views must stay
 * inside the frame. Texts are put through the checks that the core uses, so that those are fuzzed
 * too. */
#include "base/errors.h"
#include "base/limits.h"
#include "base/text.h"
#include "fuzz.h"
#include "wire/messages.h"
#include <assert.h>
#include <stdlib.h>

/* Header pairs and optional fields, wherever they may stand. */
static void walk_inner(struct al_str bytes)
{
    struct al_str rest = bytes, name, value, found;
    uint64_t used = 0;

    while (al_headers_next(&rest, &name, &value) == 1) {
        used += 4 + (uint64_t)name.n + value.n;
        assert(name.p >= bytes.p && value.p + value.n <= bytes.p + bytes.n);
    }
    assert(used <= bytes.n);
    for (uint16_t tag = 0; tag < 8; tag++)
        if (al_ext_find(bytes, tag, &found))
            assert(found.p >= bytes.p && found.p + found.n <= bytes.p + bytes.n);
}

static void check_text(struct al_str text)
{
    /* Each stricter rule implies the looser one. */
    assert(!al_name_is_valid(text) || al_kind_is_valid(text) || text.n > AL_KIND_MAX);
    assert(!al_kind_is_valid(text) || al_text_is_plain(text));
    assert(!al_text_is_plain(text) || al_utf8_is_valid(text));
}

#define V_U8(name, doc)
#define V_U16(name, doc)
#define V_U32(name, doc)
#define V_U64(name, doc)
#define V_ID(name, doc)
#define V_STR(name, doc)                                                  \
    assert(m.name.p >= body.p && m.name.p + m.name.n <= body.p + body.n); \
    check_text(m.name);
#define V_BYTES(name, doc)                                                \
    assert(m.name.p >= body.p && m.name.p + m.name.n <= body.p + body.n); \
    walk_inner(m.name);

/* One function per message: decode, look at the views, encode, compare. */
#define AL_X(symbol, lower, number, direction, doc)                          \
    static void check_##lower(struct al_str body)                            \
    {                                                                        \
        struct al_msg_##lower m;                                             \
        size_t size;                                                         \
        uint8_t *again;                                                      \
        int r = al_decode_##lower(body, &m);                                 \
                                                                             \
        assert(r == 0 || r == -AL_E_PROTOCOL);                               \
        if (r < 0)                                                           \
            return;                                                          \
        AL_FIELDS_##symbol(V_U8, V_U16, V_U32, V_U64, V_ID, V_STR, V_BYTES); \
        size = al_size_##lower(&m);                                          \
        assert(size <= body.n);                                              \
        again = malloc(size ? size : 1);                                     \
        assert(again &&al_encode_##lower(again, &m) == again + size);        \
        assert(size == 0 || memcmp(again, body.p, size) == 0);               \
        free(again);                                                         \
    }
AL_MESSAGES(AL_X)
AL_INNER(AL_X)
#undef AL_X

static void check_frame(const struct al_frame *frame)
{
    switch (frame->type) {
#define AL_X(symbol, lower, number, direction, doc) \
    case (number):                                  \
        check_##lower(frame->body);                 \
        break;
        AL_MESSAGES(AL_X)
#undef AL_X
    default:
        abort(); /* al_frame_next lets known types pass only */
    }
    check_envelope(frame->body);
    check_attempt(frame->body);
    check_parts(frame->body);
    check_commit_send(frame->body);
    check_commit_kv(frame->body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t at = 0;

    while (at < size) {
        struct al_frame frame;
        int64_t n = al_frame_next(al_str_of(data + at, size - at), AL_FRAME_MAX, &frame);

        assert(n == 0 || n == -AL_E_PROTOCOL || n == -AL_E_TOO_LARGE ||
               n >= (int64_t)AL_WIRE_HEADER_SIZE);
        if (n <= 0)
            break;
        assert(at + (size_t)n <= size && frame.body.n + AL_WIRE_HEADER_SIZE == (size_t)n);
        check_frame(&frame);
        at += (size_t)n;
    }
    return 0;
}
