/* cmd_identity.c - agentlink identity new, ls, revoke, and join: agents on other machines. */
#include "agentlink/identity.h"
#include "base/errors.h"
#include "cli/node.h"
#include <string.h>

/* ---- new --------------------------------------------------------------------------------- */

struct new_values {
    const char *addresses;
    uint64_t ttl_ms;
};

static const struct ali_option new_options[] = {
    {"ttl", 0, "TIME", ALI_DURATION, offsetof(struct new_values, ttl_ms),
     .help = "life of the token, 1s to 7d (default: 1 hour)"},
    {"address", 0, "HOST:PORT", ALI_TEXT, offsetof(struct new_values, addresses),
     .help = "where the node is reached from elsewhere; several separated by commas (default: "
             "where it listens)"},
    {.name = NULL},
};

static int identity_failed(struct ali_cli *cli, const char *agent, int error)
{
    switch (-error) {
    case AL_E_NOT_OWNER:
        ali_say(cli,
                "the agent '%s' belongs to another user of this machine; ask that user or root",
                ali_safe_c(agent));
        return ALI_EXIT_REFUSED;
    case AL_E_DENIED:
        ali_say(cli, "identities are made and revoked on the node's own machine only");
        return ALI_EXIT_REFUSED;
    case AL_E_BAD_NAME:
    case AL_E_INVALID:
        ali_say_error(cli, error);
        return ALI_EXIT_USAGE;
    default:
        return ali_say_error(cli, error);
    }
}

static int run_new(struct ali_cli *cli, const void *values, char **args)
{
    const struct new_values *v = values;
    struct al_identity_token token;
    char text[ALI_TIME_CAP];
    int code = ali_node_open(cli), r;

    if (code)
        return code;
    r = al_identity_new(cli->client, args[0], v->ttl_ms, v->addresses, &token);
    if (r)
        return identity_failed(cli, args[0], r);
    if (cli->json) {
        ali_json_print(cli,
                       json_pack("{ss ss so ss}", "agent", args[0], "identity", token.identity,
                                 "expires", ali_json_time(token.expires_ms), "token", token.token));
    } else {
        puts(token.token);
        if (cli->out_terminal)
            ali_say(cli,
                    "on the other machine, before %s: agentlink join TOKEN (whoever has it can "
                    "become %s, once)",
                    ali_format_time(token.expires_ms, text), ali_safe_c(args[0]));
    }
    return 0;
}

/* ---- ls ---------------------------------------------------------------------------------- */

struct listing {
    struct ali_cli *cli;
    struct ali_table *table;
};

static const char *state_name(const struct al_identity_info *info)
{
    switch (info->state) {
    case AL_IDENTITY_STATE_WAITING:
        return "waiting";
    case AL_IDENTITY_STATE_ACTIVE:
        return "active";
    case AL_IDENTITY_STATE_REVOKED:
        return "revoked";
    }
    return "unknown";
}

static int add_row(void *ctx, const struct al_identity_info *info)
{
    struct listing *listing = ctx;
    struct ali_table *table = listing->table;
    char text[ALI_TIME_CAP];
    json_t *object;

    if (!listing->cli->json) {
        ali_table_text(table, info->agent);
        ali_table_put(table, info->state == AL_IDENTITY_STATE_REVOKED ? ALI_BAD : ALI_PLAIN,
                      al_str_c(state_name(info)));
        ali_table_count(table, info->links);
        ali_table_text(table, info->issued_ms ? ali_format_time(info->issued_ms, text) : "-");
        ali_table_text(table, info->token_ms ? ali_format_time(info->token_ms, text) : "-");
        return 0;
    }
    object = json_object();
    json_object_set_new(object, "agent", ali_json_text(info->agent));
    json_object_set_new(object, "state", json_string(state_name(info)));
    json_object_set_new(object, "uid", ali_json_count(info->uid));
    json_object_set_new(object, "links", ali_json_count(info->links));
    json_object_set_new(object, "made", ali_json_time(info->made_ms));
    json_object_set_new(object, "token_until", ali_json_time(info->token_ms));
    json_object_set_new(object, "serial", ali_json_count(info->serial));
    json_object_set_new(object, "issued", ali_json_time(info->issued_ms));
    ali_json_print(listing->cli, object);
    return 0;
}

static int run_ls(struct ali_cli *cli, const void *values, char **args)
{
    static const char *const headings[] = {"AGENT",       "STATE",       "LINKS",
                                           "CERTIFICATE", "TOKEN UNTIL", NULL};
    struct listing listing = {.cli = cli};
    int code = ali_node_open(cli), r;

    (void)values;
    if (code)
        return code;
    listing.table = ali_table_new(cli, headings);
    r = al_identity_list(cli->client, args[0], add_row, &listing);
    ali_table_end(listing.table, r == 0 && !cli->json, "no identities");
    if (r == -AL_E_NOT_FOUND) {
        ali_say(cli, "there is no identity of '%s'", ali_safe_c(args[0]));
        return ALI_EXIT_REFUSED;
    }
    return r ? ali_say_error(cli, r) : 0;
}

/* ---- revoke ------------------------------------------------------------------------------ */

struct revoke_values {
    bool forget;
};

static const struct ali_option revoke_options[] = {
    {"forget", 0, NULL, ALI_FLAG, offsetof(struct revoke_values, forget),
     .help = "do not list it any more either"},
    {.name = NULL},
};

static int run_revoke(struct ali_cli *cli, const void *values, char **args)
{
    const struct revoke_values *v = values;
    int code = ali_node_open(cli), r;

    if (code)
        return code;
    r = al_identity_revoke(cli->client, args[0], v->forget);
    if (r)
        return identity_failed(cli, args[0], r);
    if (cli->json)
        ali_json_print(cli, json_pack("{ss sb}", "agent", args[0], "revoked", true));
    return 0;
}

/* ---- join -------------------------------------------------------------------------------- */

struct join_values {
    const char *addresses;
    uint64_t timeout_ms;
    bool replace;
};

static const struct ali_option join_options[] = {
    {"address", 0, "HOST:PORT", ALI_TEXT, offsetof(struct join_values, addresses),
     .help = "the node, where the token names it wrongly"},
    {"timeout", 0, "TIME", ALI_DURATION, offsetof(struct join_values, timeout_ms), .preset = "10s",
     .help = "how long to try"},
    {"replace", 0, NULL, ALI_FLAG, offsetof(struct join_values, replace),
     .help = "replace the identity that is there"},
    {.name = NULL},
};

static int run_join(struct ali_cli *cli, const void *values, char **args)
{
    const struct join_values *v = values;
    struct al_join_options options = {.identity = cli->globals.identity,
                                      .addresses = v->addresses,
                                      .replace = v->replace,
                                      .timeout_ms = (uint32_t)v->timeout_ms};
    struct al_join_result result;
    int r = al_join(args[0], &options, &result);

    if (r)
        return ali_say_error(cli, r);
    if (cli->json)
        ali_json_print(cli, json_pack("{ss ss+}", "identity", result.identity, "node",
                                      "tls:", result.addresses));
    else
        printf("%s\ntls:%s\n", result.identity, result.addresses);
    return 0;
}

const struct ali_command ali_cmd_identity[] = {
    {
        .group = "identity",
        .name = "new",
        .summary = "let a program on another machine be an agent",
        .args = "AGENT",
        .args_min = 1,
        .args_max = 1,
        .doc =
            "Prints a token. Whoever has it may join as this agent, once; hand it over in a way\n"
            "that nobody else can read. A new token for an agent that has joined before voids its\n"
            "older certificates when it is used.",
        .examples = "agentlink identity new worker --ttl 10m",
        .options = new_options,
        .values_size = sizeof(struct new_values),
        .run = run_new,
    },
    {
        .group = "identity",
        .name = "ls",
        .summary = "list the agents that may come from elsewhere",
        .args = "[AGENT]",
        .args_max = 1,
        .run = run_ls,
    },
    {
        .group = "identity",
        .name = "revoke",
        .summary = "end an agent's identity and its connections at once",
        .args = "AGENT",
        .args_min = 1,
        .args_max = 1,
        .options = revoke_options,
        .values_size = sizeof(struct revoke_values),
        .run = run_revoke,
    },
    {
        .name = "join",
        .summary = "become an agent of a node elsewhere, with a token",
        .args = "TOKEN",
        .args_min = 1,
        .args_max = 1,
        .doc =
            "Makes a key, which never leaves this machine, and gets a certificate for it. Both go\n"
            "into the directory of --identity. From then on --node tls:HOST:PORT works, and the\n"
            "certificate is renewed while the agent is connected.",
        .examples = "agentlink join al1AaBb...\n"
                    "agentlink --node tls:node.example:7443 recv --as worker",
        .options = join_options,
        .values_size = sizeof(struct join_values),
        .run = run_join,
    },
    {.name = NULL},
};
