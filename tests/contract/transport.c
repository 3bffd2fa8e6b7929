/* transport.c - nodes and clients for the contract tests. */
#include "transport.h"
#include "base/errors.h"
#include "node/runner.h"
#include "os/entropy.h"
#include "os/file_disk.h"
#include "os/memory.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

const char *bus_transport = "inproc";

static struct al_memory node_memory;

/* Short times, so that retries are seen within a test; the lease is longer than a busy machine
 * keeps a thread waiting, because a test that is not about leases must not lose one. */
static const struct al_retry_policy quick_policy = {
    .ack_timeout_ms = 1000, .base_ms = 20, .factor = 2, .cap_ms = 100, .retries = 3};

int bus_check(int result, const char *what, const char *file, int line)
{
    if (result < 0)
        print_error("%s: %s (%s)\n", what, al_last_error(), al_error_name(result));
    _assert_true(result >= 0, what, file, line);
    return result;
}

void pause_ms(unsigned ms)
{
    struct timespec time = {ms / 1000, (long)(ms % 1000) * 1000000};

    nanosleep(&time, NULL);
}

/* ---- nodes ------------------------------------------------------------------------------- */

static void start_listening(struct bus *bus)
{
    struct al_alloc alloc = al_memory_alloc(&node_memory);
    struct al_runner_config config = {.store = {.alloc = alloc}};
    const char *paths[] = {bus->url + 5, NULL};
    struct al_store_report report;
    char journal[160];
    int r;

    al_node_config_init(&config.node, &alloc);
    config.node.policy = (struct al_policy){.ack_timeout_ms = quick_policy.ack_timeout_ms,
                                            .retry_base_ms = quick_policy.base_ms,
                                            .retry_factor = quick_policy.factor,
                                            .retry_cap_ms = quick_policy.cap_ms,
                                            .retry_max = (uint32_t)quick_policy.retries};
    config.node.inbox_max = 2000;
    assert_int_equal(al_entropy_fill(config.node.hash_seed, 16), 0);
    config.unix_paths = paths;
    snprintf(journal, sizeof(journal), "%s/journal", bus->dir);
    assert_int_equal(al_file_disk_open(journal, true, &config.disk), 0);
    r = al_runner_start(&config, &report, &bus->runner);
    if (r < 0)
        print_error("runner: %s: %s\n", al_error_name(r), report.detail);
    assert_int_equal(r, 0);
}

void bus_start(struct bus *bus)
{
    struct al_client_options options = {.node = bus->url, .connect_later = true};

    if (bus->is_unix) {
        start_listening(bus);
        return;
    }
    bus->keep = bus_open_with(bus, options);
}

void bus_stop(struct bus *bus)
{
    al_client_abort(bus->keep);
    al_runner_free(bus->runner);
    bus->keep = NULL;
    bus->runner = NULL;
}

int bus_setup(void **state)
{
    static unsigned count;
    struct bus *bus = calloc(1, sizeof(*bus));

    assert_non_null(bus);
    snprintf(bus->dir, sizeof(bus->dir), "/tmp/al-transport-XXXXXX");
    assert_non_null(mkdtemp(bus->dir));
    bus->is_unix = strcmp(bus_transport, "unix") == 0;
    bus->is_file = strcmp(bus_transport, "file") == 0;
    if (bus->is_unix)
        snprintf(bus->url, sizeof(bus->url), "unix:%s/socket", bus->dir);
    else if (bus->is_file)
        snprintf(bus->url, sizeof(bus->url), "file:%s/journal", bus->dir);
    else
        snprintf(bus->url, sizeof(bus->url), "inproc:test-%u", count++);
    bus_start(bus);
    *state = bus;
    return 0;
}

int bus_teardown(void **state)
{
    struct bus *bus = *state;
    char command[200];

    bus_stop(bus);
    snprintf(command, sizeof(command), "rm -rf %s", bus->dir);
    assert_int_equal(system(command), 0);
    free(bus);
    return 0;
}

/* ---- clients ----------------------------------------------------------------------------- */

struct al_client *bus_open_with(const struct bus *bus, struct al_client_options options)
{
    const struct al_embedded_options embedded = {.policy = quick_policy, .inbox_max = 2000};
    struct al_client *client;

    options.node = bus->url;
    options.embedded = &embedded;
    ok(al_client_open(&options, &client));
    return client;
}

struct al_client *bus_open(const struct bus *bus)
{
    return bus_open_with(bus, (struct al_client_options){.node = NULL});
}

void bus_close(struct al_client *client)
{
    ok(al_client_close(client, 5000));
}

struct al_message text_message(const char *from, const char *to, const char *text)
{
    struct al_message message;

    al_message_init(&message);
    message.from = from;
    message.to = to;
    message.payload = text;
    message.payload_size = strlen(text);
    return message;
}

struct al_receipt send_text(struct al_client *client, const char *from, const char *to,
                            const char *text)
{
    struct al_message message = text_message(from, to, text);
    struct al_receipt receipt;

    ok(al_send(client, &message, 5000, &receipt));
    return receipt;
}

struct al_delivery *receive(struct al_client *client)
{
    struct al_delivery *delivery;

    ok(al_receive(client, 20000, &delivery));
    return delivery;
}

void assert_text(const struct al_delivery *delivery, const char *text)
{
    assert_int_equal(delivery->message.payload_size, strlen(text));
    assert_memory_equal(delivery->message.payload, text, strlen(text));
}

void count_answer(void *ctx, int error, const struct al_receipt *receipt)
{
    struct answers *answers = ctx;

    assert_false(al_message_id_is_zero(&receipt->id));
    answers->good += error == 0;
    answers->full += error == -AL_ERR_INBOX_FULL;
    answers->held += error == -AL_ERR_STREAM_HELD;
    answers->other += error && error != -AL_ERR_INBOX_FULL && error != -AL_ERR_STREAM_HELD;
}
