/* test_core_acl.c - permissions: decisions against a naive model, and what the node does by them.
 */
#include "../../sim/acl_model.h"
#include "core/internal.h"
#include "core_driver.h"
#include "support.h"
#include <stdio.h>
#include <time.h>

/* ---- frames ------------------------------------------------------------------------------ */

struct rule {
    unsigned effect, actions, hops;
    const char *subject, *object, *kind, *by;
    uint64_t expire_ms;
};

static void put_rule(struct driver *d, const struct rule *rule)
{
    struct al_msg_acl_set m = {.request = 1,
                               .effect = (uint8_t)rule->effect,
                               .actions = (uint8_t)rule->actions,
                               .hops = (uint8_t)rule->hops,
                               .expire_ms = rule->expire_ms,
                               .subject = al_str_c(rule->subject),
                               .object = al_str_c(rule->object),
                               .kind = al_str_c(rule->kind),
                               .by = al_str_c(rule->by)};

    assert_int_equal(al_put_acl_set(&d->in, &m), 0);
}

static void set(struct driver *d, uint32_t conn, struct rule rule, const char *expected)
{
    put_rule(d, &rule);
    driver_send(d, conn);
    driver_expect(d, expected);
}

static void allow(struct driver *d, const char *subject, const char *object, const char *kind)
{
    struct rule rule = {ALI_ACL_ALLOW, ALI_ACL_SEND, 0, subject, object, kind, NULL, 0};

    put_rule(d, &rule);
    driver_send(d, 7);
    driver_forget(d);
}

static void deny(struct driver *d, const char *subject, const char *object, const char *kind)
{
    struct rule rule = {ALI_ACL_DENY, ALI_ACL_SEND, 0, subject, object, kind, NULL, 0};

    put_rule(d, &rule);
    driver_send(d, 7);
    driver_forget(d);
}

static void take_away(struct driver *d, uint32_t conn, uint64_t rule, const char *by,
                      const char *expected)
{
    struct al_msg_acl_remove m = {.request = 1, .rule = rule, .by = al_str_c(by)};

    assert_int_equal(al_put_acl_remove(&d->in, &m), 0);
    driver_send(d, conn);
    driver_expect(d, expected);
}

static struct ali_verdict ask(struct driver *d, unsigned action, const char *subject,
                              const char *object, const char *kind)
{
    struct ali_acl_question question = {.subject = al_str_c(subject),
                                        .object = al_str_c(object),
                                        .kind = al_str_c(kind),
                                        .action = (uint8_t)action};

    return ali_acl_decide(d->node, &question);
}

/* Connection 7 is root's; 0 sends, 1 receives. */
static void begin(struct driver *d)
{
    driver_init(d, NULL);
    driver_open(d, 7, 0, 7);
    driver_open(d, 0, 1000, 1);
    driver_open(d, 1, 1000, 2);
}

static void end(struct driver *d)
{
    driver_snapshot_begin(d);
    while (driver_snapshot_step(d, 100))
        ;
    driver_check_replay(d);
    driver_check_snapshot(d);
    driver_deinit(d);
}

/* ---- texts ------------------------------------------------------------------------------- */

static void patterns_are_read_by_segments(void **state)
{
    static const struct {
        const char *text, *full;
    } good[] = {{"a", "default/a"},
                {"n/a", "n/a"},
                {"*", "default/*"},
                {"*/a", "*/a"},
                {"n/*", "n/*"},
                {"**", "**"},
                {"role:x", "role:x"},
                {"role:n/x", "role:n/x"},
                {"group:g", "group:default/g"},
                {"group:*", "group:default/*"},
                {"group:*/*", "group:*/*"}};
    static const char *const bad[] = {"",  "a/b/c",    "a*",   "*b/c", "group:", "role:", "role:*",
                                      "A", "group:**", "**/a", "a/**", "/a",     "a/"};
    char buf[AL_ACL_NAME_MAX];
    struct al_str full;

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_int_equal(ali_acl_normal(al_str_c(good[i].text), 15, buf, &full), 0);
        assert_true(al_str_eq(full, al_str_c(good[i].full)));
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(ali_acl_normal(al_str_c(bad[i]), 15, buf, &full), -AL_E_BAD_NAME);
    assert_int_equal(ali_acl_normal(al_str_c("*"), ALI_ACL_AGENTS, buf, &full), -AL_E_BAD_NAME);
    assert_int_equal(ali_acl_normal(al_str_c("role:x"), ALI_ACL_AGENTS, buf, &full),
                     -AL_E_BAD_NAME);
}

static void kinds_match_by_segments(void **state)
{
    (void)state;
    assert_true(ali_acl_kind_matches(al_str_c(""), al_str_c("")));
    assert_true(ali_acl_kind_matches(al_str_c("t.*"), al_str_c("t.a")));
    assert_false(ali_acl_kind_matches(al_str_c("t.*"), al_str_c("t")));
    assert_false(ali_acl_kind_matches(al_str_c("t.*"), al_str_c("t.a.b")));
    assert_true(ali_acl_kind_matches(al_str_c("t.**"), al_str_c("t.a.b")));
    assert_true(ali_acl_kind_matches(al_str_c("*.a"), al_str_c("t.a")));
    assert_false(ali_acl_kind_matches(al_str_c("t"), al_str_c("")));
    assert_false(ali_acl_kind_is_valid(al_str_c("t.**.a")));
    assert_false(ali_acl_kind_is_valid(al_str_c("t*")));
    assert_false(ali_acl_kind_is_valid(al_str_c("t a")));
    assert_true(ali_acl_kind_covers(al_str_c("t.**"), al_str_c("t.*.b")));
    assert_false(ali_acl_kind_covers(al_str_c("t.*"), al_str_c("t.**")));
    assert_false(ali_acl_kind_covers(al_str_c("t.*"), al_str_c("")));
}

/* ---- what the node does ------------------------------------------------------------------ */

static void namespaces_are_closed_until_a_rule_opens_them(void **state)
{
    struct driver d;

    (void)state;
    begin(&d);
    driver_attach(&d, 1, "n/b", 10);
    driver_channel(&d, 0, "a", "n/b");
    driver_forget(&d);
    driver_publish(&d, 0, 1, 1);
    driver_expect(&d, "0: REFUSED 1 DENIED\n");
    allow(&d, "a", "n/*", "");
    assert_true(ask(&d, ALI_ACL_SEND, "a", "n/b", "").allowed);
    assert_false(ask(&d, ALI_ACL_SEND, "n/b", "a", "").allowed);
    assert_false(ask(&d, ALI_ACL_JOIN, "a", "n/b", "").allowed);
    assert_true(ask(&d, ALI_ACL_SEND, "n/b", "n/c", "").allowed);
    assert_false(ask(&d, ALI_ACL_ADMINISTER, "n/b", "n/c", "").allowed);
    end(&d);
}

static void resume(struct driver *d, uint64_t pseq)
{
    struct al_msg_channel_resume m = {.channel = 1, .first_pseq = pseq};

    assert_int_equal(al_put_channel_resume(&d->in, &m), 0);
    driver_send(d, 0);
    driver_forget(d);
}

static void publish(struct driver *d, uint64_t pseq, const char *kind, const char *expected)
{
    struct driver_message message = {.pseq = pseq, .text = "x", .kind = kind};

    driver_put_publish(d, &message);
    driver_send(d, 0);
    driver_expect(d, expected);
}

static void a_deny_counts_from_the_next_message_on(void **state)
{
    struct driver d;

    (void)state;
    begin(&d);
    driver_attach(&d, 1, "b", 0);
    driver_channel(&d, 0, "a", "b");
    driver_forget(&d);
    publish(&d, 1, "t.x", "0: RECEIPT 1 x1 -> 1:1\n");
    deny(&d, "*", "b", "t.*");
    publish(&d, 2, "t.x", "0: REFUSED 2 DENIED\n");
    resume(&d, 2);
    publish(&d, 2, "u", "0: RECEIPT 2 x1 -> 1:2\n");
    publish(&d, 3, "t.x", "0: REFUSED 3 DENIED\n");
    take_away(&d, 7, 1, NULL, "7: DONE OK 1\n");
    resume(&d, 3);
    publish(&d, 3, "t.x", "0: RECEIPT 3 x1 -> 1:3\n");
    end(&d);
}

static void what_waits_is_judged_again(void **state)
{
    struct driver d;

    (void)state;
    begin(&d);
    allow(&d, "a", "n/b", "");
    driver_attach(&d, 1, "n/b", 0);
    driver_close(&d, 1);
    driver_channel(&d, 0, "a", "n/b");
    driver_forget(&d);
    driver_publish(&d, 0, 1, 2);
    deny(&d, "a", "n/b", "");
    driver_open(&d, 1, 1000, 2);
    driver_forget(&d);
    driver_attach(&d, 1, "n/b", 10);
    assert_int_equal(d.node->acl.denied_deliver, 2);
    assert_int_equal(d.node->letters.count, 2);
    assert_int_equal(d.letters_logged, 2);
    assert_int_equal(d.node->v.waiting, 0);
    end(&d);
}

static void rules_are_made_by_who_may(void **state)
{
    struct driver d;

    (void)state;
    begin(&d);
    driver_attach(&d, 0, "n/boss", 1);
    driver_attach(&d, 0, "n/aide", 1);
    driver_forget(&d);
    set(&d, 0, (struct rule){1, 1, 0, "m/x", "n/y", "", NULL, 0}, "0: DONE DENIED 0\n");
    set(&d, 0, (struct rule){1, 1, 0, "m/x", "n/y", "", "n/boss", 0}, "0: DONE DENIED 0\n");
    set(&d, 7, (struct rule){1, 8, 0, "n/boss", "n/*", "", NULL, 0}, "7: DONE OK 1\n");
    set(&d, 0, (struct rule){1, 1, 0, "m/x", "n/y", "", "n/boss", 0}, "0: DONE OK 2\n");
    set(&d, 0, (struct rule){1, 1, 0, "m/x", "o/y", "", "n/boss", 0}, "0: DONE DENIED 0\n");
    set(&d, 0, (struct rule){1, 8, 0, "n/aide", "n/y", "", "n/boss", 0}, "0: DONE DENIED 0\n");
    set(&d, 0, (struct rule){3, 0, 0, "n/aide", "role:r", "", "n/boss", 0}, "0: DONE DENIED 0\n");
    set(&d, 7, (struct rule){1, 1, 0, "m/x", "n/y", "", "m/nobody", 0},
        "7: DONE UNKNOWN_AGENT 0\n");
    take_away(&d, 0, 1, "n/boss", "0: DONE DENIED 0\n");
    take_away(&d, 0, 2, "n/boss", "0: DONE OK 1\n");
    take_away(&d, 0, 2, "n/boss", "0: DONE NOT_FOUND 0\n");
    end(&d);
}

static void what_is_passed_on_only_narrows_and_goes_with_its_parent(void **state)
{
    struct driver d;
    uint64_t soon;

    (void)state;
    begin(&d);
    soon = d.now.wall_ms + 1000;
    driver_attach(&d, 0, "n/a", 1);
    driver_attach(&d, 0, "n/b", 1);
    driver_forget(&d);
    set(&d, 7, (struct rule){1, 1, 2, "n/a", "m/*", "t.**", NULL, 0}, "7: DONE OK 1\n");
    set(&d, 0, (struct rule){1, 1, 2, "n/b", "m/x", "t.u", "n/a", 0}, "0: DONE DENIED 0\n");
    set(&d, 0, (struct rule){1, 1, 1, "n/b", "m/x", "", "n/a", 0}, "0: DONE DENIED 0\n");
    set(&d, 0, (struct rule){1, 1, 1, "n/b", "*/x", "t.u", "n/a", 0}, "0: DONE DENIED 0\n");
    set(&d, 0, (struct rule){1, 3, 1, "n/b", "m/x", "t.u", "n/a", 0}, "0: DONE DENIED 0\n");
    set(&d, 0, (struct rule){1, 1, 1, "n/b", "m/x", "t.*", "n/a", soon}, "0: DONE OK 2\n");
    set(&d, 0, (struct rule){1, 1, 0, "o/c", "m/x", "t.u", "n/b", 0}, "0: DONE OK 3\n");
    assert_int_equal(ask(&d, 1, "o/c", "m/x", "t.u").rule, 3);
    assert_int_equal(ali_acl_find(d.node, 3, NULL)->d.expire_ms, soon);
    set(&d, 7, (struct rule){2, 1, 0, "n/b", "m/x", "t.u", NULL, 0}, "7: DONE OK 4\n");
    assert_false(ask(&d, 1, "o/c", "m/x", "t.u").allowed);
    take_away(&d, 7, 4, NULL, "7: DONE OK 1\n");
    assert_true(ask(&d, 1, "o/c", "m/x", "t.u").allowed);
    take_away(&d, 7, 1, NULL, "7: DONE OK 1\n");
    assert_int_equal(d.node->acl.rules.count, 0);
    assert_false(ask(&d, 1, "n/a", "m/x", "t.u").allowed);
    end(&d);
}

static void bad_rules_are_refused_by_what_is_wrong(void **state)
{
    struct driver d;

    (void)state;
    begin(&d);
    set(&d, 7, (struct rule){1, 1, 0, "a*", "b", "", NULL, 0}, "7: DONE BAD_NAME 0\n");
    set(&d, 7, (struct rule){1, 1, 0, "a", "role:b", "", NULL, 0}, "7: DONE BAD_NAME 0\n");
    set(&d, 7, (struct rule){3, 0, 0, "a", "b", "", NULL, 0}, "7: DONE BAD_NAME 0\n");
    set(&d, 7, (struct rule){0, 1, 0, "a", "b", "", NULL, 0}, "7: DONE INVALID 0\n");
    set(&d, 7, (struct rule){4, 1, 0, "a", "b", "", NULL, 0}, "7: DONE INVALID 0\n");
    set(&d, 7, (struct rule){1, 0, 0, "a", "b", "", NULL, 0}, "7: DONE INVALID 0\n");
    set(&d, 7, (struct rule){1, 16, 0, "a", "b", "", NULL, 0}, "7: DONE INVALID 0\n");
    set(&d, 7, (struct rule){2, 1, 1, "a", "b", "", NULL, 0}, "7: DONE INVALID 0\n");
    set(&d, 7, (struct rule){1, 1, 9, "a", "b", "", NULL, 0}, "7: DONE INVALID 0\n");
    set(&d, 7, (struct rule){1, 1, 0, "a", "b", "x*", NULL, 0}, "7: DONE INVALID 0\n");
    set(&d, 7, (struct rule){1, 1, 0, "a", "b", "", NULL, 1}, "7: DONE INVALID 0\n");
    set(&d, 7, (struct rule){3, 0, 0, "role:a", "role:b", "", NULL, 0}, "7: DONE OK 1\n");
    set(&d, 7, (struct rule){3, 0, 0, "role:b", "role:c", "", NULL, 0}, "7: DONE OK 2\n");
    set(&d, 7, (struct rule){3, 0, 0, "role:c", "role:a", "", NULL, 0}, "7: DONE EXISTS 0\n");
    set(&d, 7, (struct rule){3, 0, 0, "role:a", "role:a", "", NULL, 0}, "7: DONE EXISTS 0\n");
    set(&d, 7, (struct rule){3, 0, 0, "role:a", "role:b", "", NULL, 0}, "7: DONE OK 1\n");
    end(&d);
}

static void administrators_manage_what_others_own(void **state)
{
    struct al_msg_agent_remove m = {.request = 1, .name = al_str_c("n/x")};
    struct driver d;

    (void)state;
    begin(&d);
    driver_open(&d, 2, 1001, 3);
    driver_attach(&d, 0, "n/x", 1);
    driver_close(&d, 0);
    driver_tick(&d, 5000);
    driver_attach(&d, 2, "n/boss", 1);
    driver_forget(&d);
    assert_int_equal(al_put_agent_remove(&d.in, &m), 0);
    driver_send(&d, 2);
    driver_expect(&d, "2: DONE NOT_OWNER 0\n");
    set(&d, 7, (struct rule){1, 8, 0, "n/boss", "n/x", "", NULL, 0}, "7: DONE OK 1\n");
    assert_int_equal(al_put_agent_remove(&d.in, &m), 0);
    driver_send(&d, 2);
    driver_expect(&d, "2: DONE OK 1\n");
    end(&d);
}

/* ---- against the model ------------------------------------------------------------------- */

static const char *const names[] = {"x", "y", "n/x", "n/y", "m/x", "m/z"};
static const char *const kinds[] = {"", "t", "t.a", "t.a.b", "u.a"};

static const char *pick(struct al_test_random *random, const char *const *list, size_t count)
{
    return list[al_test_below(random, count)];
}
#define PICK(random, list) pick(random, list, sizeof(list) / sizeof((list)[0]))

static struct rule random_rule(struct al_test_random *random, uint64_t now_ms)
{
    static const char *const subjects[] = {"x",  "y",      "n/x",    "m/z",    "n/*",    "*/x",
                                           "**", "role:a", "role:b", "role:c", "role:d", "*/*"};
    static const char *const objects[] = {"x",         "n/y",       "m/x",       "*",
                                          "m/*",       "*/x",       "**",        "group:n/g",
                                          "group:*/g", "group:n/*", "group:*/*", "*/*"};
    static const char *const roles[] = {"role:a", "role:b", "role:c", "role:d"};
    static const char *const patterns[] = {"", "", "t", "t.*", "t.**", "*.a", "**", "t.a"};
    struct rule rule = {.effect = 1 + (unsigned)al_test_below(random, 3),
                        .subject = PICK(random, subjects)};

    if (rule.effect == ALI_ACL_MEMBER) {
        rule.object = PICK(random, roles);
    } else {
        rule.object = PICK(random, objects);
        rule.actions = 1 + (unsigned)al_test_below(random, 15);
        rule.kind = PICK(random, patterns);
    }
    if (rule.effect == ALI_ACL_ALLOW)
        rule.hops = (unsigned)al_test_below(random, 4);
    if (al_test_below(random, 3) == 0)
        rule.expire_ms = now_ms + 1 + al_test_below(random, 5000);
    if (al_test_below(random, 2))
        rule.by = PICK(random, names);
    return rule;
}

static void follow(const struct driver *d, struct acl_model *model, size_t *at)
{
    for (; *at < d->record_count; ++*at) {
        const struct journal_record *record = &d->journal[*at];
        struct al_str payload = al_str_of(record->payload, record->size);
        struct ali_rec_rule_set set_record;
        struct ali_rec_rule_remove remove_record;

        if (record->type == ALI_REC_RULE_SET && ali_decode_rec_rule_set(payload, &set_record) == 0)
            acl_model_set(model, &set_record);
        if (record->type == ALI_REC_RULE_REMOVE &&
            ali_decode_rec_rule_remove(payload, &remove_record) == 0)
            acl_model_remove(model, &remove_record);
    }
}

static void compare(struct driver *d, struct al_test_random *random, const struct acl_model *model)
{
    static const char *const objects[] = {"x",         "y",   "n/x",     "n/y",      "m/x",
                                          "group:n/g", "m/z", "group:g", "group:m/h"};
    const char *subject = PICK(random, names), *object = PICK(random, objects);
    const char *kind = PICK(random, kinds);
    unsigned action = 1u << al_test_below(random, 4);
    struct ali_verdict verdict = ask(d, action, subject, object, kind);
    uint64_t rule;
    struct acl_model_question question = {.now_ms = d->node->v.now.wall_ms,
                                          .subject = subject,
                                          .object = object,
                                          .kind = kind,
                                          .action = action};
    bool allowed = acl_model_decide(model, &question, &rule);
    ali_ref from = ali_find_agent_name(d->node, al_str_c(subject));
    ali_ref to = ali_find_agent_name(d->node, al_str_c(object));

    if (allowed != verdict.allowed || rule != verdict.rule)
        fail_msg("%s %u %s '%s': node %d by %llu, model %d by %llu", subject, action, object, kind,
                 verdict.allowed, (unsigned long long)verdict.rule, allowed,
                 (unsigned long long)rule);
    if (to == AL_REF_NONE)
        return;
    for (unsigned i = 0; i < 2; i++) { /* decided, then remembered */
        verdict = ali_acl_verdict(d->node, from, to, (uint8_t)action, al_str_c(kind));
        if (allowed != verdict.allowed || rule != verdict.rule)
            fail_msg("%s %u %s '%s' is remembered wrongly", subject, action, object, kind);
    }
}

static void decisions_are_those_of_the_model(void **state)
{
    struct al_test_random random = al_test_random_new("decisions");
    struct acl_model model = {0};
    struct driver d;
    size_t at = 0;

    (void)state;
    begin(&d);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        driver_attach(&d, 0, names[i], 1);
    for (unsigned step = 0; step < 3000; step++) {
        unsigned what = (unsigned)al_test_below(&random, model.count > 30 ? 8 : 12);

        if (what < 3 && model.count) {
            struct al_msg_acl_remove m = {
                .request = 1, .rule = model.rules[al_test_below(&random, model.count)].id};

            assert_int_equal(al_put_acl_remove(&d.in, &m), 0);
            driver_send(&d, 7);
        } else if (what < 5) {
            driver_tick(&d, al_test_below(&random, 500));
        } else {
            struct rule rule = random_rule(&random, d.now.wall_ms);

            put_rule(&d, &rule);
            driver_send(&d, rule.by ? 0 : 7);
        }
        driver_forget(&d);
        follow(&d, &model, &at);
        assert_int_equal(model.count, d.node->acl.rules.count);
        for (unsigned i = 0; i < 10; i++)
            compare(&d, &random, &model);
    }
    acl_model_deinit(&model);
    end(&d);
}

/* ---- how long it takes ------------------------------------------------------------------- */

static uint64_t nanoseconds(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static void the_cost_is_printed(void **state)
{
    enum { RULES = 10000, ASKS = 20000 };
    uint64_t decided, remembered;
    unsigned allowed = 0;
    struct driver d;
    ali_ref from, to;

    (void)state;
    begin(&d);
    driver_attach(&d, 0, "n/a7", 1);
    driver_attach(&d, 0, "m/b7", 1);
    for (unsigned i = 0; i < RULES; i++) {
        char subject[32], object[32], kind[32];
        struct rule rule = {
            i % 3 ? ALI_ACL_ALLOW : ALI_ACL_DENY, 1, 0, subject, object, kind, NULL, 0};

        snprintf(subject, sizeof subject, i % 7 ? "n/a%u" : "*/a%u", i % 1000);
        snprintf(object, sizeof object, i % 5 ? "m/b%u" : "m/*", i / 10);
        snprintf(kind, sizeof kind, "t.k%u", i);
        put_rule(&d, &rule);
        driver_send(&d, 7);
        driver_forget(&d);
    }
    assert_int_equal(d.node->acl.rules.count, RULES);
    set(&d, 7, (struct rule){1, 1, 0, "o/x", "o/y", "", NULL, 0}, "7: DONE LIMIT 0\n");
    from = ali_find_agent_name(d.node, al_str_c("n/a7"));
    to = ali_find_agent_name(d.node, al_str_c("m/b7"));
    decided = nanoseconds();
    for (unsigned i = 0; i < ASKS; i++)
        allowed += ask(&d, 1, "n/a7", "m/b7", "t.k77").allowed;
    decided = nanoseconds() - decided;
    remembered = nanoseconds();
    for (unsigned i = 0; i < ASKS; i++)
        allowed += ali_acl_verdict(d.node, from, to, 1, al_str_c("t.k77")).allowed;
    remembered = nanoseconds() - remembered;
    print_message("# %u rules: %.0f ns a decision, %.0f ns from memory (%u)\n", RULES,
                  (double)decided / ASKS, (double)remembered / ASKS, allowed);
    driver_deinit(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns_are_read_by_segments),
        cmocka_unit_test(kinds_match_by_segments),
        cmocka_unit_test(namespaces_are_closed_until_a_rule_opens_them),
        cmocka_unit_test(a_deny_counts_from_the_next_message_on),
        cmocka_unit_test(what_waits_is_judged_again),
        cmocka_unit_test(rules_are_made_by_who_may),
        cmocka_unit_test(what_is_passed_on_only_narrows_and_goes_with_its_parent),
        cmocka_unit_test(bad_rules_are_refused_by_what_is_wrong),
        cmocka_unit_test(administrators_manage_what_others_own),
        cmocka_unit_test(decisions_are_those_of_the_model),
        cmocka_unit_test(the_cost_is_printed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
