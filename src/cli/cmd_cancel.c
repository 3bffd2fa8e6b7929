/* cmd_cancel.c - agentlink cancel. */
#include "base/errors.h"
#include "cli/node.h"

static int run_cancel(struct ali_cli *cli, const void *values, char **args)
{
    struct al_message_id id;
    uint32_t stream;
    uint64_t seq;
    bool is_place = ali_parse_place(args[0], &stream, &seq) == 0;
    int code, r;

    (void)values;
    if (!is_place && al_message_id_parse(args[0], &id)) {
        ali_say(cli, "'%s' is neither a message id nor STREAM:SEQ (both from a receipt)",
                ali_safe_c(args[0]));
        return ALI_EXIT_USAGE;
    }
    code = ali_node_open(cli);
    if (code)
        return code;
    r = is_place ? al_cancel_at(cli->client, stream, seq) : al_cancel(cli->client, &id);
    if (r == -AL_E_ALREADY_ENDED) {
        ali_say(cli, "too late: it has ended already; 'agentlink record %s' tells how",
                ali_safe_c(args[0]));
        return ALI_EXIT_REFUSED;
    }
    if (r == -AL_E_NOT_FOUND) {
        ali_say(cli,
                "there is no message %s of yours; ids are kept for the most recent messages, "
                "older ones are found by STREAM:SEQ",
                ali_safe_c(args[0]));
        return ALI_EXIT_REFUSED;
    }
    if (r)
        return ali_say_error(cli, r);
    if (cli->json)
        ali_json_print(cli, json_pack("{ss sb}", "message", args[0], "cancelled", true));
    return 0;
}

const struct ali_command ali_cmd_cancel[] = {
    {
        .name = "cancel",
        .summary = "take a message back that has not ended",
        .args = "ID|STREAM:SEQ",
        .args_min = 1,
        .args_max = 1,
        .doc = "Only the sender's user may. A recipient that has the message in hand loses its\n"
               "lease; what it has done by then is done.",
        .examples = "agentlink cancel 1b4e28ba-2fa1-41d2-883f-0016d3cca427\n"
                    "agentlink cancel 12:345",
        .run = run_cancel,
    },
    {.name = NULL},
};
