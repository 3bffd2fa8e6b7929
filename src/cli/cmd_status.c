/* cmd_status.c - agentlink status. */
#include "cli/node.h"
#include <time.h>

uint64_t ali_wall_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

uint64_t ali_uptime_ms(const struct al_status_info *status)
{
    uint64_t now_ms = ali_wall_ms();

    return now_ms > status->start_ms ? now_ms - status->start_ms : 0;
}

struct row {
    const char *key;  /* for people */
    const char *name; /* in JSON */
    uint64_t value;
    bool alarm; /* red unless 0 */
};

enum { NOW_ROWS = 10, SINCE_ROWS = 11 };

static void now_rows(const struct al_status_info *s, struct row rows[NOW_ROWS])
{
    const struct row list[NOW_ROWS] = {
        {"agents", "agents", s->agents, false},
        {"streams", "streams", s->streams, false},
        {"connections", "connections", s->connections, false},
        {"waiting", "waiting", s->waiting, false},
        {"leased", "leased", s->leased, false},
        {"delayed", "delayed", s->delayed, false},
        {"dead letters", "dead", s->dead, true},
        {"bytes of dead letters", "dead_bytes", s->dead_bytes, false},
        {"kept for replay", "kept", s->kept, false},
        {"journal record", "lsn", s->lsn, false},
    };

    memcpy(rows, list, sizeof list);
}

static void since_rows(const struct al_status_info *s, struct row rows[SINCE_ROWS])
{
    const struct row list[SINCE_ROWS] = {
        {"accepted", "accepted", s->accepted, false},
        {"delivered", "delivered", s->delivered, false},
        {"failed", "failed", s->failed, true},
        {"expired", "expired", s->expired, true},
        {"retried", "retried", s->retried, false},
        {"redelivered", "redelivered", s->redelivered, false},
        {"duplicates suppressed", "duplicates", s->duplicates, false},
        {"refused", "refused", s->refused, false},
        {"volatile sent", "volatile_sent", s->volatile_sent, false},
        {"volatile dropped", "volatile_dropped", s->volatile_dropped, false},
        {"replayed", "replayed", s->replayed, false},
    };

    memcpy(rows, list, sizeof list);
}

static void put_rows(struct ali_table *table, const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        ali_table_key(table, rows[i].key);
        if (rows[i].alarm)
            ali_table_alarm(table, rows[i].value);
        else
            ali_table_count(table, rows[i].value);
    }
}

static void print_table(struct ali_cli *cli, const struct al_status_info *status)
{
    static const char *const headings[] = {"", "", NULL};
    struct ali_table *table = ali_table_new(cli, headings);
    struct row now[NOW_ROWS], since[SINCE_ROWS];
    char text[ALI_SHORT_CAP];

    now_rows(status, now);
    since_rows(status, since);
    ali_table_key(table, "node");
    ali_table_text(table, status->node);
    ali_table_key(table, "address");
    ali_table_text(table, ali_node_name(cli));
    ali_table_key(table, "disk");
    ali_table_put(table, status->disk_full ? ALI_BAD : ALI_GOOD,
                  al_str_c(status->disk_full ? "full: new messages are refused" : "ok"));
    ali_table_key(table, "up");
    ali_table_format(table, "%s (start %llu)", ali_format_span(ali_uptime_ms(status), text),
                     (unsigned long long)status->node_epoch);
    ali_table_key(table, "memory of state");
    ali_table_text(table, ali_format_size(status->state_bytes, text));
    put_rows(table, now, NOW_ROWS);
    ali_table_print(table, NULL);
    printf("\n%ssince this start%s\n", ali_style_begin(cli, ALI_BOLD), ali_style_end(cli));
    table = ali_table_new(cli, headings);
    put_rows(table, since, SINCE_ROWS);
    ali_table_print(table, NULL);
}

json_t *ali_json_status(const struct ali_cli *cli, const struct al_status_info *status)
{
    json_t *object = json_object();
    struct row now[NOW_ROWS], since[SINCE_ROWS];

    now_rows(status, now);
    since_rows(status, since);
    json_object_set_new(object, "node", ali_json_text(status->node));
    json_object_set_new(object, "address", ali_json_text(ali_node_name(cli)));
    json_object_set_new(object, "disk_full", json_boolean(status->disk_full));
    json_object_set_new(object, "started", ali_json_time(status->start_ms));
    json_object_set_new(object, "uptime_ms", ali_json_count(ali_uptime_ms(status)));
    json_object_set_new(object, "node_epoch", ali_json_count(status->node_epoch));
    json_object_set_new(object, "state_bytes", ali_json_count(status->state_bytes));
    for (size_t i = 0; i < NOW_ROWS; i++)
        json_object_set_new(object, now[i].name, ali_json_count(now[i].value));
    for (size_t i = 0; i < SINCE_ROWS; i++)
        json_object_set_new(object, since[i].name, ali_json_count(since[i].value));
    return object;
}

static int run_status(struct ali_cli *cli, const void *values, char **args)
{
    struct al_status_info status;
    int code = ali_node_open(cli), r;

    (void)values;
    (void)args;
    if (code)
        return code;
    r = al_status_get(cli->client, &status);
    if (r)
        return ali_say_error(cli, r);
    if (cli->json)
        ali_json_print(cli, ali_json_status(cli, &status));
    else
        print_table(cli, &status);
    return 0;
}

const struct ali_command ali_cmd_status[] = {
    {
        .name = "status",
        .summary = "show the state of the node",
        .run = run_status,
    },
    {.name = NULL},
};
