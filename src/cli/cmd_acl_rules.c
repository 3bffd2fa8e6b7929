/* cmd_acl_rules.c - agentlink acl allow, deny, role, rm: rules made and removed. */
#include "agentlink/acl.h"
#include "base/errors.h"
#include "base/limits.h"
#include "cli/acl.h"
#include <stdlib.h>

int ali_acl_failed(const struct ali_cli *cli, int error)
{
    int code = ali_say_error(cli, error);

    return error == -AL_E_BAD_NAME || error == -AL_E_INVALID ? ALI_EXIT_USAGE : code;
}

struct rule_values {
    const char *action, *by;
    uint64_t expires_ms, hops;
};

#define OFFSET(field) offsetof(struct rule_values, field)
#define OPTION_DO                                                         \
    {                                                                     \
        "do", 0, "WHAT", ALI_CHOICE, OFFSET(action),                      \
            .preset = "send", .choices = "send|join|read|administer|all", \
            .help = "what it is about; all: send, join and read"          \
    }
#define OPTION_EXPIRES                                          \
    {                                                           \
        "expires", 0, "TIME", ALI_DURATION, OFFSET(expires_ms), \
            .help = "does not hold any more after this long"    \
    }
#define OPTION_AS                                                                            \
    {                                                                                        \
        "as", 0, "AGENT", ALI_TEXT, OFFSET(by), .help = "by the right of an agent of yours", \
                                                .complete = ALI_AGENTS                       \
    }

static const struct ali_option allow_options[] = {
    OPTION_DO,
    OPTION_EXPIRES,
    {"hops", 0, "N", ALI_COUNT, OFFSET(hops), .preset = "0", .max = AL_ACL_HOPS_MAX,
     .help = "how often it may be passed on, one after the other"},
    OPTION_AS,
    {.name = NULL},
};

static const struct ali_option deny_options[] = {
    OPTION_DO,
    OPTION_EXPIRES,
    OPTION_AS,
    {.name = NULL},
};

static const struct ali_option role_options[] = {
    OPTION_EXPIRES,
    {.name = NULL},
};

static const struct ali_option rm_options[] = {
    OPTION_AS,
    {.name = NULL},
};

static void print_rule(struct ali_cli *cli, uint64_t rule)
{
    static const char *const headings[] = {"", NULL};
    struct ali_table *table;

    if (cli->json) {
        ali_json_print(cli, json_pack("{so}", "rule", ali_json_count(rule)));
        return;
    }
    table = ali_table_new(cli, headings);
    ali_table_format(table, "rule %llu", (unsigned long long)rule);
    ali_table_end(table, true, NULL);
}

static int set(struct ali_cli *cli, const struct rule_values *v, struct al_acl_rule *rule)
{
    uint64_t number = 0;
    int code = ali_node_open(cli), r;

    if (code)
        return code;
    rule->expire_ms = v->expires_ms ? ali_wall_ms() + v->expires_ms : 0;
    rule->by = v->by;
    r = al_acl_set(cli->client, rule, &number);
    if (r)
        return ali_acl_failed(cli, r);
    print_rule(cli, number);
    return 0;
}

static int run_allow(struct ali_cli *cli, const void *values, char **args)
{
    const struct rule_values *v = values;
    struct al_acl_rule rule = {.effect = AL_ACL_ALLOW,
                               .actions = ali_acl_actions(v->action),
                               .subject = args[0],
                               .object = args[1],
                               .kind = args[2],
                               .hops = (unsigned)v->hops};

    return set(cli, v, &rule);
}

static int run_deny(struct ali_cli *cli, const void *values, char **args)
{
    const struct rule_values *v = values;
    struct al_acl_rule rule = {.effect = AL_ACL_DENY,
                               .actions = ali_acl_actions(v->action),
                               .subject = args[0],
                               .object = args[1],
                               .kind = args[2]};

    return set(cli, v, &rule);
}

static int run_role(struct ali_cli *cli, const void *values, char **args)
{
    char role[AL_NAME_MAX + 8];
    struct al_acl_rule rule = {.effect = AL_ACL_MEMBER, .subject = args[1], .object = role};

    snprintf(role, sizeof role, "role:%s", args[0]);
    return set(cli, values, &rule);
}

static int run_rm(struct ali_cli *cli, const void *values, char **args)
{
    const struct rule_values *v = values;
    char *end;
    uint64_t rule = strtoull(args[0], &end, 10);
    int code, r;

    if (*end || end == args[0]) {
        ali_say(cli, "'%s' is not the number of a rule; 'agentlink acl ls' shows them",
                ali_safe_c(args[0]));
        return ALI_EXIT_USAGE;
    }
    code = ali_node_open(cli);
    if (code)
        return code;
    r = al_acl_remove(cli->client, rule, v->by);
    if (r == -AL_E_NOT_FOUND) {
        ali_say(cli, "there is no rule %llu; 'agentlink acl ls' shows them",
                (unsigned long long)rule);
        return ALI_EXIT_REFUSED;
    }
    if (r)
        return ali_acl_failed(cli, r);
    if (cli->json)
        ali_json_print(cli, json_pack("{so sb}", "rule", ali_json_count(rule), "removed", true));
    return 0;
}

const struct ali_command ali_cmd_acl_rules[] = {
    {
        .group = "acl",
        .name = "allow",
        .summary = "let agents do something",
        .args = "SUBJECT OBJECT [KIND]",
        .args_min = 2,
        .args_max = 3,
        .doc = "SUBJECT is an agent, a pattern or role:NAME; OBJECT an agent, group:NAME or a\n"
               "pattern. In a pattern * stands for a whole namespace or name, ** for everybody. "
               "KIND\nis a kind of message; its segments between dots may be *, the last one **.\n"
               "Without rules agents of one namespace may do everything to each other but\n"
               "administer, others nothing. Only root and the node's own user make rules, and\n"
               "agents by a right of their own (--as).",
        .examples = "agentlink acl allow 'billing/*' reports/builder 'report.*'\n"
                    "agentlink acl allow role:operators '**' --do administer\n"
                    "agentlink acl allow alice group:ops/alerts --do all --expires 7d",
        .options = allow_options,
        .values_size = sizeof(struct rule_values),
        .run = run_allow,
    },
    {
        .group = "acl",
        .name = "deny",
        .summary = "forbid agents something, whatever allows it",
        .args = "SUBJECT OBJECT [KIND]",
        .args_min = 2,
        .args_max = 3,
        .doc = "As acl allow; a deny that matches counts before every allow. Messages that wait\n"
               "and are forbidden when it is their turn become dead letters.",
        .examples = "agentlink acl deny '*/intern' 'billing/*'",
        .options = deny_options,
        .values_size = sizeof(struct rule_values),
        .run = run_deny,
    },
    {
        .group = "acl",
        .name = "role",
        .summary = "make an agent, a pattern or a role a member of a role",
        .args = "ROLE MEMBER",
        .args_min = 2,
        .args_max = 2,
        .doc = "A member has all rights and restrictions of the role and of the roles that it is\n"
               "a member of. MEMBER is an agent, a pattern or role:NAME.",
        .examples = "agentlink acl role operators alice\n"
                    "agentlink acl role operators role:admins",
        .options = role_options,
        .values_size = sizeof(struct rule_values),
        .run = run_role,
    },
    {
        .group = "acl",
        .name = "rm",
        .summary = "remove a rule or a membership",
        .args = "RULE",
        .args_min = 1,
        .args_max = 1,
        .doc = "RULE is its number. What was passed on by its right goes with it.",
        .options = rm_options,
        .values_size = sizeof(struct rule_values),
        .run = run_rm,
    },
    {.name = NULL},
};
