/* test_base_text.c - UTF-8, names, kinds: what comes from outside is checked to the letter. */
#include "base/limits.h"
#include "base/text.h"
#include "support.h"

#define LIT(text) al_str_of(text, sizeof(text) - 1)

/* A second opinion, written from the table of RFC 3629: ranges of each byte by the first one. */
static size_t reference_sequence(const uint8_t *p, size_t n)
{
    static const struct {
        uint8_t first_lo, first_hi, second_lo, second_hi;
        size_t len;
    } rows[] = {
        {0x00, 0x7f, 0x00, 0x00, 1}, {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
        {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
        {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };

    for (size_t r = 0; r < sizeof(rows) / sizeof(rows[0]); r++) {
        if (p[0] < rows[r].first_lo || p[0] > rows[r].first_hi)
            continue;
        if (rows[r].len > n)
            return 0;
        if (rows[r].len > 1 && (p[1] < rows[r].second_lo || p[1] > rows[r].second_hi))
            return 0;
        for (size_t i = 2; i < rows[r].len; i++)
            if (p[i] < 0x80 || p[i] > 0xbf)
                return 0;
        return rows[r].len;
    }
    return 0;
}

static bool reference_valid(const uint8_t *p, size_t n)
{
    while (n) {
        size_t len = reference_sequence(p, n);

        if (len == 0)
            return false;
        p += len;
        n -= len;
    }
    return true;
}

static void utf8_corpus(void **state)
{
    (void)state;
    assert_true(al_utf8_is_valid(LIT("")));
    assert_true(al_utf8_is_valid(al_str_of(NULL, 0)));
    assert_true(al_utf8_is_valid(LIT("plain")));
    assert_true(al_utf8_is_valid(LIT("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80")));
    assert_true(al_utf8_is_valid(LIT("\xed\x9f\xbf\xee\x80\x80"))); /* around the surrogates */
    assert_true(al_utf8_is_valid(LIT("\xf4\x8f\xbf\xbf")));         /* U+10FFFF */
    assert_true(al_utf8_is_valid(LIT("\x00")));
    assert_false(al_utf8_is_valid(LIT("\x80")));             /* continuation alone */
    assert_false(al_utf8_is_valid(LIT("\xc3")));             /* cut */
    assert_false(al_utf8_is_valid(LIT("\xe2\x82")));         /* cut */
    assert_false(al_utf8_is_valid(LIT("\xc0\x80")));         /* overlong NUL */
    assert_false(al_utf8_is_valid(LIT("\xc1\xbf")));         /* overlong */
    assert_false(al_utf8_is_valid(LIT("\xe0\x9f\xbf")));     /* overlong */
    assert_false(al_utf8_is_valid(LIT("\xf0\x8f\xbf\xbf"))); /* overlong */
    assert_false(al_utf8_is_valid(LIT("\xed\xa0\x80")));     /* surrogate */
    assert_false(al_utf8_is_valid(LIT("\xed\xbf\xbf")));     /* surrogate */
    assert_false(al_utf8_is_valid(LIT("\xf4\x90\x80\x80"))); /* above U+10FFFF */
    assert_false(al_utf8_is_valid(LIT("\xf5\x80\x80\x80")));
    assert_false(al_utf8_is_valid(LIT("\xf8\x88\x80\x80\x80"))); /* five bytes */
    assert_false(al_utf8_is_valid(LIT("\xff\xfe")));
}

static void every_short_sequence_agrees_with_the_rfc(void **state)
{
    (void)state;
    for (unsigned v = 0; v < 0x1000000; v += v < 0x10000 ? 1 : 7) {
        uint8_t b[4] = {(uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v, 0x80};
        size_t skip = v < 0x100 ? 2 : v < 0x10000 ? 1 : 0;

        for (size_t n = 3 - skip; n <= 4 - skip; n++)
            if (al_utf8_is_valid(al_str_of(b + skip, n)) != reference_valid(b + skip, n))
                fail_msg("%02x %02x %02x %02x, %zu bytes", b[0], b[1], b[2], b[3], n);
    }
}

static void random_text_agrees_with_the_rfc(void **state)
{
    static const uint8_t alphabet[] = {0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc1,
                                       0xc2, 0xdf, 0xe0, 0xed, 0xef, 0xf0, 0xf4, 0xf5, 0xff};
    struct al_test_random random = al_test_random_new("utf8");

    (void)state;
    for (int i = 0; i < 300000; i++) {
        uint8_t b[6];
        size_t n = al_test_below(&random, sizeof(b) + 1);

        for (size_t k = 0; k < n; k++)
            b[k] = alphabet[al_test_below(&random, sizeof(alphabet))];
        assert_int_equal(al_utf8_is_valid(al_str_of(b, n)), reference_valid(b, n));
    }
}

static void plain_text_has_no_controls(void **state)
{
    (void)state;
    assert_true(al_text_is_plain(LIT("caf\xc3\xa9 \xc2\xa0")));
    for (unsigned c = 0; c < 0x80; c++) {
        uint8_t b = (uint8_t)c;

        assert_int_equal(al_text_is_plain(al_str_of(&b, 1)), c >= 0x20 && c != 0x7f);
    }
    assert_false(al_text_is_plain(LIT("a\xc2\x80"))); /* C1 */
    assert_false(al_text_is_plain(LIT("a\xc2\x9f")));
    assert_false(al_text_is_plain(LIT("a\xff")));
}

static void names(void **state)
{
    char part[AL_NAME_PART_MAX + 2], both[2 * AL_NAME_PART_MAX + 4];

    (void)state;
    assert_true(al_name_is_valid(LIT("a")));
    assert_true(al_name_is_valid(LIT("team-7/worker_1.x")));
    assert_false(al_name_is_valid(LIT("")));
    assert_false(al_name_is_valid(LIT("/a")));
    assert_false(al_name_is_valid(LIT("a/")));
    assert_false(al_name_is_valid(LIT("a//b")));
    assert_false(al_name_is_valid(LIT("a/b/c")));
    assert_false(al_name_is_valid(LIT("Upper")));
    assert_false(al_name_is_valid(LIT("sp ace")));
    assert_false(al_name_is_valid(LIT("group:g"))); /* groups are not agents */
    assert_false(al_name_is_valid(LIT("\xc3\xa9")));
    assert_false(al_name_is_valid(LIT("a\0b")));
    memset(part, 'x', sizeof(part));
    assert_true(al_name_is_valid(al_str_of(part, AL_NAME_PART_MAX)));
    assert_false(al_name_is_valid(al_str_of(part, AL_NAME_PART_MAX + 1)));
    memset(both, 'y', sizeof(both));
    both[AL_NAME_PART_MAX] = '/';
    assert_true(al_name_is_valid(al_str_of(both, AL_NAME_MAX)));
    assert_false(al_name_is_valid(al_str_of(both, AL_NAME_MAX + 1)));
}

static void name_alphabet_is_exact(void **state)
{
    (void)state;
    for (unsigned c = 0; c < 256; c++) {
        uint8_t b = (uint8_t)c;
        bool name = c && strchr("abcdefghijklmnopqrstuvwxyz0123456789._-", (int)c);
        bool kind = name || (c >= 'A' && c <= 'Z') || c == ':' || c == '/';

        assert_int_equal(al_name_is_valid(al_str_of(&b, 1)), name);
        assert_int_equal(al_kind_is_valid(al_str_of(&b, 1)), kind);
    }
}

static void kinds(void **state)
{
    char long_kind[AL_KIND_MAX + 1];

    (void)state;
    memset(long_kind, 'k', sizeof(long_kind));
    assert_true(al_kind_is_valid(LIT("Task:split/v2")));
    assert_true(al_kind_is_valid(al_str_of(long_kind, AL_KIND_MAX)));
    assert_false(al_kind_is_valid(al_str_of(long_kind, AL_KIND_MAX + 1)));
    assert_false(al_kind_is_valid(LIT("")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(utf8_corpus),
        cmocka_unit_test(every_short_sequence_agrees_with_the_rfc),
        cmocka_unit_test(random_text_agrees_with_the_rfc),
        cmocka_unit_test(plain_text_has_no_controls),
        cmocka_unit_test(names),
        cmocka_unit_test(name_alphabet_is_exact),
        cmocka_unit_test(kinds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
