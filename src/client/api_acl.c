/* api_acl.c - permissions: rules made, removed, listed, and questions about them. */
#include "agentlink/acl.h"
#include "base/errors.h"
#include "base/limits.h"
#include "base/text.h"
#include "client/ask.h"

#define PAGE 200u

/* What does not fit into the frame; the node says what is wrong with the rest. */
static int check_text(const char *text, uint32_t limit, const char *what)
{
    if (!text || strlen(text) <= limit)
        return 0;
    return ali_client_fail(-AL_E_BAD_NAME, "the %s is longer than %u bytes", what, limit);
}

static int check(const struct al_acl_rule *rule)
{
    int r = 0;

    if (!rule->subject || !*rule->subject || !rule->object || !*rule->object)
        return ali_client_fail(-AL_E_BAD_NAME, "a rule needs a subject and an object");
    if (rule->actions > UINT8_MAX || rule->hops > AL_ACL_HOPS_MAX)
        return ali_client_fail(-AL_E_INVALID,
                               "hops are 0 to %u, actions a sum of AL_ACL_SEND, "
                               "AL_ACL_JOIN, AL_ACL_READ, AL_ACL_ADMINISTER",
                               AL_ACL_HOPS_MAX);
    r = check_text(rule->subject, AL_ACL_NAME_MAX, "subject");
    if (r == 0)
        r = check_text(rule->object, AL_ACL_NAME_MAX, "object");
    if (r == 0)
        r = check_text(rule->kind, AL_KIND_MAX, "kind");
    return r == 0 ? check_text(rule->by, AL_NAME_MAX, "agent that makes the rule") : r;
}

static int explain(const struct al_acl_rule *rule, int error)
{
    switch (-error) {
    case AL_E_BAD_NAME:
        return ali_client_fail(error,
                               "'%.100s' or '%.100s' cannot stand there: agents and patterns are "
                               "[NAMESPACE/]NAME with * for a whole part, groups "
                               "group:[NAMESPACE/]NAME, roles role:NAME, ** is everybody",
                               rule->subject, rule->object);
    case AL_E_EXISTS:
        return ali_client_fail(error,
                               "'%.100s' has '%.100s' as a member already: a role cannot "
                               "be a member of itself",
                               rule->subject, rule->object);
    case AL_E_INVALID:
        return ali_client_fail(error,
                               "not a rule: kinds are segments between dots, * for one, ** at the "
                               "end for the rest; it must expire later than now; only an allow "
                               "has hops");
    case AL_E_LIMIT:
        return ali_client_fail(error, "a node has at most %u rules and %u roles; remove some",
                               AL_ACL_RULES_MAX, AL_ROLES_MAX);
    default:
        return error;
    }
}

int al_acl_set(struct al_client *client, const struct al_acl_rule *rule, uint64_t *ret_rule)
{
    struct al_msg_acl_set m = {.effect = (uint8_t)rule->effect,
                               .hops = (uint8_t)rule->hops,
                               .expire_ms = rule->expire_ms,
                               .subject = al_str_c(rule->subject),
                               .object = al_str_c(rule->object),
                               .kind = al_str_c(rule->kind),
                               .by = al_str_c(rule->by)};
    struct ali_ask ask;
    int r = check(rule);

    if (r < 0)
        return r;
    m.actions = rule->effect == AL_ACL_MEMBER ? 0 : (uint8_t)rule->actions;
    ali_ask_begin(&ask, client, true);
    m.request = ali_ask_number(&ask);
    r = ali_ask_end(&ask, al_put_acl_set(&ask.request.frame, &m));
    if (r == 0 && ret_rule)
        *ret_rule = ask.request.count;
    ali_ask_deinit(&ask);
    return explain(rule, r);
}

int al_acl_allow(struct al_client *client, const char *subject, unsigned actions,
                 const char *object, const char *kind)
{
    struct al_acl_rule rule = {.effect = AL_ACL_ALLOW,
                               .actions = actions,
                               .subject = subject,
                               .object = object,
                               .kind = kind};

    return al_acl_set(client, &rule, NULL);
}

int al_acl_deny(struct al_client *client, const char *subject, unsigned actions, const char *object,
                const char *kind)
{
    struct al_acl_rule rule = {.effect = AL_ACL_DENY,
                               .actions = actions,
                               .subject = subject,
                               .object = object,
                               .kind = kind};

    return al_acl_set(client, &rule, NULL);
}

int al_acl_remove(struct al_client *client, uint64_t rule, const char *by)
{
    struct al_msg_acl_remove m = {.rule = rule, .by = al_str_c(by)};
    struct ali_ask ask;
    int r = check_text(by, AL_NAME_MAX, "agent that removes the rule");

    if (r < 0)
        return r;
    ali_ask_begin(&ask, client, true);
    m.request = ali_ask_number(&ask);
    r = ali_ask_end(&ask, al_put_acl_remove(&ask.request.frame, &m));
    ali_ask_deinit(&ask);
    return r;
}

/* ---- questions --------------------------------------------------------------------------- */

/* Texts in rows stand in the frame without NUL: copies them to `room`. */
static const char *text_at(char room[256], struct al_str text)
{
    uint8_t *at = (uint8_t *)room;

    return ali_text_copy(&at, text);
}

static int tell_row(const struct al_msg_acl_row *row, al_acl_fn *fn, void *ctx)
{
    char texts[4][256];
    struct al_acl_rule rule = {.effect = (enum al_acl_effect)row->effect,
                               .actions = row->actions,
                               .subject = text_at(texts[0], row->subject),
                               .object = text_at(texts[1], row->object),
                               .kind = text_at(texts[2], row->kind),
                               .expire_ms = row->expire_ms,
                               .hops = row->hops,
                               .by = text_at(texts[3], row->by),
                               .rule = row->rule,
                               .state = (enum al_acl_state)row->state,
                               .parent = row->parent,
                               .made_ms = row->wall_ms,
                               .uid = row->uid};

    return fn(ctx, &rule);
}

/* Tells the rows of an answer that has come; `after` is moved to the last number. */
static int tell_rows(struct ali_ask *ask, uint64_t *after, al_acl_fn *fn, void *ctx)
{
    struct al_msg_acl_row row = {0};
    struct al_frame frame;
    int r = 0;

    while (r == 0 && ali_ask_row(ask, AL_MSG_ACL_ROW, &frame)) {
        r = al_decode_acl_row(frame.body, &row);
        if (r < 0)
            return ali_client_failed(r, NULL);
        *after = row.rule;
        if (fn)
            r = tell_row(&row, fn, ctx);
    }
    return r;
}

int al_acl_list(struct al_client *client, al_acl_fn *fn, void *ctx)
{
    uint64_t after = 0;
    uint32_t rows = PAGE;
    int r = 0;

    while (r == 0 && rows == PAGE) {
        struct al_msg_acl_list m = {.limit = PAGE, .after = after};
        struct ali_ask ask;

        ali_ask_begin(&ask, client, false);
        m.request = ali_ask_number(&ask);
        r = ali_ask_end(&ask, al_put_acl_list(&ask.request.frame, &m));
        if (r == 0)
            r = tell_rows(&ask, &after, fn, ctx);
        rows = ask.rows;
        ali_ask_deinit(&ask);
    }
    return r;
}

int al_acl_test(struct al_client *client, const struct al_acl_question *question,
                struct al_acl_verdict *ret_verdict, al_acl_fn *fn, void *ctx)
{
    struct al_acl_rule about = {.actions = question->action,
                                .subject = question->subject,
                                .object = question->object,
                                .kind = question->kind};
    struct al_msg_acl_test m = {.action = (uint8_t)question->action,
                                .subject = al_str_c(question->subject),
                                .object = al_str_c(question->object),
                                .kind = al_str_c(question->kind)};
    struct al_msg_acl_verdict verdict = {0};
    struct al_frame frame;
    struct ali_ask ask;
    uint64_t after;
    int r = check(&about);

    if (r < 0)
        return r;
    ali_ask_begin(&ask, client, false);
    m.request = ali_ask_number(&ask);
    r = ali_ask_end(&ask, al_put_acl_test(&ask.request.frame, &m));
    if (r < 0)
        r = explain(&about, r);
    else if (!ali_ask_row(&ask, AL_MSG_ACL_VERDICT, &frame) ||
             al_decode_acl_verdict(frame.body, &verdict) < 0)
        r = ali_client_failed(-AL_E_PROTOCOL, NULL);
    if (r == 0) {
        *ret_verdict = (struct al_acl_verdict){
            .allowed = verdict.allowed, .rule = verdict.rule, .version = verdict.version};
        r = tell_rows(&ask, &after, fn, ctx);
    }
    ali_ask_deinit(&ask);
    return r;
}
