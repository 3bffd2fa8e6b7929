/* turn.c - the core thread: one turn of the loop after the other.
 *
 * A turn: wait for sockets, the doorbell or a deadline; feed the core what came; give the disk a
 * batch; write what durable batches released; do a slice of housekeeping. Nothing in it blocks
 * except the wait, and a flush when there is nothing else to do (see flush_or_gather). */
#include "base/errors.h"
#include "node/runner_internal.h"
#include "os/clock.h"
#include "wire/messages.h"
#include <stdio.h>

/* Effects keep their memory from turn to turn: so much always, so much while they need it. */
#define EFFECTS_KEPT_BYTES     (1u << 20)
#define EFFECTS_KEPT_MAX_BYTES (8u << 20)
/* Written as a snapshot at a clean stop if there is more than this to replay. */
#define STOP_SNAPSHOT_BYTES (1u << 20)

/* How often, and up to how much, a batch waits for more that is already there to be read. */
#define GATHER_ROUNDS 4
#define GATHER_BYTES  (256u << 10)

/* With more connections than this waiting for answers, others send while a flush lasts. */
#define FLUSH_HERE_PEERS 8

/* ---- events and effects ------------------------------------------------------------------ */

void ali_runner_fail(struct al_runner *runner, int error, const char *what)
{
    struct al_log_fields fields;

    if (runner->result)
        return;
    runner->result = error;
    al_log_fields_init(&fields);
    al_log_put_text(&fields, "error", al_error_name(error));
    al_log_put_text(&fields, "detail", what);
    ali_runner_log(runner, AL_LOG_ERROR, "node_failed", &fields);
}

/* A message has become a dead letter. */
static void log_letter(const struct al_runner *runner, const struct al_effect *effect,
                       const uint8_t *data)
{
    struct al_msg_dlq_row row;
    struct al_log_fields fields;
    char text[256];

    if (al_decode_dlq_row(al_str_of(data + effect->conn, effect->size - effect->conn), &row) < 0)
        return;
    al_log_fields_init(&fields);
    snprintf(text, sizeof text, "%.*s", (int)row.to.n, (const char *)row.to.p);
    al_log_put_text(&fields, "agent", text);
    al_id_format(&row.message_id, text);
    al_log_put_text(&fields, "message_id", text);
    snprintf(text, sizeof text, "%.*s", (int)row.from.n, (const char *)row.from.p);
    al_log_put_text(&fields, "from", text);
    al_log_put_number(&fields, "stream", row.stream);
    al_log_put_number(&fields, "seq", row.seq);
    al_log_put_number(&fields, "attempts", row.attempts);
    al_log_put_text(&fields, "error", al_error_name(row.code));
    snprintf(text, sizeof text, "%.*s", (int)row.reason.n, (const char *)row.reason.p);
    al_log_put_text(&fields, "reason", text);
    ali_runner_log(runner, AL_LOG_WARNING, al_node_notice_name(effect->record_type), &fields);
}

/* What the core has to say to people. */
static void log_notice(const struct al_runner *runner, const struct al_effect *effect,
                       const char *data)
{
    bool is_good = effect->record_type == AL_NOTICE_BREAKER_CLOSED ||
                   effect->record_type == AL_NOTICE_ALERT_OVER;
    uint32_t rest = effect->size - effect->conn;
    struct al_log_fields fields;
    char text[512];

    if (effect->record_type == AL_NOTICE_DEAD_LETTER) {
        log_letter(runner, effect, (const uint8_t *)data);
        return;
    }
    al_log_fields_init(&fields);
    if (effect->record_type == AL_NOTICE_DEAD_LETTERS_MISSING)
        al_log_put_number(&fields, "count", effect->lsn);
    snprintf(text, sizeof text, "%.*s", (int)effect->conn, data);
    if (effect->conn)
        al_log_put_text(&fields, "subject", text);
    if (rest) {
        snprintf(text, sizeof text, "%.*s", (int)rest, data + effect->conn);
        al_log_put_text(&fields, "detail", text);
    }
    ali_runner_log(runner, is_good ? AL_LOG_INFO : AL_LOG_WARNING,
                   al_node_notice_name(effect->record_type), &fields);
}

void ali_runner_effects(struct al_runner *runner)
{
    const struct al_effects *effects = &runner->effects;

    for (size_t i = 0; i < effects->count && runner->result == 0; i++) {
        const struct al_effect *effect = &effects->list[i];
        const uint8_t *data = effects->data.data + effect->offset;
        struct ali_peer *conn = NULL;
        int rc;

        switch (effect->type) {
        case AL_EFFECT_PERSIST:
            rc = ali_journal_append(runner, effect->lsn, effect->record_type,
                                    al_str_of(data, effect->size));
            /* The state has moved on and the journal has not: nothing may leave any more. */
            if (rc)
                ali_runner_fail(runner, rc, "a record could not be taken into the journal");
            break;
        case AL_EFFECT_SEND:
            conn = runner->slots[effect->conn].conn;
            ali_peer_send(conn, data, effect->size, ali_journal_gate(runner));
            break;
        case AL_EFFECT_CLOSE:
            conn = runner->slots[effect->conn].conn;
            ali_peer_close_soon(conn);
            break;
        case AL_EFFECT_READ:
            ali_read_begin(runner, effect->lsn, al_str_of(data, effect->size));
            break;
        case AL_EFFECT_ISSUE:
            ali_issue(runner, effect, data);
            break;
        case AL_EFFECT_NOTICE:
            log_notice(runner, effect, (const char *)data);
            break;
        }
    }
}

void ali_runner_step(struct al_runner *runner, struct al_event *event)
{
    int rc;

    if (runner->result)
        return;
    rc = al_node_step(runner->node, event, &runner->effects);
    runner->buffers.is_pressed |= runner->effects.data.size > EFFECTS_KEPT_BYTES;
    runner->counters.steps++;
    if (rc)
        ali_runner_fail(runner, rc,
                        rc == -AL_E_NOMEM ? "the node is out of memory"
                                          : "a record read back does not fit the state");
    else
        ali_runner_effects(runner);
}

/* True if more memory is kept than an idle node should have. */
static bool is_warm(const struct al_runner *runner)
{
    return runner->effects.data.cap > EFFECTS_KEPT_BYTES ||
           runner->buffers.kept_bytes > ALI_BUFFERS_KEPT;
}

/* Before a sleep: gives back what was not needed for a moment. */
static void cool_down(struct al_runner *runner)
{
    uint64_t now_ns;

    if (!is_warm(runner))
        return;
    now_ns = al_clock_mono_ns();
    if (runner->buffers.is_pressed)
        runner->warm_until_ns = now_ns + ALI_WARM_NS;
    runner->buffers.is_pressed = false;
    if (now_ns >= runner->warm_until_ns)
        ali_buffers_trim(&runner->buffers, ALI_BUFFERS_KEPT);
    if (runner->effects.data.cap > EFFECTS_KEPT_MAX_BYTES ||
        (runner->effects.data.cap > EFFECTS_KEPT_BYTES && now_ns >= runner->warm_until_ns)) {
        al_effects_deinit(&runner->effects);
        al_effects_init(&runner->effects, &runner->alloc);
    }
}

/* ---- what a turn looks at ---------------------------------------------------------------- */

static void run_reads(struct al_runner *runner)
{
    struct ali_job_list now = runner->ready;
    struct ali_job *job;

    /* Answers may lead to new reads; those have their turn next time. */
    runner->ready = (struct ali_job_list){0};
    while ((job = ali_job_list_pop(&now)) != NULL) {
        struct al_event event = {
            .type = AL_EVENT_READ_DONE,
            .now = al_clock_now(),
            .request = job->request,
            .status = job->status,
            .records = (const struct al_record_view *)(const void *)job->views.data,
            .record_count = (uint32_t)(job->views.size / sizeof(struct al_record_view))};

        ali_runner_step(runner, &event);
        ali_job_free(runner, job);
    }
}

static void run_jobs(struct al_runner *runner)
{
    struct ali_job *job;

    while ((job = ali_worker_take(runner)) != NULL) {
        if (job->type == ALI_JOB_READ)
            ali_job_list_push(&runner->ready, job);
        else
            ali_upkeep_done(runner, job);
    }
    ali_worker_pump(runner);
}

static void run_disk(struct al_runner *runner, struct al_now now)
{
    struct al_event event = {.type = AL_EVENT_DISK, .now = now};
    bool is_time = now.mono_ns - runner->space_ns >= AL_NS_PER_SEC, full;

    if (is_time)
        runner->space_ns = now.mono_ns;
    al_store_watch_space(runner->store, is_time);
    full = event.disk_full = !al_store_has_space(runner->store);
    if (full == runner->disk_full)
        return;
    ali_runner_log(runner, AL_LOG_WARNING, full ? "disk_full" : "disk_has_room", NULL);
    runner->disk_full = full;
    ali_runner_step(runner, &event);
}

static void run_clock(struct al_runner *runner, struct al_now now)
{
    struct al_event event = {.type = AL_EVENT_TICK, .now = now};

    if (now.mono_ns >= al_node_deadline_ns(runner->node))
        ali_runner_step(runner, &event);
    if (runner->accept_retry_ns && now.mono_ns >= runner->accept_retry_ns)
        ali_ports_resume(runner);
    ali_journal_seal(runner, now.mono_ns);
}

/* ---- waiting ----------------------------------------------------------------------------- */

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t deadline_ns(const struct al_runner *runner)
{
    uint64_t deadline = al_node_deadline_ns(runner->node);

    if (runner->ready.first || runner->dead_count > 0)
        return 0;
    deadline = earlier(deadline, ali_journal_deadline_ns(runner));
    deadline = earlier(deadline, ali_upkeep_deadline_ns(runner));
    if (is_warm(runner))
        deadline = earlier(deadline, runner->warm_until_ns);
    deadline = earlier(deadline, ali_links_deadline_ns(runner));
    if (runner->issued)
        return 0;
    if (runner->accept_retry_ns)
        deadline = earlier(deadline, runner->accept_retry_ns);
    if (runner->closing_count > 0)
        deadline = earlier(deadline, runner->linger_check_ns);
    if (runner->stopping)
        deadline = earlier(deadline, runner->stop_deadline_ns);
    return deadline;
}

/* True if another thread has put something where the core thread looks. */
static bool has_mail(struct al_runner *runner)
{
    return !al_mailbox_is_empty(&runner->from_flush) ||
           !al_mailbox_is_empty(&runner->from_worker) || atomic_load(&runner->connect_count) ||
           (atomic_load(&runner->stop) && !runner->stopping);
}

static int wait_for_work(struct al_runner *runner, bool busy)
{
    uint64_t deadline, now_ns, timeout_ns = 0;
    int count;

    if (!busy) {
        cool_down(runner);
        deadline = deadline_ns(runner);
        now_ns = al_clock_mono_ns();
        if (deadline == AL_NEVER_NS)
            timeout_ns = AL_NEVER_NS;
        else
            timeout_ns = deadline > now_ns ? deadline - now_ns : 0;
    }
    if (timeout_ns == 0)
        return al_loop_wait(&runner->loop, 0);
    al_doorbell_arm(&runner->bell);
    if (has_mail(runner))
        timeout_ns = 0;
    else
        runner->counters.sleeps++;
    count = al_loop_wait(&runner->loop, timeout_ns);
    al_doorbell_disarm(&runner->bell);
    return count;
}

/* ---- stopping ---------------------------------------------------------------------------- */

static void begin_stop(struct al_runner *runner)
{
    ali_runner_log(runner, AL_LOG_INFO, "stopping", NULL);
    runner->stopping = true;
    runner->stop_deadline_ns = al_clock_mono_ns() + ALI_STOP_NS;
    ali_ports_close(runner);
    ali_peers_stop_reading(runner);
}

static bool is_drained(struct al_runner *runner, uint64_t now_ns)
{
    if (!runner->stopping)
        return false;
    return now_ns >= runner->stop_deadline_ns ||
           (!runner->batch_out && !runner->filling_dirty && ali_peers_are_drained(runner));
}

/* After the last turn of a clean stop: nothing is left for the next start to repair. */
static void finish(struct al_runner *runner)
{
    uint64_t until = al_clock_mono_ns() + ALI_STOP_NS;

    ali_upkeep_snapshot(runner, STOP_SNAPSHOT_BYTES);
    do {
        ali_journal_poll(runner);
        ali_upkeep_run(runner, 0);
        run_jobs(runner);
        ali_journal_kick(runner, true);
        if (runner->upkeep.snapshot != ALI_SNAP_NONE)
            al_loop_wait(&runner->loop, AL_NS_PER_MS);
    } while (runner->result == 0 && runner->upkeep.snapshot != ALI_SNAP_NONE &&
             al_clock_mono_ns() < until);
    ali_journal_wait(runner);
    ali_journal_seal(runner, AL_NEVER_NS);
}

static void log_counters(const struct al_runner *runner)
{
    const struct ali_counters *c = &runner->counters;
    struct al_log_fields fields;

    al_log_fields_init(&fields);
    al_log_put_number(&fields, "turns", c->turns);
    al_log_put_number(&fields, "sleeps", c->sleeps);
    al_log_put_number(&fields, "steps", c->steps);
    al_log_put_number(&fields, "reads", c->reads);
    al_log_put_number(&fields, "bytes_in", c->bytes_in);
    al_log_put_number(&fields, "writes", c->writes);
    al_log_put_number(&fields, "bytes_out", c->bytes_out);
    al_log_put_number(&fields, "records", c->records);
    al_log_put_number(&fields, "batches", c->batches);
    al_log_put_number(&fields, "batches_inline", c->batches_inline);
    al_log_put_number(&fields, "bytes_per_batch", c->batches ? c->batch_bytes / c->batches : 0);
    al_log_put_number(&fields, "reads_cached", c->reads_cached);
    al_log_put_number(&fields, "reads_disk", c->reads_disk);
    al_log_put_number(&fields, "snapshots", c->snapshots);
    al_log_put_number(&fields, "carried", c->carried);
    ali_runner_log(runner, AL_LOG_DEBUG, "counters", &fields);
}

/* ---- the turn ---------------------------------------------------------------------------- */

/* Gives the disk what waits.
 *
 * Measured on two cores (medians of interleaved runs): a flush in this thread has the shortest way,
 * since waking a second one costs 40 to 70 µs each time: one message at a time takes 254 µs for
 * both its flushes, the floor 276. But while it lasts the loop stands still: with 4096 messages in
 * flight, flushing here alone reaches 480 thousand messages a second, with the second thread 990.
 * And a batch that takes along what is just coming in saves more than it waits: at 256 in flight
 * gathering costs 1.45 µs of processor per message instead of 1.9.
 *
 * So: look again while there is something to read, a few times at most; then flush here if nothing
 * is left to do, otherwise hand the batch to the flush thread. */
static void flush_or_gather(struct al_runner *runner)
{
    int ready = 1;

    if (runner->batch_out || !runner->filling_dirty)
        return;
    for (int i = 0; i < GATHER_ROUNDS && ready > 0; i++) {
        if (al_store_filling(runner->store) >= GATHER_BYTES)
            break;
        ready = al_loop_wait(&runner->loop, 0);
    }
    ali_journal_kick(runner, ready <= 0 && runner->listed_count <= FLUSH_HERE_PEERS);
}

/* One turn; true if the next one must not sleep. */
static bool turn(struct al_runner *runner, bool busy)
{
    struct al_now now;
    bool reaped;

    runner->counters.turns++;
    if (wait_for_work(runner, busy) < 0) {
        ali_runner_fail(runner, -AL_E_IO, "epoll failed");
        return false;
    }
    if (atomic_load(&runner->stop) && !runner->stopping)
        begin_stop(runner);
    ali_journal_poll(runner);
    run_jobs(runner);
    ali_connects_take(runner);
    now = al_clock_now();
    ali_links_run(runner, now);
    run_reads(runner);
    ali_issued_run(runner);
    run_clock(runner, now);
    run_disk(runner, now);
    flush_or_gather(runner);
    if (runner->result)
        return false;
    ali_peers_release(runner);
    reaped = ali_peers_reap(runner, now.mono_ns); /* may have led to more to write */
    if (al_store_filling(runner->store) > ALI_BATCH_MAX)
        ali_journal_wait(runner);
    return ali_upkeep_run(runner, now.mono_ns) || reaped ||
           (runner->filling_dirty && !runner->batch_out);
}

void *ali_core_main(void *ctx)
{
    struct al_runner *runner = ctx;
    bool busy = false;

    do {
        busy = turn(runner, busy);
    } while (runner->result == 0 && !is_drained(runner, al_clock_mono_ns()));
    if (runner->result == 0)
        finish(runner);
    log_counters(runner);
    ali_runner_close(runner);
    return NULL;
}
