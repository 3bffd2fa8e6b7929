/* say.c - messages for people on stderr, exit codes, memory, progress. */
#include "cli/cli.h"
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void ali_say(const struct ali_cli *cli, const char *format, ...)
{
    char words[64];
    va_list ap;

    fflush(stdout);
    if (cli && cli->command)
        fprintf(stderr, "agentlink %s: ", ali_command_words(cli->command, words));
    else
        fputs("agentlink: ", stderr);
    va_start(ap, format);
    vfprintf(stderr, format, ap);
    va_end(ap);
    fputc('\n', stderr);
}

const char *ali_safe(struct al_str text)
{
    static char texts[8][4096];
    static unsigned next;
    char *slot = texts[next++ % 8];
    bool cut = text.n > 800;
    FILE *out = fmemopen(slot, sizeof texts[0], "w");

    slot[0] = '\0';
    if (!out)
        return slot;
    text.n = cut ? 800 : text.n;
    ali_put_escaped(out, text, false);
    if (cut)
        fputs("...", out);
    fclose(out);
    slot[sizeof texts[0] - 1] = '\0';
    return slot;
}

int ali_exit_of(int error)
{
    switch (error < 0 ? -error : error) {
    case AL_OK:
        return ALI_EXIT_DONE;
    case AL_E_UNREACHABLE:
    case AL_E_CLOSED:
    case AL_E_TIMEOUT: /* of a question: the node does not answer */
        return ALI_EXIT_UNREACHABLE;
    case AL_E_DAMAGED:
    case AL_E_FORMAT:
        return ALI_EXIT_DAMAGED;
    case AL_E_DEAD_LETTERED:
        return ALI_EXIT_DEAD;
    case AL_E_UNKNOWN_OUTCOME:
        return ALI_EXIT_UNKNOWN;
    default:
        return ALI_EXIT_REFUSED;
    }
}

void *ali_grow(void *ptr, size_t size)
{
    void *grown = realloc(ptr, size);

    if (!grown) {
        fputs("agentlink: out of memory\n", stderr);
        exit(ALI_EXIT_REFUSED);
    }
    return grown;
}

void *ali_alloc(size_t size)
{
    return ali_grow(NULL, size ? size : 1);
}

int ali_flush(const struct ali_cli *cli, int exit_code)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return exit_code;
    if (errno != EPIPE) /* the reader has gone: it has no use for a message */
        ali_say(cli, "the output could not be written: %s", strerror(errno));
    return ALI_EXIT_REFUSED;
}

static uint64_t monotonic_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

void ali_progress(const struct ali_cli *cli, const char *format, ...)
{
    static uint64_t shown_ms;
    uint64_t now_ms = monotonic_ms();
    va_list ap;

    if (!cli->err_terminal || (shown_ms && now_ms - shown_ms < 100))
        return;
    shown_ms = now_ms;
    fputc('\r', stderr);
    va_start(ap, format);
    vfprintf(stderr, format, ap);
    va_end(ap);
    fputs("\033[K", stderr);
    fflush(stderr);
}

void ali_progress_end(const struct ali_cli *cli)
{
    if (cli->err_terminal)
        fputs("\r\033[K", stderr);
}
