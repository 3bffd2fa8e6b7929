/* cmd_record.c - agentlink record. */
#include "cli/node.h"
#include <string.h>

static enum ali_style state_style(enum al_record_state state)
{
    switch (state) {
    case AL_RECORD_DELIVERED:
    case AL_RECORD_PARTIAL:
        return ALI_GOOD;
    case AL_RECORD_FAILED:
    case AL_RECORD_DEAD:
    case AL_RECORD_EXPIRED:
        return ALI_BAD;
    default:
        return ALI_WARN;
    }
}

static void put_time(struct ali_table *table, const char *key, uint64_t wall_ms)
{
    char text[ALI_TIME_CAP];

    if (wall_ms == 0)
        return;
    ali_table_key(table, key);
    ali_table_text(table, ali_format_time(wall_ms, text));
}

static void put_text(struct ali_table *table, const char *key, const char *text)
{
    if (!*text)
        return;
    ali_table_key(table, key);
    ali_table_text(table, text);
}

static void print_record(struct ali_cli *cli, const struct al_record_info *record)
{
    static const char *const headings[] = {"", "", NULL};
    struct ali_table *table = ali_table_new(cli, headings);

    if (!al_message_id_is_zero(&record->id))
        put_text(table, "message", ali_id_text(&record->id));
    ali_table_key(table, "stream:seq");
    ali_table_format(table, "%u:%llu", record->stream, (unsigned long long)record->seq);
    ali_table_key(table, "state");
    ali_table_put(table, state_style(record->state), al_str_c(al_record_state_name(record->state)));
    put_text(table, "from", record->from);
    put_text(table, "to", record->to);
    put_text(table, "label", record->label);
    if (record->workflow_seq) {
        ali_table_key(table, "workflow number");
        ali_table_count(table, record->workflow_seq);
    }
    ali_table_key(table, "attempts");
    ali_table_count(table, record->attempts);
    put_time(table, "last attempt", record->last_attempt_ms);
    put_time(table, "not before", record->due_ms);
    put_time(table, "ended", record->end_ms);
    put_text(table, "reason", record->reason);
    ali_table_print(table, NULL);
    ali_print_attempts(cli, record->log, record->log_count);
}

static void print_record_json(struct ali_cli *cli, const struct al_record_info *record)
{
    json_t *object = json_object();

    json_object_set_new(object, "message_id", ali_json_id(&record->id));
    json_object_set_new(object, "from", ali_json_text(record->from));
    json_object_set_new(object, "to", ali_json_text(record->to));
    json_object_set_new(object, "stream", ali_json_count(record->stream));
    json_object_set_new(object, "seq", ali_json_count(record->seq));
    json_object_set_new(object, "label", ali_json_text(record->label));
    if (record->workflow_seq)
        json_object_set_new(object, "workflow_seq", ali_json_count(record->workflow_seq));
    json_object_set_new(object, "state", json_string(al_record_state_name(record->state)));
    json_object_set_new(object, "attempts", ali_json_count(record->attempts));
    json_object_set_new(object, "last_attempt", ali_json_time(record->last_attempt_ms));
    json_object_set_new(object, "due", ali_json_time(record->due_ms));
    json_object_set_new(object, "ended", ali_json_time(record->end_ms));
    json_object_set_new(object, "reason", ali_json_text(record->reason));
    json_object_set_new(object, "log", ali_json_attempts(record->log, record->log_count));
    ali_json_print(cli, object);
}

static int get_record(struct ali_cli *cli, const char *text, struct al_record_info **ret_record)
{
    struct al_message_id id;
    uint32_t stream;
    uint64_t seq;

    if (ali_parse_place(text, &stream, &seq) == 0)
        return al_record_get_at(cli->client, stream, seq, ret_record);
    return al_message_id_parse(text, &id) ? -AL_E_INVALID
                                          : al_record_get(cli->client, &id, ret_record);
}

static int run_record(struct ali_cli *cli, const void *values, char **args)
{
    const char *text = args[0];
    struct al_record_info *record;
    struct al_message_id id;
    uint32_t stream;
    uint64_t seq;
    int code, r;

    (void)values;
    if (ali_parse_place(text, &stream, &seq) && al_message_id_parse(text, &id)) {
        ali_say(cli, "'%s' is neither a message id nor STREAM:SEQ (both from a receipt)",
                ali_safe_c(text));
        return ALI_EXIT_USAGE;
    }
    code = ali_node_open(cli);
    if (code)
        return code;
    r = get_record(cli, text, &record);
    if (r == -AL_E_NOT_FOUND) {
        ali_say(cli,
                "there is no record of %s; ids are kept for the most recent messages, older ones "
                "are found by STREAM:SEQ",
                ali_safe_c(text));
        return ALI_EXIT_REFUSED;
    }
    if (r)
        return ali_say_error(cli, r);
    if (cli->json)
        print_record_json(cli, record);
    else
        print_record(cli, record);
    al_record_free(record);
    return 0;
}

const struct ali_command ali_cmd_record[] = {
    {
        .name = "record",
        .summary = "show where a message stands, or how it ended",
        .args = "ID|STREAM:SEQ",
        .args_min = 1,
        .args_max = 1,
        .doc = "States: WAITING, LEASED, DELAYED; DELIVERED, PARTIAL, FAILED, DEAD, EXPIRED,\n"
               "CANCELLED; ENDED when the outcome is no longer kept.",
        .examples = "agentlink record 1b4e28ba-2fa1-41d2-883f-0016d3cca427\n"
                    "agentlink record 12:345 --json",
        .run = run_record,
    },
    {.name = NULL},
};
