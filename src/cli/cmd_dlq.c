/* cmd_dlq.c - agentlink dlq ls, show, redrive, purge: the dead letters. */
#include "cli/node.h"
#include <string.h>

/* ---- ls ---------------------------------------------------------------------------------- */

struct listing {
    struct ali_cli *cli;
    struct ali_table *table;
};

/* Why a message died, in a word. */
static const char *cause(int error)
{
    return error == AL_E_EXPIRED ? "EXPIRED" : error == AL_E_CANCELLED ? "FAILED" : "RETRIES";
}

static void set_letter(json_t *object, const struct al_dead_letter *letter)
{
    json_object_set_new(object, "position", ali_json_count(letter->position));
    json_object_set_new(object, "bytes", ali_json_count(letter->bytes));
    json_object_set_new(object, "attempts", ali_json_count(letter->attempts));
    json_object_set_new(object, "error", json_string(al_error_name(letter->error)));
    json_object_set_new(object, "died", ali_json_time(letter->dead_ms));
}

static void print_row_json(struct ali_cli *cli, const struct al_dead_letter *letter)
{
    json_t *object = json_object();

    json_object_set_new(object, "message_id", ali_json_id(&letter->message.id));
    json_object_set_new(object, "from", ali_json_text(letter->message.from));
    json_object_set_new(object, "to", ali_json_text(letter->message.to));
    json_object_set_new(object, "stream", ali_json_count(letter->stream));
    json_object_set_new(object, "seq", ali_json_count(letter->seq));
    json_object_set_new(object, "label", ali_json_text(letter->message.stream));
    set_letter(object, letter);
    ali_json_print(cli, object);
}

static int add_row(void *ctx, const struct al_dead_letter *letter)
{
    struct listing *listing = ctx;
    struct ali_table *table = listing->table;
    char text[ALI_TIME_CAP];

    if (listing->cli->json) {
        print_row_json(listing->cli, letter);
        return 0;
    }
    ali_table_text(table, ali_id_text(&letter->message.id));
    ali_table_text(table, letter->message.to);
    ali_table_text(table, letter->message.from);
    ali_table_format(table, "%u:%llu", letter->stream, (unsigned long long)letter->seq);
    ali_table_put(table, ALI_BAD, al_str_c(cause(letter->error)));
    ali_table_count(table, letter->attempts);
    ali_table_text(table, ali_format_size(letter->bytes, text));
    ali_table_text(table, ali_format_time(letter->dead_ms, text));
    return 0;
}

static int run_ls(struct ali_cli *cli, const void *values, char **args)
{
    static const char *const headings[] = {"MESSAGE ID", "TO",    "FROM", "STREAM:SEQ", "CAUSE",
                                           ">ATTEMPTS",  ">SIZE", "DIED", NULL};
    struct listing listing = {.cli = cli};
    int code = ali_node_open(cli), r;

    (void)values;
    if (code)
        return code;
    listing.table = ali_table_new(cli, headings);
    r = al_dead_letter_list(cli->client, args[0], add_row, &listing);
    ali_table_end(listing.table, r == 0 && !cli->json, "no dead letters");
    if (r)
        return args[0] ? ali_agent_failed(cli, args[0], r) : ali_say_error(cli, r);
    return 0;
}

/* ---- show -------------------------------------------------------------------------------- */

static int show_letter(void *ctx, const struct al_dead_letter *letter)
{
    static const char *const headings[] = {"", "", NULL};
    struct ali_cli *cli = ctx;
    struct ali_table *table;
    char text[ALI_TIME_CAP];

    if (cli->json) {
        json_t *object = ali_json_message(&letter->message, letter->stream, letter->seq);

        set_letter(object, letter);
        json_object_set_new(object, "reason", ali_json_text(letter->reason));
        json_object_set_new(object, "log", ali_json_attempts(letter->log, letter->log_count));
        ali_json_print(cli, object);
        return 0;
    }
    table = ali_table_new(cli, headings);
    ali_table_key(table, "message");
    ali_table_text(table, ali_id_text(&letter->message.id));
    ali_table_key(table, "stream:seq");
    ali_table_format(table, "%u:%llu", letter->stream, (unsigned long long)letter->seq);
    ali_table_message(table, &letter->message);
    ali_table_key(table, "cause");
    ali_table_put(table, ALI_BAD, al_str_c(cause(letter->error)));
    ali_table_key(table, "died");
    ali_table_text(table, ali_format_time(letter->dead_ms, text));
    ali_table_key(table, "attempts");
    ali_table_count(table, letter->attempts);
    ali_table_key(table, "reason");
    ali_table_text(table, letter->reason);
    ali_table_key(table, "payload");
    ali_table_put(table, ALI_PLAIN,
                  al_str_of(letter->message.payload, letter->message.payload_size));
    ali_table_print(table, NULL);
    ali_print_attempts(cli, letter->log, letter->log_count);
    return 0;
}

static int letter_failed(const struct ali_cli *cli, const struct al_message_id *id, int error)
{
    if (error != -AL_E_NOT_FOUND)
        return ali_say_error(cli, error);
    ali_say(cli, "there is no dead letter %s; 'agentlink dlq ls' lists them", ali_id_text(id));
    return ALI_EXIT_REFUSED;
}

static int run_show(struct ali_cli *cli, const void *values, char **args)
{
    struct al_message_id id;
    int code = ali_read_id(cli, args[0], &id), r;

    (void)values;
    if (code == 0)
        code = ali_node_open(cli);
    if (code)
        return code;
    r = al_dead_letter_get(cli->client, &id, show_letter, cli);
    return r ? letter_failed(cli, &id, r) : 0;
}

/* ---- redrive, purge ---------------------------------------------------------------------- */

static int keep_recipient(void *ctx, const struct al_dead_letter *letter)
{
    snprintf(ctx, AL_MESSAGE_NAME_MAX + 1, "%s", letter->message.to);
    return 0;
}

typedef int change_fn(struct al_client *client, const char *agent, const struct al_message_id *id,
                      uint64_t *ret_count);

/* args: AGENT, AGENT ID, or ID alone, whose agent is then looked up. (A message id is also a valid
 * agent name; ids of dead letters win.) */
static int change(struct ali_cli *cli, char **args, change_fn *fn, const char *done)
{
    char name[AL_MESSAGE_NAME_MAX + 1];
    struct al_message_id id;
    bool has_id = al_message_id_parse(args[args[1] ? 1 : 0], &id) == 0, is_id = has_id;
    uint64_t count = 0;
    int code, r;

    if (args[1] && !has_id)
        return ali_read_id(cli, args[1], &id);
    code = ali_node_open(cli);
    if (code)
        return code;
    snprintf(name, sizeof name, "%s", args[0]);
    if (has_id && !args[1])
        has_id = al_dead_letter_get(cli->client, &id, keep_recipient, name) == 0;
    ali_progress(cli, "working on the dead letters of %s", ali_safe_c(name));
    r = fn(cli->client, name, has_id ? &id : NULL, &count);
    ali_progress_end(cli);
    if (r == -AL_E_UNKNOWN_AGENT && is_id && !args[1])
        r = -AL_E_NOT_FOUND; /* no agent of that name either */
    if (r)
        return is_id ? letter_failed(cli, &id, r) : ali_agent_failed(cli, name, r);
    if (cli->json)
        ali_json_print(cli, json_pack("{so so}", "agent", ali_json_text(name), "count",
                                      ali_json_count(count)));
    else
        printf("%llu %s %s\n", (unsigned long long)count,
               count == 1 ? "dead letter" : "dead letters", done);
    return 0;
}

static int run_redrive(struct ali_cli *cli, const void *values, char **args)
{
    (void)values;
    return change(cli, args, al_dead_letter_redrive, "sent again");
}

static int run_purge(struct ali_cli *cli, const void *values, char **args)
{
    (void)values;
    return change(cli, args, al_dead_letter_purge, "deleted");
}

const struct ali_command ali_cmd_dlq[] = {
    {
        .group = "dlq",
        .name = "ls",
        .summary = "list dead letters, oldest first",
        .args = "AGENT",
        .args_max = 1,
        .complete = ALI_AGENTS,
        .doc = "Of one agent, or of all. CAUSE is RETRIES (used up), EXPIRED (life time over) or\n"
               "FAILED (the recipient said so). 'agentlink dlq show ID' has the reason.",
        .run = run_ls,
    },
    {
        .group = "dlq",
        .name = "show",
        .summary = "show a dead letter with its body and attempts",
        .args = "ID",
        .args_min = 1,
        .args_max = 1,
        .run = run_show,
    },
    {
        .group = "dlq",
        .name = "redrive",
        .summary = "send dead letters again",
        .args = "AGENT|ID",
        .args_min = 1,
        .args_max = 2,
        .complete = ALI_AGENTS,
        .doc = "All of an agent in their order, or one by its id (AGENT ID also works). They keep\n"
               "their ids, get new sequences at the end of their streams, and start with no\n"
               "attempts.",
        .examples = "agentlink dlq redrive printer\n"
                    "agentlink dlq redrive 1b4e28ba-2fa1-41d2-883f-0016d3cca427",
        .run = run_redrive,
    },
    {
        .group = "dlq",
        .name = "purge",
        .summary = "delete dead letters for good",
        .args = "AGENT|ID",
        .args_min = 1,
        .args_max = 2,
        .complete = ALI_AGENTS,
        .doc = "All of an agent, or one by its id.",
        .run = run_purge,
    },
    {.name = NULL},
};
