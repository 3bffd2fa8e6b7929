/* cmd_top.c - agentlink top: the node at work, refreshed in place; one snapshot in a pipe.
 *
 * On a terminal it uses the alternate screen, without line wrapping, and puts everything back on
 * any way out, including Ctrl-C. */
#include "cli/node.h"
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

enum { PATIENCE_MS = 1500 }; /* a picture that does not come is told, and keys are looked at */

struct top_values {
    uint64_t interval_ms;
};

static const struct ali_option top_options[] = {
    {"interval", 0, "TIME", ALI_DURATION, offsetof(struct top_values, interval_ms), .preset = "1s",
     .help = "time between two refreshes"},
    {.name = NULL},
};

struct agent_row {
    char name[AL_MESSAGE_NAME_MAX + 1];
    bool attached;
    uint64_t ready, leased, delayed, dead, bytes;
};

struct snapshot {
    struct al_status_info status;
    uint64_t at_ms;
    struct agent_row *agents;
    size_t count, cap;
};

static int add_agent(void *ctx, const struct al_agent_info *agent)
{
    struct snapshot *snapshot = ctx;
    struct agent_row *row;

    if (snapshot->count == snapshot->cap) {
        snapshot->cap = snapshot->cap ? snapshot->cap * 2 : 64;
        snapshot->agents = ali_grow(snapshot->agents, snapshot->cap * sizeof *snapshot->agents);
    }
    row = &snapshot->agents[snapshot->count++];
    snprintf(row->name, sizeof row->name, "%s", agent->name);
    row->attached = agent->attached;
    row->ready = agent->ready;
    row->leased = agent->leased;
    row->delayed = agent->delayed;
    row->dead = agent->dead;
    row->bytes = agent->leased_bytes;
    return 0;
}

/* The busiest first; equals by name, so that the picture stands still. */
static int by_load(const void *a, const void *b)
{
    const struct agent_row *x = a, *y = b;
    uint64_t p = x->ready + x->leased + x->delayed, q = y->ready + y->leased + y->delayed;

    return p != q ? (p < q) - (p > q) : strcmp(x->name, y->name);
}

static int take_snapshot(struct ali_cli *cli, struct snapshot *snapshot)
{
    int r = al_status_get(cli->client, &snapshot->status);

    snapshot->count = 0;
    snapshot->at_ms = ali_wall_ms();
    if (r == 0)
        r = al_agent_list(cli->client, add_agent, snapshot);
    if (r == 0 && snapshot->count)
        qsort(snapshot->agents, snapshot->count, sizeof *snapshot->agents, by_load);
    return r;
}

static uint64_t rate(uint64_t now, uint64_t before, uint64_t ms)
{
    return ms == 0 || now < before ? 0 : (now - before) * 1000 / ms;
}

/* Two lines about the node. `before` is NULL in the first picture: rates are then over the whole
 * time since the start. */
static void print_head(struct ali_cli *cli, const struct snapshot *now,
                       const struct snapshot *before)
{
    const struct al_status_info *s = &now->status;
    uint64_t ms = before ? now->at_ms - before->at_ms : ali_uptime_ms(s);
    char up[ALI_SHORT_CAP], size[ALI_SHORT_CAP];

    fputs(ali_style_begin(cli, ALI_BOLD), stdout);
    ali_put_escaped(stdout, al_str_c(s->node), false);
    printf("%s  up %s  %" PRIu64 " connections  %" PRIu64 " agents  %" PRIu64 " streams  %s",
           ali_style_end(cli), ali_format_span(ali_uptime_ms(s), up), s->connections, s->agents,
           s->streams, ali_format_size(s->state_bytes, size));
    if (s->disk_full)
        printf("  %sDISK FULL%s", ali_style_begin(cli, ALI_BAD), ali_style_end(cli));
    printf("\naccepted %" PRIu64 "/s  delivered %" PRIu64 "/s  retried %" PRIu64
           "/s  |  waiting %" PRIu64 "  leased %" PRIu64 "  delayed %" PRIu64 "  %sdead %" PRIu64
           "%s\n\n",
           rate(s->accepted, before ? before->status.accepted : 0, ms),
           rate(s->delivered, before ? before->status.delivered : 0, ms),
           rate(s->retried, before ? before->status.retried : 0, ms), s->waiting, s->leased,
           s->delayed, s->dead ? ali_style_begin(cli, ALI_BAD) : "", s->dead,
           s->dead ? ali_style_end(cli) : "");
}

static void print_agents(struct ali_cli *cli, const struct snapshot *now, size_t rows)
{
    static const char *const headings[] = {"AGENT",    "ATTACHED", ">WAITING",     ">LEASED",
                                           ">DELAYED", ">DEAD",    ">LEASED SIZE", NULL};
    struct ali_table *table = ali_table_new(cli, headings);
    char text[ALI_SHORT_CAP];

    for (size_t i = 0; i < now->count && i < rows; i++) {
        const struct agent_row *row = &now->agents[i];

        ali_table_text(table, row->name);
        ali_table_put(table, row->attached ? ALI_GOOD : ALI_DIM,
                      al_str_c(row->attached ? "yes" : "no"));
        ali_table_count(table, row->ready);
        ali_table_count(table, row->leased);
        ali_table_count(table, row->delayed);
        ali_table_alarm(table, row->dead);
        ali_table_text(table, ali_format_size(row->bytes, text));
    }
    ali_table_print(table, "no agents yet");
    if (now->count > rows)
        printf("%s... and %zu more%s\n", ali_style_begin(cli, ALI_DIM), now->count - rows,
               ali_style_end(cli));
}

/* ---- the live picture -------------------------------------------------------------------- */

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    (void)number;
    interrupted = 1;
}

/* Keys come one by one and unseen while the picture is up. */
static void screen_open(struct termios *ret_saved, bool *ret_has_keys)
{
    struct sigaction action = {.sa_handler = on_signal};
    struct termios raw;

    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    *ret_has_keys = tcgetattr(STDIN_FILENO, ret_saved) == 0;
    if (*ret_has_keys) {
        raw = *ret_saved;
        raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
        tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    }
    fputs("\033[?1049h\033[?25l\033[?7l", stdout);
}

static void screen_close(const struct termios *saved, bool has_keys)
{
    fputs("\033[?7h\033[?25h\033[?1049l", stdout);
    fflush(stdout);
    if (has_keys)
        tcsetattr(STDIN_FILENO, TCSANOW, saved);
}

/* Waits for the next refresh; true when the user wants to leave. */
static bool wait_for_end(uint64_t interval_ms, bool has_keys)
{
    struct pollfd keys = {.fd = has_keys ? STDIN_FILENO : -1, .events = POLLIN};
    int timeout_ms = interval_ms > 3600000 ? 3600000 : interval_ms < 100 ? 100 : (int)interval_ms;
    char key = 0;

    if (poll(&keys, 1, timeout_ms) > 0 && read(STDIN_FILENO, &key, 1) != 1)
        return true;
    return interrupted || key == 'q' || key == 'Q' || key == 4;
}

static void draw(struct ali_cli *cli, const struct snapshot *now, const struct snapshot *before,
                 int error)
{
    struct winsize size = {.ws_row = 24};
    size_t rows;

    ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
    rows = size.ws_row > 8 ? size.ws_row - 7u : 1;
    fputs("\033[H\033[2J", stdout);
    if (error) {
        printf("%s%s: %s%s\nwaiting for the node; q leaves\n", ali_style_begin(cli, ALI_BAD),
               ali_safe_c(ali_node_name(cli)), al_error_text(error), ali_style_end(cli));
    } else {
        print_head(cli, now, before);
        print_agents(cli, now, rows);
        printf("\n%sq leaves%s", ali_style_begin(cli, ALI_DIM), ali_style_end(cli));
    }
    fflush(stdout);
}

static void live(struct ali_cli *cli, uint64_t interval_ms, struct snapshot pair[2])
{
    struct termios saved;
    bool has_keys, has_before = false;
    unsigned now = 0;

    screen_open(&saved, &has_keys);
    do {
        int r = take_snapshot(cli, &pair[now]);

        draw(cli, &pair[now], has_before ? &pair[!now] : NULL, r);
        has_before = r == 0;
        now = !now;
    } while (!wait_for_end(interval_ms, has_keys));
    screen_close(&saved, has_keys);
}

static int once(struct ali_cli *cli, struct snapshot *snapshot)
{
    int r = take_snapshot(cli, snapshot);

    if (r)
        return ali_say_error(cli, r);
    if (cli->json) {
        ali_json_print(cli, ali_json_status(cli, &snapshot->status));
        return 0;
    }
    print_head(cli, snapshot, NULL);
    print_agents(cli, snapshot, SIZE_MAX);
    return 0;
}

static int run_top(struct ali_cli *cli, const void *values, char **args)
{
    const struct top_values *v = values;
    struct snapshot pair[2] = {0};
    int code;

    (void)args;
    cli->request_timeout_ms = PATIENCE_MS;
    code = ali_node_open(cli);
    if (code)
        return code;
    if (cli->out_terminal && !cli->json)
        live(cli, v->interval_ms, pair);
    else
        code = once(cli, &pair[0]);
    free(pair[0].agents);
    free(pair[1].agents);
    return code;
}

const struct ali_command ali_cmd_top[] = {
    {
        .name = "top",
        .summary = "watch the node at work",
        .doc = "A live table on a terminal; one snapshot in a pipe, with rates since the start of\n"
               "the node. q leaves.",
        .options = top_options,
        .values_size = sizeof(struct top_values),
        .run = run_top,
    },
    {.name = NULL},
};
