/* cmd_replay.c - agentlink retain, replay: what streams keep, and messages again that have ended.
 */
#include "agentlink/replay.h"
#include "base/errors.h"
#include "cli/node.h"
#include <stdlib.h>
#include <string.h>

/* ---- retain ------------------------------------------------------------------------------ */

struct retain_values {
    uint64_t count, bytes, age_ms;
    bool off;
};

#define OFFSET(field) offsetof(struct retain_values, field)

static const struct ali_option retain_options[] = {
    {"count", 0, "N", ALI_COUNT, OFFSET(count), .max = 100000,
     .help = "messages that each stream keeps"},
    {"bytes", 0, "N", ALI_COUNT, OFFSET(bytes), .max = 1u << 30,
     .help = "payload bytes that each stream keeps"},
    {"age", 0, "TIME", ALI_DURATION, OFFSET(age_ms),
     .help = "keep them so long after their acknowledgement"},
    {"off", 0, NULL, ALI_FLAG, OFFSET(off), .help = "keep nothing, and forget what was kept"},
    {.name = NULL},
};
#undef OFFSET

struct listing {
    struct ali_cli *cli;
    struct ali_table *table;
    struct al_retention retention;
};

static void print_history_json(struct ali_cli *cli, const struct al_history_info *info)
{
    json_t *object = json_object();

    json_object_set_new(object, "stream", ali_json_count(info->stream));
    json_object_set_new(object, "from", ali_json_text(info->from));
    json_object_set_new(object, "label", ali_json_text(info->label));
    json_object_set_new(object, "priority", ali_json_count(info->priority));
    json_object_set_new(object, "from_seq", ali_json_count(info->from_seq));
    json_object_set_new(object, "first_seq", ali_json_count(info->first_seq));
    json_object_set_new(object, "last_seq", ali_json_count(info->last_seq));
    json_object_set_new(object, "count", ali_json_count(info->count));
    json_object_set_new(object, "bytes", ali_json_count(info->bytes));
    json_object_set_new(object, "first", ali_json_time(info->first_ms));
    json_object_set_new(object, "last", ali_json_time(info->last_ms));
    json_object_set_new(object, "keep_count", ali_json_count(info->retention.count));
    json_object_set_new(object, "keep_bytes", ali_json_count(info->retention.bytes));
    json_object_set_new(object, "keep_ms", ali_json_count(info->retention.age_ms));
    ali_json_print(cli, object);
}

static int add_history(void *ctx, const struct al_history_info *info)
{
    struct listing *listing = ctx;
    struct ali_table *table = listing->table;
    char text[ALI_TIME_CAP];

    if (listing->cli->json) {
        print_history_json(listing->cli, info);
        return 0;
    }
    listing->retention = info->retention;
    if (info->stream)
        ali_table_count(table, info->stream);
    else
        ali_table_text(table, "all");
    ali_table_text(table, *info->from ? info->from : "-");
    ali_table_text(table, *info->label ? info->label : "-");
    ali_table_count(table, info->count);
    ali_table_count(table, info->bytes);
    if (info->first_seq)
        ali_table_format(table, "%llu-%llu", (unsigned long long)info->first_seq,
                         (unsigned long long)info->last_seq);
    else
        ali_table_text(table, "-");
    ali_table_text(table, ali_format_time(info->first_ms, text));
    ali_table_text(table, ali_format_time(info->last_ms, text));
    return 0;
}

static int show_histories(struct ali_cli *cli, const char *agent)
{
    static const char *const headings[] = {">STREAM",   "FROM",  "LABEL", ">KEPT", ">BYTES",
                                           "SEQUENCES", "FIRST", "LAST",  NULL};
    struct listing listing = {.cli = cli};
    int r;

    listing.table = ali_table_new(cli, headings);
    r = al_history_list(cli->client, agent, add_history, &listing);
    ali_table_end(listing.table, r == 0 && !cli->json, "nothing is kept");
    if (r)
        return ali_agent_failed(cli, agent, r);
    if (cli->json)
        return 0;
    if (!listing.retention.count)
        printf("nothing is kept: see 'agentlink retain --help'\n");
    else
        printf("each stream keeps %llu messages, %llu bytes%s%llu%s\n",
               (unsigned long long)listing.retention.count,
               (unsigned long long)listing.retention.bytes,
               listing.retention.age_ms ? ", for " : ", of any age",
               (unsigned long long)listing.retention.age_ms / 1000,
               listing.retention.age_ms ? " s" : "");
    return 0;
}

static int run_retain(struct ali_cli *cli, const void *values, char **args)
{
    const struct retain_values *v = values;
    struct al_retention retention = {v->count, v->bytes, v->age_ms};
    int code, r;

    if (v->off && (v->count || v->bytes || v->age_ms)) {
        ali_say(cli, "--off goes with no limit");
        return ALI_EXIT_USAGE;
    }
    code = ali_node_open(cli);
    if (code)
        return code;
    if (!v->off && !v->count && !v->bytes && !v->age_ms)
        return show_histories(cli, args[0]);
    r = al_retain_set(cli->client, args[0], v->off ? NULL : &retention);
    if (r)
        return ali_agent_failed(cli, args[0], r);
    if (cli->json)
        ali_json_print(cli,
                       json_pack("{so sb}", "agent", ali_json_text(args[0]), "keeps", !v->off));
    return 0;
}

/* ---- replay ------------------------------------------------------------------------------ */

struct replay_values {
    uint64_t stream, first, last, since_ms, until_ms, limit;
    const char *from, *label;
};

#define OFFSET(field) offsetof(struct replay_values, field)

static const struct ali_option replay_options[] = {
    {"stream", 0, "N", ALI_COUNT, OFFSET(stream), .max = UINT32_MAX,
     .help = "only this stream; 'agentlink retain NAME' lists them"},
    {"from", 0, "AGENT", ALI_TEXT, OFFSET(from), .help = "only from this sender",
     .complete = ALI_AGENTS},
    {"label", 0, "LABEL", ALI_TEXT, OFFSET(label), .help = "only streams with this label"},
    {"first", 0, "SEQ", ALI_COUNT, OFFSET(first), .help = "from this sequence on"},
    {"last", 0, "SEQ", ALI_COUNT, OFFSET(last), .help = "up to this sequence"},
    {"since", 0, "TIME", ALI_DURATION, OFFSET(since_ms),
     .help = "acknowledged at most this long ago"},
    {"until", 0, "TIME", ALI_DURATION, OFFSET(until_ms),
     .help = "acknowledged more than this long ago"},
    {"limit", 0, "N", ALI_COUNT, OFFSET(limit), .help = "messages at most, of each stream"},
    {.name = NULL},
};
#undef OFFSET

/* The streams that the options name. */
struct choice {
    const struct replay_values *values;
    uint32_t *streams;
    size_t count;
    bool keeps;
};

static int choose(void *ctx, const struct al_history_info *info)
{
    struct choice *choice = ctx;
    const struct replay_values *v = choice->values;

    choice->keeps = info->retention.count != 0;
    if (!info->stream || (v->from && strcmp(v->from, info->from) != 0) ||
        (v->label && strcmp(v->label, info->label) != 0))
        return 0;
    choice->streams = ali_grow(choice->streams, (choice->count + 1) * sizeof *choice->streams);
    choice->streams[choice->count++] = info->stream;
    return 0;
}

static int add_message(void *ctx, const struct al_replayed *replayed)
{
    struct listing *listing = ctx;
    struct ali_table *table = listing->table;
    char text[ALI_TIME_CAP];
    json_t *object;

    if (!listing->cli->json) {
        ali_table_format(table, "%u:%llu", replayed->stream, (unsigned long long)replayed->seq);
        ali_table_text(table, replayed->message.from);
        ali_table_text(table, *replayed->message.kind ? replayed->message.kind : "-");
        ali_table_text(table, ali_format_time(replayed->ended_ms, text));
        ali_table_put(table, ALI_PLAIN,
                      al_str_of(replayed->message.payload, replayed->message.payload_size));
        return 0;
    }
    object = ali_json_message(&replayed->message, replayed->stream, replayed->seq);
    json_object_set_new(object, "replayed", json_true());
    json_object_set_new(object, "admitted", ali_json_time(replayed->admitted_ms));
    json_object_set_new(object, "ended", ali_json_time(replayed->ended_ms));
    ali_json_print(listing->cli, object);
    return 0;
}

static int replay_streams(struct ali_cli *cli, const char *agent, const struct choice *choice)
{
    static const char *const headings[] = {"STREAM:SEQ", "FROM", "KIND", "ENDED", "PAYLOAD", NULL};
    const struct replay_values *v = choice->values;
    struct listing listing = {.cli = cli, .table = ali_table_new(cli, headings)};
    uint64_t now = ali_wall_ms();
    int r = 0;

    for (size_t i = 0; i < choice->count && r == 0; i++) {
        struct al_replay_range range = {.agent = agent,
                                        .stream = choice->streams[i],
                                        .first_seq = v->first,
                                        .last_seq = v->last,
                                        .from_ms = v->since_ms ? now - v->since_ms : 0,
                                        .until_ms = v->until_ms ? now - v->until_ms : 0,
                                        .limit = v->limit};

        r = al_replay(cli->client, &range, add_message, &listing);
    }
    ali_table_end(listing.table, !cli->json && r == 0, "nothing to replay");
    return r;
}

static int run_replay(struct ali_cli *cli, const void *values, char **args)
{
    struct choice choice = {.values = values};
    int code = ali_node_open(cli), r = 0;
    uint32_t stream;

    if (code)
        return code;
    if (choice.values->stream) {
        stream = (uint32_t)choice.values->stream;
        choice.streams = &stream;
        choice.count = 1;
    } else {
        r = al_history_list(cli->client, args[0], choose, &choice);
        if (r == 0 && !choice.keeps)
            r = -AL_E_NO_HISTORY;
    }
    if (r == -AL_E_NO_HISTORY) {
        ali_say(cli,
                "nothing is kept of what '%s' has acknowledged; 'agentlink retain %s --count "
                "1000' changes that from now on",
                ali_safe_c(args[0]), ali_safe_c(args[0]));
        code = ALI_EXIT_REFUSED;
    } else if (r == 0 && choice.count > 1 && (choice.values->first || choice.values->last)) {
        ali_say(cli,
                "%zu streams match, and sequences count in each: choose one with --stream; "
                "'agentlink retain %s' lists them",
                choice.count, ali_safe_c(args[0]));
        code = ALI_EXIT_USAGE;
    } else if (r == 0) {
        r = replay_streams(cli, args[0], &choice);
    }
    if (choice.streams != &stream)
        free(choice.streams);
    return code ? code : r ? ali_agent_failed(cli, args[0], r) : 0;
}

const struct ali_command ali_cmd_replay[] = {
    {
        .name = "retain",
        .summary = "say what an agent's streams keep for replay, or show it",
        .args = "NAME",
        .args_min = 1,
        .args_max = 1,
        .complete = ALI_AGENTS,
        .doc =
            "With a limit: from here on each stream to the agent keeps what is acknowledged,\n"
            "up to the first limit that is reached; a limit that is not given is the largest\n"
            "there is (100,000 messages, 1 GiB, any age). Without options: the limits, and what\n"
            "is kept.",
        .examples = "agentlink retain printer --count 1000 --age 24h\n"
                    "agentlink retain printer",
        .options = retain_options,
        .values_size = sizeof(struct retain_values),
        .run = run_retain,
    },
    {
        .name = "replay",
        .summary = "show again what an agent has acknowledged",
        .args = "NAME",
        .args_min = 1,
        .args_max = 1,
        .complete = ALI_AGENTS,
        .doc = "Messages come in the order of their stream, one stream after the other. They are\n"
               "not delivered again: there is nothing to acknowledge. What reaches further back\n"
               "than 'agentlink retain' has kept is refused, with what is still there.",
        .examples = "agentlink replay printer --from boss --since 1h\n"
                    "agentlink replay printer --stream 3 --first 100 --last 120 --json",
        .options = replay_options,
        .values_size = sizeof(struct replay_values),
        .run = run_replay,
    },
    {.name = NULL},
};
