/* team.h - what the agents of the demo share: a client, a trace of what they did, and counting. */
#ifndef DEMO_TEAM_H
#define DEMO_TEAM_H

#include <agentlink/agentlink.h>

enum { CHUNK_LINES = 40, WORKERS = 3 };

/* One agent process. Its trace is a file that every event is appended to with one write(), so that
 * it survives kill -9; the director reads all traces at the end and checks them against each other:
 *
 *   S stream seq duplicate     a message was sent and its receipt has come
 *   R stream seq redelivered attempt   a message was received
 *   D stream seq               it was handled; the acknowledgement follows
 *   X stream seq               it was recognised as done before, and not counted again */
struct agent {
    const char *name;
    struct al_client *client;
    int trace_fd;
};

/* What is counted in a text. */
struct counts {
    unsigned long long lines, words, bytes, longest;
};

/* Connects to the node of the environment (AGENTLINK_NODE) and opens the trace in the directory
 * DEMO_DIR. Ends the program with a message when it cannot. SIGTERM then ends agent_run(). */
void agent_open(struct agent *agent, const char *name);
/* Receives with `handler` until SIGTERM, then says goodbye. Returns an exit code. */
int agent_run(struct agent *agent, al_handler_fn *handler, void *ctx);
/* Sends, however long the node is away: with a key a repetition cannot double it. Traces the
 * receipt. Ends the program when the node refuses for good. */
void agent_send(struct agent *agent, const struct al_message *message);
/* Trace a delivery: when it comes, when it is handled, when it was known. */
void agent_received(struct agent *agent, const struct al_delivery *delivery);
void agent_done(struct agent *agent, const struct al_delivery *delivery);
void agent_known(struct agent *agent, const struct al_delivery *delivery);
/* A header's text; ends the program when a message of the team is without it. */
const char *agent_header(const struct al_message *message, const char *name);

/* Counts n bytes that begin at the start of a line and end at the end of one, into counts. */
void counts_text(struct counts *counts, const char *text, size_t n);
/* Adds b to a; the longest line is the longer one. */
void counts_add(struct counts *a, const struct counts *b);
/* "lines words bytes longest" in ret_text, and back; parse returns false if the text is another. */
void counts_format(const struct counts *counts, char ret_text[96]);
bool counts_parse(const char *text, size_t n, struct counts *ret_counts);
/* Reads a whole file; ends the program when it cannot. The caller frees it. */
char *read_file(const char *path, size_t *ret_size);

/* Stops with a message. */
__attribute__((noreturn, format(printf, 1, 2))) void die(const char *format, ...);

#endif
