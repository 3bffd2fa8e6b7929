/* cmd_settle.c - agentlink ack, nack, extend: settling by message id, without being attached. */
#include "base/limits.h"
#include "cli/node.h"
#include <string.h>

struct settle_values {
    const char *as, *status, *reason, *response, *response_type;
    struct ali_list parts;
    uint64_t time_ms;
};

#define OFFSET(field) offsetof(struct settle_values, field)
#define AS_OPTION                                                                         \
    {                                                                                     \
        "as", 0, "AGENT", ALI_TEXT, OFFSET(as),                                           \
            .complete = ALI_AGENTS, .help = "receiving agent (default: any of this user)" \
    }

static const struct ali_option ack_options[] = {
    AS_OPTION,
    {"status", 0, "STATUS", ALI_CHOICE, OFFSET(status), .preset = "success",
     .choices = "success|partial|failed", .help = "how it went"},
    {"reason", 0, "TEXT", ALI_TEXT, OFFSET(reason),
     .help = "what is missing (partial) or what went wrong (failed)"},
    {"response", 0, "TEXT", ALI_TEXT, OFFSET(response), .help = "the reply to the sender"},
    {"part", 0, "TEXT", ALI_LIST, OFFSET(parts),
     .help = "a part of the reply, before the response; may be repeated"},
    {"response-type", 0, "TYPE", ALI_TEXT, OFFSET(response_type), .help = "its media type"},
    {.name = NULL},
};
static const struct ali_option nack_options[] = {
    AS_OPTION,
    {"reason", 0, "TEXT", ALI_TEXT, OFFSET(reason), .help = "why; kept in the attempt history"},
    {"retry-after", 0, "TIME", ALI_DURATION, OFFSET(time_ms), .max = AL_RETRY_CAP_MAX_MS,
     .help = "not again before this, at most 1d (default: by the retry policy)"},
    {.name = NULL},
};
static const struct ali_option extend_options[] = {
    AS_OPTION,
    {"for", 0, "TIME", ALI_DURATION, OFFSET(time_ms), .max = AL_LEASE_MAX_MS,
     .help = "new lease time from now, at most 1h (default: the original one)"},
    {.name = NULL},
};

static enum al_settle_action action_of(const char *status)
{
    return strcmp(status, "partial") == 0  ? AL_SETTLE_ACTION_PARTIAL
           : strcmp(status, "failed") == 0 ? AL_SETTLE_ACTION_FAILED
                                           : AL_SETTLE_ACTION_SUCCESS;
}

static int settle_failed(const struct ali_cli *cli, const char *id, int error)
{
    switch (-error) {
    case AL_E_NOT_FOUND:
        ali_say(cli, "no message %s is leased here; 'agentlink record %s' tells where it is", id,
                id);
        return ALI_EXIT_REFUSED;
    case AL_E_LEASE_LOST:
        ali_say(cli, "%s: too late, the lease has ended and the message is given out again", id);
        return ALI_EXIT_REFUSED;
    case AL_E_OUT_OF_ORDER:
        ali_say(cli, "%s: settle the earlier messages of its stream first", id);
        return ALI_EXIT_REFUSED;
    case AL_E_AMBIGUOUS:
        ali_say(cli, "%s: several members of a group have it; name one with --as AGENT", id);
        return ALI_EXIT_REFUSED;
    default:
        return ali_say_error(cli, error);
    }
}

static int settle(struct ali_cli *cli, const struct settle_values *v, const char *id,
                  enum al_settle_action action)
{
    struct al_settlement settlement = {
        .action = action,
        .agent = v->as,
        .time_ms = (uint32_t)v->time_ms,
        .reason = v->reason,
        .response_type = v->response_type,
        .response = v->response,
        .response_size = v->response ? strlen(v->response) : 0,
        .parts = v->parts.items,
        .part_count = v->parts.count,
    };
    int code = ali_read_id(cli, id, &settlement.id), r;

    if (code == 0)
        code = ali_node_open(cli);
    if (code)
        return code;
    r = al_settle(cli->client, &settlement);
    if (r)
        return settle_failed(cli, ali_id_text(&settlement.id), r);
    if (cli->json)
        ali_json_print(
            cli, json_pack("{so sb}", "message_id", ali_json_id(&settlement.id), "done", true));
    return 0;
}

static int run_ack(struct ali_cli *cli, const void *values, char **args)
{
    const struct settle_values *v = values;

    return settle(cli, v, args[0], action_of(v->status));
}

static int run_nack(struct ali_cli *cli, const void *values, char **args)
{
    return settle(cli, values, args[0], AL_SETTLE_ACTION_NACK);
}

static int run_extend(struct ali_cli *cli, const void *values, char **args)
{
    return settle(cli, values, args[0], AL_SETTLE_ACTION_EXTEND);
}

const struct ali_command ali_cmd_settle[] = {
    {
        .name = "ack",
        .summary = "acknowledge a message that was received with --no-ack",
        .args = "ID",
        .args_min = 1,
        .args_max = 1,
        .doc = "With --status failed the message becomes a dead letter at once, without a retry.",
        .examples = "agentlink ack 1b4e28ba-2fa1-41d2-883f-0016d3cca427 --response 'all printed'",
        .options = ack_options,
        .values_size = sizeof(struct settle_values),
        .run = run_ack,
    },
    {
        .name = "nack",
        .summary = "give a leased message back, to be tried again",
        .args = "ID",
        .args_min = 1,
        .args_max = 1,
        .options = nack_options,
        .values_size = sizeof(struct settle_values),
        .run = run_nack,
    },
    {
        .name = "extend",
        .summary = "renew the lease of a message",
        .args = "ID",
        .args_min = 1,
        .args_max = 1,
        .options = extend_options,
        .values_size = sizeof(struct settle_values),
        .run = run_extend,
    },
    {.name = NULL},
};
