/* cmd_agents.c - agentlink agents ls, add, remove, show. */
#include "cli/node.h"

struct agents_values {
    bool force;
};

static const struct ali_option remove_options[] = {
    {"force", 0, NULL, ALI_FLAG, offsetof(struct agents_values, force),
     .help = "even if messages are waiting: they are lost"},
    {.name = NULL},
};

static void print_agent_json(struct ali_cli *cli, const struct al_agent_info *agent)
{
    json_t *object = json_object();

    json_object_set_new(object, "name", ali_json_text(agent->name));
    json_object_set_new(object, "attached", json_boolean(agent->attached));
    json_object_set_new(object, "receivers", json_integer(agent->receivers));
    json_object_set_new(object, "waiting", ali_json_count(agent->ready));
    json_object_set_new(object, "leased", ali_json_count(agent->leased));
    json_object_set_new(object, "delayed", ali_json_count(agent->delayed));
    json_object_set_new(object, "dead", ali_json_count(agent->dead));
    json_object_set_new(object, "dead_bytes", ali_json_count(agent->dead_bytes));
    json_object_set_new(object, "leased_bytes", ali_json_count(agent->leased_bytes));
    json_object_set_new(object, "streams", ali_json_count(agent->streams));
    json_object_set_new(object, "uid", ali_json_count(agent->uid));
    json_object_set_new(object, "created", ali_json_time(agent->created_ms));
    ali_json_print(cli, object);
}

/* "no", "yes", or how many share the inbox. */
static void put_attached(struct ali_table *table, const struct al_agent_info *agent)
{
    char text[32];

    if (agent->receivers > 1)
        snprintf(text, sizeof text, "%u share it", agent->receivers);
    ali_table_put(table, agent->attached ? ALI_GOOD : ALI_DIM,
                  al_str_c(agent->receivers > 1 ? text
                           : agent->attached    ? "yes"
                                                : "no"));
}

/* ---- ls ---------------------------------------------------------------------------------- */

struct listing {
    struct ali_cli *cli;
    struct ali_table *table;
};

static int add_row(void *ctx, const struct al_agent_info *agent)
{
    struct listing *listing = ctx;
    struct ali_table *table = listing->table;
    char text[ALI_TIME_CAP];

    if (listing->cli->json) {
        print_agent_json(listing->cli, agent);
        return 0;
    }
    ali_table_text(table, agent->name);
    put_attached(table, agent);
    ali_table_count(table, agent->ready);
    ali_table_count(table, agent->leased);
    ali_table_count(table, agent->delayed);
    ali_table_alarm(table, agent->dead);
    ali_table_text(table, ali_format_size(agent->leased_bytes, text));
    ali_table_count(table, agent->streams);
    return 0;
}

static int run_ls(struct ali_cli *cli, const void *values, char **args)
{
    static const char *const headings[] = {"NAME",         "ATTACHED", ">WAITING",
                                           ">LEASED",      ">DELAYED", ">DEAD",
                                           ">LEASED SIZE", ">STREAMS", NULL};
    struct listing listing = {.cli = cli};
    int code = ali_node_open(cli), r;

    (void)values;
    (void)args;
    if (code)
        return code;
    listing.table = ali_table_new(cli, headings);
    r = al_agent_list(cli->client, add_row, &listing);
    ali_table_end(listing.table, r == 0 && !cli->json,
                  "no agents yet; one is made by 'agentlink agents add NAME' or when it attaches");
    return r ? ali_say_error(cli, r) : 0;
}

/* ---- show -------------------------------------------------------------------------------- */

static int show_breaker(void *ctx, const struct al_breaker_info *breaker)
{
    struct ali_table *table = ctx;

    ali_table_key(table, "circuit breaker");
    ali_table_format(table, "%s%s%s, %llu of %llu failed in the last minute",
                     ali_breaker_word(breaker->state), *breaker->kind ? ", kind " : "",
                     breaker->kind, (unsigned long long)breaker->errors,
                     (unsigned long long)breaker->errors + breaker->successes);
    return 0;
}

static int show_agent(void *ctx, const struct al_agent_info *agent)
{
    static const char *const headings[] = {"", "", NULL};
    struct ali_cli *cli = ctx;
    struct ali_table *table;
    char text[ALI_TIME_CAP];
    const struct {
        const char *key;
        uint64_t value;
    } counts[] = {{"waiting", agent->ready},   {"leased", agent->leased},
                  {"delayed", agent->delayed}, {"dead letters", agent->dead},
                  {"streams", agent->streams}, {"number", agent->number},
                  {"owner (uid)", agent->uid}};

    if (cli->json) {
        print_agent_json(cli, agent);
        return 0;
    }
    table = ali_table_new(cli, headings);
    ali_table_key(table, "name");
    ali_table_text(table, agent->name);
    ali_table_key(table, "attached");
    put_attached(table, agent);
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        ali_table_key(table, counts[i].key);
        ali_table_count(table, counts[i].value);
    }
    ali_table_key(table, "leased size");
    ali_table_text(table, ali_format_size(agent->leased_bytes, text));
    ali_table_key(table, "size of dead letters");
    ali_table_text(table, ali_format_size(agent->dead_bytes, text));
    (void)al_breaker_list(cli->client, agent->name, true, show_breaker, table);
    ali_table_key(table, "created");
    ali_table_text(table, ali_format_time(agent->created_ms, text));
    ali_table_print(table, NULL);
    return 0;
}

static int run_show(struct ali_cli *cli, const void *values, char **args)
{
    int code = ali_node_open(cli), r;

    (void)values;
    if (code)
        return code;
    r = al_agent_show(cli->client, args[0], show_agent, cli);
    return r ? ali_agent_failed(cli, args[0], r) : 0;
}

/* ---- add, remove ------------------------------------------------------------------------- */

static int report(struct ali_cli *cli, const char *name, int r)
{
    if (r)
        return ali_agent_failed(cli, name, r);
    if (cli->json)
        ali_json_print(cli, json_pack("{so sb}", "name", ali_json_text(name), "done", true));
    return 0;
}

static int run_add(struct ali_cli *cli, const void *values, char **args)
{
    int code = ali_node_open(cli);

    (void)values;
    return code ? code : report(cli, args[0], al_agent_add(cli->client, args[0]));
}

static int count_waiting(void *ctx, const struct al_agent_info *agent)
{
    *(uint64_t *)ctx = agent->ready + agent->leased + agent->delayed + agent->dead;
    return 0;
}

/* The node's word is only that it is busy; what with, its counters say. */
static int remove_failed(struct ali_cli *cli, const char *name, bool force, int error)
{
    const char *shown = ali_safe_c(name);
    uint64_t waiting = 0;

    if (error == -AL_E_ALREADY_ATTACHED) {
        ali_say(cli,
                "a receiver is attached to '%s', or has left leases there; end it, or remove with "
                "--force",
                shown);
        return ALI_EXIT_REFUSED;
    }
    if (error != -AL_E_BUSY)
        return ali_agent_failed(cli, name, error);
    if (!force)
        (void)al_agent_show(cli->client, name, count_waiting, &waiting);
    if (waiting > 0)
        ali_say(cli,
                "%llu messages and dead letters wait for '%s'; receive or purge them, or lose them "
                "with --force",
                (unsigned long long)waiting, shown);
    else
        ali_say(cli,
                "'%s' is in use: messages that it sent wait at other agents, or somebody has a "
                "stream from it or to it open",
                shown);
    return ALI_EXIT_REFUSED;
}

static int run_remove(struct ali_cli *cli, const void *values, char **args)
{
    const struct agents_values *v = values;
    int code = ali_node_open(cli), r;

    if (code)
        return code;
    r = al_agent_remove(cli->client, args[0], v->force);
    return r ? remove_failed(cli, args[0], v->force, r) : report(cli, args[0], 0);
}

const struct ali_command ali_cmd_agents[] = {
    {
        .group = "agents",
        .name = "ls",
        .summary = "list the agents of the node and what waits for them",
        .run = run_ls,
    },
    {
        .group = "agents",
        .name = "add",
        .summary = "create an agent, so that messages can be sent to it",
        .args = "NAME",
        .args_min = 1,
        .args_max = 1,
        .doc = "A name is [namespace/]name, each part of a-z, 0-9, dot, underscore and minus, at\n"
               "most 64 characters. The agent belongs to the user who made it. An agent is also\n"
               "made by its first attach (agentlink recv).",
        .examples = "agentlink agents add printer",
        .run = run_add,
    },
    {
        .group = "agents",
        .name = "remove",
        .summary = "remove an agent",
        .args = "NAME",
        .args_min = 1,
        .args_max = 1,
        .complete = ALI_AGENTS,
        .options = remove_options,
        .values_size = sizeof(struct agents_values),
        .run = run_remove,
    },
    {
        .group = "agents",
        .name = "show",
        .summary = "show one agent",
        .args = "NAME",
        .args_min = 1,
        .args_max = 1,
        .complete = ALI_AGENTS,
        .run = run_show,
    },
    {.name = NULL},
};
