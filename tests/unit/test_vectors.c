/* test_vectors.c - the codec against the golden vectors of tests/conformance/vectors.
 *
 * The vectors come from another implementation (Python, written from docs/spec/protocol.md), so
 * agreement here means that the document, that codec and this one say the same. Both directions:
 * fields to bytes, and bytes to fields. */
#include "base/errors.h"
#include "base/limits.h"
#include "wire/messages.h"
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void *heap_realloc(void *ctx, void *ptr, size_t old_size, size_t new_size)
{
    (void)ctx, (void)old_size;
    if (new_size > 0)
        return realloc(ptr, new_size);
    free(ptr);
    return NULL;
}

static const struct al_alloc heap = {.realloc_fn = heap_realloc};

/* One vector under test, and the memory that its decoded fields stand in. */
struct vector {
    const json_t *fields;
    struct al_buf frame;   /* bytes of the vector */
    struct al_buf values;  /* bytes of its id, str and bytes fields, one behind the other */
    struct al_buf encoded; /* what our encoder makes of the fields */
};

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c - 'a' + 10;
}

static void put_hex(struct al_buf *buf, const char *hex)
{
    for (; hex[0]; hex += 2) {
        uint8_t byte = (uint8_t)(hex_digit(hex[0]) << 4 | hex_digit(hex[1]));

        assert_int_equal(al_buf_put(buf, &byte, 1), 0);
    }
}

static const json_t *field(const struct vector *v, const char *name)
{
    const json_t *value = json_object_get(v->fields, name);

    if (!value)
        fail_msg("the vector has no field '%s'", name);
    return value;
}

static uint64_t number(const struct vector *v, const char *name)
{
    const json_t *value = field(v, name);

    if (json_is_string(value))
        return strtoull(json_string_value(value), NULL, 10);
    assert_true(json_is_integer(value));
    return (uint64_t)json_integer_value(value);
}

/* Space was reserved beforehand, so views into values stay valid. */
static struct al_str octets(struct vector *v, const char *name)
{
    size_t start = v->values.size;

    put_hex(&v->values, json_string_value(field(v, name)));
    return al_str_of(v->values.data + start, v->values.size - start);
}

static struct al_str text(const struct vector *v, const char *name)
{
    const json_t *value = field(v, name);

    return al_str_of(json_string_value(value), json_string_length(value));
}

static struct al_id id(struct vector *v, const char *name)
{
    struct al_id value;
    struct al_str raw = octets(v, name);

    assert_int_equal(raw.n, 16);
    memcpy(value.b, raw.p, 16);
    return value;
}

#define FILL_U8(name, doc)    m.name = (uint8_t)number(v, #name);
#define FILL_U16(name, doc)   m.name = (uint16_t)number(v, #name);
#define FILL_U32(name, doc)   m.name = (uint32_t)number(v, #name);
#define FILL_U64(name, doc)   m.name = number(v, #name);
#define FILL_ID(name, doc)    m.name = id(v, #name);
#define FILL_STR(name, doc)   m.name = text(v, #name);
#define FILL_BYTES(name, doc) m.name = octets(v, #name);

#define SAME_INT(name, doc) assert_int_equal(got.name, m.name);
#define SAME_ID(name, doc)  assert_memory_equal(got.name.b, m.name.b, 16);
#define SAME_STR(name, doc) assert_true(al_str_eq(got.name, m.name));

static struct al_str body_of(const struct vector *v, unsigned type)
{
    struct al_frame frame;

    if (type == 0)
        return al_str_of(v->frame.data, v->frame.size);
    assert_int_equal(al_frame_next(al_str_of(v->frame.data, v->frame.size), AL_FRAME_MAX, &frame),
                     v->frame.size);
    assert_int_equal(frame.type, type);
    return frame.body;
}

/* Fields to bytes must give the vector (unless `loose`: it has optional fields, which we never
 * write), bytes to fields must give the fields; every cut of the body must be refused. */
#define AL_X(symbol, lower, number_, direction, doc)                                             \
    static void check_##lower(struct vector *v, bool loose)                                      \
    {                                                                                            \
        struct al_msg_##lower m, got;                                                            \
        struct al_str body = body_of(v, (number_));                                              \
        size_t header = (number_) ? AL_WIRE_HEADER_SIZE : 0;                                     \
                                                                                                 \
        AL_FIELDS_##symbol(FILL_U8, FILL_U16, FILL_U32, FILL_U64, FILL_ID, FILL_STR, FILL_BYTES) \
            assert_int_equal(al_put_##lower(&v->encoded, &m), 0);                                \
        assert_int_equal(v->encoded.size, AL_WIRE_HEADER_SIZE + al_size_##lower(&m));            \
        if (!loose) {                                                                            \
            assert_int_equal(v->encoded.size - AL_WIRE_HEADER_SIZE + header, v->frame.size);     \
            assert_memory_equal(v->encoded.data + AL_WIRE_HEADER_SIZE - header, v->frame.data,   \
                                v->frame.size);                                                  \
        }                                                                                        \
        assert_int_equal(al_decode_##lower(body, &got), 0);                                      \
        AL_FIELDS_##symbol(SAME_INT, SAME_INT, SAME_INT, SAME_INT, SAME_ID, SAME_STR,            \
                           SAME_STR) for (size_t n = 0; n < al_size_##lower(&m); n++)            \
            assert_int_equal(al_decode_##lower(al_str_of(body.p, n), &got), -AL_E_PROTOCOL);     \
    }
AL_MESSAGES(AL_X)
AL_INNER(AL_X)
#undef AL_X

static const struct {
    const char *name;
    void (*check)(struct vector *v, bool loose);
} checks[] = {
#define AL_X(symbol, lower, number_, direction, doc) {#symbol, check_##lower},
    AL_MESSAGES(AL_X) AL_INNER(AL_X)
#undef AL_X
};

#define CHECK_COUNT (sizeof(checks) / sizeof(checks[0]))

static json_t *load(const char *name)
{
    char path[512];
    json_error_t error;
    json_t *rows;

    (void)snprintf(path, sizeof(path), "%s/%s.json", getenv("AL_VECTORS"), name);
    rows = json_load_file(path, 0, &error);
    if (!rows)
        fail_msg("%s:%d: %s", path, error.line, error.text);
    return rows;
}

static void check_row(const json_t *row, bool loose, unsigned *seen)
{
    const char *name = json_string_value(json_object_get(row, "message"));
    struct vector v = {.fields = json_object_get(row, "fields")};
    size_t i = 0;

    al_buf_init(&v.frame, &heap);
    al_buf_init(&v.values, &heap);
    al_buf_init(&v.encoded, &heap);
    put_hex(&v.frame, json_string_value(json_object_get(row, "hex")));
    assert_int_equal(al_buf_reserve(&v.values, v.frame.size + 64), 0);
    while (i < CHECK_COUNT && strcmp(checks[i].name, name) != 0)
        i++;
    if (i == CHECK_COUNT)
        fail_msg("vectors know a message '%s', messages.h does not", name);
    checks[i].check(&v, loose);
    seen[i]++;
    al_buf_deinit(&v.frame);
    al_buf_deinit(&v.values);
    al_buf_deinit(&v.encoded);
}

static void test_valid(void **state)
{
    static const char *const files[] = {"session", "publish",  "deliver", "end",     "query",
                                        "once",    "schedule", "group",   "inner",   "gaps",
                                        "reply",   "workflow", "acl",     "identity"};
    unsigned seen[CHECK_COUNT] = {0};

    (void)state;
    for (size_t f = 0; f < sizeof(files) / sizeof(files[0]); f++) {
        json_t *rows = load(files[f]), *row;
        size_t i;

        json_array_foreach(rows, i, row) check_row(row, false, seen);
        json_decref(rows);
    }
    for (size_t i = 0; i < CHECK_COUNT; i++)
        if (seen[i] < 3)
            fail_msg("%s has %u vectors, not 3", checks[i].name, seen[i]);
}

static void test_optional_fields(void **state)
{
    json_t *rows = load("optional"), *row;
    unsigned seen[CHECK_COUNT] = {0};
    size_t i;

    (void)state;
    assert_true(json_array_size(rows) > 0);
    json_array_foreach(rows, i, row) check_row(row, true, seen);
    json_decref(rows);
}

/* What the decoder says to a body of this type; 0 if it takes it. */
static int decode_any(const struct al_frame *frame)
{
    switch (frame->type) {
#define AL_X(symbol, lower, number_, direction, doc) \
    case (number_): {                                \
        struct al_msg_##lower m;                     \
                                                     \
        return al_decode_##lower(frame->body, &m);   \
    }
        AL_MESSAGES(AL_X)
#undef AL_X
    default:
        return 0;
    }
}

static void test_invalid(void **state)
{
    json_t *rows = load("invalid"), *row;
    size_t i;

    (void)state;
    assert_true(json_array_size(rows) > 0);
    json_array_foreach(rows, i, row)
    {
        const char *error = json_string_value(json_object_get(row, "error"));
        struct al_buf data;
        struct al_frame frame;
        int64_t r;

        al_buf_init(&data, &heap);
        put_hex(&data, json_string_value(json_object_get(row, "hex")));
        r = al_frame_next(al_str_of(data.data, data.size), AL_FRAME_MAX, &frame);
        if (r > 0)
            r = decode_any(&frame);
        if (r >= 0 || strcmp(al_error_name((int)r), error) != 0)
            fail_msg("%s: %s instead of %s", json_string_value(json_object_get(row, "what")),
                     al_error_name((int)r), error);
        al_buf_deinit(&data);
    }
    json_decref(rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_valid),
        cmocka_unit_test(test_optional_fields),
        cmocka_unit_test(test_invalid),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
