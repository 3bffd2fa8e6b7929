/* test_wire.c - the codec of every message, generated from the table of messages.
 *
 * The table is expanded once more, into descriptors (kind and place of every field). A reference
 * encoder that knows only the descriptors and the text of fields.h is the second opinion: both
 * must produce the same bytes. So a message added to the table is tested without a line here. */
#include "base/errors.h"
#include "base/limits.h"
#include "support.h"
#include "wire/messages.h"
#include <stdlib.h>

enum kind { U8, U16, U32, U64, ID, STR, BYTES };

struct field {
    const char *name;
    enum kind kind;
    size_t offset;
};

/* Every codec function with its message as void *, so that one loop serves all messages. */
struct message {
    const char *name;
    unsigned number;
    size_t struct_size;
    const struct field *fields;
    size_t field_count;
    size_t (*size)(const void *m);
    uint8_t *(*encode)(uint8_t *out, const void *m);
    int (*decode)(struct al_str body, void *m);
    int (*put)(struct al_buf *buf, const void *m);
};

#define D_U8(field, doc)    {#field, U8, offsetof(struct this_msg, field)},
#define D_U16(field, doc)   {#field, U16, offsetof(struct this_msg, field)},
#define D_U32(field, doc)   {#field, U32, offsetof(struct this_msg, field)},
#define D_U64(field, doc)   {#field, U64, offsetof(struct this_msg, field)},
#define D_ID(field, doc)    {#field, ID, offsetof(struct this_msg, field)},
#define D_STR(field, doc)   {#field, STR, offsetof(struct this_msg, field)},
#define D_BYTES(field, doc) {#field, BYTES, offsetof(struct this_msg, field)},

#define AL_X(symbol, lower, number, direction, doc)                                              \
    static const struct field *fields_of_##lower(size_t *ret_count)                              \
    {                                                                                            \
        struct this_msg {                                                                        \
            AL_DECLARE_FIELDS(AL_FIELDS_##symbol)                                                \
        };                                                                                       \
        static const struct field list[] = {                                                     \
            AL_FIELDS_##symbol(D_U8, D_U16, D_U32, D_U64, D_ID, D_STR, D_BYTES)};                \
                                                                                                 \
        _Static_assert(sizeof(struct this_msg) == sizeof(struct al_msg_##lower), "same layout"); \
        *ret_count = sizeof(list) / sizeof(list[0]);                                             \
        return list;                                                                             \
    }                                                                                            \
    static size_t size_##lower(const void *m)                                                    \
    {                                                                                            \
        return al_size_##lower(m);                                                               \
    }                                                                                            \
    static uint8_t *encode_##lower(uint8_t *out, const void *m)                                  \
    {                                                                                            \
        return al_encode_##lower(out, m);                                                        \
    }                                                                                            \
    static int decode_##lower(struct al_str body, void *m)                                       \
    {                                                                                            \
        return al_decode_##lower(body, m);                                                       \
    }                                                                                            \
    static int put_##lower(struct al_buf *buf, const void *m)                                    \
    {                                                                                            \
        return al_put_##lower(buf, m);                                                           \
    }
AL_MESSAGES(AL_X)
AL_INNER(AL_X)
#undef AL_X

static struct message messages[] = {
#define AL_X(symbol, lower, number, direction, doc) \
    {#symbol,                                       \
     (number),                                      \
     sizeof(struct al_msg_##lower),                 \
     NULL,                                          \
     0,                                             \
     size_##lower,                                  \
     encode_##lower,                                \
     decode_##lower,                                \
     put_##lower},
    AL_MESSAGES(AL_X) AL_INNER(AL_X)
#undef AL_X
};
#define MESSAGE_COUNT (sizeof(messages) / sizeof(messages[0]))

/* Large enough for any struct of the table and any body made here. */
union any {
    uint64_t align;
    uint8_t bytes[1024];
};
#define BODY_MAX 8192u
static uint8_t arena[BODY_MAX];

static int setup(void **state)
{
    size_t i = 0;

    (void)state;
#define AL_X(symbol, lower, number, direction, doc)                   \
    messages[i].fields = fields_of_##lower(&messages[i].field_count); \
    i++;
    AL_MESSAGES(AL_X)
    AL_INNER(AL_X)
#undef AL_X
    for (i = 0; i < MESSAGE_COUNT; i++)
        assert_true(messages[i].struct_size <= sizeof(union any));
    return 0;
}

static size_t fixed_size(enum kind kind)
{
    static const size_t sizes[] = {
        [U8] = 1, [U16] = 2, [U32] = 4, [U64] = 8, [ID] = 16, [STR] = 0, [BYTES] = 0};

    return sizes[kind];
}

/* Random values, views into the arena. */
static void randomize(const struct message *msg, union any *m, struct al_test_random *random)
{
    size_t used = 0;

    memset(m, 0, sizeof(*m));
    for (size_t i = 0; i < msg->field_count; i++) {
        uint8_t *at = m->bytes + msg->fields[i].offset;
        enum kind kind = msg->fields[i].kind;
        uint64_t bits = al_test_any_size(random);
        struct al_str view;

        if (kind == ID) {
            al_test_fill(random, at, 16);
        } else if (kind != STR && kind != BYTES) {
            memcpy(at, &bits, fixed_size(kind));
        } else {
            view.n = (uint32_t)al_test_below(random, kind == STR ? 256 : 700);
            view.n = al_test_below(random, 4) ? view.n : 0;
            assert_true(used + view.n <= sizeof(arena));
            view.p = view.n ? arena + used : NULL;
            al_test_fill(random, arena + used, view.n);
            used += view.n;
            memcpy(at, &view, sizeof(view));
        }
    }
}

/* The second opinion: bytes of a body after the words of fields.h. */
static size_t reference_encode(const struct message *msg, const union any *m, uint8_t *out)
{
    size_t n = 0;

    for (size_t i = 0; i < msg->field_count; i++) {
        const uint8_t *at = m->bytes + msg->fields[i].offset;
        enum kind kind = msg->fields[i].kind;
        struct al_str view = {NULL, 0};
        size_t fixed = fixed_size(kind);

        if (fixed) {
            memcpy(out + n, at, fixed);
            n += fixed;
            continue;
        }
        memcpy(&view, at, sizeof(view));
        for (unsigned k = 0; k < (kind == STR ? 1u : 4u); k++)
            out[n++] = (uint8_t)(view.n >> (8 * k));
        for (uint32_t k = 0; k < view.n; k++)
            out[n++] = view.p[k];
    }
    return n;
}

static void assert_same_values(const struct message *msg, const union any *a, const union any *b)
{
    for (size_t i = 0; i < msg->field_count; i++) {
        size_t offset = msg->fields[i].offset, fixed = fixed_size(msg->fields[i].kind);
        struct al_str x, y;

        if (fixed) {
            assert_memory_equal(a->bytes + offset, b->bytes + offset, fixed);
            continue;
        }
        memcpy(&x, a->bytes + offset, sizeof(x));
        memcpy(&y, b->bytes + offset, sizeof(y));
        assert_true(al_str_eq(x, y));
    }
}

static void every_message_survives_the_round_trip(void **state)
{
    struct al_test_random random = al_test_random_new("wire, round trip");
    static uint8_t body[BODY_MAX], want[BODY_MAX];

    (void)state;
    for (size_t k = 0; k < MESSAGE_COUNT; k++) {
        const struct message *msg = &messages[k];

        for (int round = 0; round < 300; round++) {
            union any m, back;
            size_t size;

            randomize(msg, &m, &random);
            memset(&back, 0x5a, sizeof(back));
            size = msg->size(&m);
            assert_true(size <= sizeof(body));
            assert_ptr_equal(msg->encode(body, &m), body + size);
            assert_int_equal(reference_encode(msg, &m, want), size);
            assert_memory_equal(body, want, size);
            assert_int_equal(msg->decode(al_str_of(body, size), &back), 0);
            assert_same_values(msg, &m, &back);
        }
    }
}

static void every_truncation_is_refused(void **state)
{
    struct al_test_random random = al_test_random_new("wire, truncation");
    static uint8_t body[BODY_MAX];

    (void)state;
    for (size_t k = 0; k < MESSAGE_COUNT; k++) {
        union any m, back;
        size_t size;

        randomize(&messages[k], &m, &random);
        size = messages[k].size(&m);
        messages[k].encode(body, &m);
        for (size_t cut = 0; cut < size; cut++) {
            /* An exact copy, so that a sanitizer sees any read beyond the end. */
            uint8_t *copy = malloc(cut ? cut : 1);

            memcpy(copy, body, cut);
            if (messages[k].decode(al_str_of(copy, cut), &back) != -AL_E_PROTOCOL)
                fail_msg("%s cut to %zu of %zu bytes", messages[k].name, cut, size);
            free(copy);
        }
    }
}

/* Whatever garbage decodes must encode to the same bytes again, up to its optional fields. */
static void garbled_bodies_are_refused_or_understood(void **state)
{
    struct al_test_random random = al_test_random_new("wire, garbage");
    static uint8_t body[BODY_MAX], again[BODY_MAX];

    (void)state;
    for (size_t k = 0; k < MESSAGE_COUNT; k++) {
        for (int round = 0; round < 500; round++) {
            union any m;
            size_t size, used;
            uint8_t *copy;
            int r;

            randomize(&messages[k], &m, &random);
            size = messages[k].size(&m);
            messages[k].encode(body, &m);
            for (uint64_t flips = 1 + al_test_below(&random, 4); flips && size; flips--)
                body[al_test_below(&random, size)] = (uint8_t)al_test_random64(&random);
            copy = malloc(size ? size : 1);
            memcpy(copy, body, size);
            memset(&m, 0, sizeof(m));
            r = messages[k].decode(al_str_of(copy, size), &m);
            assert_true(r == 0 || r == -AL_E_PROTOCOL);
            if (r == 0) {
                used = messages[k].size(&m);
                assert_true(used <= size);
                messages[k].encode(again, &m);
                assert_memory_equal(again, body, used);
            }
            free(copy);
        }
    }
}

static void unknown_optional_fields_are_skipped(void **state)
{
    struct al_test_random random = al_test_random_new("wire, optional");
    static uint8_t body[BODY_MAX];

    (void)state;
    for (size_t k = 0; k < MESSAGE_COUNT; k++) {
        union any m, back;
        size_t size;

        randomize(&messages[k], &m, &random);
        size = messages[k].size(&m);
        messages[k].encode(body, &m);
        memcpy(body + size,
               "\xff\x7f\x03\x00"
               "abc"
               "\x01\x80\x00\x00",
               11);
        assert_int_equal(messages[k].decode(al_str_of(body, size + 11), &back), 0);
        assert_same_values(&messages[k], &m, &back);
        assert_int_equal(messages[k].decode(al_str_of(body, size + 7), &back), 0);
        for (size_t cut = 1; cut < 11; cut++)
            if (cut != 7)
                assert_int_equal(messages[k].decode(al_str_of(body, size + cut), &back),
                                 -AL_E_PROTOCOL);
    }
}

static void frames_are_split_at_any_boundary(void **state)
{
    struct al_test_random random = al_test_random_new("wire, frames");
    struct al_test_alloc test;
    struct al_buf buf;
    union any m, back;
    size_t order[200], at = 0;

    (void)state;
    al_test_alloc_init(&test);
    al_buf_init(&buf, &test.alloc);
    for (size_t i = 0; i < 200; i++) {
        do
            order[i] = al_test_below(&random, MESSAGE_COUNT);
        while (messages[order[i]].number == 0);
        randomize(&messages[order[i]], &m, &random);
        assert_int_equal(messages[order[i]].put(&buf, &m), 0);
    }
    for (size_t i = 0; i < 200; i++) {
        struct al_frame frame;
        int64_t n = al_frame_next(al_str_of(buf.data + at, buf.size - at), AL_FRAME_MAX, &frame);

        assert_true(n >= (int64_t)AL_WIRE_HEADER_SIZE);
        assert_int_equal(frame.type, messages[order[i]].number);
        assert_string_equal(al_msg_name(frame.type), messages[order[i]].name);
        assert_int_equal(messages[order[i]].decode(frame.body, &back), 0);
        /* With any part missing the answer is "more", never an error and never a frame. */
        for (int64_t cut = 0; cut < n; cut++)
            assert_int_equal(
                al_frame_next(al_str_of(buf.data + at, (size_t)cut), AL_FRAME_MAX, &frame), 0);
        at += (size_t)n;
    }
    assert_int_equal(at, buf.size);
    al_buf_deinit(&buf);
    assert_int_equal(test.live_bytes, 0);
}

static int64_t header(uint32_t size, unsigned type, unsigned flags, unsigned rest, uint32_t max)
{
    uint8_t head[8];
    struct al_frame frame;

    al_put32(head, size);
    head[4] = (uint8_t)type;
    head[5] = (uint8_t)flags;
    al_put16(head + 6, (uint16_t)rest);
    return al_frame_next(al_str_of(head, 8), max, &frame);
}

static void bad_headers_are_refused_at_once(void **state)
{
    (void)state;
    assert_int_equal(header(0, AL_MSG_PING, 0, 0, 100), 8);
    assert_int_equal(header(100, AL_MSG_PING, 0, 0, 100), 0); /* body still to come */
    assert_int_equal(header(101, AL_MSG_PING, 0, 0, 100), -AL_E_TOO_LARGE);
    assert_int_equal(header(UINT32_MAX, AL_MSG_PING, 0, 0, AL_FRAME_MAX), -AL_E_TOO_LARGE);
    assert_int_equal(header(8, AL_MSG_PING, 1, 0, 100), -AL_E_PROTOCOL);
    assert_int_equal(header(8, AL_MSG_PING, 0x80, 0, 100), -AL_E_PROTOCOL);
    assert_int_equal(header(8, AL_MSG_PING, 0, 1, 100), -AL_E_PROTOCOL);
    assert_int_equal(header(8, AL_MSG_PING, 0, 0x100, 100), -AL_E_PROTOCOL);
    for (unsigned type = 0; type < 256; type++)
        assert_int_equal(header(100, type, 0, 0, 100), al_msg_name(type) ? 0 : -AL_E_PROTOCOL);
    assert_null(al_msg_name(0));
    assert_null(al_msg_name(0x116));
}

static void numbers_are_unique(void **state)
{
    (void)state;
    for (size_t i = 0; i < MESSAGE_COUNT; i++)
        for (size_t k = i + 1; k < MESSAGE_COUNT; k++)
            assert_true(messages[i].number == 0 || messages[i].number != messages[k].number);
}

static void a_frame_that_finds_no_memory_leaves_the_buffer_alone(void **state)
{
    struct al_test_random random = al_test_random_new("wire, memory");
    struct al_test_alloc test;
    struct al_buf buf;
    union any m;

    (void)state;
    al_test_alloc_init(&test);
    for (size_t k = 0; k < MESSAGE_COUNT; k++) {
        randomize(&messages[k], &m, &random);
        al_buf_init(&buf, &test.alloc);
        test.fail_at = test.calls + 1;
        assert_int_equal(messages[k].put(&buf, &m), -AL_E_NOMEM);
        assert_int_equal(buf.size, 0);
        test.fail_at = 0;
        assert_int_equal(messages[k].put(&buf, &m), 0);
        assert_int_equal(buf.size, AL_WIRE_HEADER_SIZE + messages[k].size(&m));
        al_buf_deinit(&buf);
    }
    assert_int_equal(test.live_bytes, 0);
}

static void too_long_text_is_cut_at_255(void **state)
{
    struct al_msg_goodbye m, back;
    uint8_t body[300], text[300];

    (void)state;
    memset(text, 'x', sizeof(text));
    m = (struct al_msg_goodbye){.flags = 1, .reason = al_str_of(text, sizeof(text))};
    assert_int_equal(al_size_goodbye(&m), 1 + 1 + 255);
    assert_ptr_equal(al_encode_goodbye(body, &m), body + 257);
    assert_int_equal(al_decode_goodbye(al_str_of(body, 257), &back), 0);
    assert_int_equal(back.reason.n, 255);
}

static void optional_fields_are_found_by_tag(void **state)
{
    struct al_test_alloc test;
    struct al_str value;
    struct al_buf buf;
    uint8_t huge[70000] = {0};

    (void)state;
    al_test_alloc_init(&test);
    al_buf_init(&buf, &test.alloc);
    assert_int_equal(al_ext_put(&buf, AL_EXT_REPLY_TO, al_str_c("boss")), 0);
    assert_int_equal(al_ext_put(&buf, AL_EXT_WORKFLOW_ID, al_str_c("")), 0);
    assert_int_equal(al_ext_put(&buf, AL_EXT_TRACESTATE, al_str_of(huge, 70000)), -AL_E_TOO_LARGE);
    assert_int_equal(al_ext_put(&buf, AL_EXT_TRACESTATE, al_str_of(huge, 65535)), 0);
    assert_int_equal(al_ext_find(al_str_of(buf.data, buf.size), AL_EXT_REPLY_TO, &value), 1);
    assert_true(al_str_eq(value, al_str_c("boss")));
    assert_int_equal(al_ext_find(al_str_of(buf.data, buf.size), AL_EXT_WORKFLOW_ID, &value), 1);
    assert_int_equal(value.n, 0);
    assert_int_equal(al_ext_find(al_str_of(buf.data, buf.size), AL_EXT_TRACESTATE, &value), 1);
    assert_int_equal(value.n, 65535);
    assert_int_equal(al_ext_find(al_str_of(buf.data, buf.size), AL_EXT_SIGNATURE, &value), 0);
    /* Cut or empty: not found, nothing read beyond the end. */
    assert_int_equal(al_ext_find(al_str_of(buf.data, 7), AL_EXT_REPLY_TO, &value), 0);
    assert_int_equal(al_ext_find(al_str_of(NULL, 0), AL_EXT_REPLY_TO, &value), 0);
    al_buf_deinit(&buf);
}

static void headers_are_stepped_through(void **state)
{
    struct al_test_alloc test;
    struct al_str rest, name, value;
    struct al_buf buf;
    size_t first;

    (void)state;
    al_test_alloc_init(&test);
    al_buf_init(&buf, &test.alloc);
    assert_int_equal(al_headers_put(&buf, al_str_c("a"), al_str_c("1")), 0);
    first = buf.size;
    assert_int_equal(al_headers_put(&buf, al_str_c(""), al_str_c("")), 0);
    rest = al_str_of(buf.data, buf.size);
    assert_int_equal(al_headers_next(&rest, &name, &value), 1);
    assert_true(al_str_eq(name, al_str_c("a")) && al_str_eq(value, al_str_c("1")));
    assert_int_equal(al_headers_next(&rest, &name, &value), 1);
    assert_true(name.n == 0 && value.n == 0);
    assert_int_equal(al_headers_next(&rest, &name, &value), 0);
    for (size_t cut = 1; cut < buf.size; cut++) {
        int want = cut >= first ? 1 : -AL_E_PROTOCOL;

        rest = al_str_of(buf.data, cut);
        assert_int_equal(al_headers_next(&rest, &name, &value), want);
        if (want == 1 && cut > first)
            assert_int_equal(al_headers_next(&rest, &name, &value), -AL_E_PROTOCOL);
    }
    al_buf_deinit(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_message_survives_the_round_trip),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(garbled_bodies_are_refused_or_understood),
        cmocka_unit_test(unknown_optional_fields_are_skipped),
        cmocka_unit_test(frames_are_split_at_any_boundary),
        cmocka_unit_test(bad_headers_are_refused_at_once),
        cmocka_unit_test(numbers_are_unique),
        cmocka_unit_test(a_frame_that_finds_no_memory_leaves_the_buffer_alone),
        cmocka_unit_test(too_long_text_is_cut_at_255),
        cmocka_unit_test(optional_fields_are_found_by_tag),
        cmocka_unit_test(headers_are_stepped_through),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
