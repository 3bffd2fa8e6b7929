/* complete.c - completion scripts for bash and zsh, written from the tables.
 *
 * Both offer command words, options, choices and, where an agent is wanted, the names that the node
 * knows. Names consist of [a-z0-9._/-] only, so they need no quoting in a shell. */
#include "cli/cli.h"
#include <string.h>

/* The option names of a table as "--a --b ". */
static void put_option_names(FILE *out, const struct ali_option *options)
{
    for (const struct ali_option *o = options; o && o->name; o++)
        if (!o->hidden)
            fprintf(out, "--%s ", o->name);
}

/* "a|b" as "a b". */
static void put_choices(FILE *out, const char *choices)
{
    for (; *choices; choices++)
        fputc(*choices == '|' ? ' ' : *choices, out);
}

/* Calls fn once for every group word. */
static void each_group(FILE *out, void (*fn)(FILE *out, const char *group))
{
    const struct ali_command *c;
    const char *last = "";

    for (size_t i = 0; (c = ali_command_at(i)) != NULL; i++)
        if (c->group && strcmp(c->group, last) != 0)
            fn(out, last = c->group);
}

/* ---- bash -------------------------------------------------------------------------------- */

static const char bash_head[] =
    "# bash completion for agentlink, generated from its command tables\n"
    "\n"
    "# offer WORDS [agents|files|dirs]\n"
    "_agentlink_offer() {\n"
    "    local words=$1\n"
    "    if [ \"$2\" = agents ] && [[ $cur != -* ]]; then\n"
    "        words=\"$words $(agentlink agents ls 2>/dev/null | awk 'NR > 1 { print $1 }')\"\n"
    "    fi\n"
    "    COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
    "    [ \"$2\" = files ] && COMPREPLY+=($(compgen -f -- \"$cur\"))\n"
    "    [ \"$2\" = dirs ] && COMPREPLY+=($(compgen -d -- \"$cur\"))\n"
    "    return 0\n"
    "}\n";

static const char bash_main[] =
    "\n"
    "_agentlink() {\n"
    "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n"
    "    local cmd='' group='' word i\n"
    "    COMPREPLY=()\n"
    "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
    "        word=${COMP_WORDS[i]}\n"
    "        [ \"$word\" = --node ] && { ((i++)); continue; }\n"
    "        [[ $word = -* ]] && continue\n"
    "        cmd=${group:+$group }$word\n"
    "        [ -n \"$group\" ] && break\n"
    "        case \" $_agentlink_groups \" in *\" $word \"*) group=$word ;; *) break ;; esac\n"
    "    done\n"
    "    [ \"$prev\" = --node ] && { _agentlink_offer 'unix: file: inproc:'; return; }\n"
    "    _agentlink_value \"$cmd:$prev\" || _agentlink_word \"$cmd\"\n"
    "}\n"
    "complete -F _agentlink agentlink\n";

static void bash_values(FILE *out, const struct ali_command *command)
{
    static const char *const kinds[] = {"", "agents", "files", "dirs"};
    char words[64];

    ali_command_words(command, words);
    for (const struct ali_option *o = command->options; o && o->name; o++) {
        if (!o->arg)
            continue;
        fprintf(out, "    '%s:--%s') _agentlink_offer '", words, o->name);
        put_choices(out, o->choices ? o->choices : "");
        fprintf(out, "' %s ;;\n", kinds[o->complete]);
    }
}

static void bash_command(FILE *out, const struct ali_command *command)
{
    static const char *const kinds[] = {"", "agents", "files", "dirs"};
    char words[64];

    fprintf(out, "    '%s') _agentlink_offer '", ali_command_words(command, words));
    put_option_names(out, command->options);
    put_option_names(out, ali_global_options);
    fprintf(out, "' %s ;;\n", kinds[command->complete]);
}

/* The words that may follow a group, or the program itself ("" as group). */
static void bash_group(FILE *out, const char *group)
{
    const struct ali_command *c;
    const char *last = "";

    fprintf(out, "    '%s') _agentlink_offer '", group);
    for (size_t i = 0; (c = ali_command_at(i)) != NULL; i++) {
        const char *word = !*group && c->group ? c->group : c->name;

        if ((*group && (!c->group || strcmp(c->group, group) != 0)) || strcmp(word, last) == 0)
            continue;
        fprintf(out, "%s ", word);
        last = word;
    }
    put_option_names(out, ali_global_options);
    fputs("' ;;\n", out);
}

static void put_word(FILE *out, const char *word)
{
    fprintf(out, " %s", word);
}

void ali_complete_bash(FILE *out)
{
    const struct ali_command *c;

    fputs(bash_head, out);
    fputs("\n_agentlink_groups='", out);
    each_group(out, put_word);
    fputs("'\n\n# the value of an option; fails where none is wanted\n"
          "_agentlink_value() {\n    case $1 in\n",
          out);
    for (size_t i = 0; (c = ali_command_at(i)) != NULL; i++)
        bash_values(out, c);
    fputs("    *) return 1 ;;\n    esac\n}\n\n_agentlink_word() {\n    case $1 in\n", out);
    bash_group(out, "");
    each_group(out, bash_group);
    for (size_t i = 0; (c = ali_command_at(i)) != NULL; i++)
        bash_command(out, c);
    fputs("    esac\n}\n", out);
    fputs(bash_main, out);
}

/* ---- zsh --------------------------------------------------------------------------------- */

/* Text inside a single-quoted _arguments specification: brackets, colons and quotes have meaning
 * there. */
static void zsh_text(FILE *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '\'')
            fputs("'\\''", out);
        else if (strchr("[]:\\", *text))
            fprintf(out, "\\%c", *text);
        else
            fputc(*text, out);
    }
}

static const char *zsh_action(enum ali_complete complete)
{
    static const char *const actions[] = {" ", "_agentlink_agents", "_files", "_files -/"};

    return actions[complete];
}

static void zsh_options(FILE *out, const struct ali_option *options)
{
    for (const struct ali_option *o = options; o && o->name; o++) {
        if (o->hidden)
            continue;
        fprintf(out, " \\\n            '%s--%s[", o->type == ALI_LIST ? "*" : "", o->name);
        zsh_text(out, o->help);
        fputc(']', out);
        if (o->choices) {
            fprintf(out, ":%s:(", o->arg);
            put_choices(out, o->choices);
            fputc(')', out);
        } else if (o->arg) {
            fprintf(out, ":%s:%s", o->arg, zsh_action(o->complete));
        }
        fputc('\'', out);
    }
}

static void zsh_command(FILE *out, const struct ali_command *command)
{
    char words[64];

    fprintf(out, "    '%s')\n        _arguments -s", ali_command_words(command, words));
    zsh_options(out, command->options);
    zsh_options(out, ali_global_options);
    for (unsigned i = 0; i < command->args_max; i++) {
        fprintf(out, " \\\n            '%u:", i + 1);
        zsh_text(out, command->args);
        fprintf(out, ":%s'", zsh_action(command->complete));
    }
    fputs(" ;;\n", out);
}

/* The words behind a group, or behind the program ("" as group), each with its summary. */
static void zsh_group(FILE *out, const char *group)
{
    const struct ali_command *c;
    const char *last = "";

    fprintf(out, "    '%s')\n        words_=(", group);
    for (size_t i = 0; (c = ali_command_at(i)) != NULL; i++) {
        const char *word = !*group && c->group ? c->group : c->name;

        if ((*group && (!c->group || strcmp(c->group, group) != 0)) || strcmp(word, last) == 0)
            continue;
        fprintf(out, "\n            '%s:", word);
        zsh_text(out, !*group && c->group ? "" : c->summary);
        fputc('\'', out);
        last = word;
    }
    fputs(")\n        _describe -t commands 'command' words_ ;;\n", out);
}

static const char zsh_main[] =
    "\n"
    "_agentlink() {\n"
    "    local curcontext=$curcontext state line group\n"
    "    _arguments -C \\\n"
    "        '--node[node to talk to]:URL:(unix\\: file\\: inproc\\:)' \\\n"
    "        '--json[one JSON object per line]' '--no-color[no colour]' \\\n"
    "        '(- *)--help[show help]' '(- *)--version[show the version]' \\\n"
    "        '1: :->command' '*:: :->rest'\n"
    "    case $state in\n"
    "    command) _agentlink_words '' ;;\n"
    "    rest)\n"
    "        if (( ${_agentlink_groups[(Ie)$line[1]]} )); then\n"
    "            if (( CURRENT == 2 )); then _agentlink_words $line[1]; return; fi\n"
    "            group=\"$line[1] \"\n"
    "            shift words; (( CURRENT-- ))\n"
    "            _agentlink_command \"$group$words[1]\"\n"
    "        else\n"
    "            _agentlink_command $line[1]\n"
    "        fi ;;\n"
    "    esac\n"
    "}\n"
    "_agentlink \"$@\"\n";

void ali_complete_zsh(FILE *out)
{
    const struct ali_command *c;

    fputs("#compdef agentlink\n"
          "# zsh completion for agentlink, generated from its command tables\n\n"
          "_agentlink_groups=(",
          out);
    each_group(out, put_word);
    fputs(" )\n\n_agentlink_agents() {\n"
          "    local -a names=(${(f)\"$(agentlink agents ls 2>/dev/null | "
          "awk 'NR > 1 { print $1 }')\"})\n"
          "    compadd -a names\n}\n\n"
          "_agentlink_words() {\n    local -a words_\n    case $1 in\n",
          out);
    zsh_group(out, "");
    each_group(out, zsh_group);
    fputs("    esac\n}\n\n_agentlink_command() {\n    case $1 in\n", out);
    for (size_t i = 0; (c = ali_command_at(i)) != NULL; i++)
        zsh_command(out, c);
    fputs("    esac\n}\n", out);
    fputs(zsh_main, out);
}
