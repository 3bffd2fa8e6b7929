/* test_base_bytes.c - loads and stores, buffers, varints, zigzag. */
#include "base/bytes.h"
#include "base/errors.h"
#include "support.h"

static void loads_and_stores_are_little_endian(void **state)
{
    uint8_t b[8];

    (void)state;
    al_put16(b, 0x0102);
    assert_memory_equal(b, "\x02\x01", 2);
    al_put32(b, 0x01020304);
    assert_memory_equal(b, "\x04\x03\x02\x01", 4);
    al_put64(b, 0x0102030405060708);
    assert_memory_equal(b, "\x08\x07\x06\x05\x04\x03\x02\x01", 8);
    assert_int_equal(al_get16(b), 0x0708);
    assert_int_equal(al_get32(b), 0x05060708);
    assert_true(al_get64(b) == 0x0102030405060708);
}

static void views_compare_by_content(void **state)
{
    (void)state;
    assert_true(al_str_eq(al_str_c("abc"), al_str_of("abcd", 3)));
    assert_false(al_str_eq(al_str_c("abc"), al_str_c("abd")));
    assert_false(al_str_eq(al_str_c("abc"), al_str_c("ab")));
    assert_true(al_str_eq(al_str_c(NULL), al_str_of("", 0)));
}

static void buffer_behaves_like_a_string_model(void **state)
{
    struct al_test_random random = al_test_random_new("buffer");
    struct al_test_alloc test;
    struct al_buf buf;
    uint8_t model[70000], piece[300];
    size_t size = 0;

    (void)state;
    al_test_alloc_init(&test);
    al_buf_init(&buf, &test.alloc);
    for (int i = 0; i < 4000; i++) {
        size_t n = al_test_below(&random, sizeof(piece));

        if (al_test_below(&random, 3) && size + n <= sizeof(model)) {
            al_test_fill(&random, piece, n);
            assert_int_equal(al_buf_put(&buf, piece, n), 0);
            memcpy(model + size, piece, n);
            size += n;
        } else {
            n = n < size ? n : size;
            al_buf_drop(&buf, n);
            memmove(model, model + n, size - n);
            size -= n;
        }
        assert_int_equal(buf.size, size);
        assert_true(buf.size <= buf.cap);
        assert_true(size == 0 || memcmp(buf.data, model, size) == 0);
    }
    al_buf_clear(&buf);
    assert_int_equal(buf.size, 0);
    al_buf_deinit(&buf);
    assert_int_equal(test.live_bytes, 0);
    al_buf_deinit(&buf); /* twice is harmless */
}

static void buffer_keeps_its_content_when_memory_runs_out(void **state)
{
    struct al_test_alloc test;
    struct al_buf buf;

    (void)state;
    al_test_alloc_init(&test);
    al_buf_init(&buf, &test.alloc);
    assert_int_equal(al_buf_put(&buf, "hello", 5), 0);
    test.fail_at = test.calls + 1;
    assert_int_equal(al_buf_reserve(&buf, 100000), -AL_E_NOMEM);
    assert_int_equal(al_buf_reserve(&buf, SIZE_MAX), -AL_E_NOMEM); /* the sum overflows */
    assert_int_equal(buf.size, 5);
    assert_memory_equal(buf.data, "hello", 5);
    al_buf_deinit(&buf);
    assert_int_equal(test.live_bytes, 0);
}

static void reserve_makes_exactly_the_room_that_put_needs(void **state)
{
    struct al_test_alloc test;
    struct al_buf buf;
    uint8_t bytes[1000] = {0};

    (void)state;
    al_test_alloc_init(&test);
    al_buf_init(&buf, &test.alloc);
    assert_int_equal(al_buf_reserve(&buf, sizeof(bytes)), 0);
    test.fail_at = test.calls + 1;
    assert_int_equal(al_buf_put(&buf, bytes, sizeof(bytes)), 0);
    al_buf_deinit(&buf);
}

static void check_varint(uint64_t v)
{
    uint8_t b[11];
    uint64_t back = ~v;
    size_t n = al_varint_put(b, v);

    assert_in_range(n, 1, 10);
    assert_int_equal(al_varint_get(b, b + n, &back), n);
    assert_true(back == v);
    for (size_t cut = 0; cut < n; cut++)
        assert_int_equal(al_varint_get(b, b + cut, &back), 0);
}

static void varints_survive_the_round_trip(void **state)
{
    struct al_test_random random = al_test_random_new("varint");

    (void)state;
    for (unsigned bit = 0; bit < 64; bit++) {
        check_varint((1ull << bit) - 1);
        check_varint(1ull << bit);
        check_varint((1ull << bit) + 1);
    }
    check_varint(UINT64_MAX);
    for (int i = 0; i < 20000; i++)
        check_varint(al_test_any_size(&random));
}

static void varints_have_the_known_encoding(void **state)
{
    uint8_t b[10];

    (void)state;
    assert_int_equal(al_varint_put(b, 300), 2); /* the example of every LEB128 text */
    assert_memory_equal(b, "\xac\x02", 2);
    assert_int_equal(al_varint_put(b, 127), 1);
    assert_int_equal(al_varint_put(b, 128), 2);
    assert_int_equal(al_varint_put(b, UINT64_MAX), 10);
}

static void endless_varints_are_refused(void **state)
{
    uint8_t b[16];
    uint64_t v = 7;

    (void)state;
    memset(b, 0xff, sizeof(b));
    assert_int_equal(al_varint_get(b, b + sizeof(b), &v), 0);
    memset(b, 0x80, 10);
    b[10] = 0; /* well-formed but for its length of 11 bytes */
    assert_int_equal(al_varint_get(b, b + sizeof(b), &v), 0);
    assert_true(v == 7); /* out-parameters are written on success only */
}

static void zigzag_is_a_bijection_that_keeps_small_numbers_small(void **state)
{
    static const int64_t samples[] = {0, -1, 1, -2, 2, 1000, -1000, INT64_MAX, INT64_MIN};

    (void)state;
    for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++)
        assert_true(al_unzigzag(al_zigzag(samples[i])) == samples[i]);
    assert_true(al_zigzag(0) == 0 && al_zigzag(-1) == 1 && al_zigzag(1) == 2);
    assert_true(al_zigzag(INT64_MIN) == UINT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loads_and_stores_are_little_endian),
        cmocka_unit_test(views_compare_by_content),
        cmocka_unit_test(buffer_behaves_like_a_string_model),
        cmocka_unit_test(buffer_keeps_its_content_when_memory_runs_out),
        cmocka_unit_test(reserve_makes_exactly_the_room_that_put_needs),
        cmocka_unit_test(varints_survive_the_round_trip),
        cmocka_unit_test(varints_have_the_known_encoding),
        cmocka_unit_test(endless_varints_are_refused),
        cmocka_unit_test(zigzag_is_a_bijection_that_keeps_small_numbers_small),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
