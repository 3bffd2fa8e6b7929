/* transport.h - what the contract tests of the library's transports share.
 *
 * Every test runs over each transport: `inproc:` (a node in memory), `file:` (a node in this
 * process with a journal), `unix:` (a node that listens on a socket; here it runs in the test's
 * process, so that it can be stopped and started again). */
#ifndef AL_TEST_TRANSPORT_H
#define AL_TEST_TRANSPORT_H

#include "agentlink/agentlink.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct al_runner;

/* One test's node. */
struct bus {
    char url[256];
    char dir[128];
    bool is_unix, is_file;
    struct al_runner *runner; /* unix: */
    struct al_client *keep;   /* embedded: keeps the node running */
};

/* Which transport the tests run over; set by main. */
extern const char *bus_transport;

/* Setup and teardown of a cmocka test: *state is a struct bus. */
int bus_setup(void **state);
int bus_teardown(void **state);
/* Stops the node and starts it again on the same journal; not for inproc:. Clients of a `file:`
 * node must be closed before. */
void bus_stop(struct bus *bus);
void bus_start(struct bus *bus);

/* A client of this node; fails the test if it cannot be opened. */
struct al_client *bus_open(const struct bus *bus);
struct al_client *bus_open_with(const struct bus *bus, struct al_client_options options);
/* Closes; fails the test unless everything has its answer. */
void bus_close(struct al_client *client);
/* Succeeds or fails the test with al_last_error(). */
#define ok(expression) bus_check((expression), #expression, __FILE__, __LINE__)
int bus_check(int result, const char *what, const char *file, int line);

/* A message from `from` to `to` with a text as payload, which must stay. */
struct al_message text_message(const char *from, const char *to, const char *text);
/* Sends it and returns the receipt. */
struct al_receipt send_text(struct al_client *client, const char *from, const char *to,
                            const char *text);
/* The next message; fails the test if none comes in twenty seconds. */
struct al_delivery *receive(struct al_client *client);
/* Fails the test unless the payload is this text. */
void assert_text(const struct al_delivery *delivery, const char *text);
/* How asynchronous sends were answered. */
struct answers {
    unsigned good, full, held, other;
};
/* An al_receipt_fn whose context is a struct answers. */
void count_answer(void *ctx, int error, const struct al_receipt *receipt);
/* Sleeps. */
void pause_ms(unsigned ms);

#endif
