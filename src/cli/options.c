/* options.c - from the option tables to argp and back.
 *
 * argp does the walking (GNU conventions, abbreviations, permutation); this file makes its option
 * array from our tables and turns the texts into typed values. argp_error prints the message with a
 * pointer to --help and ends the program with argp_err_exit_status, which is 2. */
#include "cli/cli.h"
#include <argp.h>
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { OPTIONS_MAX = 48, KEY_GLOBAL = 1000, KEY_OWN = 2000 };

struct parse {
    struct ali_cli *cli;
    const struct ali_option *options; /* of the command; NULL: globals only */
    uint8_t *values;
    bool seen[OPTIONS_MAX];
    bool stop_at_word; /* globals: the first word ends the walk */
    int stopped_at;
    char **args;
    unsigned arg_count;
};

static int set_number(const struct ali_option *option, const char *text, uint64_t *ret_value)
{
    if (option->type == ALI_DURATION ? ali_parse_duration(text, ret_value)
                                     : ali_parse_count(text, ret_value))
        return -AL_E_INVALID;
    return *ret_value < option->min || (option->max && *ret_value > option->max) ? -AL_E_INVALID
                                                                                 : 0;
}

static bool is_choice(const char *choices, const char *text)
{
    size_t n = strlen(text);

    for (const char *p = choices; p; p = strchr(p, '|')) {
        p += *p == '|';
        if (strcspn(p, "|") == n && memcmp(p, text, n) == 0)
            return true;
    }
    return false;
}

static void list_add(struct ali_list *list, const char *text)
{
    list->items = ali_grow(list->items, (list->count + 1) * sizeof *list->items);
    list->items[list->count++] = text;
}

/* Stores one value; -AL_E_INVALID if the text does not fit the type. */
static int set_value(const struct ali_option *option, void *values, const char *text)
{
    void *place = (uint8_t *)values + option->offset;
    uint64_t number;

    switch (option->type) {
    case ALI_FLAG:
        *(bool *)place = true;
        return 0;
    case ALI_CHOICE:
        if (!is_choice(option->choices, text))
            return -AL_E_INVALID;
        __attribute__((fallthrough));
    case ALI_TEXT:
        *(const char **)place = text;
        return 0;
    case ALI_LIST:
        list_add(place, text);
        return 0;
    default:
        if (set_number(option, text, &number))
            return -AL_E_INVALID;
        *(uint64_t *)place = number;
        return 0;
    }
}

/* Says what is wrong with a value and what would be right; does not return. */
static void refuse(const struct ali_option *option, const char *text, struct argp_state *state)
{
    char span[ALI_SHORT_CAP];
    uint64_t ms;

    if (option->type == ALI_DURATION && option->max && ali_parse_duration(text, &ms) == 0)
        argp_error(state, "--%s: '%s' is more than %s", option->name, ali_safe_c(text),
                   ali_format_span(option->max, span));
    text = ali_safe_c(text);
    if (option->type == ALI_DURATION)
        argp_error(state,
                   "--%s: '%s' is no length of time up to ten years; write for instance 500ms, "
                   "30s, 5m or 2h",
                   option->name, text);
    else if (option->type == ALI_CHOICE)
        argp_error(state, "--%s: '%s' is not one of %s", option->name, text, option->choices);
    else if (option->max)
        argp_error(state, "--%s: '%s' is not a number from %" PRIu64 " to %" PRIu64, option->name,
                   text, option->min, option->max);
    else
        argp_error(state, "--%s: '%s' is not a number of at least %" PRIu64, option->name, text,
                   option->min);
}

static void set_presets(const struct ali_option *options, void *values)
{
    for (const struct ali_option *o = options; o && o->name; o++)
        if (o->keeps)
            *(uint64_t *)(void *)((uint8_t *)values + o->offset) = ALI_NOT_GIVEN;
        else if (o->preset && set_value(o, values, o->preset))
            abort(); /* a table of ours is wrong */
}

static void show_help(struct ali_cli *cli)
{
    if (cli->globals.usage)
        ali_help_usage(stdout, cli->command);
    else if (cli->command)
        ali_help_command(cli, stdout, cli->command);
    else
        return;
    exit(ali_flush(cli, ALI_EXIT_DONE));
}

static void on_option(struct parse *parse, int key, const char *text, struct argp_state *state)
{
    bool own = key >= KEY_OWN;
    int index = key - (own ? KEY_OWN : KEY_GLOBAL);
    const struct ali_option *option = own ? &parse->options[index] : &ali_global_options[index];
    void *values = own ? (void *)parse->values : (void *)&parse->cli->globals;

    if (own)
        parse->seen[index] = true;
    if (set_value(option, values, text))
        refuse(option, text, state);
    if (parse->cli->globals.help || parse->cli->globals.usage)
        show_help(parse->cli);
}

static void on_word(struct parse *parse, char *word, struct argp_state *state)
{
    const struct ali_command *command = parse->cli->command;

    if (parse->stop_at_word) {
        parse->stopped_at = state->next - 1;
        state->next = state->argc;
        return;
    }
    if (parse->arg_count == command->args_max)
        argp_error(state, "'%s' is one argument too many", ali_safe_c(word));
    parse->args[parse->arg_count++] = word;
}

static void check_complete(struct parse *parse, struct argp_state *state)
{
    const struct ali_command *command = parse->cli->command;

    if (parse->stop_at_word)
        return;
    for (int i = 0; parse->options && parse->options[i].name; i++)
        if (parse->options[i].required && !parse->seen[i])
            argp_error(state, "--%s %s is missing: %s", parse->options[i].name,
                       parse->options[i].arg, parse->options[i].help);
    if (parse->arg_count < command->args_min)
        argp_error(state, "%s is missing", command->args);
}

static error_t on_event(int key, char *text, struct argp_state *state)
{
    struct parse *parse = state->input;

    if (key == ARGP_KEY_ARG)
        on_word(parse, text, state);
    else if (key == ARGP_KEY_END)
        check_complete(parse, state);
    else if (key >= KEY_GLOBAL && key < KEY_OWN + OPTIONS_MAX)
        on_option(parse, key, text, state);
    else if (key == 'h' || key == 'V')
        on_option(parse, KEY_GLOBAL + (key == 'h' ? 0 : 1), text, state);
    else
        return ARGP_ERR_UNKNOWN;
    return 0;
}

static size_t add_options(struct argp_option *array, size_t count, const struct ali_option *options,
                          int key)
{
    for (int i = 0; options && options[i].name; i++) {
        assert(count < 2 * OPTIONS_MAX);
        array[count++] = (struct argp_option){
            .name = options[i].name,
            .key = options[i].letter ? options[i].letter : key + i,
            .arg = options[i].arg,
            .doc = options[i].help,
            .flags = options[i].hidden ? OPTION_HIDDEN : 0,
        };
    }
    return count;
}

/* Runs argp over argv[first..]; argv[first - 1] is lent as the program's name in messages. */
static void walk(struct parse *parse, int first, int argc, char **argv)
{
    struct argp_option array[2 * OPTIONS_MAX + 1] = {0};
    struct argp argp = {.options = array, .parser = on_event};
    char words[64] = "", name[96];
    char *borrowed = argv[first - 1];
    size_t count;

    count = add_options(array, 0, ali_global_options, KEY_GLOBAL);
    add_options(array, count, parse->options, KEY_OWN);
    if (parse->cli->command)
        ali_command_words(parse->cli->command, words);
    snprintf(name, sizeof name, "agentlink%s%s", words[0] ? " " : "", words);
    argv[first - 1] = name;
    argp_err_exit_status = ALI_EXIT_USAGE;
    argp_parse(&argp, argc - first + 1, argv + first - 1,
               ARGP_NO_HELP | (parse->stop_at_word ? ARGP_IN_ORDER : 0), NULL, parse);
    argv[first - 1] = borrowed;
}

int ali_parse_globals(struct ali_cli *cli, int first, int argc, char **argv)
{
    struct parse parse = {.cli = cli, .stop_at_word = true, .stopped_at = -1};

    walk(&parse, first, argc, argv);
    return parse.stopped_at < 0 ? argc : parse.stopped_at + first - 1;
}

void ali_parse(struct ali_cli *cli, int first, int argc, char **argv, void *values, char **ret_args)
{
    struct parse parse = {
        .cli = cli, .options = cli->command->options, .values = values, .args = ret_args};

    set_presets(parse.options, values);
    walk(&parse, first, argc, argv);
    ret_args[parse.arg_count] = NULL;
}

void ali_values_free(const struct ali_command *command, void *values)
{
    for (const struct ali_option *o = command->options; o && o->name; o++)
        if (o->type == ALI_LIST)
            free(((struct ali_list *)((uint8_t *)values + o->offset))->items);
    free(values);
}
