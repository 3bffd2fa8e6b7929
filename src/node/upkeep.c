/* upkeep.c - housekeeping between the turns: snapshots, segments, carrying forward.
 *
 * A snapshot is taken beside the work: the core gives items in slices of at most about two
 * milliseconds, the worker writes them, flushes, reads back and renames. After one has been
 * committed, the closed segments are sifted: those in which nothing is alive go, and when the
 * journal has grown to several times what is alive, the emptiest segment's last records are carried
 * forward (persisted again under a new LSN), which makes it go as well.
 *
 * Order that a crash depends on. The core's state runs ahead of the disk: "nothing is alive in
 * this segment" may rest on an ack that is not durable yet. So a segment is only released when the
 * batch that was being filled at the time of looking is durable (release_gate). The same gate
 * covers carried records: their new copies are in that batch or an earlier one. */
#include "base/errors.h"
#include "node/runner_internal.h"
#include "os/clock.h"

#include <assert.h>

#define SNAPSHOT_EVERY_BYTES (64ull << 20)
/* … or this many times what the last one took: a large state is not written all the time. */
#define SNAPSHOT_EVERY_SIZES 8
#define SNAPSHOT_RETRY_NS    (10 * AL_NS_PER_SEC)
/* While the disk is full; only what lies below the older of two snapshots can be released. */
#define SNAPSHOT_FULL_NS AL_NS_PER_SEC
#define SLICE_BYTES_MIN  (4u << 10)
#define SLICE_BYTES_MAX  (256u << 10)
#define SLICE_LONG_NS    (2 * AL_NS_PER_MS)
/* Handed to the worker in pieces of this size, so many at most under way. */
#define WRITE_BYTES    (256u << 10)
#define WRITES_OUT_MAX 2
/* Carry when closed segments are larger than this many times what is alive in them, and a segment
 * has less than a quarter alive. Below the floor the disk is not worth the writing. */
#define CARRY_RATIO       4
#define CARRY_LIVE_PART   4
#define CARRY_FLOOR_BYTES (256ull << 20)
#define CARRY_RECORDS     256u
/* Granularity of al_node_live_count: runs without anything alive are skipped in this step. */
#define LIVE_BUCKET  4096u
#define SEGMENTS_MAX 256

/* ---- snapshots --------------------------------------------------------------------------- */

static void snapshot_log(struct al_runner *runner, enum al_log_level level, const char *event,
                         int error)
{
    struct ali_upkeep *up = &runner->upkeep;
    struct al_log_fields fields;

    al_log_fields_init(&fields);
    al_log_put_number(&fields, "lsn", up->snapshot_lsn);
    al_log_put_number(&fields, "bytes", up->snapshot_bytes);
    al_log_put_number(&fields, "ms", (al_clock_mono_ns() - up->snapshot_start_ns) / AL_NS_PER_MS);
    if (error)
        al_log_put_text(&fields, "error", al_error_text(error));
    ali_runner_log(runner, level, event, &fields);
}

/* Gives the snapshot up; the work goes on, the journal only stays longer. */
static void snapshot_fail(struct al_runner *runner, int error)
{
    struct ali_upkeep *up = &runner->upkeep;

    snapshot_log(runner, AL_LOG_WARNING, "snapshot_failed", error);
    if (up->snapshot == ALI_SNAP_ITEMS)
        al_node_snapshot_abort(runner->node);
    if (up->writer) {
        struct ali_job *job = ali_job_new(runner, ALI_JOB_SNAPSHOT_ABORT);

        /* Without memory for the job there is none for the writer either: it stays until the end.
         */
        if (job) {
            job->writer = up->writer;
            ali_worker_post(runner, job);
        }
    }
    up->writer = NULL;
    up->snapshot = ALI_SNAP_NONE;
    up->snapshot_retry_ns = al_clock_mono_ns() + SNAPSHOT_RETRY_NS;
    al_buf_deinit(&up->items);
}

void ali_upkeep_snapshot(struct al_runner *runner, uint64_t min_bytes)
{
    struct ali_upkeep *up = &runner->upkeep;
    int rc;

    if (up->snapshot != ALI_SNAP_NONE || al_store_since_snapshot(runner->store) < min_bytes)
        return;
    up->snapshot_start_ns = al_clock_mono_ns();
    up->snapshot_bytes = 0;
    rc = al_node_snapshot_begin(runner->node, &up->snapshot_lsn);
    if (rc) {
        snapshot_fail(runner, rc);
        return;
    }
    up->snapshot = ALI_SNAP_ITEMS;
    up->commit_gate = ali_journal_gate(runner); /* what it contains is in that batch or earlier */
    up->slice_bytes = 4 * SLICE_BYTES_MIN;
    al_buf_init(&up->items, &runner->alloc);
    rc = al_store_snapshot_begin(runner->store, up->snapshot_lsn, &up->writer);
    if (rc)
        snapshot_fail(runner, rc);
}

/* Hands collected items to the worker. */
static int snapshot_write(struct al_runner *runner)
{
    struct ali_upkeep *up = &runner->upkeep;
    struct ali_job *job = ali_job_new(runner, ALI_JOB_SNAPSHOT_WRITE);

    if (!job)
        return -AL_E_NOMEM;
    job->data = up->items;
    job->writer = up->writer;
    al_buf_init(&up->items, &runner->alloc);
    up->snapshot_bytes += job->data.size;
    up->writes_out++;
    ali_worker_post(runner, job);
    return 0;
}

/* One slice. */
static void snapshot_slice(struct al_runner *runner)
{
    struct ali_upkeep *up = &runner->upkeep;
    uint64_t start_ns = al_clock_mono_ns(), took_ns;
    int more = al_node_snapshot_next(runner->node, up->slice_bytes, &up->items), rc = 0;

    took_ns = al_clock_mono_ns() - start_ns;
    if (took_ns > SLICE_LONG_NS / 2 && up->slice_bytes > SLICE_BYTES_MIN)
        up->slice_bytes /= 2;
    else if (took_ns < SLICE_LONG_NS / 8 && up->slice_bytes < SLICE_BYTES_MAX)
        up->slice_bytes *= 2;
    if (more < 0) {
        snapshot_fail(runner, more);
        return;
    }
    if (up->items.size >= WRITE_BYTES || (more == 0 && up->items.size > 0))
        rc = snapshot_write(runner);
    if (rc)
        snapshot_fail(runner, rc);
    else if (more == 0)
        up->snapshot = ALI_SNAP_WRITING;
}

/* Everything is written: commit once the journal is durable up to the snapshot. */
static void snapshot_commit(struct al_runner *runner)
{
    struct ali_upkeep *up = &runner->upkeep;
    struct ali_job *job = ali_job_new(runner, ALI_JOB_SNAPSHOT_COMMIT);

    if (!job) {
        snapshot_fail(runner, -AL_E_NOMEM);
        return;
    }
    job->writer = up->writer;
    up->snapshot = ALI_SNAP_COMMITTING;
    ali_worker_post(runner, job);
}

/* Bytes of journal until the next snapshot. */
static uint64_t snapshot_every(const struct ali_upkeep *up)
{
    uint64_t every = SNAPSHOT_EVERY_SIZES * up->last_snapshot_bytes;

    return every > SNAPSHOT_EVERY_BYTES ? every : SNAPSHOT_EVERY_BYTES;
}

/* On a full disk room is only made by snapshots: two of them behind what was acknowledged. */
static bool wants_room(const struct al_runner *runner)
{
    return runner->disk_full && al_node_lsn(runner->node) > runner->upkeep.committed_lsn[1];
}

static void snapshot_consider(struct al_runner *runner, uint64_t now_ns)
{
    struct ali_upkeep *up = &runner->upkeep;

    if (up->snapshot != ALI_SNAP_NONE || now_ns < up->snapshot_retry_ns || runner->stopping)
        return;
    if (wants_room(runner) && now_ns >= up->snapshot_full_ns) {
        up->snapshot_full_ns = now_ns + SNAPSHOT_FULL_NS;
        ali_upkeep_snapshot(runner, 0);
    } else {
        ali_upkeep_snapshot(runner, snapshot_every(up));
    }
}

/* True if there is more to do at once. */
static bool snapshot_run(struct al_runner *runner, uint64_t now_ns)
{
    struct ali_upkeep *up = &runner->upkeep;

    snapshot_consider(runner, now_ns);
    if (up->snapshot == ALI_SNAP_ITEMS && up->writes_out < WRITES_OUT_MAX)
        snapshot_slice(runner);
    if (up->snapshot == ALI_SNAP_WRITING && up->writes_out == 0 &&
        runner->batch_done >= up->commit_gate)
        snapshot_commit(runner);
    return up->snapshot == ALI_SNAP_ITEMS && up->writes_out < WRITES_OUT_MAX;
}

static void snapshot_committed(struct al_runner *runner, struct ali_job *job)
{
    struct ali_upkeep *up = &runner->upkeep;

    if (job->status == -AL_E_BUSY) { /* not durable up to its LSN: again after the next batch */
        up->snapshot = ALI_SNAP_WRITING;
        up->commit_gate = ali_journal_gate(runner);
        return;
    }
    up->writer = NULL;
    if (job->status) {
        snapshot_fail(runner, job->status);
        return;
    }
    up->snapshot = ALI_SNAP_NONE;
    up->last_snapshot_bytes = up->snapshot_bytes;
    /* A segment is released when it lies below two snapshots. */
    if (snapshot_every(up) > SNAPSHOT_EVERY_BYTES)
        al_store_expect(runner->store, 2 * snapshot_every(up));
    else
        al_store_expect(runner->store, 0);
    up->committed_lsn[1] = up->committed_lsn[0];
    up->committed_lsn[0] = up->snapshot_lsn;
    up->sift = true;
    runner->counters.snapshots++;
    snapshot_log(runner, AL_LOG_INFO, "snapshot", 0);
}

/* ---- segments ---------------------------------------------------------------------------- */

/* Releases what an earlier look found empty, once that is true on the disk as well. */
static void release_run(struct al_runner *runner)
{
    struct ali_upkeep *up = &runner->upkeep;

    if (up->release_count == 0 || runner->batch_done < up->release_gate)
        return;
    for (size_t i = 0; i < up->release_count; i++)
        al_store_release(runner->store, up->release_ids[i]);
    up->release_count = 0;
}

/* Looks at the closed segments: which can go, which is to be carried. */
static void sift(struct al_runner *runner)
{
    struct ali_upkeep *up = &runner->upkeep;
    static const struct al_segment_info none;
    struct al_segment_info list[SEGMENTS_MAX], poorest = none;
    size_t count = al_store_segments(runner->store, list, SEGMENTS_MAX);
    uint64_t bytes = 0, alive_bytes = 0, poorest_part = 1000 / CARRY_LIVE_PART;

    up->release_gate = ali_journal_gate(runner);
    for (size_t i = 0; i < count; i++) {
        uint64_t records = list[i].last_lsn - list[i].first_lsn + 1;
        uint64_t alive = al_node_live_count(runner->node, list[i].first_lsn, list[i].last_lsn);
        uint64_t part = records ? alive * 1000 / records : 0; /* it may be empty */

        bytes += list[i].bytes;
        alive_bytes += list[i].bytes / 1000 * part;
        if (alive == 0 && up->release_count < ALI_RELEASE_MAX)
            up->release_ids[up->release_count++] = list[i].id;
        else if (alive > 0 && part < poorest_part) {
            poorest_part = part;
            poorest = list[i];
        }
    }
    if (poorest.id && bytes > CARRY_FLOOR_BYTES && bytes > CARRY_RATIO * alive_bytes) {
        up->carry_segment = poorest.id;
        up->carry_next = poorest.first_lsn;
        up->carry_last = poorest.last_lsn;
    }
}

/* ---- carrying ---------------------------------------------------------------------------- */

/* The next stretch with something alive in it; false at the end of the segment. */
static bool carry_seek(struct al_runner *runner)
{
    struct ali_upkeep *up = &runner->upkeep;

    while (up->carry_next <= up->carry_last) {
        uint64_t end = (up->carry_next / LIVE_BUCKET + 1) * LIVE_BUCKET - 1;

        if (end > up->carry_last)
            end = up->carry_last;
        if (al_node_live_count(runner->node, up->carry_next, end) > 0)
            return true;
        up->carry_next = end + 1;
    }
    return false;
}

static void carry_run(struct al_runner *runner)
{
    struct ali_upkeep *up = &runner->upkeep;
    struct ali_job *job;
    int rc = 0;

    if (!carry_seek(runner)) {
        up->carry_segment = 0;
        up->sift = true;
        return;
    }
    job = ali_job_new(runner, ALI_JOB_CARRY);
    for (uint64_t i = 0; job && rc == 0 && i < CARRY_RECORDS; i++) {
        uint64_t lsn = up->carry_next + i;

        if (lsn <= up->carry_last)
            rc = al_buf_put(&job->lsns, &lsn, sizeof lsn);
    }
    if (!job || rc) { /* another time: after the next snapshot */
        ali_job_free(runner, job);
        up->carry_segment = 0;
        return;
    }
    up->carry_out = true;
    ali_worker_post(runner, job);
}

static void carry_done(struct al_runner *runner, struct ali_job *job)
{
    struct ali_upkeep *up = &runner->upkeep;
    struct al_record_view *views = (struct al_record_view *)(void *)job->views.data;
    size_t count = job->views.size / sizeof *views;
    struct al_event event = {.type = AL_EVENT_CARRY,
                             .now = al_clock_now(),
                             .records = views,
                             .record_count = (uint32_t)count};

    up->carry_out = false;
    if (job->status == -AL_E_DAMAGED) {
        ali_runner_fail(runner, -AL_E_DAMAGED, "a record to be carried forward is damaged");
        return;
    }
    if (job->status || count == 0) {
        up->carry_segment = 0; /* another time */
        return;
    }
    ali_runner_step(runner, &event);
    runner->counters.carried += count;
    up->carry_next = views[count - 1].lsn + 1;
}

/* ---- all together ------------------------------------------------------------------------ */

static void maintain_run(struct al_runner *runner, uint64_t now_ns)
{
    struct ali_upkeep *up = &runner->upkeep;
    struct ali_job *job;

    if (up->maintain_out || now_ns < up->maintain_retry_ns ||
        !al_store_wants_maintain(runner->store))
        return;
    job = ali_job_new(runner, ALI_JOB_MAINTAIN);
    if (!job) {
        up->maintain_retry_ns = now_ns + ALI_MAINTAIN_WAIT_NS;
        return;
    }
    up->maintain_out = true;
    ali_worker_post(runner, job);
}

static void maintain_done(struct al_runner *runner, struct ali_job *job)
{
    struct ali_upkeep *up = &runner->upkeep;
    struct al_log_fields fields;

    up->maintain_out = false;
    if (job->status >= 0)
        return;
    al_log_fields_init(&fields);
    al_log_put_text(&fields, "error", al_error_text(job->status));
    ali_runner_log(runner, AL_LOG_WARNING, "segment_preparation_failed", &fields);
    up->maintain_retry_ns = al_clock_mono_ns() + ALI_MAINTAIN_WAIT_NS;
}

bool ali_upkeep_run(struct al_runner *runner, uint64_t now_ns)
{
    struct ali_upkeep *up = &runner->upkeep;
    bool more;

    maintain_run(runner, now_ns);
    more = snapshot_run(runner, now_ns);
    release_run(runner);
    if (up->sift && up->release_count == 0 && up->carry_segment == 0) {
        up->sift = false;
        sift(runner);
    }
    if (up->carry_segment && !up->carry_out && !runner->stopping)
        carry_run(runner);
    return more;
}

uint64_t ali_upkeep_deadline_ns(const struct al_runner *runner)
{
    const struct ali_upkeep *up = &runner->upkeep;
    uint64_t deadline = AL_NEVER_NS, snapshot_ns = up->snapshot_full_ns;

    if (!up->maintain_out && al_store_wants_maintain(runner->store))
        deadline = up->maintain_retry_ns;
    if (snapshot_ns < up->snapshot_retry_ns)
        snapshot_ns = up->snapshot_retry_ns;
    if (up->snapshot == ALI_SNAP_NONE && wants_room(runner) && !runner->stopping &&
        snapshot_ns < deadline)
        deadline = snapshot_ns;
    return deadline;
}

void ali_upkeep_done(struct al_runner *runner, struct ali_job *job)
{
    struct ali_upkeep *up = &runner->upkeep;

    switch (job->type) {
    case ALI_JOB_MAINTAIN:
        maintain_done(runner, job);
        break;
    case ALI_JOB_SNAPSHOT_WRITE:
        up->writes_out--;
        if (job->status && job->writer == up->writer)
            snapshot_fail(runner, job->status);
        break;
    case ALI_JOB_SNAPSHOT_COMMIT:
        snapshot_committed(runner, job);
        break;
    case ALI_JOB_CARRY:
        carry_done(runner, job);
        break;
    case ALI_JOB_SNAPSHOT_ABORT:
    case ALI_JOB_READ:
    case ALI_JOB_STOP:
        break;
    }
    ali_job_free(runner, job);
}

void ali_upkeep_deinit(struct al_runner *runner)
{
    struct ali_upkeep *up = &runner->upkeep;

    if (up->snapshot == ALI_SNAP_ITEMS)
        al_node_snapshot_abort(runner->node);
    if (up->writer)
        al_store_snapshot_abort(up->writer);
    if (up->snapshot != ALI_SNAP_NONE)
        al_buf_deinit(&up->items);
    up->snapshot = ALI_SNAP_NONE;
    up->writer = NULL;
}
