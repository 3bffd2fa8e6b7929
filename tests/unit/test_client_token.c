/* test_client_token.c - join tokens: what is written is read, and nothing else is. */
#include "base/errors.h"
#include "client/token.h"
#include "support.h"
#include <stdio.h>
#include <string.h>

static struct ali_token example(const char *addresses)
{
    struct ali_token token = {0};

    memset(token.fingerprint, 0xab, sizeof(token.fingerprint));
    assert_int_equal(ali_token_make(&token), 0);
    snprintf(token.addresses, sizeof(token.addresses), "%s", addresses);
    return token;
}

static void what_is_written_is_read(void **state)
{
    char longest[1024];
    const char *const addresses[] = {"127.0.0.1:7443", "[::1]:1,node.example:65535", longest};

    (void)state;
    memset(longest, 'a', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = 0;
    for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
        struct ali_token token = example(addresses[i]), read = {0};
        char text[AL_TOKEN_MAX];

        ali_token_format(&token, text);
        assert_true(strlen(text) < AL_TOKEN_MAX);
        assert_int_equal(ali_token_parse(text, &read), 0);
        assert_memory_equal(read.fingerprint, token.fingerprint, 32);
        assert_memory_equal(read.secret, token.secret, 32);
        assert_string_equal(read.addresses, addresses[i]);
    }
}

static void two_tokens_have_different_secrets(void **state)
{
    struct ali_token a = example("x:1"), b = example("x:1");

    (void)state;
    assert_memory_not_equal(a.secret, b.secret, 32);
}

static void nothing_else_is_read(void **state)
{
    struct ali_token token = example("127.0.0.1:7443"), read;
    char text[AL_TOKEN_MAX], other[AL_TOKEN_MAX + 8];

    (void)state;
    ali_token_format(&token, text);
    for (size_t n = 0; n < 3 + 88; n++) { /* cut short, down to no address at all */
        memcpy(other, text, n);
        other[n] = 0;
        assert_int_equal(ali_token_parse(other, &read), -AL_E_BAD_TOKEN);
    }
    snprintf(other, sizeof(other), "%s=", text);
    assert_int_equal(ali_token_parse(other, &read), -AL_E_BAD_TOKEN);
    snprintf(other, sizeof(other), "%s ", text);
    assert_int_equal(ali_token_parse(other, &read), -AL_E_BAD_TOKEN);
    snprintf(other, sizeof(other), "al2%s", text + 3);
    assert_int_equal(ali_token_parse(other, &read), -AL_E_BAD_TOKEN);
    memset(other, 'A', sizeof(other) - 1);
    memcpy(other, "al1", 3);
    other[sizeof(other) - 1] = 0;
    assert_int_equal(ali_token_parse(other, &read), -AL_E_BAD_TOKEN);
}

static void a_wiped_token_knows_nothing(void **state)
{
    struct ali_token token = example("x:1"), zero = {0};

    (void)state;
    ali_token_wipe(&token);
    assert_memory_equal(&token, &zero, sizeof(token));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(two_tokens_have_different_secrets),
        cmocka_unit_test(nothing_else_is_read),
        cmocka_unit_test(a_wiped_token_knows_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
