/* cmd_kv.c - agentlink kv get, put, ls, rm: an agent's own state. */
#include "agentlink/commit.h"
#include "base/errors.h"
#include "cli/node.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ANSWER_MS 30000

struct kv_values {
    const char *as, *data, *file;
};

#define AS                                                                                         \
    {                                                                                              \
        "as", 0, "AGENT", ALI_TEXT, offsetof(struct kv_values, as),                                \
            .help = "agent whose state it is; it must exist and be yours", .complete = ALI_AGENTS, \
            .required = true                                                                       \
    }

static const struct ali_option as_options[] = {AS, {.name = NULL}};

static const struct ali_option put_options[] = {
    AS,
    {"data", 0, "TEXT", ALI_TEXT, offsetof(struct kv_values, data), .help = "the value"},
    {"file", 0, "FILE", ALI_TEXT, offsetof(struct kv_values, file),
     .help = "the value is what stands in FILE, - for standard input", .complete = ALI_FILES},
    {.name = NULL},
};

static int kv_failed(struct ali_cli *cli, const char *agent, const char *key, int error)
{
    switch (-error) {
    case AL_E_NOT_FOUND:
        ali_say(cli, "'%s' has no key '%s'; 'agentlink kv ls --as %s' shows those it has",
                ali_safe_c(agent), ali_safe_c(key), ali_safe_c(agent));
        return ALI_EXIT_REFUSED;
    case AL_E_INVALID:
    case AL_E_TOO_LARGE:
        ali_say_error(cli, error);
        return ALI_EXIT_USAGE;
    default:
        return ali_agent_failed(cli, agent, error);
    }
}

/* ---- get, ls ----------------------------------------------------------------------------- */

struct listing {
    struct ali_cli *cli;
    struct ali_table *table;
    bool failed; /* standard output cannot be written */
};

static int print_value(void *ctx, const struct al_state_value *value)
{
    struct listing *listing = ctx;
    json_t *object;

    if (!listing->cli->json) {
        if (value->value_size && fwrite(value->value, value->value_size, 1, stdout) != 1)
            listing->failed = true;
        return 0;
    }
    object = json_object();
    json_object_set_new(object, "key", ali_json_text(value->key));
    ali_json_data(object, "data", value->value, value->value_size);
    ali_json_print(listing->cli, object);
    return 0;
}

static int run_get(struct ali_cli *cli, const void *values, char **args)
{
    const struct kv_values *v = values;
    struct listing listing = {.cli = cli};
    int code = ali_node_open(cli), r;

    if (code)
        return code;
    r = al_state_get(cli->client, v->as, args[0], print_value, &listing);
    if (r == 0 && (listing.failed || fflush(stdout) != 0)) {
        ali_say(cli, "cannot write the value to standard output");
        return ALI_EXIT_REFUSED;
    }
    return r ? kv_failed(cli, v->as, args[0], r) : 0;
}

static int add_row(void *ctx, const struct al_state_value *value)
{
    struct listing *listing = ctx;
    char size[24];

    if (listing->cli->json)
        return print_value(ctx, value);
    snprintf(size, sizeof(size), "%zu", value->value_size);
    ali_table_text(listing->table, value->key);
    ali_table_text(listing->table, size);
    ali_table_put(
        listing->table, ALI_PLAIN,
        al_str_of(value->value, (uint32_t)(value->value_size < 60 ? value->value_size : 60)));
    return 0;
}

static int run_ls(struct ali_cli *cli, const void *values, char **args)
{
    static const char *const headings[] = {"KEY", "BYTES", "VALUE", NULL};
    const struct kv_values *v = values;
    struct listing listing = {.cli = cli};
    int code = ali_node_open(cli), r;

    (void)args;
    if (code)
        return code;
    listing.table = ali_table_new(cli, headings);
    r = al_state_list(cli->client, v->as, add_row, &listing);
    ali_table_end(listing.table, r == 0 && !cli->json, "no keys");
    return r ? kv_failed(cli, v->as, "", r) : 0;
}

/* ---- put, rm ----------------------------------------------------------------------------- */

/* Commits one change; `value` NULL: deletes the key. */
static int change(struct ali_cli *cli, const char *agent, const char *key, const void *value,
                  size_t size)
{
    struct al_commit *commit = NULL;
    int r = al_commit_begin(cli->client, agent, &commit);

    if (r == 0)
        r = value ? al_commit_put(commit, key, value, size) : al_commit_delete(commit, key);
    if (r == 0)
        r = al_commit(commit, ANSWER_MS);
    al_commit_free(commit);
    return r;
}

static int run_put(struct ali_cli *cli, const void *values, char **args)
{
    const struct kv_values *v = values;
    struct al_message content = {.payload = v->data};
    int code, r;

    if (!v->data == !v->file) {
        ali_say(cli, "say the value with --data TEXT or --file FILE");
        return ALI_EXIT_USAGE;
    }
    content.payload_size = v->data ? strlen(v->data) : 0;
    code = v->file ? ali_read_payload(cli, v->file, &content) : 0;
    if (code == 0)
        code = ali_node_open(cli);
    if (code == 0) {
        r = change(cli, v->as, args[0], content.payload ? content.payload : "",
                   content.payload_size);
        if (r < 0)
            code = kv_failed(cli, v->as, args[0], r);
        else if (cli->json)
            ali_json_print(cli, json_pack("{so sb}", "key", ali_json_text(args[0]), "set", true));
    }
    if (v->file)
        free((void *)(uintptr_t)content.payload);
    return code;
}

static int no_print(void *ctx, const struct al_state_value *value)
{
    (void)ctx;
    (void)value;
    return 0;
}

static int run_rm(struct ali_cli *cli, const void *values, char **args)
{
    const struct kv_values *v = values;
    int code = ali_node_open(cli), r;

    if (code)
        return code;
    r = al_state_get(cli->client, v->as, args[0], no_print, NULL);
    if (r == 0)
        r = change(cli, v->as, args[0], NULL, 0);
    if (r < 0)
        return kv_failed(cli, v->as, args[0], r);
    if (cli->json)
        ali_json_print(cli, json_pack("{so sb}", "key", ali_json_text(args[0]), "removed", true));
    return 0;
}

const struct ali_command ali_cmd_kv[] = {
    {
        .group = "kv",
        .name = "get",
        .summary = "print a value of an agent's own state",
        .args = "KEY",
        .args_min = 1,
        .args_max = 1,
        .doc = "Writes the bytes as they are, without a newline. With --json data is text, or\n"
               "data_base64 where the value is not.",
        .options = as_options,
        .values_size = sizeof(struct kv_values),
        .run = run_get,
    },
    {
        .group = "kv",
        .name = "put",
        .summary = "set a key of an agent's own state",
        .args = "KEY",
        .args_min = 1,
        .args_max = 1,
        .doc =
            "Programs change their state with al_commit(), together with acks and messages;\n"
            "this sets one key by itself. At most 1,000 keys of 255 bytes and values of 16 KiB,\n"
            "1 MiB together.",
        .examples = "agentlink kv put --as writer chapters --data 3",
        .options = put_options,
        .values_size = sizeof(struct kv_values),
        .run = run_put,
    },
    {
        .group = "kv",
        .name = "ls",
        .summary = "list an agent's own state",
        .doc = "Shows the first 60 bytes of each value; --json has all of it.",
        .options = as_options,
        .values_size = sizeof(struct kv_values),
        .run = run_ls,
    },
    {
        .group = "kv",
        .name = "rm",
        .summary = "delete a key of an agent's own state",
        .args = "KEY",
        .args_min = 1,
        .args_max = 1,
        .options = as_options,
        .values_size = sizeof(struct kv_values),
        .run = run_rm,
    },
    {.name = NULL},
};
