/* cmd_inbox.c - agentlink inbox: the streams to one agent. */
#include "cli/node.h"

struct listing {
    struct ali_cli *cli;
    struct ali_table *table;
};

static void print_stream_json(struct ali_cli *cli, const struct al_stream_info *stream)
{
    json_t *object = json_object();

    json_object_set_new(object, "stream", ali_json_count(stream->stream));
    json_object_set_new(object, "from", ali_json_text(stream->from));
    json_object_set_new(object, "label", ali_json_text(stream->label));
    json_object_set_new(object, "priority", ali_json_count(stream->priority));
    json_object_set_new(object, "unordered", json_boolean(stream->unordered));
    json_object_set_new(object, "pending", ali_json_count(stream->pending));
    json_object_set_new(object, "leased", ali_json_count(stream->leased));
    json_object_set_new(object, "head_seq", ali_json_count(stream->head_seq));
    json_object_set_new(object, "next_seq", ali_json_count(stream->next_seq));
    json_object_set_new(object, "attempts", ali_json_count(stream->attempts));
    json_object_set_new(object, "due", ali_json_time(stream->due_ms));
    ali_json_print(cli, object);
}

static int add_row(void *ctx, const struct al_stream_info *stream)
{
    struct listing *listing = ctx;
    struct ali_table *table = listing->table;
    char text[ALI_TIME_CAP];

    if (listing->cli->json) {
        print_stream_json(listing->cli, stream);
        return 0;
    }
    ali_table_count(table, stream->stream);
    ali_table_text(table, stream->from);
    ali_table_text(table, *stream->label ? stream->label : "-");
    ali_table_count(table, stream->priority);
    ali_table_count(table, stream->pending);
    ali_table_count(table, stream->leased);
    if (stream->head_seq)
        ali_table_count(table, stream->head_seq);
    else
        ali_table_text(table, "-");
    if (stream->unordered)
        ali_table_text(table, "unordered");
    else
        ali_table_count(table, stream->next_seq);
    ali_table_alarm(table, stream->attempts);
    ali_table_text(table, ali_format_time(stream->due_ms, text));
    return 0;
}

static int run_inbox(struct ali_cli *cli, const void *values, char **args)
{
    static const char *const headings[] = {">STREAM",   "FROM",     "LABEL",     ">PRIORITY",
                                           ">PENDING",  ">LEASED",  ">HEAD SEQ", ">NEXT SEQ",
                                           ">ATTEMPTS", "RETRY AT", NULL};
    struct listing listing = {.cli = cli};
    int code = ali_node_open(cli), r;

    (void)values;
    if (code)
        return code;
    listing.table = ali_table_new(cli, headings);
    r = al_stream_list(cli->client, args[0], add_row, &listing);
    ali_table_end(listing.table, r == 0 && !cli->json, "nobody has sent anything to this agent");
    return r ? ali_agent_failed(cli, args[0], r) : 0;
}

const struct ali_command ali_cmd_inbox[] = {
    {
        .name = "inbox",
        .summary = "show the streams to an agent and how far each is",
        .args = "NAME",
        .args_min = 1,
        .args_max = 1,
        .complete = ALI_AGENTS,
        .doc =
            "A stream is one sender, one label and one priority; order holds inside it. ATTEMPTS\n"
            "and RETRY AT are those of its oldest pending message, which holds the stream. An "
            "unordered stream\n"
            "has no sequence: each of its messages stands alone.",
        .run = run_inbox,
    },
    {.name = NULL},
};
