/* cmd_acl.c - agentlink acl test, ls: what the permissions say. */
#include "agentlink/acl.h"
#include "cli/acl.h"
#include <string.h>

/* ---- texts ------------------------------------------------------------------------------- */

static const struct {
    const char *word;
    unsigned actions;
} words[] = {{"send", AL_ACL_SEND},
             {"join", AL_ACL_JOIN},
             {"read", AL_ACL_READ},
             {"administer", AL_ACL_ADMINISTER},
             {"all", AL_ACL_SEND | AL_ACL_JOIN | AL_ACL_READ}};

unsigned ali_acl_actions(const char *word)
{
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (strcmp(words[i].word, word) == 0)
            return words[i].actions;
    return 0;
}

/* "send,join"; a membership has none. */
static const char *actions_text(unsigned actions, char ret_text[64])
{
    size_t n = 0;

    ret_text[0] = 0;
    for (unsigned i = 0; i < 4; i++)
        if (actions & words[i].actions)
            n += (size_t)snprintf(ret_text + n, 64 - n, "%s%s", n ? "," : "", words[i].word);
    return ret_text;
}

static const char *effect_word(enum al_acl_effect effect)
{
    return effect == AL_ACL_ALLOW ? "allow" : effect == AL_ACL_DENY ? "deny" : "member";
}

static const char *state_word(enum al_acl_state state)
{
    return state == AL_ACL_HOLDS ? "holds" : state == AL_ACL_EXPIRED ? "expired" : "unbacked";
}

static json_t *rule_json(const struct al_acl_rule *rule)
{
    json_t *object = json_object(), *actions = json_array();

    for (unsigned i = 0; i < 4; i++)
        if (rule->actions & words[i].actions)
            json_array_append_new(actions, json_string(words[i].word));
    json_object_set_new(object, "rule", ali_json_count(rule->rule));
    json_object_set_new(object, "effect", json_string(effect_word(rule->effect)));
    json_object_set_new(object, "actions", actions);
    json_object_set_new(object, "subject", ali_json_text(rule->subject));
    json_object_set_new(object, "object", ali_json_text(rule->object));
    json_object_set_new(object, "kind", ali_json_text(rule->kind));
    json_object_set_new(object, "state", json_string(state_word(rule->state)));
    json_object_set_new(object, "hops", ali_json_count(rule->hops));
    json_object_set_new(object, "parent", ali_json_count(rule->parent));
    json_object_set_new(object, "by", ali_json_text(rule->by));
    json_object_set_new(object, "uid", ali_json_count(rule->uid));
    json_object_set_new(object, "made", ali_json_time(rule->made_ms));
    json_object_set_new(object, "expires", ali_json_time(rule->expire_ms));
    return object;
}

/* ---- ls ---------------------------------------------------------------------------------- */

struct listing {
    struct ali_cli *cli;
    struct ali_table *table;
};

static int add_row(void *ctx, const struct al_acl_rule *rule)
{
    struct listing *listing = ctx;
    struct ali_table *table = listing->table;
    char text[64];

    if (listing->cli->json) {
        ali_json_print(listing->cli, rule_json(rule));
        return 0;
    }
    ali_table_format(table, "%llu", (unsigned long long)rule->rule);
    ali_table_text(table, effect_word(rule->effect));
    ali_table_text(table, rule->effect == AL_ACL_MEMBER ? "-" : actions_text(rule->actions, text));
    ali_table_text(table, rule->subject);
    ali_table_text(table, rule->object);
    ali_table_text(table, *rule->kind ? rule->kind : "-");
    ali_table_text(table, *rule->by ? rule->by : "-");
    ali_table_text(table, rule->expire_ms ? ali_format_time(rule->expire_ms, text) : "-");
    if (rule->state == AL_ACL_HOLDS)
        ali_table_text(table, state_word(rule->state));
    else
        ali_table_put(table, ALI_BAD, al_str_c(state_word(rule->state)));
    return 0;
}

static int run_ls(struct ali_cli *cli, const void *values, char **args)
{
    static const char *const headings[] = {"RULE", "EFFECT", "ACTIONS", "SUBJECT", "OBJECT",
                                           "KIND", "BY",     "EXPIRES", "STATE",   NULL};
    struct listing listing = {.cli = cli};
    int code = ali_node_open(cli), r;

    (void)values;
    (void)args;
    if (code)
        return code;
    listing.table = ali_table_new(cli, headings);
    r = al_acl_list(cli->client, add_row, &listing);
    ali_table_end(listing.table, r == 0 && !cli->json,
                  "no rules: agents of one namespace may talk to each other, no others");
    return r ? ali_say_error(cli, r) : 0;
}

/* ---- test -------------------------------------------------------------------------------- */

struct test_values {
    const char *action;
    bool explain;
};

#define OFFSET(field) offsetof(struct test_values, field)

static const struct ali_option test_options[] = {
    {"do", 0, "WHAT", ALI_CHOICE, OFFSET(action), .preset = "send",
     .choices = "send|join|read|administer", .help = "what is to be done"},
    {"explain", 0, NULL, ALI_FLAG, OFFSET(explain), .help = "say which rule decides"},
    {.name = NULL},
};

struct decision {
    struct ali_cli *cli;
    json_t *json;
    char text[640];
};

static int note_rule(void *ctx, const struct al_acl_rule *rule)
{
    struct decision *decision = ctx;
    char actions[64];

    if (decision->cli->json)
        decision->json = rule_json(rule);
    snprintf(decision->text, sizeof decision->text, "rule %llu: %s %s to %s %s%s%s%s%s",
             (unsigned long long)rule->rule, effect_word(rule->effect), rule->subject,
             actions_text(rule->actions, actions), rule->object, *rule->kind ? " kind " : "",
             rule->kind, *rule->by ? ", made by " : "", rule->by);
    return 0;
}

static void print_decision(struct ali_cli *cli, const struct al_acl_verdict *verdict,
                           const struct decision *decision, bool explain)
{
    static const char *const headings[] = {"", "", NULL};
    struct ali_table *table;

    if (cli->json) {
        ali_json_print(cli, json_pack("{sb so so so?}", "allowed", verdict->allowed, "rule",
                                      ali_json_count(verdict->rule), "version",
                                      ali_json_count(verdict->version), "decided_by",
                                      decision->json ? decision->json : json_null()));
        return;
    }
    table = ali_table_new(cli, headings);
    ali_table_put(table, verdict->allowed ? ALI_GOOD : ALI_BAD,
                  al_str_c(verdict->allowed ? "allowed" : "denied"));
    if (!explain)
        ali_table_text(table, "");
    else if (verdict->rule)
        ali_table_text(table, decision->text);
    else
        ali_table_text(table, verdict->allowed ? "no rule: it stays inside the namespace"
                                               : "no rule allows it");
    ali_table_end(table, true, NULL);
}

static int run_test(struct ali_cli *cli, const void *values, char **args)
{
    const struct test_values *v = values;
    struct decision decision = {.cli = cli};
    struct al_acl_question question = {.subject = args[0],
                                       .action = (enum al_acl_action)ali_acl_actions(v->action),
                                       .object = args[1],
                                       .kind = args[2]};
    struct al_acl_verdict verdict;
    int code = ali_node_open(cli), r;

    if (code)
        return code;
    r = al_acl_test(cli->client, &question, &verdict, note_rule, &decision);
    if (r)
        return ali_acl_failed(cli, r);
    print_decision(cli, &verdict, &decision, v->explain);
    return verdict.allowed ? 0 : ALI_EXIT_REFUSED;
}

const struct ali_command ali_cmd_acl[] = {
    {
        .group = "acl",
        .name = "test",
        .summary = "ask whether somebody may do something",
        .args = "SUBJECT OBJECT [KIND]",
        .args_min = 2,
        .args_max = 3,
        .doc =
            "Neither agents nor groups need exist. Exits with 0 if it is allowed, with 1 if not.",
        .examples = "agentlink acl test billing/cron reports/builder report.build --explain\n"
                    "agentlink acl test alice group:ops --do join",
        .options = test_options,
        .values_size = sizeof(struct test_values),
        .run = run_test,
    },
    {
        .group = "acl",
        .name = "ls",
        .summary = "list the rules",
        .run = run_ls,
    },
    {.name = NULL},
};
