/* cli.h - what the files of the `agentlink` program share.
 *
 * One table per command (struct ali_command, in its cmd_<name>.c) says everything about it: words,
 * arguments, options with their types and defaults, and the text for people. The parser, the help,
 * the man page, docs/cli.md and the shell completions all come from it, so none can go stale.
 *
 * The program is single-threaded. Strings of the command line live as long as the process; what a
 * command allocates it frees, so that a leak checker stays quiet. */
#ifndef AL_CLI_CLI_H
#define AL_CLI_CLI_H

#include "base/bytes.h"
#include "base/errors.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Exit codes: the program's contract (design: stable command-line contract). */
enum ali_exit {
    ALI_EXIT_DONE = 0,
    ALI_EXIT_REFUSED = 1,     /* refused by the node, or not found */
    ALI_EXIT_USAGE = 2,       /* the command line is wrong */
    ALI_EXIT_UNREACHABLE = 3, /* no node answers */
    ALI_EXIT_DAMAGED = 4,     /* damage found */
    ALI_EXIT_DEAD = 5,        /* --wait: the message was dead-lettered, failed or expired */
    ALI_EXIT_UNKNOWN = 6,     /* outcome unknown: repeat with --key */
    ALI_EXIT_NOTHING = 124,   /* nothing (more) came in time */
};

/* ---- the tables -------------------------------------------------------------------------- */

/* How the text of an option becomes a value; the comment names the C type at `offset`. */
enum ali_type {
    ALI_FLAG,     /* bool */
    ALI_TEXT,     /* const char * */
    ALI_COUNT,    /* uint64_t within [min, max] */
    ALI_DURATION, /* uint64_t, milliseconds */
    ALI_CHOICE,   /* const char *, one of `choices` */
    ALI_LIST,     /* struct ali_list, may be given more than once */
};

/* What a shell may offer for a value. */
enum ali_complete { ALI_ANYTHING, ALI_AGENTS, ALI_FILES, ALI_DIRS };

/* The texts of an option that may be repeated, in their order. */
struct ali_list {
    const char **items;
    size_t count;
};

/* The value of an option with `keeps` that was not given. */
#define ALI_NOT_GIVEN UINT64_MAX

struct ali_option {
    const char *name; /* long name without the dashes; NULL ends a table */
    char letter;      /* short name, or 0 */
    const char *arg;  /* placeholder of the value in texts; NULL for a flag */
    enum ali_type type;
    size_t offset;       /* in the command's values */
    const char *preset;  /* default, in the words a user would write; NULL: none */
    const char *help;    /* one sentence, no full stop */
    const char *choices; /* ALI_CHOICE: "a|b|c" */
    uint64_t min, max;   /* ALI_COUNT; ALI_DURATION: max; max 0: no limit */
    enum ali_complete complete;
    bool required;
    bool keeps;  /* ALI_COUNT, ALI_DURATION: not given is ALI_NOT_GIVEN, so that 0 can be said */
    bool hidden; /* not in texts for users */
};

struct ali_cli;

struct ali_command {
    const char *group;   /* first word where the command has two ("dlq"), else NULL */
    const char *name;    /* the command's (second) word; NULL ends a table */
    const char *summary; /* one line */
    const char *args;    /* positional arguments in texts, "NAME"; NULL: none */
    unsigned args_min, args_max;
    enum ali_complete complete;       /* of the positional arguments */
    const char *doc;                  /* paragraphs, separated by empty lines; NULL: none */
    const char *examples;             /* lines "command # what it does"; NULL: none */
    const struct ali_option *options; /* ends with .name = NULL; NULL: none */
    size_t values_size;               /* of the struct that the options fill */
    /* Runs the command; returns an exit code. `values` is of values_size bytes. */
    int (*run)(struct ali_cli *cli, const void *values, char **args);
};

/* One table per cmd_<name>.c; ends with .name = NULL. */
extern const struct ali_command ali_cmd_agents[], ali_cmd_send[], ali_cmd_recv[], ali_cmd_settle[],
    ali_cmd_record[], ali_cmd_health[], ali_cmd_kinds[], ali_cmd_breakers[], ali_cmd_cancel[],
    ali_cmd_inbox[], ali_cmd_dlq[], ali_cmd_schedule[], ali_cmd_status[], ali_cmd_top[],
    ali_cmd_metrics[], ali_cmd_group[], ali_cmd_group_history[], ali_cmd_journal[], ali_cmd_bench[],
    ali_cmd_kv[], ali_cmd_replay[], ali_cmd_workflow[], ali_cmd_acl[], ali_cmd_acl_rules[],
    ali_cmd_identity[];
/* Options of the program itself, accepted before and behind the command. */
extern const struct ali_option ali_global_options[];

/* All commands in the order of the help. NULL behind the last one. */
const struct ali_command *ali_command_at(size_t index);
/* Finds a command by its words; second may be NULL. NULL if there is none. */
const struct ali_command *ali_command_find(const char *first, const char *second);
/* True if `word` is the first word of two-word commands ("agents", "dlq", "journal"). */
bool ali_command_is_group(const char *word);
/* Writes "dlq show" or "send" to ret_text and returns it. */
const char *ali_command_words(const struct ali_command *command, char ret_text[64]);

/* ---- one run ----------------------------------------------------------------------------- */

struct al_client;

/* Values of ali_global_options. */
struct ali_globals {
    const char *node;     /* --node or AGENTLINK_NODE; NULL: the default */
    const char *identity; /* --identity; NULL: AGENTLINK_IDENTITY or the default */
    bool json, no_color, help, usage, version;
    const char *completion; /* a shell: print its completion script */
    const char *generate;   /* a text to print, for the build */
};

struct ali_cli {
    struct ali_globals globals;
    bool json;         /* --json */
    bool no_color;     /* NO_COLOR is set */
    bool out_terminal; /* stdout is a terminal: colour, tables, escaped text */
    bool err_terminal; /* stderr is: progress is shown */
    const struct ali_command *command;
    uint32_t request_timeout_ms; /* of questions to the node; 0: 10 s */
    struct al_client *client;    /* NULL until ali_node_open() */
};

/* The whole program: parses the command line, runs the command; returns an exit code. */
int ali_main(int argc, char **argv);
/* Reads global options from argv[first..] up to the first word that is not one; returns the index
 * of that word, argc if there is none. A wrong line ends the program with 2 and a message. */
int ali_parse_globals(struct ali_cli *cli, int first, int argc, char **argv);
/* Parses argv[first..] of cli->command: options into values (zeroed, values_size bytes), positional
 * arguments into ret_args (NULL-terminated, room for argc + 1). A wrong line ends the program with
 * 2 and a message, --help with 0 after printing it. */
void ali_parse(struct ali_cli *cli, int first, int argc, char **argv, void *values,
               char **ret_args);
/* Frees what ali_parse allocated in values. */
void ali_values_free(const struct ali_command *command, void *values);

/* ---- words and numbers (parse.c) --------------------------------------------------------- */

/* "250ms", "5s", "1.5m", "2h", "1d", or "0"; a bare number is refused (which unit?). 0 or
 * -AL_E_INVALID. */
int ali_parse_duration(const char *text, uint64_t *ret_ms);
/* A decimal number without sign, blanks or leftovers. 0 or -AL_E_INVALID. */
int ali_parse_count(const char *text, uint64_t *ret_count);
/* "4", "64k", "16M", "1G" (powers of 1024). 0 or -AL_E_INVALID. */
int ali_parse_size(const char *text, uint64_t *ret_bytes);
/* "STREAM:SEQ", both decimal, the first within 32 bits. 0 or -AL_E_INVALID. */
int ali_parse_place(const char *text, uint32_t *ret_stream, uint64_t *ret_seq);

/* ---- text for people (text.c) ------------------------------------------------------------ */

/* Room for formatted times, and for spans and sizes. */
enum { ALI_TIME_CAP = 32, ALI_SHORT_CAP = 32 };

/* Writes text with everything a terminal could act on or mis-show made visible: control characters
 * as \n, \t, \x1b; bidirectional and other invisible format characters as \u202e; bytes that are
 * not UTF-8 as \xff. The backslash itself becomes \\ so that the result is unambiguous.
 * `keep_lines` lets line feeds through. Returns the columns written. */
size_t ali_put_escaped(FILE *out, struct al_str text, bool keep_lines);
/* Columns that ali_put_escaped would write. */
size_t ali_escaped_width(struct al_str text);
/* Milliseconds since 1970 as "2026-11-21T03:54:44.123Z". */
const char *ali_format_time(uint64_t wall_ms, char ret_text[ALI_TIME_CAP]);
/* A length of time in the two largest units: "1.5 s", "3 min 20 s", "2 d 4 h". */
const char *ali_format_span(uint64_t ms, char ret_text[ALI_SHORT_CAP]);
/* Bytes as "812 B", "1.4 MiB". */
const char *ali_format_size(uint64_t bytes, char ret_text[ALI_SHORT_CAP]);

/* ---- colour ------------------------------------------------------------------------------ */

/* Styles of text on a terminal. */
enum ali_style { ALI_PLAIN, ALI_BOLD, ALI_DIM, ALI_GOOD, ALI_WARN, ALI_BAD };
/* The escape sequence that begins a style on stdout, "" when colour is off. */
const char *ali_style_begin(const struct ali_cli *cli, enum ali_style style);
/* Ends any style. */
const char *ali_style_end(const struct ali_cli *cli);

/* ---- tables (table.c) -------------------------------------------------------------------- */

/* A table that is laid out when all rows are known. On a terminal it has a bold heading and colour;
 * in a pipe the same columns as plain text, a heading first, two blanks between columns. */
struct ali_table;

/* `headings` are "NAME" or ">COUNT" (right-aligned), NULL-terminated, and must outlive the table.
 * A table whose first heading is "" has no heading line: pairs of a key and its value. */
struct ali_table *ali_table_new(struct ali_cli *cli, const char *const *headings);
/* Adds a cell to the row being filled; a row is full after as many cells as there are headings.
 * The text is copied and escaped when printed. */
void ali_table_put(struct ali_table *table, enum ali_style style, struct al_str text);
void ali_table_text(struct ali_table *table, const char *text);
/* The key of a pair. */
void ali_table_key(struct ali_table *table, const char *text);
void ali_table_count(struct ali_table *table, uint64_t value);
__attribute__((format(printf, 2, 3))) void ali_table_format(struct ali_table *table,
                                                            const char *format, ...);
/* A count that is red unless it is 0. */
void ali_table_alarm(struct ali_table *table, uint64_t value);
/* Prints all rows and frees the table. Without a row: on a terminal the sentence `nothing`, in a
 * pipe the heading alone. */
void ali_table_print(struct ali_table *table, const char *nothing);
/* Prints if `print`, frees in any case. */
void ali_table_end(struct ali_table *table, bool print, const char *nothing);

/* ---- errors (say.c) ---------------------------------------------------------------------- */

/* Prints "agentlink COMMAND: text" to stderr; text from outside must go through ali_safe. */
__attribute__((format(printf, 2, 3))) void ali_say(const struct ali_cli *cli, const char *format,
                                                   ...);
/* A bounded, escaped copy of hostile text for use in one message; eight live at a time. */
const char *ali_safe(struct al_str text);
static inline const char *ali_safe_c(const char *text)
{
    return ali_safe(al_str_c(text));
}
/* The exit code that stands for a library error (negative or positive). */
int ali_exit_of(int error);
/* malloc and realloc that do not fail: a program that prints tables has nothing better to do than
 * to say so and stop with 1. Freed with free(). */
void *ali_alloc(size_t size);
void *ali_grow(void *ptr, size_t size);
/* Flushes stdout; a full disk or closed pipe behind it is an error that must not be lost. Returns
 * exit_code, or 1 after a message when the output could not be written. */
int ali_flush(const struct ali_cli *cli, int exit_code);

/* ---- progress ---------------------------------------------------------------------------- */

/* Rewrites one status line on stderr, at most ten times a second; nothing in a pipe. */
__attribute__((format(printf, 2, 3))) void ali_progress(const struct ali_cli *cli,
                                                        const char *format, ...);
/* Clears the line. */
void ali_progress_end(const struct ali_cli *cli);

/* ---- texts made from the tables (help.c, generate.c)
 * --------------------------------------------- */

/* Writes the overview of all commands. */
void ali_help_program(const struct ali_cli *cli, FILE *out);
/* Writes the commands of one group. */
void ali_help_group(const struct ali_cli *cli, FILE *out, const char *group);
/* Writes everything about one command. */
void ali_help_command(const struct ali_cli *cli, FILE *out, const struct ali_command *command);
/* "usage: agentlink send --as AGENT --to AGENT [OPTION…]". */
void ali_help_usage(FILE *out, const struct ali_command *command);
/* "--ttl TIME", "-h, --help"; in ret_text. */
const char *ali_option_label(const struct ali_option *option, char ret_text[64]);
/* The help sentence with choices and default, "life time (default 30s)"; in ret_text. */
const char *ali_option_help(const struct ali_option *option, char ret_text[512]);
/* The exit codes as rows of code and meaning; code -1 ends. */
struct ali_exit_row {
    int code;
    const char *meaning;
};
/* All of them. */
extern const struct ali_exit_row ali_exit_rows[];
/* Generated files: "bash", "zsh", "man", "markdown". False if `what` is none of them. */
bool ali_generate(FILE *out, const char *what);
/* Writes the completion script for bash. */
void ali_complete_bash(FILE *out);
/* Writes the completion script for zsh. */
void ali_complete_zsh(FILE *out);

#endif
