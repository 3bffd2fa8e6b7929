/* test_base_id.c - message ids: UUID version 4 in text and bytes. */
#include "base/errors.h"
#include "base/id.h"
#include "support.h"

static void text_survives_the_round_trip(void **state)
{
    struct al_test_random random = al_test_random_new("id");
    char text[AL_ID_TEXT_LEN + 1];

    (void)state;
    for (int i = 0; i < 2000; i++) {
        uint8_t bytes[16];
        struct al_id id, back;

        al_test_fill(&random, bytes, sizeof(bytes));
        id = al_id_from_random(bytes);
        al_id_format(&id, text);
        assert_int_equal(strlen(text), AL_ID_TEXT_LEN);
        assert_int_equal(text[14], '4');
        assert_non_null(strchr("89ab", text[19]));
        assert_int_equal(al_id_parse(al_str_c(text), &back), 0);
        assert_true(al_id_eq(&id, &back));
        assert_int_equal(al_id_compare(&id, &back), 0);
        assert_false(al_id_is_zero(&id));
    }
}

static void known_text_gives_known_bytes(void **state)
{
    static const uint8_t bytes[16] = {0xf8, 0x1d, 0x4f, 0xae, 0x7d, 0xec, 0x41, 0xd0,
                                      0xa7, 0x65, 0x00, 0xa0, 0xc9, 0x1e, 0x6b, 0xf6};
    char text[AL_ID_TEXT_LEN + 1];
    struct al_id id;

    (void)state;
    assert_int_equal(al_id_parse(al_str_c("F81D4FAE-7DEC-41D0-A765-00a0c91e6bf6"), &id), 0);
    assert_memory_equal(id.b, bytes, 16);
    al_id_format(&id, text);
    assert_string_equal(text, "f81d4fae-7dec-41d0-a765-00a0c91e6bf6");
}

static void zero_and_order(void **state)
{
    struct al_id a = {{0}}, b = {{0}};

    (void)state;
    assert_true(al_id_is_zero(&a));
    b.b[15] = 1;
    assert_false(al_id_is_zero(&b));
    assert_false(al_id_eq(&a, &b));
    assert_true(al_id_compare(&a, &b) < 0 && al_id_compare(&b, &a) > 0);
}

static void malformed_text_is_refused(void **state)
{
    const char good[] = "f81d4fae-7dec-41d0-a765-00a0c91e6bf6";
    struct al_id id, before;

    (void)state;
    memset(&id, 0x77, sizeof(id));
    before = id;
    assert_int_equal(al_id_parse(al_str_c(""), &id), -AL_E_INVALID);
    assert_int_equal(al_id_parse(al_str_of(good, 35), &id), -AL_E_INVALID);
    assert_int_equal(al_id_parse(al_str_of(good, 37), &id), -AL_E_INVALID);
    for (unsigned at = 0; at < AL_ID_TEXT_LEN; at++) {
        static const char wrong[] = "gG/:@`_ \x80\xff";

        for (unsigned w = 0; w < sizeof(wrong); w++) {
            char text[sizeof(good)];

            memcpy(text, good, sizeof(good));
            text[at] = wrong[w];
            assert_int_equal(al_id_parse(al_str_of(text, AL_ID_TEXT_LEN), &id), -AL_E_INVALID);
        }
    }
    assert_true(al_id_eq(&id, &before));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_survives_the_round_trip),
        cmocka_unit_test(known_text_gives_known_bytes),
        cmocka_unit_test(zero_and_order),
        cmocka_unit_test(malformed_text_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
