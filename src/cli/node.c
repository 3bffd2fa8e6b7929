/* node.c - opening the node of this run, and saying what went wrong with it. */
#include "cli/node.h"
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A person waits: long enough for a node that is just restarting, not longer. */
enum { CONNECT_TIMEOUT_MS = 2000, REQUEST_TIMEOUT_MS = 10000, CLOSE_TIMEOUT_MS = 10000 };

const char *ali_node_name(const struct ali_cli *cli)
{
    static char path[PATH_MAX];
    const char *node = cli->globals.node ? cli->globals.node : getenv("AGENTLINK_NODE");
    const char *dir = getenv("XDG_RUNTIME_DIR");

    if (node && *node)
        return node;
    if (geteuid() == 0)
        return "unix:/run/agentlink/agentlink.sock";
    if (!dir || !*dir)
        return "the default socket ($XDG_RUNTIME_DIR is not set)";
    snprintf(path, sizeof path, "unix:%s/agentlink.sock", dir);
    return path;
}

/* True if no node can be there: waiting would only annoy. A node that is just restarting after a
 * crash has left its socket behind. */
static bool is_socket_missing(const struct ali_cli *cli)
{
    const char *name = ali_node_name(cli);

    return strncmp(name, "unix:", 5) == 0 && access(name + 5, F_OK) != 0 && errno == ENOENT;
}

int ali_node_open_extra(struct ali_cli *cli, struct al_client **ret_client)
{
    struct al_client_options options = {
        .node = cli->globals.node,
        .identity = cli->globals.identity,
        .name = "agentlink " AL_VERSION,
        .connect_timeout_ms = is_socket_missing(cli) ? 1 : CONNECT_TIMEOUT_MS,
        .request_timeout_ms =
            cli->request_timeout_ms ? cli->request_timeout_ms : REQUEST_TIMEOUT_MS,
    };
    int r = al_client_open(&options, ret_client);

    if (r == -AL_E_INVALID) {
        ali_say(cli, "--node %s: %s", ali_safe_c(ali_node_name(cli)), ali_safe_c(al_last_error()));
        return ALI_EXIT_USAGE;
    }
    return r ? ali_say_error(cli, r) : 0;
}

int ali_node_open(struct ali_cli *cli)
{
    return cli->client ? 0 : ali_node_open_extra(cli, &cli->client);
}

int ali_node_close(struct ali_cli *cli)
{
    int r = cli->client ? al_client_close(cli->client, CLOSE_TIMEOUT_MS) : 0;

    cli->client = NULL;
    return r;
}

void ali_node_abandon(struct ali_cli *cli)
{
    al_client_abort(cli->client);
    cli->client = NULL;
}

/* What the user can do about an error, where the library cannot know it; NULL: nothing to add. */
static const char *advice(int error)
{
    switch (-error) {
    case AL_E_UNREACHABLE:
    case AL_E_CLOSED:
        return "start the daemon with 'agentlinkd', or name another node with --node unix:PATH";
    case AL_E_UNKNOWN_OUTCOME:
        return "it may have been taken; repeat the command with the same --key to be sure";
    case AL_E_DENIED:
        return "the node serves its own user, root and the users of its configuration";
    case AL_E_LOCKED:
        return "another process uses this directory; talk to it by its socket instead";
    default:
        return NULL;
    }
}

int ali_say_error(const struct ali_cli *cli, int error)
{
    const char *last = al_last_error(), *more = advice(error);
    const char *text = al_error_text(error);
    bool about_node = error == -AL_E_UNREACHABLE || error == -AL_E_TIMEOUT ||
                      error == -AL_E_DENIED || error == -AL_E_LOCKED;

    /* The library's words are the better ones, but not if they are about an earlier failure. */
    if (*last)
        text = ali_safe_c(last);
    if (about_node && !strstr(text, ali_node_name(cli)))
        ali_say(cli, "%s: %s", ali_safe_c(ali_node_name(cli)), text);
    else
        ali_say(cli, "%s", text);
    if (more && !strstr(text, "agentlinkd"))
        ali_say(cli, "%s", more);
    return ali_exit_of(error);
}

int ali_agent_failed(const struct ali_cli *cli, const char *name, int error)
{
    name = ali_safe_c(name);
    switch (-error) {
    case AL_E_NOT_FOUND:
    case AL_E_UNKNOWN_AGENT:
        ali_say(cli, "there is no agent '%s' at this node; 'agentlink agents ls' lists them", name);
        return ALI_EXIT_REFUSED;
    case AL_E_EXISTS:
        ali_say(cli, "there is an agent '%s' already", name);
        return ALI_EXIT_REFUSED;
    case AL_E_BAD_NAME:
        ali_say(cli, "'%s': %s", name, al_error_text(error));
        return ALI_EXIT_USAGE;
    default:
        return ali_say_error(cli, error);
    }
}

int ali_read_id(const struct ali_cli *cli, const char *text, struct al_message_id *ret_id)
{
    if (al_message_id_parse(text, ret_id) == 0)
        return 0;
    ali_say(cli, "'%s' is no message id; one looks like 1b4e28ba-2fa1-41d2-883f-0016d3cca427",
            ali_safe_c(text));
    return ALI_EXIT_USAGE;
}

const char *ali_id_text(const struct al_message_id *id)
{
    static char texts[4][AL_MESSAGE_ID_TEXT_SIZE];
    static unsigned next;
    char *text = texts[next++ % 4];

    al_message_id_format(id, text);
    return text;
}
