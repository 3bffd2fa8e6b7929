/* test_base_errors.c - the error table: numbers are wire format and must never move. */
#include "base/errors.h"
#include "support.h"

static void every_row_is_found_by_either_sign(void **state)
{
    (void)state;
#define AL_X(symbol, number, retryable, text)                      \
    assert_string_equal(al_error_name(number), #symbol);           \
    assert_string_equal(al_error_name(-(number)), #symbol);        \
    assert_string_equal(al_error_text(-(number)), text);           \
    assert_int_equal(al_error_is_retryable(-(number)), retryable); \
    assert_int_equal(AL_E_##symbol, number);
    AL_ERRORS(AL_X)
#undef AL_X
}

static void numbers_run_without_a_hole(void **state)
{
    int next = 1;

    (void)state;
#define AL_X(symbol, number, retryable, text) assert_int_equal(number, next++);
    AL_ERRORS(AL_X)
#undef AL_X
    assert_string_equal(al_error_name(next), "UNKNOWN");
}

/* A few numbers that are out in the world; whoever renumbers the table must see this fail. */
static void numbers_do_not_move(void **state)
{
    (void)state;
    assert_int_equal(AL_E_NOMEM, 1);
    assert_int_equal(AL_E_UNKNOWN_AGENT, 7);
    assert_int_equal(AL_E_KEY_CONFLICT, 14);
    assert_int_equal(AL_E_LEASE_LOST, 19);
    assert_int_equal(AL_E_STREAM_HELD, 24);
    assert_int_equal(AL_E_POISONED, 29);
    assert_int_equal(AL_E_FENCED, 36);
    assert_int_equal(AL_E_DEAD_LETTERED, 41);
}

static void strangers_are_harmless(void **state)
{
    static const int strangers[] = {10000, -10000, 2147483647, -2147483647 - 1};

    (void)state;
    for (size_t i = 0; i < sizeof(strangers) / sizeof(strangers[0]); i++) {
        assert_string_equal(al_error_name(strangers[i]), "UNKNOWN");
        assert_string_equal(al_error_text(strangers[i]), "unknown error");
        assert_false(al_error_is_retryable(strangers[i]));
    }
    assert_string_equal(al_error_name(0), "OK");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_is_found_by_either_sign),
        cmocka_unit_test(numbers_run_without_a_hole),
        cmocka_unit_test(numbers_do_not_move),
        cmocka_unit_test(strangers_are_harmless),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
