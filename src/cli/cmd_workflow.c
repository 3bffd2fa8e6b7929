/* cmd_workflow.c - agentlink workflow show, ls: which messages of a workflow are there. */
#include "agentlink/workflow.h"
#include "base/errors.h"
#include "cli/node.h"

struct values {
    const char *space;
    uint64_t expect;
};

#define OFFSET(field) offsetof(struct values, field)

static const struct ali_option show_options[] = {
    {"namespace", 0, "NAME", ALI_TEXT, OFFSET(space),
     .help = "namespace of the senders (default: default)"},
    {"expect", 0, "N", ALI_COUNT, OFFSET(expect), .max = UINT32_MAX,
     .help = "complete only with numbers 1 to N; exit 1 if it is not"},
    {.name = NULL},
};
static const struct ali_option ls_options[] = {
    {"namespace", 0, "NAME", ALI_TEXT, OFFSET(space), .help = "only of this namespace"},
    {.name = NULL},
};

struct listing {
    struct ali_cli *cli;
    struct ali_table *table;
    json_t *ranges;
};

static json_t *json_of(const struct al_workflow_info *info)
{
    json_t *object = json_object();

    json_object_set_new(object, "namespace", ali_json_text(info->space));
    json_object_set_new(object, "workflow", ali_json_text(info->workflow_id));
    json_object_set_new(object, "allocated", ali_json_count(info->allocated));
    json_object_set_new(object, "processed", ali_json_count(info->processed));
    json_object_set_new(object, "pending", ali_json_count(info->pending));
    json_object_set_new(object, "failed", ali_json_count(info->failed));
    json_object_set_new(object, "dead", ali_json_count(info->dead));
    json_object_set_new(object, "expired", ali_json_count(info->expired));
    json_object_set_new(object, "cancelled", ali_json_count(info->cancelled));
    json_object_set_new(object, "complete", json_boolean(info->complete));
    json_object_set_new(object, "used", ali_json_time(info->used_ms));
    return object;
}

static uint64_t otherwise(const struct al_workflow_info *info)
{
    return info->failed + info->dead + info->expired + info->cancelled;
}

/* ---- show -------------------------------------------------------------------------------- */

static int add_range(void *ctx, const struct al_workflow_range *range)
{
    struct listing *listing = ctx;
    json_t *row = json_object();

    if (listing->cli->json) {
        json_object_set_new(row, "first", ali_json_count(range->first));
        json_object_set_new(row, "last", ali_json_count(range->last));
        json_object_set_new(row, "state", json_string(al_number_state_name(range->state)));
        json_array_append_new(listing->ranges, row);
        return 0;
    }
    json_decref(row);
    ali_table_format(listing->table, "%llu-%llu", (unsigned long long)range->first,
                     (unsigned long long)range->last);
    ali_table_count(listing->table, range->last - range->first + 1);
    ali_table_put(listing->table, range->state == AL_NUMBER_PENDING ? ALI_WARN : ALI_BAD,
                  al_str_c(al_number_state_name(range->state)));
    return 0;
}

static void print_info(struct ali_cli *cli, const struct al_workflow_info *info)
{
    static const char *const headings[] = {"", "", NULL};
    struct ali_table *table = ali_table_new(cli, headings);
    char text[ALI_TIME_CAP];

    ali_table_key(table, "namespace");
    ali_table_text(table, info->space);
    ali_table_key(table, "workflow");
    ali_table_text(table, info->workflow_id);
    ali_table_key(table, "complete");
    ali_table_put(table, info->complete ? ALI_GOOD : ALI_WARN,
                  al_str_c(info->complete ? "yes" : "no"));
    ali_table_key(table, "allocated");
    ali_table_count(table, info->allocated);
    ali_table_key(table, "processed");
    ali_table_count(table, info->processed);
    ali_table_key(table, "pending");
    ali_table_count(table, info->pending);
    ali_table_key(table, "ended otherwise");
    ali_table_alarm(table, otherwise(info));
    ali_table_key(table, "last use");
    ali_table_text(table, ali_format_time(info->used_ms, text));
    ali_table_print(table, NULL);
}

static int show_failed(struct ali_cli *cli, const char *workflow_id, int error)
{
    if (error != -AL_E_NOT_FOUND)
        return ali_say_error(cli, error);
    ali_say(cli,
            "nothing is known of a workflow '%s': it was never used in this namespace, or is "
            "forgotten; see 'agentlink workflow ls'",
            ali_safe_c(workflow_id));
    return ALI_EXIT_REFUSED;
}

static int run_show(struct ali_cli *cli, const void *values, char **args)
{
    static const char *const headings[] = {"NUMBERS", "COUNT", "STATE", NULL};
    const struct values *v = values;
    struct listing listing = {.cli = cli};
    struct al_workflow_info info;
    int code = ali_node_open(cli), r;

    if (code)
        return code;
    listing.table = ali_table_new(cli, headings);
    listing.ranges = json_array();
    r = al_workflow_get(cli->client, v->space, args[0], &info, add_range, &listing);
    if (r == 0 && v->expect)
        info.complete = info.complete && info.allocated == v->expect;
    if (r == 0 && cli->json) {
        json_t *object = json_of(&info);

        json_object_set(object, "ranges", listing.ranges);
        ali_json_print(cli, object);
    } else if (r == 0) {
        print_info(cli, &info);
    }
    ali_table_end(listing.table, r == 0 && !cli->json && info.processed < info.allocated, NULL);
    json_decref(listing.ranges);
    if (r)
        return show_failed(cli, args[0], r);
    if (v->expect && !info.complete) {
        ali_say(cli, "the workflow is not complete: %llu of %llu numbers are processed",
                (unsigned long long)info.processed, (unsigned long long)v->expect);
        return ALI_EXIT_REFUSED;
    }
    return 0;
}

/* ---- ls ---------------------------------------------------------------------------------- */

static int add_row(void *ctx, const struct al_workflow_info *info)
{
    struct listing *listing = ctx;
    struct ali_table *table = listing->table;
    char text[ALI_TIME_CAP];

    if (listing->cli->json) {
        ali_json_print(listing->cli, json_of(info));
        return 0;
    }
    ali_table_text(table, info->space);
    ali_table_text(table, info->workflow_id);
    ali_table_count(table, info->allocated);
    ali_table_count(table, info->processed);
    ali_table_count(table, info->pending);
    ali_table_alarm(table, otherwise(info));
    ali_table_text(table, ali_format_time(info->used_ms, text));
    return 0;
}

static int run_ls(struct ali_cli *cli, const void *values, char **args)
{
    static const char *const headings[] = {"NAMESPACE", "WORKFLOW",  "ALLOCATED", "PROCESSED",
                                           "PENDING",   "OTHERWISE", "LAST USE",  NULL};
    const struct values *v = values;
    struct listing listing = {.cli = cli};
    int code = ali_node_open(cli), r;

    (void)args;
    if (code)
        return code;
    listing.table = ali_table_new(cli, headings);
    r = al_workflow_list(cli->client, v->space, add_row, &listing);
    ali_table_end(listing.table, r == 0 && !cli->json, "no workflows");
    return r ? ali_say_error(cli, r) : 0;
}

const struct ali_command ali_cmd_workflow[] = {
    {
        .group = "workflow",
        .name = "show",
        .summary = "show which numbers of a workflow are processed, pending or ended otherwise",
        .args = "ID",
        .args_min = 1,
        .args_max = 1,
        .doc = "Messages sent with --workflow-id ID are numbered 1, 2, 3, ... as the node takes\n"
               "them. Complete: every number was acknowledged. What is not is listed as ranges:\n"
               "PENDING, FAILED, DEAD, EXPIRED, CANCELLED. With --expect the command fails while\n"
               "numbers 1 to N are not all processed.",
        .examples = "agentlink workflow show order-17\n"
                    "agentlink workflow show order-17 --expect 12 --json",
        .options = show_options,
        .values_size = sizeof(struct values),
        .run = run_show,
    },
    {
        .group = "workflow",
        .name = "ls",
        .summary = "list the workflows that the node knows",
        .examples = "agentlink workflow ls\nagentlink workflow ls --namespace team --json",
        .options = ls_options,
        .values_size = sizeof(struct values),
        .run = run_ls,
    },
    {.name = NULL},
};
