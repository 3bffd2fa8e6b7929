/* test_base_identity.c - identities: one text for each, and nothing else is taken for one. */
#include "base/errors.h"
#include "base/identity.h"
#include "support.h"

#define LIT(text) al_str_of(text, sizeof(text) - 1)

static void parts_of_a_text(void **state)
{
    struct al_identity identity;

    (void)state;
    assert_int_equal(
        al_identity_parse(LIT("spiffe://prod.example/team-7/agent/worker_1.x"), &identity), 0);
    assert_int_equal(identity.role, AL_ROLE_AGENT);
    assert_true(al_str_eq(identity.network, LIT("prod.example")));
    assert_true(al_str_eq(identity.namespace, LIT("team-7")));
    assert_true(al_str_eq(identity.name, LIT("worker_1.x")));
    assert_int_equal(al_identity_parse(LIT("spiffe://n/default/node/n1"), &identity), 0);
    assert_int_equal(identity.role, AL_ROLE_NODE);
    assert_int_equal(al_identity_parse(LIT("spiffe://n/default/operator/me"), &identity), 0);
    assert_int_equal(identity.role, AL_ROLE_OPERATOR);
    assert_string_equal(al_identity_role_text(AL_ROLE_OPERATOR), "operator");
    assert_string_equal(al_identity_role_text((enum al_identity_role)0), "unknown");
    assert_string_equal(al_identity_role_text((enum al_identity_role)4), "unknown");
}

static void everything_else_is_refused(void **state)
{
    static const char *const texts[] = {
        "",
        "spiffe://",
        "spiffe:///",
        "spiffe://n",
        "spiffe://n/",
        "spiffe://n/d",
        "spiffe://n/d/agent",
        "spiffe://n/d/agent/",
        "spiffe://n/d/agent/a/",
        "spiffe://n/d/agent/a/b",
        "spiffe://n/d/agent//a",
        "spiffe://n//agent/a",
        "spiffe:///d/agent/a",
        "SPIFFE://n/d/agent/a",
        "spiffe:/n/d/agent/a",
        "https://n/d/agent/a",
        " spiffe://n/d/agent/a",
        "spiffe://n/d/agent/a ",
        "spiffe://n/d/agent/a\n",
        "spiffe://N/d/agent/a",
        "spiffe://n/D/agent/a",
        "spiffe://n/d/Agent/a",
        "spiffe://n/d/agent/A",
        "spiffe://n/d/agents/a",
        "spiffe://n/d/agen/a",
        "spiffe://n/d/workload/a",
        "spiffe://n/d/agent/%61",
        "spiffe://n/d/agent/a?x",
        "spiffe://n/d/agent/a#x",
        "spiffe://user@n/d/agent/a",
        "spiffe://n:80/d/agent/a",
        "spiffe://n/d/agent/.",
        "spiffe://n/d/agent/..",
        "spiffe://n/../agent/a",
        "spiffe://n/./agent/a",
        "spiffe://-n/d/agent/a",
        "spiffe://n-/d/agent/a",
        "spiffe://.n/d/agent/a",
        "spiffe://n./d/agent/a",
        "spiffe://a..b/d/agent/a",
        "spiffe://n_n/d/agent/a",
        "spiffe://n/d/agent/gr\xc3\xbc\xc3\x9f",
    };
    struct al_identity identity;

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (al_identity_parse(al_str_c(texts[i]), &identity) != -AL_E_INVALID)
            fail_msg("taken: \"%s\"", texts[i]);
    assert_int_equal(al_identity_parse(LIT("spiffe://n/d/agent/a\0b"), &identity), -AL_E_INVALID);
    assert_int_equal(al_identity_parse(LIT("spiffe://n\0/d/agent/a"), &identity), -AL_E_INVALID);
    assert_int_equal(al_identity_parse(al_str_of(NULL, 0), &identity), -AL_E_INVALID);
    assert_int_equal(al_identity_parse(LIT("spiffe://n/d/agent/..."), &identity), 0);
}

/* Exactly as long as it may be, and one more, in each part. */
static void lengths(void **state)
{
    char network[AL_NETWORK_MAX + 2], part[AL_NAME_PART_MAX + 2], text[AL_IDENTITY_MAX + 1];
    struct al_identity identity = {.role = AL_ROLE_OPERATOR}, back;

    (void)state;
    memset(network, 'n', sizeof network);
    memset(part, 'p', sizeof part);
    for (int longer = 0; longer < 8; longer++) {
        identity.network = al_str_of(network, AL_NETWORK_MAX + (longer & 1));
        identity.namespace = al_str_of(part, AL_NAME_PART_MAX + (longer >> 1 & 1));
        identity.name = al_str_of(part, AL_NAME_PART_MAX + (longer >> 2 & 1));
        assert_int_equal(al_identity_format(&identity, text), longer ? -AL_E_INVALID : 0);
        if (!longer)
            assert_int_equal(al_identity_parse(al_str_c(text), &back), 0);
    }
    identity.namespace = identity.name = LIT("x");
    identity.network = LIT("x");
    for (int role = -1; role <= 5; role++) {
        identity.role = (enum al_identity_role)role;
        assert_int_equal(al_identity_format(&identity, text),
                         role >= 1 && role <= 3 ? 0 : -AL_E_INVALID);
    }
}

/* Random parts from an alphabet with a few that are not allowed: what can be written is read back
 * as it was, and what can be read is written the same way. */
static void texts_and_parts_agree(void **state)
{
    static const char alphabet[] = "abz09.-_.-A/% ";
    struct al_test_random random = al_test_random_new("identity");
    unsigned good = 0;

    (void)state;
    for (int i = 0; i < 200000; i++) {
        char bytes[3][8], text[AL_IDENTITY_MAX + 1], again[AL_IDENTITY_MAX + 1];
        struct al_identity identity, back;
        struct al_str parts[3];

        for (int k = 0; k < 3; k++) {
            size_t n = al_test_below(&random, 5);

            for (size_t c = 0; c < n; c++)
                bytes[k][c] = alphabet[al_test_below(&random, i % 2 ? 10 : sizeof alphabet - 1)];
            parts[k] = al_str_of(bytes[k], n);
        }
        identity = (struct al_identity){(enum al_identity_role)(1 + al_test_below(&random, 3)),
                                        parts[0], parts[1], parts[2]};
        if (al_identity_format(&identity, text) < 0)
            continue;
        good++;
        assert_int_equal(al_identity_parse(al_str_c(text), &back), 0);
        assert_int_equal(back.role, identity.role);
        assert_true(al_str_eq(back.network, parts[0]));
        assert_true(al_str_eq(back.namespace, parts[1]));
        assert_true(al_str_eq(back.name, parts[2]));
        assert_int_equal(al_identity_format(&back, again), 0);
        assert_string_equal(again, text);
    }
    assert_true(good > 1000);
}

static void names_with_and_without_namespace(void **state)
{
    char text[AL_IDENTITY_MAX + 1], name[AL_NAME_MAX + 1];
    struct al_identity identity;

    (void)state;
    assert_int_equal(al_identity_of(LIT("n"), AL_ROLE_AGENT, LIT("worker"), &identity), 0);
    assert_int_equal(al_identity_format(&identity, text), 0);
    assert_string_equal(text, "spiffe://n/default/agent/worker");
    al_identity_full_name(&identity, name);
    assert_string_equal(name, "worker");
    assert_int_equal(al_identity_of(LIT("n"), AL_ROLE_AGENT, LIT("team/worker"), &identity), 0);
    assert_int_equal(al_identity_format(&identity, text), 0);
    assert_string_equal(text, "spiffe://n/team/agent/worker");
    al_identity_full_name(&identity, name);
    assert_string_equal(name, "team/worker");
    assert_int_equal(al_identity_of(LIT("n"), AL_ROLE_AGENT, LIT("default/worker"), &identity), 0);
    al_identity_full_name(&identity, name);
    assert_string_equal(name, "worker");
    assert_int_equal(al_identity_of(LIT("n"), AL_ROLE_AGENT, LIT("a/b/c"), &identity),
                     -AL_E_INVALID);
    assert_int_equal(al_identity_of(LIT("n"), AL_ROLE_AGENT, LIT(""), &identity), -AL_E_INVALID);
    assert_int_equal(al_identity_of(LIT("n"), AL_ROLE_AGENT, LIT("/a"), &identity), -AL_E_INVALID);
    assert_int_equal(al_identity_of(LIT("n"), AL_ROLE_AGENT, LIT("a/"), &identity), -AL_E_INVALID);
    assert_int_equal(al_identity_of(LIT(""), AL_ROLE_AGENT, LIT("a"), &identity), -AL_E_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_of_a_text),
        cmocka_unit_test(everything_else_is_refused),
        cmocka_unit_test(lengths),
        cmocka_unit_test(texts_and_parts_agree),
        cmocka_unit_test(names_with_and_without_namespace),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
