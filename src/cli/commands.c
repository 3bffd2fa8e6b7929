/* commands.c - the list of commands, the options of the program, and the program's main path. */
#include "cli/cli.h"
#include "cli/node.h"
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OFFSET(field) offsetof(struct ali_globals, field)

/* -h and -V are found by their places here: see on_event in options.c. */
const struct ali_option ali_global_options[] = {
    {"help", 'h', NULL, ALI_FLAG, OFFSET(help), .help = "show this help"},
    {"version", 'V', NULL, ALI_FLAG, OFFSET(version), .help = "show the version"},
    {"node", 0, "URL", ALI_TEXT, OFFSET(node),
     .help = "node to talk to: unix:PATH, tls:HOST:PORT, file:DIR or inproc: (else AGENTLINK_NODE, "
             "else the daemon's default socket)"},
    {"identity", 0, "DIR", ALI_TEXT, OFFSET(identity),
     .help =
         "who to be at a tls: node (else AGENTLINK_IDENTITY, else ~/.config/agentlink/identity)"},
    {"json", 0, NULL, ALI_FLAG, OFFSET(json), .help = "print one JSON object per line"},
    {"no-color", 0, NULL, ALI_FLAG, OFFSET(no_color),
     .help = "no colour on a terminal (NO_COLOR does the same)"},
    {"completion", 0, "SHELL", ALI_CHOICE, OFFSET(completion), .choices = "bash|zsh",
     .help = "print the completion script for a shell", .hidden = true},
    {"generate", 0, "WHAT", ALI_CHOICE, OFFSET(generate), .choices = "man|markdown",
     .help = "print the manual", .hidden = true},
    {"usage", 0, NULL, ALI_FLAG, OFFSET(usage), .help = "show a short usage", .hidden = true},
    {.name = NULL},
};

static const struct ali_command *const tables[] = {
    ali_cmd_send,          ali_cmd_cancel,   ali_cmd_recv,    ali_cmd_settle,    ali_cmd_record,
    ali_cmd_agents,        ali_cmd_inbox,    ali_cmd_dlq,     ali_cmd_schedule,  ali_cmd_group,
    ali_cmd_group_history, ali_cmd_status,   ali_cmd_top,     ali_cmd_metrics,   ali_cmd_kinds,
    ali_cmd_breakers,      ali_cmd_health,   ali_cmd_journal, ali_cmd_bench,     ali_cmd_kv,
    ali_cmd_replay,        ali_cmd_workflow, ali_cmd_acl,     ali_cmd_acl_rules, ali_cmd_identity,
};

const struct ali_command *ali_command_at(size_t index)
{
    for (size_t t = 0; t < sizeof tables / sizeof tables[0]; t++)
        for (const struct ali_command *c = tables[t]; c->name; c++)
            if (index-- == 0)
                return c;
    return NULL;
}

const struct ali_command *ali_command_find(const char *first, const char *second)
{
    const struct ali_command *c;

    for (size_t i = 0; (c = ali_command_at(i)) != NULL; i++) {
        if (!c->group && strcmp(c->name, first) == 0)
            return c;
        if (c->group && strcmp(c->group, first) == 0 && second && strcmp(c->name, second) == 0)
            return c;
    }
    return NULL;
}

bool ali_command_is_group(const char *word)
{
    const struct ali_command *c;

    for (size_t i = 0; (c = ali_command_at(i)) != NULL; i++)
        if (c->group && strcmp(c->group, word) == 0)
            return true;
    return false;
}

const char *ali_command_words(const struct ali_command *command, char ret_text[64])
{
    snprintf(ret_text, 64, "%s%s%s", command->group ? command->group : "",
             command->group ? " " : "", command->name);
    return ret_text;
}

/* Letters to insert, delete or replace to make b of a; words are short. */
static unsigned edit_distance(const char *a, const char *b)
{
    unsigned row[32];
    size_t n = strlen(b);

    if (n >= 32)
        return 32;
    for (unsigned j = 0; j <= n; j++)
        row[j] = j;
    for (unsigned i = 1; a[i - 1]; i++) {
        unsigned diagonal = row[0];

        row[0] = i;
        for (unsigned j = 1; j <= n; j++) {
            unsigned best = diagonal + (a[i - 1] != b[j - 1]);

            diagonal = row[j];
            best = best < row[j] + 1 ? best : row[j] + 1;
            row[j] = best < row[j - 1] + 1 ? best : row[j - 1] + 1;
        }
    }
    return row[n];
}

/* Two neighbouring letters changed places: the commonest slip of all counts as one. */
static bool is_swapped(const char *a, const char *b)
{
    while (*a && *a == *b) {
        a++;
        b++;
    }
    return a[0] && a[1] && a[0] == b[1] && a[1] == b[0] && strcmp(a + 2, b + 2) == 0;
}

/* The command word nearest to a mistyped one, NULL if none is near. */
static const char *nearest(const char *word, const char *group)
{
    const struct ali_command *c;
    const char *best = NULL;
    unsigned best_distance = strlen(word) < 6 ? 2 : 3; /* one letter wrong, in long words two */

    for (size_t i = 0; (c = ali_command_at(i)) != NULL; i++) {
        const char *candidate = !group && c->group ? c->group : c->name;
        unsigned distance;

        if (group && (!c->group || strcmp(c->group, group) != 0))
            continue;
        distance = is_swapped(word, candidate) ? 1 : edit_distance(word, candidate);
        if (distance < best_distance) {
            best_distance = distance;
            best = candidate;
        }
    }
    return best;
}

static int unknown_command(struct ali_cli *cli, const char *word, const char *group)
{
    const char *near = nearest(word, group);

    if (near)
        ali_say(cli, "there is no command '%s%s%s'; did you mean '%s'?", group ? group : "",
                group ? " " : "", ali_safe_c(word), near);
    else
        ali_say(cli, "there is no command '%s%s%s'; 'agentlink%s%s --help' lists them",
                group ? group : "", group ? " " : "", ali_safe_c(word), group ? " " : "",
                group ? group : "");
    return ALI_EXIT_USAGE;
}

/* What needs no command: --help, --version, generated texts. -1 if a command is needed. */
static int without_command(struct ali_cli *cli)
{
    const struct ali_globals *globals = &cli->globals;

    if (globals->version)
        puts("agentlink " AL_VERSION);
    else if (globals->completion || globals->generate)
        ali_generate(stdout, globals->completion ? globals->completion : globals->generate);
    else if (globals->usage)
        ali_help_usage(stdout, NULL);
    else if (globals->help)
        ali_help_program(cli, stdout);
    else
        return -1;
    return ali_flush(cli, ALI_EXIT_DONE);
}

/* "agentlink help [WORD [WORD]]" is "agentlink [WORD [WORD]] --help". */
static int show_help(struct ali_cli *cli, int argc, char **argv, int at)
{
    const struct ali_command *command;

    if (at == argc) {
        ali_help_program(cli, stdout);
        return ali_flush(cli, ALI_EXIT_DONE);
    }
    command = ali_command_find(argv[at], at + 1 < argc ? argv[at + 1] : NULL);
    if (command)
        ali_help_command(cli, stdout, command);
    else if (ali_command_is_group(argv[at]) && at + 1 == argc)
        ali_help_group(cli, stdout, argv[at]);
    else
        return ali_command_is_group(argv[at]) ? unknown_command(cli, argv[at + 1], argv[at])
                                              : unknown_command(cli, argv[at], NULL);
    return ali_flush(cli, ALI_EXIT_DONE);
}

/* Finds the command's word or words at argv[*at] and moves *at behind them. On failure an exit code
 * (0 after help was printed) and cli->command stays NULL. */
static int find_command(struct ali_cli *cli, int argc, char **argv, int *at)
{
    const char *first = argv[*at];
    int code;

    *at += 1;
    if (strcmp(first, "help") == 0)
        return show_help(cli, argc, argv, *at);
    if (ali_command_is_group(first)) {
        *at = ali_parse_globals(cli, *at, argc, argv);
        if (cli->globals.help && *at == argc) {
            ali_help_group(cli, stdout, first);
            return ali_flush(cli, ALI_EXIT_DONE);
        }
        if (*at == argc) {
            ali_help_group(cli, stderr, first);
            return ALI_EXIT_USAGE;
        }
        cli->command = ali_command_find(first, argv[*at]);
        code = cli->command ? 0 : unknown_command(cli, argv[*at], first);
        *at += 1;
        return code;
    }
    cli->command = ali_command_find(first, NULL);
    return cli->command ? 0 : unknown_command(cli, first, NULL);
}

static int run_command(struct ali_cli *cli, int first, int argc, char **argv)
{
    const struct ali_command *command = cli->command;
    void *values = ali_alloc(command->values_size);
    char **args = ali_alloc((size_t)(argc + 1) * sizeof *args);
    int code;

    memset(values, 0, command->values_size);
    ali_parse(cli, first, argc, argv, values, args);
    cli->json = cli->globals.json;
    code = command->run(cli, values, args);
    ali_node_close(cli);
    code = ali_flush(cli, code);
    ali_values_free(command, values);
    free(args);
    return code;
}

int ali_main(int argc, char **argv)
{
    const char *no_color = getenv("NO_COLOR");
    struct ali_cli cli = {.no_color = no_color && *no_color};
    int at, code;

    /* Widths of characters are asked for; texts are UTF-8 whatever the locale says. */
    if (!setlocale(LC_CTYPE, "C.UTF-8"))
        setlocale(LC_CTYPE, "");
    signal(SIGPIPE, SIG_IGN);
    cli.out_terminal = isatty(STDOUT_FILENO);
    cli.err_terminal = isatty(STDERR_FILENO);
    if (argc < 1)
        return ALI_EXIT_USAGE;
    at = ali_parse_globals(&cli, 1, argc, argv);
    if (at == argc) {
        code = without_command(&cli);
        if (code >= 0)
            return code;
        ali_help_program(&cli, stderr);
        return ALI_EXIT_USAGE;
    }
    code = find_command(&cli, argc, argv, &at);
    if (!cli.command)
        return code;
    if (cli.globals.help) {
        ali_help_command(&cli, stdout, cli.command);
        return ali_flush(&cli, ALI_EXIT_DONE);
    }
    return run_command(&cli, at, argc, argv);
}
