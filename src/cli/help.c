/* help.c - help texts, written from the command tables. */
#include "cli/cli.h"
#include <string.h>

enum { WIDTH = 80, GAP = 2, LABEL_MAX = 26 };

const struct ali_exit_row ali_exit_rows[] = {
    {ALI_EXIT_DONE, "done"},
    {ALI_EXIT_REFUSED, "refused, or not found"},
    {ALI_EXIT_USAGE, "the command line is wrong"},
    {ALI_EXIT_UNREACHABLE, "the node cannot be reached"},
    {ALI_EXIT_DAMAGED, "damage found"},
    {ALI_EXIT_DEAD, "the message was dead-lettered (send --wait, request)"},
    {ALI_EXIT_UNKNOWN, "outcome unknown: repeat with the same --key"},
    {ALI_EXIT_NOTHING, "nothing (more) came in time"},
    {-1, NULL},
};

const char *ali_option_label(const struct ali_option *option, char ret_text[64])
{
    char letter[8] = "";

    if (option->letter)
        snprintf(letter, sizeof letter, "-%c, ", option->letter);
    snprintf(ret_text, 64, "%s--%s%s%s", letter, option->name, option->arg ? " " : "",
             option->arg ? option->arg : "");
    return ret_text;
}

const char *ali_option_help(const struct ali_option *option, char ret_text[512])
{
    char choices[160] = "";

    if (option->choices) {
        char *p = stpcpy(choices, ": ");

        for (const char *c = option->choices; *c && p < choices + sizeof choices - 4; c++)
            p = *c == '|' ? stpcpy(p, ", ") : (*p = *c, p + 1);
        *p = '\0';
    }
    snprintf(ret_text, 512, "%s%s%s%s%s%s%s", option->help, choices,
             option->preset ? " (default " : "", option->preset ? option->preset : "",
             option->preset ? ")" : "", option->required ? " (required)" : "",
             option->type == ALI_LIST ? "; may be repeated" : "");
    return ret_text;
}

/* Writes words of text, n bytes, into lines that begin behind `indent` columns; the cursor is
 * there already. */
static void put_wrapped(FILE *out, size_t indent, const char *text, size_t n)
{
    size_t column = indent;

    for (size_t i = 0; i < n;) {
        size_t len = 0;

        while (i + len < n && text[i + len] != ' ' && text[i + len] != '\n')
            len++;
        if (column > indent && column + 1 + len > WIDTH) {
            fprintf(out, "\n%*s", (int)indent, "");
            column = indent;
        } else if (column > indent) {
            fputc(' ', out);
            column++;
        }
        fwrite(text + i, 1, len, out);
        column += len;
        i += len + 1;
    }
    fputc('\n', out);
}

/* "  label   text", the text from column `at` on; a long label stands on a line of its own. */
static void put_entry(FILE *out, const char *label, const char *text, size_t at)
{
    size_t used = 2 + strlen(label);

    fprintf(out, "  %s", label);
    if (used + GAP > at) {
        fputc('\n', out);
        used = 0;
    }
    fprintf(out, "%*s", (int)(at - used), "");
    put_wrapped(out, at, text, strlen(text));
}

static void put_heading(const struct ali_cli *cli, FILE *out, const char *text)
{
    bool styled = out == stdout;

    fprintf(out, "\n%s%s%s\n", styled ? ali_style_begin(cli, ALI_BOLD) : "", text,
            styled ? ali_style_end(cli) : "");
}

static void put_options(FILE *out, const struct ali_option *options)
{
    size_t at = 0;
    char label[64], help[512];

    for (const struct ali_option *o = options; o && o->name; o++) {
        size_t width = strlen(ali_option_label(o, label)) + 2 + GAP;

        if (!o->hidden && width > at && width <= LABEL_MAX)
            at = width;
    }
    for (const struct ali_option *o = options; o && o->name; o++)
        if (!o->hidden)
            put_entry(out, ali_option_label(o, label), ali_option_help(o, help), at);
}

static void put_commands(FILE *out, const char *group)
{
    const struct ali_command *c;
    char label[64], words[64];

    for (size_t i = 0; (c = ali_command_at(i)) != NULL; i++) {
        if (group && (!c->group || strcmp(c->group, group) != 0))
            continue;
        snprintf(label, sizeof label, "%s%s%s", ali_command_words(c, words), c->args_min ? " " : "",
                 c->args_min ? c->args : "");
        put_entry(out, label, c->summary, LABEL_MAX);
    }
}

void ali_help_program(const struct ali_cli *cli, FILE *out)
{
    char code[16];

    fputs("agentlink - send and receive messages between agents, and look after a node\n\n"
          "usage: agentlink [OPTION...] COMMAND [ARGUMENT...]\n",
          out);
    put_heading(cli, out, "commands");
    put_commands(out, NULL);
    put_heading(cli, out, "options (before or behind the command)");
    put_options(out, ali_global_options);
    put_heading(cli, out, "exit codes");
    for (const struct ali_exit_row *row = ali_exit_rows; row->code >= 0; row++) {
        snprintf(code, sizeof code, "%d", row->code);
        put_entry(out, code, row->meaning, 8);
    }
    fputs("\n'agentlink COMMAND --help' says more about a command.\n", out);
}

void ali_help_group(const struct ali_cli *cli, FILE *out, const char *group)
{
    fprintf(out, "usage: agentlink %s COMMAND [ARGUMENT...]\n", group);
    put_heading(cli, out, "commands");
    put_commands(out, group);
    fprintf(out, "\n'agentlink %s COMMAND --help' says more about a command.\n", group);
}

void ali_help_usage(FILE *out, const struct ali_command *command)
{
    char words[64], label[64];

    if (!command) {
        fputs("usage: agentlink [OPTION...] COMMAND [ARGUMENT...]\n", out);
        return;
    }
    fprintf(out, "usage: agentlink %s", ali_command_words(command, words));
    for (const struct ali_option *o = command->options; o && o->name; o++)
        if (o->required)
            fprintf(out, " %s", ali_option_label(o, label));
    if (command->args)
        fprintf(out, command->args_min ? " %s" : " [%s]", command->args);
    fputs(" [OPTION...]\n", out);
}

void ali_help_command(const struct ali_cli *cli, FILE *out, const struct ali_command *command)
{
    char words[64];

    fprintf(out, "agentlink %s - %s\n\n", ali_command_words(command, words), command->summary);
    ali_help_usage(out, command);
    for (const char *p = command->doc; p && *p;) {
        const char *end = strstr(p, "\n\n");
        size_t n = end ? (size_t)(end - p) : strlen(p);

        fputc('\n', out);
        put_wrapped(out, 0, p, n);
        p += n + (end ? 2 : 0);
    }
    if (command->options) {
        put_heading(cli, out, "options");
        put_options(out, command->options);
    }
    put_heading(cli, out, "options of every command");
    put_options(out, ali_global_options);
    if (command->examples) {
        put_heading(cli, out, "examples");
        for (const char *p = command->examples; *p;) {
            size_t n = strcspn(p, "\n");

            fprintf(out, "  %.*s\n", (int)n, p);
            p += n + (p[n] == '\n');
        }
    }
}
