/* cmd_metrics.c - agentlink metrics: the summary for people, JSON lines, Prometheus text. */
#include "cli/node.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct metrics_values {
    bool prometheus;
};

static const struct ali_option metrics_options[] = {
    {"prometheus", 0, NULL, ALI_FLAG, offsetof(struct metrics_values, prometheus),
     .help = "print the Prometheus text format"},
    {.name = NULL},
};

struct kind_row {
    char kind[AL_MESSAGE_KIND_MAX + 1];
    uint64_t sent, success, failure, retries, latency_sum_ms;
    uint64_t latency_counts[AL_KIND_LATENCY_COUNTS];
};

struct group_row {
    char name[6 + AL_MESSAGE_NAME_MAX + 1];
    uint64_t members, messages, history_bytes;
};

struct metrics {
    struct kind_row *rows;
    size_t count;
    struct group_row *groups;
    size_t group_count;
    struct kind_row total;
    struct al_status_info status;
};

static void add_to(struct kind_row *row, const struct al_kind_info *m)
{
    row->sent += m->sent;
    row->success += m->success;
    row->failure += m->failure;
    row->retries += m->retries;
    row->latency_sum_ms += m->latency_sum_ms;
    for (unsigned i = 0; i < AL_KIND_LATENCY_COUNTS; i++)
        row->latency_counts[i] += m->latency_counts[i];
}

static int add_kind(void *ctx, const struct al_kind_info *info)
{
    struct metrics *metrics = ctx;
    struct kind_row *row;

    if (!info->seen)
        return 0;
    metrics->rows = ali_grow(metrics->rows, (metrics->count + 1) * sizeof *metrics->rows);
    row = &metrics->rows[metrics->count++];
    memset(row, 0, sizeof *row);
    snprintf(row->kind, sizeof row->kind, "%s", info->kind);
    add_to(row, info);
    add_to(&metrics->total, info);
    return 0;
}

static int add_group(void *ctx, const struct al_group_info *info)
{
    struct metrics *metrics = ctx;
    struct group_row *row;

    metrics->groups =
        ali_grow(metrics->groups, (metrics->group_count + 1) * sizeof *metrics->groups);
    row = &metrics->groups[metrics->group_count++];
    memset(row, 0, sizeof *row);
    snprintf(row->name, sizeof row->name, "%s", info->name);
    row->members = info->members;
    row->messages = info->next_seq - 1;
    row->history_bytes = info->bytes;
    return 0;
}

/* Percent of ended deliveries; with none ended there is no rate. */
static const char *percent(uint64_t part, const struct kind_row *row, char ret_text[ALI_SHORT_CAP])
{
    uint64_t ended = row->success + row->failure;

    if (ended == 0)
        return "-";
    snprintf(ret_text, ALI_SHORT_CAP, "%.2f %%", 100.0 * (double)part / (double)ended);
    return ret_text;
}

static const char *latency(const struct kind_row *row, char ret_text[ALI_SHORT_CAP])
{
    uint64_t ended = row->success + row->failure;

    if (ended == 0)
        return "-";
    snprintf(ret_text, ALI_SHORT_CAP, "%.1f", (double)row->latency_sum_ms / (double)ended);
    return ret_text;
}

/* What the node counts for all kinds together. */
enum { NODE_ROWS = 14 };
struct node_row {
    const char *key, *name; /* for people, in JSON */
    uint64_t value;
};

static void node_rows(const struct al_status_info *s, struct node_row rows[NODE_ROWS])
{
    const struct node_row list[NODE_ROWS] = {
        {"parts passed on", "parts", s->parts},
        {"parts dropped", "parts_dropped", s->parts_dropped},
        {"parts refused", "parts_refused", s->parts_refused},
        {"commits", "commits", s->commits},
        {"commits repeated", "commits_repeated", s->commits_repeated},
        {"commits refused", "commits_refused", s->commits_refused},
        {"kept for replay", "kept", s->kept},
        {"replayed", "replayed", s->replayed},
        {"ranges asked again", "asked_again", s->asked_again},
        {"sends denied", "denied_sends", s->denied_sends},
        {"joins denied", "denied_joins", s->denied_joins},
        {"reads denied", "denied_reads", s->denied_reads},
        {"rule changes denied", "denied_changes", s->denied_changes},
        {"deliveries denied", "denied_deliveries", s->denied_deliveries},
    };

    memcpy(rows, list, sizeof list);
}

static void print_total(struct ali_cli *cli, const struct metrics *metrics)
{
    const struct kind_row *total = &metrics->total;
    struct node_row rows[NODE_ROWS];
    static const char *const headings[] = {"", ">", NULL};
    struct ali_table *table = ali_table_new(cli, headings);
    char text[ALI_SHORT_CAP];
    const struct {
        const char *key;
        uint64_t value;
    } counts[] = {{"total sent", total->sent},
                  {"acknowledged", total->success},
                  {"failed", total->failure},
                  {"retried", total->retries}};

    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        ali_table_key(table, counts[i].key);
        ali_table_count(table, counts[i].value);
    }
    ali_table_key(table, "success rate");
    ali_table_text(table, percent(total->success, total, text));
    ali_table_key(table, "failure rate");
    ali_table_put(table, total->failure ? ALI_BAD : ALI_PLAIN,
                  al_str_c(percent(total->failure, total, text)));
    node_rows(&metrics->status, rows);
    for (size_t i = 0; i < NODE_ROWS; i++) {
        if (!rows[i].value)
            continue; /* not every node has a use for it */
        ali_table_key(table, rows[i].key);
        ali_table_count(table, rows[i].value);
    }
    ali_table_print(table, NULL);
}

static void print_kinds(struct ali_cli *cli, const struct metrics *metrics)
{
    static const char *const headings[] = {"KIND",          ">SENT",    ">SUCCESS",
                                           ">FAILURE",      ">RETRIES", ">AVG LATENCY MS",
                                           ">SUCCESS RATE", NULL};
    struct ali_table *table = ali_table_new(cli, headings);
    char text[ALI_SHORT_CAP];

    for (size_t i = 0; i < metrics->count; i++) {
        const struct kind_row *row = &metrics->rows[i];

        ali_table_text(table, *row->kind ? row->kind : "-");
        ali_table_count(table, row->sent);
        ali_table_count(table, row->success);
        ali_table_alarm(table, row->failure);
        ali_table_count(table, row->retries);
        ali_table_text(table, latency(row, text));
        ali_table_text(table, percent(row->success, row, text));
    }
    ali_table_print(table, "no messages since the node started");
}

/* Only where there are groups. */
static void print_groups(struct ali_cli *cli, const struct metrics *metrics)
{
    static const char *const headings[] = {"GROUP", ">MEMBERS", ">MESSAGES", ">HISTORY", NULL};
    struct ali_table *table;
    char text[ALI_TIME_CAP];

    if (!metrics->group_count)
        return;
    putchar('\n');
    table = ali_table_new(cli, headings);
    for (size_t i = 0; i < metrics->group_count; i++) {
        ali_table_text(table, metrics->groups[i].name);
        ali_table_count(table, metrics->groups[i].members);
        ali_table_count(table, metrics->groups[i].messages);
        ali_table_text(table, ali_format_size(metrics->groups[i].history_bytes, text));
    }
    ali_table_print(table, NULL);
}

static json_t *rate_json(uint64_t part, const struct kind_row *row)
{
    uint64_t ended = row->success + row->failure;

    return ended ? json_real((double)part / (double)ended) : json_null();
}

/* Bounds in milliseconds, null for the last, with the number of ends within each alone. */
static json_t *histogram_json(const struct kind_row *row)
{
    json_t *list = json_array();

    for (unsigned i = 0; i < AL_KIND_LATENCY_COUNTS; i++) {
        uint32_t bound = al_kind_latency_bound_ms(i);

        json_array_append_new(list, json_pack("{so so}", "le_ms",
                                              bound ? json_integer(bound) : json_null(), "count",
                                              ali_json_count(row->latency_counts[i])));
    }
    return list;
}

/* `node`: of the total; NULL: of a kind. */
static void print_json(struct ali_cli *cli, const struct kind_row *row,
                       const struct al_status_info *node)
{
    struct node_row rows[NODE_ROWS];
    uint64_t ended = row->success + row->failure;
    json_t *object = json_object();

    json_object_set_new(object, "kind", node ? json_null() : ali_json_text(row->kind));
    json_object_set_new(object, "total", json_boolean(node != NULL));
    json_object_set_new(object, "sent", ali_json_count(row->sent));
    json_object_set_new(object, "success", ali_json_count(row->success));
    json_object_set_new(object, "failure", ali_json_count(row->failure));
    json_object_set_new(object, "retries", ali_json_count(row->retries));
    json_object_set_new(object, "latency_ms",
                        ended ? json_real((double)row->latency_sum_ms / (double)ended)
                              : json_null());
    json_object_set_new(object, "success_rate", rate_json(row->success, row));
    json_object_set_new(object, "failure_rate", rate_json(row->failure, row));
    json_object_set_new(object, "latency_histogram", histogram_json(row));
    if (node)
        node_rows(node, rows);
    for (size_t i = 0; node && i < NODE_ROWS; i++)
        json_object_set_new(object, rows[i].name, ali_json_count(rows[i].value));
    ali_json_print(cli, object);
}

/* ---- Prometheus text format
 * ----------------------------------------------------------------------- */

/* A label value: backslash, quote and line feed are escaped. Kinds hold none of them; a node of
 * another make might let them through. */
static void put_label(const char *text)
{
    for (; *text; text++) {
        if (*text == '\n')
            fputs("\\n", stdout);
        else if ((unsigned char)*text < 0x20 || *text == 0x7f)
            putchar('?');
        else
            printf("%s%c", *text == '"' || *text == '\\' ? "\\" : "", *text);
    }
}

static void put_type(const char *name, const char *type, const char *help)
{
    printf("# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void put_kinds(const struct metrics *metrics, const char *name, const char *help,
                      size_t offset)
{
    put_type(name, "counter", help);
    for (size_t i = 0; i < metrics->count; i++) {
        uint64_t value;

        memcpy(&value, (const uint8_t *)&metrics->rows[i] + offset, sizeof value);
        printf("%s{kind=\"", name);
        put_label(metrics->rows[i].kind);
        printf("\"} %" PRIu64 "\n", value);
    }
}

/* One family of all groups; none without groups. */
static void put_groups(const struct metrics *metrics, const char *name, const char *type,
                       const char *help, size_t offset)
{
    if (metrics->group_count)
        put_type(name, type, help);
    for (size_t i = 0; i < metrics->group_count; i++) {
        uint64_t value;

        memcpy(&value, (const uint8_t *)&metrics->groups[i] + offset, sizeof value);
        printf("%s{group=\"", name);
        put_label(metrics->groups[i].name);
        printf("\"} %" PRIu64 "\n", value);
    }
}

static void put_latency(const struct metrics *metrics)
{
    static const char name[] = "agentlink_delivery_latency_seconds";

    put_type(name, "histogram", "From admission to the end of the delivery.");
    for (size_t i = 0; i < metrics->count; i++) {
        const struct kind_row *row = &metrics->rows[i];
        uint64_t sum = 0;

        for (unsigned b = 0; b < AL_KIND_LATENCY_COUNTS; b++) {
            uint32_t bound = al_kind_latency_bound_ms(b);

            sum += row->latency_counts[b];
            printf("%s_bucket{kind=\"", name);
            put_label(row->kind);
            if (bound)
                printf("\",le=\"%g\"} %" PRIu64 "\n", bound / 1000.0, sum);
            else
                printf("\",le=\"+Inf\"} %" PRIu64 "\n", sum);
        }
        printf("%s_sum{kind=\"", name);
        put_label(row->kind);
        printf("\"} %" PRIu64 ".%03u\n", row->latency_sum_ms / 1000,
               (unsigned)(row->latency_sum_ms % 1000));
        printf("%s_count{kind=\"", name);
        put_label(row->kind);
        printf("\"} %" PRIu64 "\n", sum);
    }
}

static void put_node(const struct al_status_info *s)
{
    const struct {
        const char *name, *type, *help;
        uint64_t value;
    } rows[] = {
        {"agentlink_agents", "gauge", "Agents.", s->agents},
        {"agentlink_streams", "gauge", "Streams.", s->streams},
        {"agentlink_connections", "gauge", "Open connections.", s->connections},
        {"agentlink_messages_waiting", "gauge", "Messages waiting.", s->waiting},
        {"agentlink_messages_leased", "gauge", "Messages out with a receiver.", s->leased},
        {"agentlink_messages_delayed", "gauge", "Messages that wait for a time.", s->delayed},
        {"agentlink_dead_letters", "gauge", "Dead letters.", s->dead},
        {"agentlink_dead_letter_bytes", "gauge", "Payload bytes of the dead letters.",
         s->dead_bytes},
        {"agentlink_state_bytes", "gauge", "Memory of the node's state.", s->state_bytes},
        {"agentlink_disk_full", "gauge", "1 while messages are refused because the disk is full.",
         s->disk_full},
        {"agentlink_start_time_seconds", "gauge", "Start of the node.", s->start_ms / 1000},
        {"agentlink_redelivered_total", "counter", "Deliveries marked as possibly seen.",
         s->redelivered},
        {"agentlink_duplicates_total", "counter", "Duplicate publishes suppressed.", s->duplicates},
        {"agentlink_refused_total", "counter", "Publishes refused.", s->refused},
        {"agentlink_expired_total", "counter", "Messages expired.", s->expired},
        {"agentlink_volatile_sent_total", "counter", "Volatile messages passed on.",
         s->volatile_sent},
        {"agentlink_volatile_dropped_total", "counter", "Volatile messages dropped.",
         s->volatile_dropped},
        {"agentlink_messages_kept", "gauge", "Messages that have ended and can be replayed.",
         s->kept},
        {"agentlink_replayed_total", "counter", "Messages replayed.", s->replayed},
        {"agentlink_asked_again_total", "counter",
         "Ranges of deliveries that receivers missed and asked for.", s->asked_again},
        {"agentlink_reply_parts_total", "counter", "Parts of replies passed on.", s->parts},
        {"agentlink_reply_parts_dropped_total", "counter",
         "Parts of replies whose requester was not there.", s->parts_dropped},
        {"agentlink_reply_parts_refused_total", "counter",
         "Parts of replies of attempts that were fenced off.", s->parts_refused},
        {"agentlink_commits_total", "counter", "Commits applied.", s->commits},
        {"agentlink_commits_repeated_total", "counter", "Commits that had been applied already.",
         s->commits_repeated},
        {"agentlink_commits_refused_total", "counter", "Commits of which nothing was applied.",
         s->commits_refused},
        {"agentlink_acl_rules", "gauge", "Rules of the permissions.", s->acl_rules},
        {"agentlink_denied_sends_total", "counter", "Messages that no right allowed.",
         s->denied_sends},
        {"agentlink_denied_joins_total", "counter", "Joins of groups that no right allowed.",
         s->denied_joins},
        {"agentlink_denied_reads_total", "counter", "Reads of groups that no right allowed.",
         s->denied_reads},
        {"agentlink_denied_changes_total", "counter", "Changes of rules that no right allowed.",
         s->denied_changes},
        {"agentlink_denied_deliveries_total", "counter",
         "Dead letters that were forbidden after they had been admitted.", s->denied_deliveries},
        {"agentlink_workflows", "gauge", "Workflows whose messages are numbered.", s->workflows},
        {"agentlink_workflow_numbers_total", "counter", "Messages that got a workflow number.",
         s->workflow_numbers},
        {"agentlink_workflows_forgotten_total", "counter", "Workflows forgotten.",
         s->workflows_forgotten},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        put_type(rows[i].name, rows[i].type, rows[i].help);
        printf("%s %" PRIu64 "\n", rows[i].name, rows[i].value);
    }
}

static void print_prometheus(const struct metrics *metrics)
{
#define FIELD(field) offsetof(struct kind_row, field)
    put_kinds(metrics, "agentlink_messages_sent_total", "Messages accepted.", FIELD(sent));
    put_kinds(metrics, "agentlink_deliveries_success_total", "Deliveries ended well.",
              FIELD(success));
    put_kinds(metrics, "agentlink_deliveries_failure_total", "Deliveries ended badly.",
              FIELD(failure));
    put_kinds(metrics, "agentlink_retries_total", "Failed attempts.", FIELD(retries));
#undef FIELD
#define FIELD(field) offsetof(struct group_row, field)
    put_groups(metrics, "agentlink_group_members", "gauge", "Members of the group.",
               FIELD(members));
    put_groups(metrics, "agentlink_group_messages_total", "counter",
               "Messages of the group since it was made, joins and leaves included.",
               FIELD(messages));
    put_groups(metrics, "agentlink_group_history_bytes", "gauge", "Messages in its history.",
               FIELD(history_bytes));
#undef FIELD
    put_latency(metrics);
    put_node(&metrics->status);
}

static int put_breaker(void *ctx, const struct al_breaker_info *breaker)
{
    (void)ctx;
    fputs("agentlink_breaker_state{agent=\"", stdout);
    put_label(breaker->agent);
    fputs("\",kind=\"", stdout);
    put_label(breaker->kind);
    printf("\"} %u\n", (unsigned)breaker->state);
    return 0;
}

/* Those that are not closed: what is always there would be a row per agent. */
static int put_breakers(struct ali_cli *cli)
{
    put_type("agentlink_breaker_state", "gauge",
             "Circuit breakers that are open (1) or half-open (2).");
    return al_breaker_list(cli->client, NULL, false, put_breaker, NULL);
}

static int put_component(void *ctx, const struct al_health_info *component)
{
    (void)ctx;
    printf("agentlink_health{component=\"%s\"} %u\n", component->component,
           (unsigned)component->state);
    return 0;
}

static int put_alert(void *ctx, const struct al_alert_info *alert)
{
    (void)ctx;
    printf("agentlink_alert_firing{alert=\"%s\"} %d\n", alert->alert,
           alert->state == AL_ALERT_FIRING);
    return 0;
}

static void put_rate(const char *name, const char *help, double rate)
{
    put_type(name, "gauge", help);
    if (rate >= 0)
        printf("%s %.6f\n", name, rate);
}

static int put_health(struct ali_cli *cli)
{
    struct al_figures_info figures;
    int r;

    put_type("agentlink_health", "gauge", "0 ok, 1 degraded, 2 unhealthy.");
    r = al_health_get(cli->client, &figures, put_component, NULL, NULL);
    if (r)
        return r;
    put_type("agentlink_alert_firing", "gauge", "1 while the alert is firing.");
    r = al_health_get(cli->client, &figures, NULL, put_alert, NULL);
    put_rate("agentlink_delivery_ratio", "Deliveries that ended well since the start.",
             figures.delivery_rate);
    put_rate("agentlink_recent_delivery_ratio", "Likewise of the last minute.",
             figures.recent_delivery_rate);
    put_rate("agentlink_retry_ratio", "Failed attempts, of all attempts.", figures.retry_rate);
    put_rate("agentlink_duplicate_ratio", "Publishes that were duplicates.",
             figures.duplicate_rate);
    put_type("agentlink_recovery_seconds", "gauge", "How long the last start took.");
    printf("agentlink_recovery_seconds %" PRIu64 ".%03u\n", figures.recovery_ms / 1000,
           (unsigned)(figures.recovery_ms % 1000));
    put_type("agentlink_ordering_violations_total", "counter", "Messages given out of order.");
    printf("agentlink_ordering_violations_total %" PRIu64 "\n", figures.ordering_violations);
    return r;
}

static int run_metrics(struct ali_cli *cli, const void *values, char **args)
{
    const struct metrics_values *v = values;
    struct metrics metrics = {0};
    int code = ali_node_open(cli), r;

    (void)args;
    if (code)
        return code;
    r = al_kind_list(cli->client, add_kind, &metrics);
    if (r == 0)
        r = al_status_get(cli->client, &metrics.status);
    if (r == 0)
        r = al_group_list(cli->client, add_group, &metrics);
    if (r) {
        code = ali_say_error(cli, r);
    } else if (v->prometheus) {
        print_prometheus(&metrics);
        r = put_breakers(cli);
        if (r == 0)
            r = put_health(cli);
        code = r ? ali_say_error(cli, r) : 0;
    } else if (cli->json) {
        print_json(cli, &metrics.total, &metrics.status);
        for (size_t i = 0; i < metrics.count; i++)
            print_json(cli, &metrics.rows[i], NULL);
    } else {
        print_total(cli, &metrics);
        putchar('\n');
        print_kinds(cli, &metrics);
        print_groups(cli, &metrics);
    }
    free(metrics.rows);
    free(metrics.groups);
    return code;
}

const struct ali_command ali_cmd_metrics[] = {
    {
        .name = "metrics",
        .summary = "show counters, rates and latency by kind of message",
        .doc = "Since the start of the node. Latency is the time from admission to the end of the\n"
               "delivery, rates are of the deliveries that have ended. With --json the first line\n"
               "is the total.",
        .options = metrics_options,
        .values_size = sizeof(struct metrics_values),
        .run = run_metrics,
    },
    {.name = NULL},
};
