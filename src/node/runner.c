/* runner.c - starting and ending a node.
 *
 * Start: bind the sockets (they refuse until we listen), lock and recover the journal, begin a new
 * epoch and make it durable, start the threads, listen. Every failure undoes what came before and
 * says why in the report. The core thread closes everything at its end, so that a directory and its
 * sockets are free as soon as al_runner_wait has returned. */
#include "node/runner.h"

#include "base/errors.h"
#include "base/limits.h"
#include "node/network.h"
#include "node/runner_internal.h"
#include "os/clock.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

void ali_runner_log(const struct al_runner *runner, enum al_log_level level, const char *event,
                    const struct al_log_fields *fields)
{
    if (runner->log)
        runner->log(runner->log_ctx, level, event, fields ? fields->text : "");
}

/* ---- recovery ---------------------------------------------------------------------------- */

static int replay_item(void *ctx, struct al_str item)
{
    struct al_runner *runner = ctx;

    return al_node_load(runner->node, item);
}

static int replay_snapshot_done(void *ctx, uint64_t snapshot_lsn)
{
    struct al_runner *runner = ctx;

    return al_node_load_done(runner->node, snapshot_lsn);
}

static int replay_record(void *ctx, uint64_t lsn, uint16_t type, struct al_str payload)
{
    struct al_runner *runner = ctx;
    struct al_record_view view = {.lsn = lsn, .type = type, .payload = payload};

    return al_node_replay(runner->node, &view);
}

static int recover(struct al_runner *runner, const struct al_runner_config *config,
                   struct al_disk *disk, struct al_store_report *ret_report)
{
    struct al_store_replay replay = {.snapshot_item = replay_item,
                                     .snapshot_done = replay_snapshot_done,
                                     .record = replay_record,
                                     .ctx = runner};
    struct al_log_fields fields;
    uint64_t start_ns = al_clock_mono_ns();
    int rc = al_store_open(&config->store, disk, &replay, ret_report, &runner->store);

    if (rc)
        return rc;
    al_log_fields_init(&fields);
    al_log_put_number(&fields, "snapshot_lsn", ret_report->snapshot_lsn);
    al_log_put_number(&fields, "records", ret_report->records_replayed);
    al_log_put_number(&fields, "last_lsn", ret_report->last_lsn);
    al_log_put_number(&fields, "torn_bytes", ret_report->torn_bytes);
    al_log_put_number(&fields, "ms", (al_clock_mono_ns() - start_ns) / AL_NS_PER_MS);
    al_node_set_recovery_ms(runner->node, (al_clock_mono_ns() - start_ns) / AL_NS_PER_MS);
    ali_runner_log(runner, ret_report->snapshot_generation ? AL_LOG_WARNING : AL_LOG_INFO,
                   "recovered", &fields);
    return 0;
}

/* Begins the epoch; it is durable before anybody can see it. */
static int begin_epoch(struct al_runner *runner)
{
    int rc = al_node_start(runner->node, al_clock_now(), &runner->effects);

    if (rc)
        return rc;
    ali_runner_effects(runner);
    ali_journal_kick(runner, true);
    return runner->result;
}

/* ---- start ------------------------------------------------------------------------------- */

static int copy_uids(struct al_runner *runner, const struct al_runner_config *config)
{
    size_t bytes = config->allowed_uid_count * sizeof *config->allowed_uids;

    if (bytes == 0)
        return 0;
    runner->allowed_uids = al_alloc_new(&runner->alloc, bytes);
    if (!runner->allowed_uids)
        return -AL_E_NOMEM;
    memcpy(runner->allowed_uids, config->allowed_uids, bytes);
    runner->allowed_uid_count = config->allowed_uid_count;
    return 0;
}

static void bell_ready(struct al_watch *watch, unsigned ready)
{
    struct al_runner *runner =
        (struct al_runner *)(void *)((char *)watch - offsetof(struct al_runner, bell_watch));

    (void)ready;
    al_doorbell_drain(&runner->bell);
}

static int make_node(struct al_runner *runner, const struct al_runner_config *config)
{
    struct al_node_config node = config->node;

    node.admin_uid = runner->own_uid;
    runner->network = config->network;
    if (config->network) {
        node.network = al_str_c(al_network_name(config->network));
        node.addresses = al_str_c(runner->addresses);
        memcpy(node.authority, al_network_fingerprint(config->network), sizeof node.authority);
    }
    return al_node_new(&node, &runner->node);
}

/* Everything that needs no disk. */
static int prepare(struct al_runner *runner, const struct al_runner_config *config,
                   struct al_store_report *report)
{
    int rc;

    runner->input = al_alloc_new(&runner->alloc, ALI_INPUT_BYTES);
    if (!runner->input)
        return -AL_E_NOMEM;
    rc = copy_uids(runner, config);
    if (rc == 0)
        rc = al_loop_init(&runner->loop);
    if (rc == 0)
        rc = al_doorbell_init(&runner->bell);
    if (rc == 0)
        rc = al_loop_add(&runner->loop, &runner->bell_watch, runner->bell.fd, AL_LOOP_READ,
                         bell_ready);
    if (rc == -AL_E_IO)
        snprintf(report->detail, sizeof report->detail, "%s", strerror(errno));
    if (rc == 0)
        rc = ali_ports_bind(runner, config, report->detail, sizeof report->detail);
    if (rc == 0)
        rc = make_node(runner, config);
    return rc;
}

static struct al_runner *runner_new(const struct al_runner_config *config)
{
    struct al_alloc alloc = config->store.alloc;
    struct al_runner *runner = al_alloc_zero(&alloc, sizeof *runner);

    if (!runner)
        return NULL;
    runner->alloc = alloc;
    runner->log = config->log;
    runner->log_ctx = config->log_ctx;
    runner->own_uid = geteuid();
    runner->conns_max = config->connections_max ? config->connections_max : AL_CONNECTIONS_MAX;
    runner->batch_filling = 1;
    runner->seal_ns = AL_NEVER_NS;
    runner->loop.epoll_fd = runner->bell.fd = -1;
    pthread_mutex_init(&runner->lock, NULL);
    pthread_mutex_init(&runner->join_lock, NULL);
    al_effects_init(&runner->effects, &runner->alloc);
    ali_buffers_init(&runner->buffers, &runner->alloc);
    return runner;
}

static void runner_delete(struct al_runner *runner)
{
    struct al_alloc alloc = runner->alloc;

    al_alloc_free(&alloc, runner->addresses, runner->addresses ? ALI_ADDRESSES_ROOM : 0);
    pthread_mutex_destroy(&runner->lock);
    pthread_mutex_destroy(&runner->join_lock);
    al_doorbell_deinit(&runner->bell);
    al_alloc_free(&alloc, runner, sizeof *runner);
}

int al_runner_start(const struct al_runner_config *config, struct al_store_report *ret_report,
                    struct al_runner **ret_runner)
{
    struct al_disk *disk = config->disk;
    struct al_runner *runner = runner_new(config);
    int rc = runner ? 0 : -AL_E_NOMEM;

    memset(ret_report, 0, sizeof *ret_report);
    if (rc == 0)
        rc = prepare(runner, config, ret_report);
    if (rc == 0) {
        rc = recover(runner, config, disk, ret_report);
        disk = NULL; /* the store's, also on failure */
    }
    if (rc == 0)
        rc = begin_epoch(runner);
    if (rc == 0)
        rc = ali_journal_start(runner);
    if (rc == 0)
        rc = ali_worker_start(runner);
    if (rc == 0)
        rc = ali_ports_start(runner, ret_report->detail, sizeof ret_report->detail);
    if (rc == 0) {
        runner->epoch = al_node_epoch(runner->node);
        rc = al_thread_start(&runner->core_thread, "al-core", ali_core_main, runner);
    }
    if (disk)
        disk->ops->close_disk(disk);
    if (rc) {
        if (ret_report->detail[0] == 0)
            snprintf(ret_report->detail, sizeof ret_report->detail, "%s", al_error_text(rc));
        if (runner) {
            ali_runner_close(runner);
            runner_delete(runner);
        }
        return rc;
    }
    *ret_runner = runner;
    return 0;
}

/* ---- end --------------------------------------------------------------------------------- */

/* Refuses further al_runner_connect and closes what waits to be taken in. */
static void close_connects(struct al_runner *runner)
{
    pthread_mutex_lock(&runner->lock);
    runner->closed = true;
    while (runner->connect_count > 0)
        close(runner->connects[--runner->connect_count]);
    pthread_mutex_unlock(&runner->lock);
}

void ali_runner_close(struct al_runner *runner)
{
    close_connects(runner);
    ali_ports_close(runner);
    ali_links_close(runner);
    ali_journal_stop(runner);
    ali_worker_stop(runner);
    ali_peers_deinit(runner);
    ali_upkeep_deinit(runner);
    al_store_close(runner->store);
    al_node_free(runner->node);
    al_effects_deinit(&runner->effects);
    ali_buffers_deinit(&runner->buffers);
    al_alloc_free(&runner->alloc, runner->input, ALI_INPUT_BYTES);
    al_alloc_free(&runner->alloc, runner->allowed_uids,
                  runner->allowed_uid_count * sizeof *runner->allowed_uids);
    al_loop_deinit(&runner->loop);
    runner->store = NULL;
    runner->node = NULL;
}

const char *al_runner_addresses(const struct al_runner *runner)
{
    return runner->addresses;
}

uint64_t al_runner_epoch(const struct al_runner *runner)
{
    return runner->epoch;
}

void al_runner_stop(struct al_runner *runner)
{
    atomic_store(&runner->stop, 1);
    al_doorbell_ring(&runner->bell);
}

int al_runner_wait(struct al_runner *runner)
{
    pthread_mutex_lock(&runner->join_lock);
    if (!runner->joined)
        pthread_join(runner->core_thread, NULL);
    runner->joined = true;
    pthread_mutex_unlock(&runner->join_lock);
    return runner->result;
}

void al_runner_free(struct al_runner *runner)
{
    if (!runner)
        return;
    al_runner_stop(runner);
    al_runner_wait(runner);
    runner_delete(runner);
}
