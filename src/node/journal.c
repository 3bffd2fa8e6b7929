/* journal.c - batches: from the core to the disk and back.
 *
 * Group commit without a timer: whenever the disk is free and records wait, everything that waits
 * goes out as one batch, and the core fills the next one meanwhile. */
#include "base/errors.h"
#include "node/runner_internal.h"
#include "os/clock.h"

#include <assert.h>

/* How long the flush thread looks for the next batch before it sleeps; 2 to 3 % at window 256. */
#define FLUSH_SPIN_NS 30000u

static void *flush_main(void *ctx)
{
    struct al_runner *runner = ctx;
    uint64_t spin_ns = 0;

    for (;;) {
        struct ali_flush *flush = al_mailbox_wait(&runner->to_flush, spin_ns);

        if (!flush->batch)
            return NULL;
        flush->status = al_store_flush(runner->store, flush->batch);
        spin_ns = FLUSH_SPIN_NS;
        /* One batch is out at a time: there is room. */
        if (!al_mailbox_put(&runner->from_flush, flush))
            assert(!"a mailbox for one item is full");
    }
}

int ali_journal_start(struct al_runner *runner)
{
    int rc;

    if (al_doorbell_init(&runner->flush_bell))
        return -AL_E_IO;
    al_mailbox_init(&runner->to_flush, &runner->flush_bell);
    al_mailbox_init(&runner->from_flush, &runner->bell);
    rc = al_thread_start(&runner->flush_thread, "al-flush", flush_main, runner);
    runner->flush_running = rc == 0;
    if (rc)
        al_doorbell_deinit(&runner->flush_bell);
    return rc;
}

void ali_journal_stop(struct al_runner *runner)
{
    if (!runner->flush_running)
        return;
    ali_journal_wait(runner);
    runner->flush.batch = NULL;
    al_mailbox_put(&runner->to_flush, &runner->flush);
    pthread_join(runner->flush_thread, NULL);
    runner->flush_running = false;
    al_doorbell_deinit(&runner->flush_bell);
}

uint64_t ali_journal_gate(const struct al_runner *runner)
{
    if (runner->filling_dirty)
        return runner->batch_filling;
    return runner->batch_out ? runner->batch_filling - 1 : 0;
}

int ali_journal_append(struct al_runner *runner, uint64_t lsn, uint32_t type, struct al_str data)
{
    int rc = al_store_append(runner->store, lsn, (uint16_t)type, data);

    if (rc)
        return rc;
    runner->filling_dirty = true;
    runner->counters.records++;
    return 0;
}

/* A batch has come back. */
static void batch_done(struct al_runner *runner)
{
    uint64_t lsn;

    al_store_done(runner->store, runner->flush.batch, &lsn);
    runner->flush.batch = NULL;
    runner->batch_out = false;
    if (runner->flush.status) {
        ali_runner_fail(runner, -AL_E_POISONED, "the journal could not be written");
        return;
    }
    runner->batch_done = runner->batch_filling - 1;
    runner->seal_ns =
        al_store_wants_seal(runner->store) ? al_clock_mono_ns() + ALI_SEAL_IDLE_NS : AL_NEVER_NS;
}

/* Gives out the batch in runner->flush. */
static void batch_begin(struct al_runner *runner, bool is_inline)
{
    runner->batch_out = true;
    runner->batch_filling++;
    runner->filling_dirty = false;
    runner->counters.batches++;
    if (is_inline) {
        runner->counters.batches_inline++;
        runner->flush.status = al_store_flush(runner->store, runner->flush.batch);
        batch_done(runner);
    } else if (!al_mailbox_put(&runner->to_flush, &runner->flush)) {
        assert(!"a mailbox for one item is full");
    }
}

void ali_journal_kick(struct al_runner *runner, bool quiet)
{
    size_t size = al_store_filling(runner->store);

    if (runner->batch_out || size == 0 || runner->result)
        return;
    runner->flush.batch = al_store_take(runner->store, false);
    if (!runner->flush.batch) { /* there was something to take: the store is poisoned */
        ali_runner_fail(runner, -AL_E_POISONED, "the disk failed under a snapshot or a segment");
        return;
    }
    runner->counters.batch_bytes += size;
    batch_begin(runner, quiet || !runner->flush_running);
}

bool ali_journal_poll(struct al_runner *runner)
{
    if (!runner->batch_out || !al_mailbox_take(&runner->from_flush))
        return false;
    batch_done(runner);
    return true;
}

void ali_journal_wait(struct al_runner *runner)
{
    if (!runner->batch_out)
        return;
    al_mailbox_wait(&runner->from_flush, 0);
    batch_done(runner);
}

uint64_t ali_journal_deadline_ns(const struct al_runner *runner)
{
    return runner->batch_out || runner->filling_dirty ? AL_NEVER_NS : runner->seal_ns;
}

void ali_journal_seal(struct al_runner *runner, uint64_t now_ns)
{
    if (runner->batch_out || runner->filling_dirty || runner->result || now_ns < runner->seal_ns ||
        !al_store_wants_seal(runner->store))
        return;
    runner->seal_ns = AL_NEVER_NS;
    runner->flush.batch = al_store_take(runner->store, true);
    if (runner->flush.batch)
        batch_begin(runner, true);
}
