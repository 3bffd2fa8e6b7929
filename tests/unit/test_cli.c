/* test_cli.c - what the `agentlink` program reads from its command line and shows to people. */
#include "base/text.h"
#include "cli/cli.h"
#include "support.h"
#include <locale.h>
#include <stdlib.h>
#include <string.h>

#define LIT(text) al_str_of(text, sizeof(text) - 1)

/* ---- numbers ----------------------------------------------------------------------------- */

static void durations(void **state)
{
    static const struct {
        const char *text;
        uint64_t ms;
    } good[] = {{"0", 0},        {"0s", 0},        {"1ms", 1},      {"250ms", 250},
                {"5s", 5000},    {"1.5s", 1500},   {"1.5m", 90000}, {"2min", 120000},
                {"2h", 7200000}, {"1d", 86400000}, {"0.001s", 1},   {"3650d", 315360000000},
                {"0.999s", 999}};
    static const char *const bad[] = {"",
                                      "5",
                                      "s",
                                      "-1s",
                                      "+1s",
                                      "1 s",
                                      " 1s",
                                      "1s ",
                                      "1x",
                                      "1.",
                                      "1.s",
                                      ".5s",
                                      "1e3s",
                                      "0x1s",
                                      "1s1s",
                                      "3651d",
                                      "9999999999999999999s",
                                      "1.0000000001s",
                                      "99d99"};

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        uint64_t ms = 77;

        if (ali_parse_duration(good[i].text, &ms) || ms != good[i].ms)
            fail_msg("'%s' gave %llu", good[i].text, (unsigned long long)ms);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        uint64_t ms = 77;

        if (ali_parse_duration(bad[i], &ms) != -AL_E_INVALID || ms != 77)
            fail_msg("'%s' was taken", bad[i]);
    }
}

static void counts_and_sizes(void **state)
{
    static const char *const bad[] = {
        "", "-1", "+1", " 1", "1 ", "1x", "1kb", "1KiBx", "18446744073709551616"};
    uint64_t value = 0;

    (void)state;
    assert_int_equal(ali_parse_count("0", &value), 0);
    assert_int_equal(value, 0);
    assert_int_equal(ali_parse_count("999999999999999999", &value), 0);
    assert_int_equal(value, 999999999999999999ull);
    assert_int_equal(ali_parse_count("1000000000000000000", &value), -AL_E_INVALID);
    assert_int_equal(ali_parse_size("64k", &value), 0);
    assert_int_equal(value, 65536);
    assert_int_equal(ali_parse_size("1GiB", &value), 0);
    assert_int_equal(value, 1ull << 30);
    assert_int_equal(ali_parse_size("17000000T", &value), -AL_E_INVALID);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        value = 77;
        assert_int_equal(ali_parse_count(bad[i], &value), -AL_E_INVALID);
        assert_int_equal(ali_parse_size(bad[i], &value), -AL_E_INVALID);
        assert_int_equal(value, 77);
    }
}

static void places(void **state)
{
    static const char *const bad[] = {"",     ":",    "1",    "1:",  ":1",  "1:2:3",       "1:2x",
                                      "x1:2", "1 :2", "-1:2", "0:1", "1:0", "4294967296:1"};
    uint32_t stream = 0;
    uint64_t seq = 0;

    (void)state;
    assert_int_equal(ali_parse_place("4294967295:345", &stream, &seq), 0);
    assert_int_equal(stream, 4294967295u);
    assert_int_equal(seq, 345);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (ali_parse_place(bad[i], &stream, &seq) != -AL_E_INVALID)
            fail_msg("'%s' was taken", bad[i]);
    assert_int_equal(stream, 4294967295u);
}

/* ---- escaping ---------------------------------------------------------------------------- */

static char *escaped(struct al_str text, bool keep_lines, size_t *ret_size, size_t *ret_width)
{
    char *out = NULL;
    FILE *file = open_memstream(&out, ret_size);

    assert_non_null(file);
    *ret_width = ali_put_escaped(file, text, keep_lines);
    fclose(file);
    return out;
}

static void check_escaped(struct al_str text, const char *expected, size_t width)
{
    size_t size, got_width;
    char *out = escaped(text, false, &size, &got_width);

    assert_string_equal(out, expected);
    assert_int_equal(got_width, width);
    assert_int_equal(ali_escaped_width(text), width);
    free(out);
}

static void escapes_are_visible(void **state)
{
    (void)state;
    check_escaped(LIT(""), "", 0);
    check_escaped(LIT("plain text"), "plain text", 10);
    check_escaped(LIT("gr\xc3\xbc\xc3\x9f"), "gr\xc3\xbc\xc3\x9f", 4);
    check_escaped(LIT("\xe6\xbc\xa2"), "\xe6\xbc\xa2", 2); /* two columns wide */
    check_escaped(LIT("a\nb\tc\r"), "a\\nb\\tc\\r", 9);
    check_escaped(LIT("\033[31m"), "\\x1b[31m", 8);
    check_escaped(LIT("\x00\x7f"), "\\x00\\x7f", 8);
    check_escaped(LIT("\a\b\v\f"), "\\a\\b\\v\\f", 8);
    check_escaped(LIT("\\n"), "\\\\n", 3);
    check_escaped(LIT("\xc2\x9b"), "\\u009b", 6);              /* CSI of C1 */
    check_escaped(LIT("\xe2\x80\xae"), "\\u202e", 6);          /* right-to-left override */
    check_escaped(LIT("\xe2\x81\xa6"), "\\u2066", 6);          /* isolate */
    check_escaped(LIT("\xe2\x80\x8b"), "\\u200b", 6);          /* zero width space */
    check_escaped(LIT("\xef\xbb\xbf"), "\\ufeff", 6);          /* byte order mark */
    check_escaped(LIT("\xf3\xa0\x81\x81"), "\\U000e0041", 10); /* tag letter */
    check_escaped(LIT("\xff\xc3"), "\\xff\\xc3", 8);
}

static void lines_may_be_kept(void **state)
{
    size_t size, width;
    char *out = escaped(LIT("a\nb\r\n\033"), true, &size, &width);

    (void)state;
    assert_string_equal(out, "a\nb\\r\n\\x1b");
    free(out);
}

/* Nothing that a terminal acts on gets through, whatever the bytes. */
static void random_bytes_are_harmless(void **state)
{
    static const uint8_t alphabet[] = {0x00, 0x07, 0x0a, 0x1b, '[',  'm',  '\\', 'x',  'u',
                                       0x7f, 0x80, 0x8b, 0x9b, 0xae, 0xc2, 0xc3, 0xe2, 0xef,
                                       0xf3, 0xa0, 0x81, 0xbb, 0xbf, 0xff, 0xd8, 0xed};
    struct al_test_random random = al_test_random_new("escape");

    (void)state;
    for (int round = 0; round < 20000; round++) {
        uint8_t text[16];
        size_t n = al_test_below(&random, sizeof text + 1), size, width;
        char *out;

        for (size_t i = 0; i < n; i++)
            text[i] = alphabet[al_test_below(&random, sizeof alphabet)];
        out = escaped(al_str_of(text, n), false, &size, &width);
        assert_true(al_text_is_plain(al_str_of(out, size)));
        assert_null(strstr(out, "\xe2\x80\xae"));
        assert_null(strstr(out, "\xe2\x80\x8b"));
        assert_null(strstr(out, "\xef\xbb\xbf"));
        free(out);
    }
}

/* ---- texts for people
 * ---------------------------------------------------------------------------- */

static void times_spans_sizes(void **state)
{
    char text[ALI_TIME_CAP];

    (void)state;
    assert_string_equal(ali_format_time(0, text), "-");
    assert_string_equal(ali_format_time(951782400123ull, text), "2000-02-29T00:00:00.123Z");
    assert_string_equal(ali_format_time(253402300799999ull, text), "9999-12-31T23:59:59.999Z");
    assert_string_equal(ali_format_time(UINT64_MAX, text), "-");
    assert_string_equal(ali_format_span(999, text), "999 ms");
    assert_string_equal(ali_format_span(1550, text), "1.5 s");
    assert_string_equal(ali_format_span(200000, text), "3 min 20 s");
    assert_string_equal(ali_format_span(187200000, text), "2 d 4 h");
    assert_string_equal(ali_format_span(UINT64_MAX, text), "213503982334 d 14 h");
    assert_string_equal(ali_format_size(1023, text), "1023 B");
    assert_string_equal(ali_format_size(1536, text), "1.5 KiB");
    assert_string_equal(ali_format_size(UINT64_MAX, text), "16.0 EiB");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations),
        cmocka_unit_test(counts_and_sizes),
        cmocka_unit_test(places),
        cmocka_unit_test(escapes_are_visible),
        cmocka_unit_test(lines_may_be_kept),
        cmocka_unit_test(random_bytes_are_harmless),
        cmocka_unit_test(times_spans_sizes),
    };

    setlocale(LC_CTYPE, "C.UTF-8");
    return cmocka_run_group_tests_name("cli", tests, NULL, NULL);
}
