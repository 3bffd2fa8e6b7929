/* cmd_kinds.c - agentlink kinds ls, set, remove, generic. */
#include "base/limits.h"
#include "cli/node.h"

struct kinds_values {
    const char *title;
    uint64_t ack_timeout_ms, retries, base_ms, factor, cap_ms, priority;
    uint64_t percent, samples, call_timeout_ms, open_ms;
    bool own_breaker;
};

#define OFFSET(field) offsetof(struct kinds_values, field)

static const struct ali_option set_options[] = {
    {"title", 0, "TEXT", ALI_TEXT, OFFSET(title), .help = "readable name for logs and tables"},
    {"ack-timeout", 0, "TIME", ALI_DURATION, OFFSET(ack_timeout_ms), .keeps = true,
     .max = AL_LEASE_MAX_MS, .help = "lease time of a message; 1s to 10s by how critical it is"},
    {"retries", 0, "N", ALI_COUNT, OFFSET(retries), .keeps = true, .max = AL_RETRY_COUNT_MAX,
     .help = "retries before a message is a dead letter; 2 to 5 by importance"},
    {"retry-base", 0, "TIME", ALI_DURATION, OFFSET(base_ms), .keeps = true,
     .max = AL_RETRY_CAP_MAX_MS, .help = "delay before the first retry"},
    {"retry-factor", 0, "N", ALI_COUNT, OFFSET(factor), .keeps = true, .min = 1, .max = 10,
     .help = "by which it grows"},
    {"retry-cap", 0, "TIME", ALI_DURATION, OFFSET(cap_ms), .keeps = true,
     .max = AL_RETRY_CAP_MAX_MS, .help = "largest delay"},
    {"priority", 0, "N", ALI_COUNT, OFFSET(priority), .keeps = true, .max = 9,
     .help = "of messages whose sender gives none"},
    {"breaker-percent", 0, "N", ALI_COUNT, OFFSET(percent), .keeps = true, .max = 100,
     .help = "errors of the last minute that open the circuit breaker; 0: it never opens"},
    {"breaker-samples", 0, "N", ALI_COUNT, OFFSET(samples), .keeps = true, .min = 1,
     .max = AL_BREAKER_SAMPLES_MAX, .help = "outcomes that are needed before"},
    {"call-timeout", 0, "TIME", ALI_DURATION, OFFSET(call_timeout_ms), .keeps = true,
     .max = AL_LEASE_MAX_MS, .help = "an attempt without ack or extension for so long is an error"},
    {"breaker-open", 0, "TIME", ALI_DURATION, OFFSET(open_ms), .keeps = true,
     .max = AL_BREAKER_OPEN_MAX_MS, .help = "how long a breaker stays open before a probe"},
    {"own-breaker", 0, NULL, ALI_FLAG, OFFSET(own_breaker),
     .help = "messages of this kind have a breaker of their own at each destination"},
    {.name = NULL},
};

/* ---- ls ---------------------------------------------------------------------------------- */

struct listing {
    struct ali_cli *cli;
    struct ali_table *table;
};

static const char *origin_of(const struct al_kind_info *kind)
{
    return kind->registered ? "registered" : kind->configured ? "configuration" : "default";
}

static json_t *rate_of(uint64_t part, const struct al_kind_info *kind)
{
    uint64_t ended = kind->success + kind->failure;

    return ended ? json_real((double)part / (double)ended) : json_null();
}

static void print_kind_json(struct ali_cli *cli, const struct al_kind_info *kind)
{
    uint64_t ended = kind->success + kind->failure;
    json_t *object = json_object();
    const struct {
        const char *name;
        uint64_t value;
    } numbers[] = {{"ack_timeout_ms", kind->ack_timeout_ms},
                   {"retry_base_ms", kind->retry_base_ms},
                   {"retry_factor", kind->retry_factor},
                   {"retry_cap_ms", kind->retry_cap_ms},
                   {"retry_max", kind->retry_max},
                   {"breaker_percent", kind->breaker_percent},
                   {"breaker_samples", kind->breaker_samples},
                   {"call_timeout_ms", kind->call_timeout_ms},
                   {"breaker_open_ms", kind->breaker_open_ms},
                   {"sent", kind->sent},
                   {"success", kind->success},
                   {"failure", kind->failure},
                   {"retries", kind->retries}};

    json_object_set_new(object, "kind", ali_json_text(kind->kind));
    json_object_set_new(object, "title", ali_json_text(kind->title));
    json_object_set_new(object, "origin", ali_json_text(origin_of(kind)));
    json_object_set_new(object, "priority",
                        kind->priority == AL_KIND_NO_PRIORITY ? json_null()
                                                              : ali_json_count(kind->priority));
    json_object_set_new(object, "own_breaker", json_boolean(kind->breaker_own));
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        json_object_set_new(object, numbers[i].name, ali_json_count(numbers[i].value));
    json_object_set_new(object, "latency_ms",
                        ended ? json_real((double)kind->latency_sum_ms / (double)ended)
                              : json_null());
    json_object_set_new(object, "success_rate", rate_of(kind->success, kind));
    ali_json_print(cli, object);
}

static int add_row(void *ctx, const struct al_kind_info *kind)
{
    struct listing *listing = ctx;
    struct ali_table *table = listing->table;
    uint64_t ended = kind->success + kind->failure;
    char text[ALI_SHORT_CAP];

    if (listing->cli->json) {
        print_kind_json(listing->cli, kind);
        return 0;
    }
    ali_table_text(table, *kind->kind ? kind->kind : "-");
    ali_table_text(table, origin_of(kind));
    ali_table_text(table, ali_format_span(kind->ack_timeout_ms, text));
    ali_table_count(table, kind->retry_max);
    if (kind->priority == AL_KIND_NO_PRIORITY)
        ali_table_text(table, "-");
    else
        ali_table_count(table, kind->priority);
    ali_table_format(table, "%u %%%s", kind->breaker_percent, kind->breaker_own ? " own" : "");
    ali_table_count(table, kind->sent);
    ali_table_count(table, kind->success);
    ali_table_alarm(table, kind->failure);
    ali_table_count(table, kind->retries);
    if (ended)
        ali_table_format(table, "%.1f", (double)kind->latency_sum_ms / (double)ended);
    else
        ali_table_text(table, "-");
    ali_table_text(table, *kind->title ? kind->title : "-");
    return 0;
}

static int run_ls(struct ali_cli *cli, const void *values, char **args)
{
    static const char *const headings[] = {
        "KIND",     "FROM",     ">ACK TIMEOUT", ">MAX RETRIES",    ">PRIORITY", ">BREAKER", ">SENT",
        ">SUCCESS", ">FAILURE", ">RETRIES",     ">AVG LATENCY MS", "TITLE",     NULL};
    struct listing listing = {.cli = cli};
    int code = ali_node_open(cli), r;

    (void)values;
    (void)args;
    if (code)
        return code;
    listing.table = ali_table_new(cli, headings);
    r = al_kind_list(cli->client, add_row, &listing);
    ali_table_end(listing.table, r == 0 && !cli->json,
                  "no kinds yet; one is registered by 'agentlink kinds set KIND'");
    return r ? ali_say_error(cli, r) : 0;
}

/* ---- set, remove, generic ---------------------------------------------------------------- */

static int report(struct ali_cli *cli, const char *kind, int r)
{
    if (r == -AL_E_NOT_FOUND) {
        ali_say(cli, "the kind '%s' is not registered; 'agentlink kinds ls' lists them",
                ali_safe_c(kind));
        return ALI_EXIT_REFUSED;
    }
    if (r)
        return ali_say_error(cli, r);
    if (cli->json)
        ali_json_print(cli, json_pack("{so sb}", "kind", ali_json_text(kind), "done", true));
    return 0;
}

static void take(uint64_t given, uint32_t *value)
{
    if (given != ALI_NOT_GIVEN)
        *value = given > UINT32_MAX ? UINT32_MAX : (uint32_t)given;
}

struct change {
    struct ali_cli *cli;
    const struct kinds_values *values;
    int result;
};

/* What holds now, with what was asked for changed. */
static int change_kind(void *ctx, const struct al_kind_info *now)
{
    struct change *change = ctx;
    const struct kinds_values *v = change->values;
    struct al_kind_info kind = *now;

    if (v->title)
        kind.title = v->title;
    take(v->ack_timeout_ms, &kind.ack_timeout_ms);
    take(v->retries, &kind.retry_max);
    take(v->base_ms, &kind.retry_base_ms);
    take(v->factor, &kind.retry_factor);
    take(v->cap_ms, &kind.retry_cap_ms);
    take(v->priority, &kind.priority);
    take(v->percent, &kind.breaker_percent);
    take(v->samples, &kind.breaker_samples);
    take(v->call_timeout_ms, &kind.call_timeout_ms);
    take(v->open_ms, &kind.breaker_open_ms);
    kind.breaker_own = kind.breaker_own || v->own_breaker;
    change->result = al_kind_set(change->cli->client, &kind);
    return 0;
}

static int run_set(struct ali_cli *cli, const void *values, char **args)
{
    struct change change = {.cli = cli, .values = values};
    int code = ali_node_open(cli), r;

    if (code)
        return code;
    r = al_kind_show(cli->client, args[0], change_kind, &change);
    return report(cli, args[0], r ? r : change.result);
}

static int run_remove(struct ali_cli *cli, const void *values, char **args)
{
    int code = ali_node_open(cli);

    (void)values;
    return code ? code : report(cli, args[0], al_kind_remove(cli->client, args[0]));
}

static int run_generic(struct ali_cli *cli, const void *values, char **args)
{
    const struct al_kind_info *kind;
    int code = ali_node_open(cli);

    (void)values;
    (void)args;
    for (unsigned i = 0; !code && (kind = al_kind_generic(i)) != NULL; i++)
        code = report(cli, kind->kind, al_kind_set(cli->client, kind));
    return code;
}

const struct ali_command ali_cmd_kinds[] = {
    {
        .group = "kinds",
        .name = "ls",
        .summary = "list the kinds of messages, their settings and metrics",
        .doc = "Kinds that are registered, stand in the node's configuration, or were seen since\n"
               "its start.",
        .run = run_ls,
    },
    {
        .group = "kinds",
        .name = "set",
        .summary = "register a kind, or change its settings",
        .args = "KIND",
        .args_min = 1,
        .args_max = 1,
        .doc = "What is registered is durable and counts before the node's configuration. What is\n"
               "not named stays as it is. A kind is 1 to 64 of A-Z a-z 0-9 . _ : / -",
        .examples = "agentlink kinds set ComputeForces --ack-timeout 10s --retries 5",
        .options = set_options,
        .values_size = sizeof(struct kinds_values),
        .run = run_set,
    },
    {
        .group = "kinds",
        .name = "remove",
        .summary = "remove the registration of a kind",
        .args = "KIND",
        .args_min = 1,
        .args_max = 1,
        .doc = "Messages of the kind are delivered as before, by what the configuration says.",
        .run = run_remove,
    },
    {
        .group = "kinds",
        .name = "generic",
        .summary = "register the generic kinds that come with AgentLink",
        .doc = "generic.command, .query, .task, .event, .stream and .bulk, for programs that need\n"
               "no kinds of their own.",
        .run = run_generic,
    },
    {.name = NULL},
};
