/* test_base_crc32c.c - known values, and the instruction against the table. */
#include "base/crc32c.h"
#include "support.h"

static void known_values(void **state)
{
    uint8_t zeros[32] = {0}, ones[32], rising[32];

    (void)state;
    memset(ones, 0xff, sizeof(ones));
    for (unsigned i = 0; i < 32; i++)
        rising[i] = (uint8_t)i;
    assert_int_equal(al_crc32c(0, "123456789", 9), 0xe3069283);
    /* The examples of RFC 3720, appendix B.4. */
    assert_int_equal(al_crc32c(0, zeros, 32), 0x8a9136aa);
    assert_int_equal(al_crc32c(0, ones, 32), 0x62a8ab43);
    assert_int_equal(al_crc32c(0, rising, 32), 0x46dd794e);
    assert_int_equal(al_crc32c(0, NULL, 0), 0);
    assert_int_equal(al_crc32c_portable(0, "123456789", 9), 0xe3069283);
    assert_int_equal(al_crc32c_portable(0, rising, 32), 0x46dd794e);
}

static void both_versions_agree_at_every_alignment(void **state)
{
    struct al_test_random random = al_test_random_new("crc32c");
    uint8_t data[600];

    (void)state;
    for (int i = 0; i < 3000; i++) {
        size_t at = al_test_below(&random, 16), n = al_test_below(&random, 500);
        size_t cut = n ? al_test_below(&random, n) : 0;
        uint32_t crc;

        al_test_fill(&random, data, sizeof(data));
        crc = al_crc32c(0, data + at, n);
        assert_int_equal(crc, al_crc32c_portable(0, data + at, n));
        /* In two pieces it is the same sum. */
        assert_int_equal(crc, al_crc32c(al_crc32c(0, data + at, cut), data + at + cut, n - cut));
    }
}

static void every_flipped_bit_shows(void **state)
{
    uint8_t data[64];
    uint32_t crc;

    (void)state;
    memset(data, 0x5a, sizeof(data));
    crc = al_crc32c(0, data, sizeof(data));
    for (unsigned bit = 0; bit < 8 * sizeof(data); bit++) {
        data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        assert_int_not_equal(al_crc32c(0, data, sizeof(data)), crc);
        data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_values),
        cmocka_unit_test(both_versions_agree_at_every_alignment),
        cmocka_unit_test(every_flipped_bit_shows),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
