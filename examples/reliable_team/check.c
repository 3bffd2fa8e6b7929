/* check.c - reading the logs of the sides: nothing of the library is trusted here. */
#include "check.h"
#include <stdio.h>
#include <string.h>

#define LOG_MAX 16384

/* The whole log of a side, "" if there is none. */
static void read_log(const char *dir, unsigned index, char ret_text[LOG_MAX])
{
    char path[600];
    size_t n = 0;
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s.said", dir, side_names[index]);
    file = fopen(path, "re");
    if (file) {
        n = fread(ret_text, 1, LOG_MAX - 1, file);
        fclose(file);
    }
    ret_text[n] = 0;
}

unsigned log_count(const char *dir, unsigned index)
{
    char text[LOG_MAX];
    unsigned count = 0;

    read_log(dir, index, text);
    for (const char *p = text; (p = strchr(p, '\n')) != NULL; p++)
        count++;
    return count;
}

/* Turns are said one after the other, each once. */
static void check_turns(const char *text, struct outcome *outcome)
{
    unsigned turn, last = 0;

    for (const char *line = text; line && *line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (sscanf(line, "%u ", &turn) != 1)
            continue;
        if (turn <= last)
            outcome->twice++;
        else
            outcome->missing += turn - last - 1;
        last = turn > last ? turn : last;
    }
    outcome->missing += last < TURNS ? TURNS - last : 0;
}

void logs_check(const char *dir, struct outcome *ret_outcome)
{
    struct outcome outcome = {.said = 0};
    char first[LOG_MAX], text[LOG_MAX];
    const char *end;

    read_log(dir, 0, first);
    for (unsigned i = 0; i < SIDES; i++) {
        read_log(dir, i, text);
        end = strstr(text, "\nend ");
        outcome.disagree += strcmp(text, first) != 0;
        outcome.broken += !end || strstr(end, " BROKEN") || !strstr(end, "proven=1-");
        check_turns(text, &outcome);
    }
    end = strstr(first, "\nend ");
    if (end)
        (void)sscanf(end, "\nend said=%u skipped=%*u ignored=%u", &outcome.said,
                     &outcome.duplicates);
    *ret_outcome = outcome;
}

int outcome_is_good(const struct outcome *outcome)
{
    return outcome->said == TURNS && !outcome->twice && !outcome->missing && !outcome->disagree &&
           !outcome->broken && outcome->duplicates > 0;
}
