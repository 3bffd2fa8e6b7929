/* peer.c - connections: bytes in to the core, answers out when their batch is durable.
 *
 * Reading. All connections share one input buffer; the core takes the whole frames out of it and
 * what is left of the last one waits in the connection until more comes. Only a frame larger than
 * the shared buffer is collected in a buffer of its own, and the core sees it when it is whole.
 *
 * Writing. Answers are appended to the connection's output together with a gate (see
 * runner_internal.h). When a batch has become durable, each connection writes everything that is
 * released with one system call.
 *
 * Closing. A descriptor may be closed in the middle of carrying out effects; the core hears of it
 * at the end of the turn, and only then its number is free. A peer that is gone but has sent
 * something before is read to the end first: `mute` throws the answers away meanwhile. */
#include "base/errors.h"
#include "base/limits.h"
#include "node/runner_internal.h"
#include "os/clock.h"
#include "wire/messages.h"

#include <assert.h>
#include <unistd.h>

/* ---- the table --------------------------------------------------------------------------- */

static int table_grow(struct al_runner *runner)
{
    uint32_t cap = runner->slot_cap ? runner->slot_cap * 2 : 64;
    void *slots = runner->alloc.realloc_fn(runner->alloc.ctx, runner->slots,
                                           runner->slot_cap * sizeof *runner->slots,
                                           cap * sizeof *runner->slots);

    if (!slots)
        return -AL_E_NOMEM;
    runner->slots = slots;
    runner->slot_cap = cap;
    return 0;
}

static struct ali_peer *conn_new(struct al_runner *runner)
{
    struct ali_peer *conn;

    if (runner->free_id_count == 0 && runner->conn_end == runner->slot_cap && table_grow(runner))
        return NULL;
    conn = al_alloc_zero(&runner->alloc, sizeof *conn);
    if (!conn)
        return NULL;
    conn->runner = runner;
    conn->watch.fd = conn->stream.fd = -1;
    conn->id = runner->free_id_count > 0 ? runner->slots[--runner->free_id_count].free_id
                                         : runner->conn_end++;
    runner->slots[conn->id].conn = conn;
    runner->conn_count++;
    return conn;
}

static void forget_output(struct ali_peer *conn)
{
    conn->runner->output_bytes -= ali_buffer_size(&conn->out);
    ali_buffer_drop(&conn->runner->buffers, &conn->out);
    conn->gate_count = 0;
    conn->released = conn->sent;
}

static void forget_input(struct ali_peer *conn)
{
    conn->runner->input_bytes -= ali_buffer_size(&conn->in);
    ali_buffer_drop(&conn->runner->buffers, &conn->in);
}

static void conn_free(struct ali_peer *conn)
{
    struct al_runner *runner = conn->runner;

    assert(!conn->listed);
    forget_input(conn);
    forget_output(conn);
    al_stream_close(&conn->stream);
    runner->link_count -= conn->expire_ms != 0;
    if (conn->closing)
        runner->closing_count--;
    runner->slots[conn->id].conn = NULL;
    runner->slots[runner->free_id_count++].free_id = conn->id;
    runner->conn_count--;
    al_alloc_free(&runner->alloc, conn, sizeof *conn);
}

static void list(struct ali_peer *conn)
{
    if (conn->listed)
        return;
    conn->listed = true;
    conn->runner->slots[conn->runner->listed_count++].listed = conn;
}

static void watch_again(struct ali_peer *conn)
{
    bool reads = !conn->paused && !conn->closing && !conn->runner->stopping;

    if (!conn->dead && al_loop_set(&conn->runner->loop, &conn->watch,
                                   (reads ? (unsigned)AL_LOOP_READ : 0) |
                                       (conn->blocked ? (unsigned)AL_LOOP_WRITE : 0)))
        ali_peer_break(conn);
}

void ali_peer_break(struct ali_peer *conn)
{
    struct al_runner *runner = conn->runner;

    if (conn->dead)
        return;
    conn->dead = true;
    al_loop_remove(&runner->loop, &conn->watch);
    al_stream_close(&conn->stream);
    conn->stream = (struct al_stream){.fd = -1};
    conn->watch.fd = -1;
    forget_output(conn);
    runner->slots[runner->dead_count++].dead = conn;
}

/* ---- reading ----------------------------------------------------------------------------- */

/* Gives bytes to the core; returns how many it took. */
static size_t feed(struct ali_peer *conn, const uint8_t *p, size_t n)
{
    struct al_event event = {
        .type = AL_EVENT_BYTES, .now = al_clock_now(), .conn = conn->id, .data = al_str_of(p, n)};

    conn->runner->effects.consumed = n;
    ali_runner_step(conn->runner, &event);
    return conn->runner->effects.consumed;
}

/* Keeps the rest of a frame that is not whole yet. */
static void keep(struct ali_peer *conn, const uint8_t *p, size_t n)
{
    struct al_runner *runner = conn->runner;

    if (n == 0 || conn->dead || conn->closing)
        return;
    if (runner->input_bytes + n > ALI_INPUT_TOTAL_MAX ||
        ali_buffer_put(&runner->buffers, &conn->in, p, n)) {
        ali_runner_log(runner, AL_LOG_WARNING, "input_limit", NULL);
        ali_peer_break(conn);
        return;
    }
    runner->input_bytes += n;
}

/* Bytes that the frame at the beginning of `in` has in all; 0 if its header is not there yet. */
static size_t frame_bytes(const struct ali_peer *conn)
{
    if (ali_buffer_size(&conn->in) < AL_WIRE_HEADER_SIZE)
        return 0;
    return (size_t)al_get32(conn->in.data + conn->in.begin) + AL_WIRE_HEADER_SIZE;
}

/* One read for a frame that is larger than the shared buffer. The buffer grows with what really
 * comes, not with what the header promises. */
static int64_t read_large(struct ali_peer *conn, size_t frame)
{
    struct al_runner *runner = conn->runner;
    size_t size = ali_buffer_size(&conn->in), want = frame - size;
    int64_t got;

    if (want > ALI_INPUT_BYTES)
        want = ALI_INPUT_BYTES;
    if (frame > AL_FRAME_MAX || runner->input_bytes + want > ALI_INPUT_TOTAL_MAX ||
        ali_buffer_reserve(&runner->buffers, &conn->in, want)) {
        ali_runner_log(runner, AL_LOG_WARNING, "input_limit", NULL);
        return -AL_E_LIMIT;
    }
    got = al_stream_read(&conn->stream, conn->in.data + conn->in.end, want);
    if (got <= 0)
        return got;
    conn->in.end += (size_t)got;
    runner->input_bytes += (size_t)got;
    if (size + (size_t)got == frame) {
        size_t consumed = feed(conn, conn->in.data + conn->in.begin, frame);

        assert(conn->dead || conn->closing || consumed == frame);
        forget_input(conn);
    }
    return got;
}

/* One read into the shared buffer, behind what was left over last time. */
static int64_t read_shared(struct ali_peer *conn)
{
    struct al_runner *runner = conn->runner;
    size_t left = ali_buffer_size(&conn->in), consumed;
    int64_t got = al_stream_read(&conn->stream, runner->input + left, ALI_INPUT_BYTES - left);

    if (got <= 0)
        return got;
    if (left) {
        memcpy(runner->input, conn->in.data + conn->in.begin, left);
        forget_input(conn);
    }
    consumed = feed(conn, runner->input, left + (size_t)got);
    keep(conn, runner->input + consumed, left + (size_t)got - consumed);
    return got;
}

/* One read; true if more of what was taken from the socket waits (a record of TLS at most). */
static bool read_once(struct ali_peer *conn)
{
    struct al_runner *runner = conn->runner;
    size_t frame = frame_bytes(conn);
    int64_t got;

    if (al_store_filling(runner->store) > ALI_BATCH_MAX && !al_stream_has_more(&conn->stream))
        return false; /* the loop asks again when the disk has caught up */
    got = frame > ALI_INPUT_BYTES ? read_large(conn, frame) : read_shared(conn);
    if (got > 0) {
        runner->counters.reads++;
        runner->counters.bytes_in += (uint64_t)got;
    } else if (got != -AL_E_BUSY) {
        ali_peer_break(conn);
        return false;
    }
    if (al_stream_is_blocked(&conn->stream) && !conn->blocked)
        list(conn); /* TLS has something to say of its own */
    return got > 0 && !conn->dead && !conn->closing && al_stream_has_more(&conn->stream);
}

static void conn_read(struct ali_peer *conn)
{
    while (read_once(conn))
        ;
}

/* ---- writing ----------------------------------------------------------------------------- */

/* What a connection may hold when all together hold too much: its share, and never more than
 * ALI_OUTPUT_HOG, so that few with much go before many with little. */
static size_t fair_share(const struct al_runner *runner)
{
    size_t share = ALI_OUTPUT_TOTAL_MAX / (runner->conn_count ? runner->conn_count : 1);

    return share < ALI_OUTPUT_HOG ? share : ALI_OUTPUT_HOG;
}

void ali_peer_send(struct ali_peer *conn, const void *p, size_t n, uint64_t gate)
{
    struct al_runner *runner = conn->runner;
    struct ali_gate *last;
    uint64_t position;

    if (conn->dead || conn->mute || conn->closing)
        return;
    if ((runner->output_bytes + n > ALI_OUTPUT_TOTAL_MAX &&
         ali_buffer_size(&conn->out) > fair_share(runner)) ||
        ali_buffer_put(&runner->buffers, &conn->out, p, n)) {
        ali_runner_log(runner, AL_LOG_WARNING, "output_limit", NULL);
        ali_peer_break(conn);
        return;
    }
    runner->output_bytes += n;
    position = conn->sent + ali_buffer_size(&conn->out);
    last = conn->gate_count ? &conn->gates[conn->gate_count - 1] : NULL;
    if (last && last->batch >= gate) {
        last->end = position;
    } else if (gate <= runner->batch_done) {
        assert(!last || last->batch <= runner->batch_done);
        conn->gate_count = 0;
        conn->released = position;
    } else {
        if (conn->gate_count == 2) { /* the older of two must be durable if there is a third */
            assert(conn->gates[0].batch <= runner->batch_done);
            conn->released = conn->gates[0].end;
            conn->gates[0] = conn->gates[1];
            conn->gate_count = 1;
        }
        conn->gates[conn->gate_count++] = (struct ali_gate){.batch = gate, .end = position};
    }
    if (!conn->blocked) {
        list(conn);
    } else if (!conn->paused && ali_buffer_size(&conn->out) > ALI_OUTPUT_PAUSE) {
        conn->paused = true; /* whoever is not blocked is looked at when it is released */
        watch_again(conn);
    }
}

void ali_peer_close_soon(struct ali_peer *conn)
{
    if (conn->dead || conn->closing)
        return;
    conn->closing = true;
    conn->close_deadline_ns = al_clock_mono_ns() + ALI_CLOSE_LINGER_NS;
    conn->runner->closing_count++;
    watch_again(conn);
    if (!conn->blocked && !conn->dead)
        list(conn);
}

/* Writes what is released. */
static void conn_write(struct ali_peer *conn)
{
    struct al_runner *runner = conn->runner;
    size_t n = (size_t)(conn->released - conn->sent);
    int64_t put;

    if (al_stream_is_blocked(&conn->stream) && al_stream_flush(&conn->stream) == -AL_E_BUSY) {
        conn->blocked = true;
        return;
    }
    if (n == 0)
        return;
    put = al_stream_write(&conn->stream, conn->out.data + conn->out.begin, n);
    runner->counters.writes++;
    if (put < 0 && put != -AL_E_BUSY) {
        conn->mute = true;
        forget_output(conn);
        return;
    }
    if (put > 0) {
        conn->out.begin += (size_t)put;
        conn->sent += (uint64_t)put;
        runner->output_bytes -= (size_t)put;
        runner->counters.bytes_out += (uint64_t)put;
        if (ali_buffer_size(&conn->out) == 0)
            ali_buffer_drop(&runner->buffers, &conn->out);
    }
    conn->blocked = conn->sent < conn->released || al_stream_is_blocked(&conn->stream);
}

/* Writes what may be written; true if the connection must stay listed. */
static bool conn_release(struct ali_peer *conn)
{
    struct al_runner *runner = conn->runner;
    size_t left;

    while (conn->gate_count && conn->gates[0].batch <= runner->batch_done) {
        conn->released = conn->gates[0].end;
        conn->gates[0] = conn->gates[1];
        conn->gate_count--;
    }
    conn_write(conn);
    left = ali_buffer_size(&conn->out);
    if (conn->closing && ((left == 0 && !conn->blocked) || conn->mute)) {
        ali_peer_break(conn);
        return false;
    }
    if (left > ALI_OUTPUT_PAUSE)
        conn->paused = true;
    else if (left < ALI_OUTPUT_PAUSE / 2)
        conn->paused = false;
    watch_again(conn);
    return !conn->dead && !conn->blocked && conn->gate_count > 0;
}

void ali_peers_release(struct al_runner *runner)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < runner->listed_count; i++) {
        struct ali_peer *conn = runner->slots[i].listed;

        if (!conn->dead && conn_release(conn))
            runner->slots[kept++].listed = conn;
        else
            conn->listed = false;
    }
    runner->listed_count = kept;
}

void ali_peers_stop_reading(struct al_runner *runner)
{
    for (uint32_t i = 0; i < runner->conn_end; i++) {
        if (runner->slots[i].conn)
            watch_again(runner->slots[i].conn);
    }
}

bool ali_peers_are_drained(const struct al_runner *runner)
{
    return runner->output_bytes == 0;
}

/* ---- life -------------------------------------------------------------------------------- */

static void conn_ready(struct al_watch *watch, unsigned ready)
{
    struct ali_peer *conn = (struct ali_peer *)watch;

    if (ready & AL_LOOP_WRITE) {
        conn->blocked = false;
        list(conn);
    }
    if (conn->closing || conn->runner->stopping) {
        if (ready & AL_LOOP_HANGUP)
            ali_peer_break(conn); /* nobody is there to be written to */
        return;
    }
    /* A peer that is gone is read to the end even if it was paused: nothing will make room. */
    if (ready & (AL_LOOP_READ | AL_LOOP_HANGUP))
        conn_read(conn);
}

static struct ali_peer *peer_begin(struct al_runner *runner, struct al_stream stream,
                                   struct al_event *event)
{
    struct ali_peer *conn = conn_new(runner);

    if (!conn) {
        al_stream_close(&stream);
        return NULL;
    }
    conn->stream = stream;
    if (al_loop_add(&runner->loop, &conn->watch, stream.fd, AL_LOOP_READ, conn_ready)) {
        conn_free(conn); /* closes the stream */
        return NULL;
    }
    event->conn = conn->id;
    ali_runner_step(runner, event);
    return conn;
}

void ali_peer_open(struct al_runner *runner, int fd, uint32_t uid)
{
    struct al_stream stream = {.fd = fd};
    struct al_event event = {.type = AL_EVENT_OPEN, .now = al_clock_now(), .uid = uid};

    al_socket_set_room(fd, ALI_SOCKET_ROOM);
    (void)peer_begin(runner, stream, &event);
}

void ali_peer_open_link(struct al_runner *runner, struct al_stream stream, struct al_event *event,
                        uint64_t expire_ms, struct al_str first)
{
    struct ali_peer *conn = peer_begin(runner, stream, event);
    size_t consumed;

    if (!conn)
        return;
    conn->expire_ms = expire_ms;
    conn->joins = event->link == AL_LINK_JOIN;
    runner->link_count++;
    if (first.n) {
        consumed = feed(conn, first.p, first.n);
        keep(conn, first.p + consumed, first.n - consumed);
    }
    if (!conn->dead && !conn->closing && al_stream_has_more(&conn->stream))
        conn_read(conn);
}

void ali_peer_renewed(struct al_runner *runner, uint32_t conn, uint64_t expire_ms)
{
    struct ali_peer *peer = conn < runner->conn_end ? runner->slots[conn].conn : NULL;

    if (peer && peer->expire_ms && !peer->joins)
        peer->expire_ms = expire_ms;
}

void ali_peers_expire(struct al_runner *runner, uint64_t wall_ms)
{
    for (uint32_t i = 0; i < runner->conn_end && runner->link_count; i++) {
        struct ali_peer *conn = runner->slots[i].conn;

        if (conn && conn->expire_ms && conn->expire_ms <= wall_ms)
            ali_peer_break(conn);
    }
}

static void check_lingering(struct al_runner *runner, uint64_t now_ns)
{
    if (runner->closing_count == 0 || now_ns < runner->linger_check_ns)
        return;
    runner->linger_check_ns = now_ns + AL_NS_PER_SEC;
    for (uint32_t i = 0; i < runner->conn_end; i++) {
        struct ali_peer *conn = runner->slots[i].conn;

        if (conn && conn->closing && now_ns >= conn->close_deadline_ns)
            ali_peer_break(conn);
    }
}

static void unlist(struct ali_peer *conn)
{
    struct al_runner *runner = conn->runner;

    for (uint32_t i = 0; conn->listed && i < runner->listed_count; i++) {
        if (runner->slots[i].listed != conn)
            continue;
        runner->slots[i].listed = runner->slots[--runner->listed_count].listed;
        conn->listed = false;
    }
}

bool ali_peers_reap(struct al_runner *runner, uint64_t now_ns)
{
    bool any;

    check_lingering(runner, now_ns);
    any = runner->dead_count > 0;
    while (runner->dead_count > 0) {
        struct ali_peer *conn = runner->slots[runner->dead_count - 1].dead;
        struct al_event event = {.type = AL_EVENT_CLOSED, .now = al_clock_now(), .conn = conn->id};

        /* The step may break others: they go on top of the list, so this one must be off it. */
        runner->dead_count--;
        ali_runner_step(runner, &event);
        unlist(conn);
        conn_free(conn);
    }
    return any;
}

void ali_peers_deinit(struct al_runner *runner)
{
    runner->listed_count = runner->dead_count = 0;
    for (uint32_t i = 0; i < runner->conn_end; i++) {
        if (!runner->slots[i].conn)
            continue;
        runner->slots[i].conn->listed = false;
        conn_free(runner->slots[i].conn);
    }
    al_alloc_free(&runner->alloc, runner->slots, runner->slot_cap * sizeof *runner->slots);
}
