/* cmd_schedule.c - agentlink schedule add, ls, rm: messages that the node sends again and again. */
#include "agentlink/schedule.h"
#include "base/errors.h"
#include "cli/node.h"
#include <string.h>

struct add_values {
    const char *as, *to, *kind, *stream, *data, *content_type;
    uint64_t priority, ttl_ms, for_ms;
    bool replace;
};

#define OFFSET(field) offsetof(struct add_values, field)

static const struct ali_option add_options[] = {
    {"as", 0, "AGENT", ALI_TEXT, OFFSET(as), .help = "sending agent", .complete = ALI_AGENTS,
     .required = true},
    {"to", 0, "AGENT", ALI_TEXT, OFFSET(to), .help = "receiving agent", .complete = ALI_AGENTS,
     .required = true},
    {"kind", 0, "KIND", ALI_TEXT, OFFSET(kind), .help = "kind of the messages"},
    {"stream", 0, "LABEL", ALI_TEXT, OFFSET(stream), .help = "stream label"},
    {"priority", 0, "N", ALI_COUNT, OFFSET(priority), .keeps = true, .max = 9,
     .help = "0 (lowest) to 9 (default: that of the kind at each time, or 4)"},
    {"ttl", 0, "TIME", ALI_DURATION, OFFSET(ttl_ms), .help = "life time of each message"},
    {"data", 0, "TEXT", ALI_TEXT, OFFSET(data), .help = "payload"},
    {"content-type", 0, "TYPE", ALI_TEXT, OFFSET(content_type),
     .help = "media type of the payload"},
    {"for", 0, "TIME", ALI_DURATION, OFFSET(for_ms), .help = "stop and remove it after this long"},
    {"replace", 0, NULL, ALI_FLAG, OFFSET(replace), .help = "replace a schedule of this name"},
    {.name = NULL},
};

static int schedule_failed(struct ali_cli *cli, const char *name, const char *to, int error)
{
    switch (-error) {
    case AL_E_UNKNOWN_AGENT:
        ali_say(cli,
                "there is no agent '%s' at this node; create it with 'agentlink agents add %s'",
                ali_safe_c(to), ali_safe_c(to));
        return ALI_EXIT_REFUSED;
    case AL_E_EXISTS:
        ali_say(cli, "there is a schedule '%s' already; replace it with --replace",
                ali_safe_c(name));
        return ALI_EXIT_REFUSED;
    case AL_E_NOT_FOUND:
        ali_say(cli, "there is no schedule '%s'; 'agentlink schedule ls' shows yours",
                ali_safe_c(name));
        return ALI_EXIT_REFUSED;
    case AL_E_BAD_SCHEDULE:
    case AL_E_BAD_NAME:
    case AL_E_INVALID:
        ali_say_error(cli, error);
        return ALI_EXIT_USAGE;
    default:
        return ali_say_error(cli, error);
    }
}

static int run_add(struct ali_cli *cli, const void *values, char **args)
{
    const struct add_values *v = values;
    struct al_message message;
    struct al_schedule schedule = {.name = args[0], .when = args[1], .message = &message};
    int code, r;

    al_message_init(&message);
    message.from = v->as;
    message.to = v->to;
    message.kind = v->kind;
    message.stream = v->stream;
    if (v->priority != ALI_NOT_GIVEN)
        message.priority = (uint8_t)v->priority;
    message.ttl_ms = v->ttl_ms;
    message.content_type = v->content_type;
    message.payload = v->data;
    message.payload_size = v->data ? strlen(v->data) : 0;
    schedule.until_ms = v->for_ms ? ali_wall_ms() + v->for_ms : 0;
    schedule.replace = v->replace;
    code = ali_node_open(cli);
    if (code)
        return code;
    r = al_schedule_set(cli->client, &schedule);
    if (r)
        return schedule_failed(cli, args[0], v->to, r);
    if (cli->json)
        ali_json_print(cli, json_pack("{ss sb}", "schedule", args[0], "set", true));
    return 0;
}

static int run_rm(struct ali_cli *cli, const void *values, char **args)
{
    int code = ali_node_open(cli), r;

    (void)values;
    if (code)
        return code;
    r = al_schedule_remove(cli->client, args[0]);
    if (r)
        return schedule_failed(cli, args[0], "", r);
    if (cli->json)
        ali_json_print(cli, json_pack("{ss sb}", "schedule", args[0], "removed", true));
    return 0;
}

/* ---- ls ---------------------------------------------------------------------------------- */

struct listing {
    struct ali_cli *cli;
    struct ali_table *table;
};

static void print_row_json(struct ali_cli *cli, const struct al_schedule_info *info)
{
    json_t *object = json_object();

    json_object_set_new(object, "schedule", ali_json_text(info->name));
    json_object_set_new(object, "when", ali_json_text(info->when));
    json_object_set_new(object, "from", ali_json_text(info->from));
    json_object_set_new(object, "to", ali_json_text(info->to));
    json_object_set_new(object, "label", ali_json_text(info->stream));
    json_object_set_new(object, "kind", ali_json_text(info->kind));
    json_object_set_new(object, "priority",
                        info->priority == AL_MESSAGE_PRIORITY_OF_KIND
                            ? json_null()
                            : ali_json_count(info->priority));
    json_object_set_new(object, "ttl_ms", ali_json_count(info->ttl_ms));
    json_object_set_new(object, "set", ali_json_time(info->set_ms));
    json_object_set_new(object, "last", ali_json_time(info->last_ms));
    json_object_set_new(object, "next", ali_json_time(info->next_ms));
    json_object_set_new(object, "until", ali_json_time(info->until_ms));
    json_object_set_new(object, "waits_for",
                        info->error ? json_string(al_error_name(info->error)) : json_null());
    ali_json_print(cli, object);
}

static int add_row(void *ctx, const struct al_schedule_info *info)
{
    struct listing *listing = ctx;
    struct ali_table *table = listing->table;
    char text[ALI_TIME_CAP];

    if (listing->cli->json) {
        print_row_json(listing->cli, info);
        return 0;
    }
    ali_table_text(table, info->name);
    ali_table_text(table, info->when);
    ali_table_text(table, info->from);
    ali_table_text(table, info->to);
    ali_table_text(table, info->last_ms ? ali_format_time(info->last_ms, text) : "-");
    if (info->error)
        ali_table_put(table, ALI_BAD, al_str_c(al_error_name(info->error)));
    else
        ali_table_text(table, ali_format_time(info->next_ms, text));
    return 0;
}

static int run_ls(struct ali_cli *cli, const void *values, char **args)
{
    static const char *const headings[] = {"SCHEDULE", "WHEN", "FROM", "TO", "LAST", "NEXT", NULL};
    struct listing listing = {.cli = cli};
    int code = ali_node_open(cli), r;

    (void)values;
    (void)args;
    if (code)
        return code;
    listing.table = ali_table_new(cli, headings);
    r = al_schedule_list(cli->client, add_row, &listing);
    ali_table_end(listing.table, r == 0 && !cli->json, "no schedules");
    return r ? ali_say_error(cli, r) : 0;
}

const struct ali_command ali_cmd_schedule[] = {
    {
        .group = "schedule",
        .name = "add",
        .summary = "have the node send a message again and again",
        .args = "NAME WHEN",
        .args_min = 2,
        .args_max = 2,
        .doc =
            "WHEN is 'MINUTE HOUR DAY MONTH WEEKDAY' in UTC, as cron has it (*, numbers, a-b,\n"
            "lists, /step), @hourly, @daily, @weekly, @monthly, @yearly, or @every N with s, m,\n"
            "h or d behind the number. What was due while the node was down is made up for by\n"
            "one message.",
        .examples = "agentlink schedule add report '0 8 * * 1-5' --as cron --to reporter\n"
                    "agentlink schedule add pulse '@every 10s' --as cron --to monitor --ttl 10s",
        .options = add_options,
        .values_size = sizeof(struct add_values),
        .run = run_add,
    },
    {
        .group = "schedule",
        .name = "ls",
        .summary = "list your schedules",
        .run = run_ls,
    },
    {
        .group = "schedule",
        .name = "rm",
        .summary = "remove a schedule",
        .args = "NAME",
        .args_min = 1,
        .args_max = 1,
        .run = run_rm,
    },
    {.name = NULL},
};
