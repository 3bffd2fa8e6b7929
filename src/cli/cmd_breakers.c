/* cmd_breakers.c - agentlink breakers. */
#include "cli/node.h"

struct breakers_values {
    bool all;
};

static const struct ali_option breakers_options[] = {
    {"all", 0, NULL, ALI_FLAG, offsetof(struct breakers_values, all),
     .help = "also those that are closed"},
    {.name = NULL},
};

struct listing {
    struct ali_cli *cli;
    struct ali_table *table;
};

const char *ali_breaker_word(enum al_breaker_state state)
{
    return state == AL_BREAKER_CLOSED ? "closed" : state == AL_BREAKER_OPEN ? "open" : "half-open";
}

static int add_row(void *ctx, const struct al_breaker_info *breaker)
{
    struct listing *listing = ctx;
    struct ali_table *table = listing->table;
    char text[ALI_TIME_CAP];

    if (listing->cli->json) {
        json_t *object = json_object();

        json_object_set_new(object, "agent", ali_json_text(breaker->agent));
        json_object_set_new(object, "kind", ali_json_text(breaker->kind));
        json_object_set_new(object, "state", ali_json_text(ali_breaker_word(breaker->state)));
        json_object_set_new(object, "since", ali_json_time(breaker->since_ms));
        json_object_set_new(object, "left_ms", ali_json_count(breaker->left_ms));
        json_object_set_new(object, "successes", ali_json_count(breaker->successes));
        json_object_set_new(object, "errors", ali_json_count(breaker->errors));
        json_object_set_new(object, "opened", ali_json_count(breaker->opened));
        json_object_set_new(object, "waiting", ali_json_count(breaker->waiting));
        ali_json_print(listing->cli, object);
        return 0;
    }
    ali_table_text(table, breaker->agent);
    ali_table_text(table, *breaker->kind ? breaker->kind : "-");
    ali_table_put(table, breaker->state == AL_BREAKER_CLOSED ? ALI_GOOD : ALI_BAD,
                  al_str_c(ali_breaker_word(breaker->state)));
    ali_table_text(table, breaker->since_ms ? ali_format_time(breaker->since_ms, text) : "-");
    ali_table_text(table, breaker->left_ms ? ali_format_span(breaker->left_ms, text) : "-");
    ali_table_count(table, breaker->successes);
    ali_table_count(table, breaker->errors);
    ali_table_count(table, breaker->opened);
    ali_table_count(table, breaker->waiting);
    return 0;
}

static int run_breakers(struct ali_cli *cli, const void *values, char **args)
{
    static const char *const headings[] = {"AGENT",     "KIND",     "STATE",   "SINCE",
                                           ">PROBE IN", ">SUCCESS", ">ERRORS", ">OPENED",
                                           ">WAITING",  NULL};
    const struct breakers_values *v = values;
    struct listing listing = {.cli = cli};
    int code = ali_node_open(cli), r;

    if (code)
        return code;
    listing.table = ali_table_new(cli, headings);
    r = al_breaker_list(cli->client, args[0], v->all, add_row, &listing);
    ali_table_end(listing.table, r == 0 && !cli->json, "no circuit breaker is open");
    return r ? ali_say_error(cli, r) : 0;
}

const struct ali_command ali_cmd_breakers[] = {
    {
        .name = "breakers",
        .summary = "show the circuit breakers that are open",
        .args = "[AGENT]",
        .args_max = 1,
        .complete = ALI_AGENTS,
        .doc = "A destination that mostly fails is left alone for a while: its messages wait and\n"
               "spend no attempts until a probe ends well.",
        .options = breakers_options,
        .values_size = sizeof(struct breakers_values),
        .run = run_breakers,
    },
    {.name = NULL},
};
