/* cmd_group.c - agentlink group create, remove, ls, members, join, leave, post. */
#include "cli/node.h"
#include <stdlib.h>
#include <string.h>

/* ---- what they share --------------------------------------------------------------------- */

int ali_say_group_error(struct ali_cli *cli, int error)
{
    ali_say_error(cli, error);
    switch (-error) {
    case AL_E_BAD_NAME:
    case AL_E_INVALID:
        return ALI_EXIT_USAGE;
    default:
        return ali_exit_of(error);
    }
}

/* ---- create, remove ---------------------------------------------------------------------- */

struct create_values {
    uint64_t keep_ms, keep_count, keep_bytes;
};

static const struct ali_option create_options[] = {
    {"keep", 0, "TIME", ALI_DURATION, offsetof(struct create_values, keep_ms),
     .help = "age up to which the history is kept (default 7d)"},
    {"keep-count", 0, "N", ALI_COUNT, offsetof(struct create_values, keep_count),
     .help = "messages that it keeps (default: any number)"},
    {"keep-bytes", 0, "N", ALI_COUNT, offsetof(struct create_values, keep_bytes),
     .help = "bytes of messages that it keeps (default: any number)"},
    {.name = NULL},
};

static int run_create(struct ali_cli *cli, const void *values, char **args)
{
    const struct create_values *v = values;
    struct al_group_options options = {v->keep_ms, v->keep_count, v->keep_bytes};
    int code = ali_node_open(cli), r;

    if (code)
        return code;
    r = al_group_create(cli->client, args[0], &options);
    if (r < 0)
        return ali_say_group_error(cli, r);
    if (cli->json)
        ali_json_print(cli, json_pack("{so sb}", "group", ali_json_text(args[0]), "done", true));
    return 0;
}

struct remove_values {
    bool force;
};

static const struct ali_option remove_options[] = {
    {"force", 0, NULL, ALI_FLAG, offsetof(struct remove_values, force),
     .help = "even if members have not read everything: it is lost"},
    {.name = NULL},
};

static int run_remove(struct ali_cli *cli, const void *values, char **args)
{
    const struct remove_values *v = values;
    int code = ali_node_open(cli), r;

    if (code)
        return code;
    r = al_group_remove(cli->client, args[0], v->force);
    if (r < 0)
        return ali_say_group_error(cli, r);
    if (cli->json)
        ali_json_print(cli, json_pack("{so sb}", "group", ali_json_text(args[0]), "done", true));
    return 0;
}

/* ---- ls, members ------------------------------------------------------------------------- */

struct listing {
    struct ali_cli *cli;
    struct ali_table *table;
};

static void print_group_json(struct ali_cli *cli, const struct al_group_info *info)
{
    char hash[2 * AL_GROUP_HASH_SIZE + 1];
    json_t *object = json_object();

    json_object_set_new(object, "group", ali_json_text(info->name));
    json_object_set_new(object, "members", ali_json_count(info->members));
    json_object_set_new(object, "first_seq", ali_json_count(info->first_seq));
    json_object_set_new(object, "next_seq", ali_json_count(info->next_seq));
    json_object_set_new(object, "bytes", ali_json_count(info->bytes));
    json_object_set_new(object, "keep_ms", ali_json_count(info->keep_ms));
    json_object_set_new(object, "keep_count", ali_json_count(info->keep_count));
    json_object_set_new(object, "keep_bytes", ali_json_count(info->keep_bytes));
    json_object_set_new(object, "hash", json_string(ali_hex(info->hash, sizeof info->hash, hash)));
    json_object_set_new(object, "uid", ali_json_count(info->uid));
    json_object_set_new(object, "created", ali_json_time(info->created_ms));
    ali_json_print(cli, object);
}

static int add_group(void *ctx, const struct al_group_info *info)
{
    struct listing *listing = ctx;
    struct ali_table *table = listing->table;
    char text[ALI_TIME_CAP];

    if (listing->cli->json) {
        print_group_json(listing->cli, info);
        return 0;
    }
    ali_table_text(table, info->name);
    ali_table_count(table, info->members);
    ali_table_count(table, info->next_seq - 1);
    ali_table_count(table, info->next_seq - info->first_seq);
    ali_table_text(table, ali_format_size(info->bytes, text));
    ali_table_text(table, ali_format_time(info->created_ms, text));
    return 0;
}

static int run_ls(struct ali_cli *cli, const void *values, char **args)
{
    static const char *const headings[] = {"GROUP", ">MEMBERS", ">NEWEST", ">KEPT",
                                           ">SIZE", "CREATED",  NULL};
    struct listing listing = {.cli = cli};
    int code = ali_node_open(cli), r;

    (void)values;
    (void)args;
    if (code)
        return code;
    listing.table = ali_table_new(cli, headings);
    r = al_group_list(cli->client, add_group, &listing);
    ali_table_end(listing.table, r == 0 && !cli->json,
                  "no groups yet; one is made by 'agentlink group create NAME'");
    return r < 0 ? ali_say_group_error(cli, r) : 0;
}

static int add_member(void *ctx, const struct al_group_member *member)
{
    struct listing *listing = ctx;
    struct ali_table *table = listing->table;
    json_t *object;

    if (!listing->cli->json) {
        ali_table_text(table, member->agent);
        ali_table_count(table, member->joined_seq);
        if (member->left_seq)
            ali_table_count(table, member->left_seq);
        else
            ali_table_text(table, "-");
        ali_table_count(table, member->acked_seq);
        ali_table_count(table, member->pending);
        ali_table_alarm(table, member->dead);
        ali_table_count(table, member->stream);
        return 0;
    }
    object = json_object();
    json_object_set_new(object, "agent", ali_json_text(member->agent));
    json_object_set_new(object, "joined_seq", ali_json_count(member->joined_seq));
    json_object_set_new(object, "left_seq",
                        member->left_seq ? ali_json_count(member->left_seq) : json_null());
    json_object_set_new(object, "acked_seq", ali_json_count(member->acked_seq));
    json_object_set_new(object, "pending", ali_json_count(member->pending));
    json_object_set_new(object, "dead", ali_json_count(member->dead));
    json_object_set_new(object, "stream", ali_json_count(member->stream));
    ali_json_print(listing->cli, object);
    return 0;
}

static int run_members(struct ali_cli *cli, const void *values, char **args)
{
    static const char *const headings[] = {"MEMBER",   ">FROM", ">LEFT",   ">READ TO",
                                           ">PENDING", ">DEAD", ">STREAM", NULL};
    struct listing listing = {.cli = cli};
    int code = ali_node_open(cli), r;

    (void)values;
    if (code)
        return code;
    listing.table = ali_table_new(cli, headings);
    r = al_group_members(cli->client, args[0], add_member, &listing);
    ali_table_end(listing.table, r == 0 && !cli->json,
                  "no members yet; 'agentlink group join GROUP AGENT' makes one");
    return r < 0 ? ali_say_group_error(cli, r) : 0;
}

/* ---- join, leave ------------------------------------------------------------------------- */

struct join_values {
    uint64_t from_seq;
};

static const struct ali_option join_options[] = {
    {"from", 0, "SEQ", ALI_COUNT, offsetof(struct join_values, from_seq),
     .help = "first message that it gets, if it is still kept (default: its joining)"},
    {.name = NULL},
};

static int changed(struct ali_cli *cli, char **args, bool joined, int r, uint64_t seq)
{
    if (r < 0)
        return ali_say_group_error(cli, r);
    if (cli->json)
        ali_json_print(cli, json_pack("{so so ss so}", "group", ali_json_text(args[0]), "agent",
                                      ali_json_text(args[1]), "change", joined ? "joined" : "left",
                                      "seq", ali_json_count(seq)));
    return 0;
}

static int run_join(struct ali_cli *cli, const void *values, char **args)
{
    const struct join_values *v = values;
    int code = ali_node_open(cli), r;
    uint64_t seq = 0;

    if (code)
        return code;
    r = al_group_join(cli->client, args[0], args[1], v->from_seq, &seq);
    return changed(cli, args, true, r, seq);
}

static int run_leave(struct ali_cli *cli, const void *values, char **args)
{
    int code = ali_node_open(cli), r;
    uint64_t seq = 0;

    (void)values;
    if (code)
        return code;
    r = al_group_leave(cli->client, args[0], args[1], &seq);
    return changed(cli, args, false, r, seq);
}

/* ---- post -------------------------------------------------------------------------------- */

struct post_values {
    const char *as, *kind, *data, *file, *content_type, *key, *correlation_id, *workflow_id;
    uint64_t timeout_ms;
};

#define OFFSET(field) offsetof(struct post_values, field)

static const struct ali_option post_options[] = {
    {"as", 0, "AGENT", ALI_TEXT, OFFSET(as), .help = "member that posts", .complete = ALI_AGENTS,
     .required = true},
    {"kind", 0, "KIND", ALI_TEXT, OFFSET(kind), .help = "kind of message"},
    {"data", 0, "TEXT", ALI_TEXT, OFFSET(data), .help = "payload"},
    {"file", 0, "FILE", ALI_TEXT, OFFSET(file), .complete = ALI_FILES,
     .help = "payload from a file; - is standard input"},
    {"content-type", 0, "TYPE", ALI_TEXT, OFFSET(content_type),
     .help = "media type of the payload"},
    {"key", 0, "KEY", ALI_TEXT, OFFSET(key),
     .help = "idempotency key: posted again with it, the message is not posted twice"},
    {"correlation-id", 0, "TEXT", ALI_TEXT, OFFSET(correlation_id),
     .help = "which message or task this belongs to"},
    {"workflow-id", 0, "TEXT", ALI_TEXT, OFFSET(workflow_id),
     .help = "which workflow this belongs to"},
    {"timeout", 0, "TIME", ALI_DURATION, OFFSET(timeout_ms), .preset = "30s",
     .help = "how long to wait for the receipt"},
    {.name = NULL},
};

static int post(struct ali_cli *cli, const struct post_values *v, const char *group,
                const struct al_message *message)
{
    struct al_receipt receipt;
    int code = ali_node_open(cli), r;

    if (code)
        return code;
    r = al_group_post(cli->client, group, message,
                      v->timeout_ms > INT32_MAX ? INT32_MAX : (int)v->timeout_ms, &receipt);
    if (r < 0)
        return ali_say_group_error(cli, r);
    ali_print_receipt(cli, &receipt);
    return 0;
}

static int run_post(struct ali_cli *cli, const void *values, char **args)
{
    const struct post_values *v = values;
    struct al_message message;
    int code = 0;

    al_message_init(&message);
    message.from = v->as;
    message.kind = v->kind;
    message.content_type = v->content_type;
    message.key = v->key;
    message.correlation_id = v->correlation_id;
    message.workflow_id = v->workflow_id;
    message.payload = v->data;
    message.payload_size = v->data ? strlen(v->data) : 0;
    if (v->data && v->file) {
        ali_say(cli, "more than one payload: give one of --data and --file");
        return ALI_EXIT_USAGE;
    }
    if (v->file)
        code = ali_read_payload(cli, v->file, &message);
    if (code == 0)
        code = post(cli, v, args[0], &message);
    if (v->file && message.payload)
        free((void *)(uintptr_t)message.payload);
    return code;
}

const struct ali_command ali_cmd_group[] = {
    {
        .group = "group",
        .name = "create",
        .summary = "create a group, where all get everything in one order",
        .args = "GROUP",
        .args_min = 1,
        .args_max = 1,
        .doc = "The group belongs to the user who made it. Its full name is group:GROUP; messages\n"
               "are sent to it under that name, or with 'agentlink group post'.",
        .examples = "agentlink group create team\n"
                    "agentlink group create ops/alarms --keep 30d --keep-count 100000",
        .options = create_options,
        .values_size = sizeof(struct create_values),
        .run = run_create,
    },
    {
        .group = "group",
        .name = "remove",
        .summary = "remove a group with its history",
        .args = "GROUP",
        .args_min = 1,
        .args_max = 1,
        .options = remove_options,
        .values_size = sizeof(struct remove_values),
        .run = run_remove,
    },
    {
        .group = "group",
        .name = "ls",
        .summary = "list the groups of the node",
        .run = run_ls,
    },
    {
        .group = "group",
        .name = "members",
        .summary = "list the members of a group and what they have read",
        .args = "GROUP",
        .args_min = 1,
        .args_max = 1,
        .doc = "FROM is the first message that a member got, READ TO the last one that it has\n"
               "settled. A member that has left is listed while it has mail.",
        .run = run_members,
    },
    {
        .group = "group",
        .name = "join",
        .summary = "make an agent a member",
        .args = "GROUP AGENT",
        .args_min = 2,
        .args_max = 2,
        .complete = ALI_AGENTS,
        .doc = "For the group's owner. All members are told, in order; with --from the new one\n"
               "catches up on what was said before.",
        .examples = "agentlink group join team ann\n"
                    "agentlink group join team zoe --from 1 # everything that is kept",
        .options = join_options,
        .values_size = sizeof(struct join_values),
        .run = run_join,
    },
    {
        .group = "group",
        .name = "leave",
        .summary = "end a membership",
        .args = "GROUP AGENT",
        .args_min = 2,
        .args_max = 2,
        .complete = ALI_AGENTS,
        .doc = "What the member has not read stays in its inbox; the notice of its leaving is the\n"
               "last message that it gets.",
        .run = run_leave,
    },
    {
        .group = "group",
        .name = "post",
        .summary = "post a message to all members",
        .args = "GROUP",
        .args_min = 1,
        .args_max = 1,
        .doc = "The receipt's sequence is the place in the group. Members receive it with\n"
               "'agentlink recv --as MEMBER'.",
        .examples = "agentlink group post team --as ann --data 'good morning'",
        .options = post_options,
        .values_size = sizeof(struct post_values),
        .run = run_post,
    },
    {.name = NULL},
};
