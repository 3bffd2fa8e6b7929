/* worker.c - what may block and is not a flush: reads, preparing segments, writing snapshots.
 *
 * Jobs go to the worker in order and come back in order. The core never waits for room: what does
 * not fit into the mailbox waits in a list of the core's own, and so do answers on the other side,
 * where the worker may wait (the core always comes round to taking them). */
#include "base/errors.h"
#include "node/runner_internal.h"

#include <assert.h>

/* A piece of carrying ends at this many bytes, so that one event never holds up the loop. */
#define CARRY_BYTES (1u << 20)
/* Positive and unknown to the store: handed through by al_store_read. */
#define STOP_READING 1

void ali_job_list_push(struct ali_job_list *list, struct ali_job *job)
{
    job->next = NULL;
    if (list->last)
        list->last->next = job;
    else
        list->first = job;
    list->last = job;
}

struct ali_job *ali_job_list_pop(struct ali_job_list *list)
{
    struct ali_job *job = list->first;

    if (!job)
        return NULL;
    list->first = job->next;
    if (!list->first)
        list->last = NULL;
    return job;
}

struct ali_job *ali_job_new(struct al_runner *runner, enum ali_job_type type)
{
    struct ali_job *job = al_alloc_zero(&runner->alloc, sizeof *job);

    if (!job)
        return NULL;
    job->type = type;
    al_buf_init(&job->lsns, &runner->alloc);
    al_buf_init(&job->views, &runner->alloc);
    al_buf_init(&job->data, &runner->alloc);
    return job;
}

void ali_job_free(struct al_runner *runner, struct ali_job *job)
{
    if (!job)
        return;
    al_buf_deinit(&job->lsns);
    al_buf_deinit(&job->views);
    al_buf_deinit(&job->data);
    al_alloc_free(&runner->alloc, job, sizeof *job);
}

/* Copies a record into the answer. While the data may still move, a view holds its offset. */
static int collect(void *ctx, uint64_t lsn, uint16_t type, struct al_str payload)
{
    struct ali_job *job = ctx;
    struct al_record_view view = {.lsn = lsn, .type = type, .payload.n = payload.n};

    view.payload.p = (const uint8_t *)(uintptr_t)job->data.size;
    if (al_buf_put(&job->data, payload.p, payload.n) || al_buf_put(&job->views, &view, sizeof view))
        return -AL_E_NOMEM;
    if (job->type == ALI_JOB_CARRY)
        return job->data.size >= CARRY_BYTES ? STOP_READING : 0;
    return job->data.size >= AL_READ_BYTES && job->views.size >= 2 * sizeof view ? STOP_READING : 0;
}

/* All data is there: makes the offsets pointers. */
static void settle_views(struct ali_job *job)
{
    struct al_record_view *views = (struct al_record_view *)(void *)job->views.data;

    for (size_t i = 0; i < job->views.size / sizeof *views; i++)
        views[i].payload.p = job->data.data + (uintptr_t)views[i].payload.p;
}

typedef int read_fn(struct al_store *store, const uint64_t *lsns, size_t count,
                    int (*fn)(void *ctx, uint64_t lsn, uint16_t type, struct al_str payload),
                    void *ctx);

static int read_records(struct al_store *store, struct ali_job *job, read_fn *fn)
{
    const uint64_t *lsns = (const uint64_t *)(const void *)job->lsns.data;
    int rc = fn(store, lsns, job->lsns.size / sizeof *lsns, collect, job);

    if (rc == STOP_READING)
        rc = 0;
    settle_views(job);
    return rc;
}

static void run_job(struct al_runner *runner, struct ali_job *job)
{
    switch (job->type) {
    case ALI_JOB_READ:
    case ALI_JOB_CARRY:
        job->status = read_records(runner->store, job, al_store_read);
        break;
    case ALI_JOB_MAINTAIN:
        job->status = al_store_maintain(runner->store);
        break;
    case ALI_JOB_SNAPSHOT_WRITE:
        job->status =
            al_store_snapshot_write(job->writer, al_str_of(job->data.data, job->data.size));
        break;
    case ALI_JOB_SNAPSHOT_COMMIT:
        job->status = al_store_snapshot_commit(job->writer);
        break;
    case ALI_JOB_SNAPSHOT_ABORT:
        al_store_snapshot_abort(job->writer);
        break;
    case ALI_JOB_STOP:
        break;
    }
}

static void *worker_main(void *ctx)
{
    struct al_runner *runner = ctx;

    for (;;) {
        struct ali_job *job = al_mailbox_wait(&runner->to_worker, 0);
        bool last = job->type == ALI_JOB_STOP;

        run_job(runner, job);
        /* At most AL_MAILBOX_SLOTS jobs are under way (see ali_worker_pump), so there is room. */
        while (!al_mailbox_put(&runner->from_worker, job))
            al_thread_pause();
        if (last)
            return NULL;
    }
}

int ali_worker_start(struct al_runner *runner)
{
    int rc;

    if (al_doorbell_init(&runner->worker_bell))
        return -AL_E_IO;
    al_mailbox_init(&runner->to_worker, &runner->worker_bell);
    al_mailbox_init(&runner->from_worker, &runner->bell);
    rc = al_thread_start(&runner->worker_thread, "al-worker", worker_main, runner);
    runner->worker_running = rc == 0;
    if (rc)
        al_doorbell_deinit(&runner->worker_bell);
    return rc;
}

void ali_worker_pump(struct al_runner *runner)
{
    struct ali_job *job;

    while (runner->backlog.first && runner->jobs_out < AL_MAILBOX_SLOTS) {
        job = ali_job_list_pop(&runner->backlog);
        runner->jobs_out++;
        if (!al_mailbox_put(&runner->to_worker, job))
            assert(!"a mailbox is full although fewer jobs are out");
    }
}

void ali_worker_post(struct al_runner *runner, struct ali_job *job)
{
    ali_job_list_push(&runner->backlog, job);
    ali_worker_pump(runner);
}

struct ali_job *ali_worker_take(struct al_runner *runner)
{
    struct ali_job *job = runner->worker_running ? al_mailbox_take(&runner->from_worker) : NULL;

    if (job)
        runner->jobs_out--;
    return job;
}

/* An answer that nobody waits for any more. */
static void throw_away(struct al_runner *runner, struct ali_job *job)
{
    if (job->type == ALI_JOB_SNAPSHOT_COMMIT && job->status != -AL_E_BUSY)
        runner->upkeep.writer = NULL; /* the commit has freed it */
    ali_job_free(runner, job);
}

void ali_worker_stop(struct al_runner *runner)
{
    struct ali_job *job;

    if (runner->worker_running) {
        runner->stop_job.type = ALI_JOB_STOP;
        ali_worker_post(runner, &runner->stop_job);
        for (job = NULL; job != &runner->stop_job;) {
            if (job)
                throw_away(runner, job);
            ali_worker_pump(runner);
            job = al_mailbox_wait(&runner->from_worker, 0);
            runner->jobs_out--;
        }
        pthread_join(runner->worker_thread, NULL);
        runner->worker_running = false;
        al_doorbell_deinit(&runner->worker_bell);
    }
    while ((job = ali_job_list_pop(&runner->ready)) != NULL)
        ali_job_free(runner, job);
}

void ali_read_begin(struct al_runner *runner, uint64_t request, struct al_str lsns)
{
    struct ali_job *job = ali_job_new(runner, ALI_JOB_READ);

    /* The core cannot be answered later without a job to hold the answer. */
    if (!job || al_buf_put(&job->lsns, lsns.p, lsns.n)) {
        ali_job_free(runner, job);
        ali_runner_fail(runner, -AL_E_NOMEM, "no memory for a read");
        return;
    }
    job->request = request;
    job->status = read_records(runner->store, job, al_store_read_cached);
    if (job->status == 0) {
        runner->counters.reads_cached++;
        ali_job_list_push(&runner->ready, job);
        return;
    }
    runner->counters.reads_disk++;
    al_buf_clear(&job->views);
    al_buf_clear(&job->data);
    ali_worker_post(runner, job);
}
