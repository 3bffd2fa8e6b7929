/* retain.c - a client that has agents' streams keep what ended, lists what they keep, and has it
 * replayed. One question at a time; at the end it is the auditor and replays all that there is. */
#include "retain.h"
#include "base/errors.h"
#include <stdlib.h>
#include <string.h>

struct historian {
    uint32_t request; /* under way, 0 */
    uint8_t type;
    uint64_t asked_ns;
    uint32_t agent; /* of RETAIN_SET and HISTORY_LIST */
    struct sim_limits limits;
    struct sim_replay replay;
    bool goes_on;   /* the replay has another page */
    uint32_t audit; /* the stream that is being replayed, 0: no audit */
};

static void historian_init(struct sim *sim, struct sim_client *client)
{
    struct historian *h = sim_xrealloc(NULL, sizeof(*h));

    (void)sim;
    memset(h, 0, sizeof(*h));
    client->role_state = h;
}

static void historian_free(struct sim *sim, struct sim_client *client)
{
    (void)sim;
    free(client->role_state);
}

/* ---- questions --------------------------------------------------------------------------- */

static uint32_t ask(struct sim *sim, struct sim_client *client, uint8_t type)
{
    struct historian *h = client->role_state;

    h->type = type;
    h->asked_ns = sim->mono_ns;
    h->request = ++client->next_request;
    return h->request;
}

static void set_limits(struct sim *sim, struct sim_client *client)
{
    struct historian *h = client->role_state;
    struct al_msg_retain_set m = {.off = sim_chance(sim, 120)};
    char name[16];

    h->agent = (uint32_t)sim_rand_below(&sim->rand, sim->profile.agents);
    h->limits = (struct sim_limits){AL_RETAIN_COUNT_MAX, AL_RETAIN_BYTES_MAX, SIM_ANY};
    if (sim_chance(sim, 500))
        h->limits.count = m.keep_count = sim_rand_range(&sim->rand, 1, 40);
    if (sim_chance(sim, 300))
        h->limits.bytes = m.keep_bytes = sim_rand_range(&sim->rand, 1, 8000);
    if (sim_chance(sim, 300) && !sim->profile.wall_jump_ms)
        h->limits.age_ms = m.keep_ms = sim_rand_range(&sim->rand, 50, 4000);
    if (m.off)
        h->limits = (struct sim_limits){0};
    sim_agent_name(h->agent, name);
    m.agent = al_str_c(name);
    m.request = ask(sim, client, AL_MSG_RETAIN_SET);
    sim_retain_asked(sim, h->agent, &h->limits);
    SIM_PUT(sim, client, retain_set, &m);
}

static void list(struct sim *sim, struct sim_client *client)
{
    struct historian *h = client->role_state;
    struct al_msg_history_list m = {.limit = (uint32_t)sim_rand_range(&sim->rand, 1, 20)};
    char name[16];

    h->agent = (uint32_t)sim_rand_below(&sim->rand, sim->profile.agents);
    sim_agent_name(h->agent, name);
    m.agent = al_str_c(name);
    m.after = sim_chance(sim, 300) ? (uint32_t)sim_rand_below(&sim->rand, 12) : 0;
    m.request = ask(sim, client, AL_MSG_HISTORY_LIST);
    SIM_PUT(sim, client, history_list, &m);
}

static void send_replay(struct sim *sim, struct sim_client *client)
{
    struct historian *h = client->role_state;
    struct sim_replay *q = &h->replay;
    struct al_msg_replay m = {.limit = q->limit,
                              .stream = q->stream,
                              .first_seq = q->first_seq,
                              .last_seq = q->last_seq,
                              .from_ms = q->from_ms,
                              .until_ms = q->until_ms};
    char name[16];

    sim_agent_name(q->agent, name);
    m.agent = al_str_c(name);
    m.request = ask(sim, client, AL_MSG_REPLAY);
    q->asked_ns = sim->mono_ns;
    q->asked_wall_ms = sim_now(sim).wall_ms;
    q->rows = 0;
    q->bytes = 0;
    SIM_PUT(sim, client, replay, &m);
}

static bool is_replayable(const struct sim *sim, uint32_t number)
{
    const struct sim_stream *stream =
        number < sim->ledger->stream_cap ? &sim->ledger->streams[number] : NULL;

    return stream && stream->known && stream->to < SIM_AGENTS && stream->from < SIM_AGENTS;
}

/* When a message of the stream ended, as it was said, or a little beside; 0: not known. */
static uint64_t pick_time(struct sim *sim, const struct sim_stream *stream)
{
    for (unsigned i = 0; i < 8; i++) {
        uint64_t ms = stream->slots[sim_rand_range(&sim->rand, 1, stream->last_seq)].kept_ms;

        if (ms)
            return ms + sim_rand_below(&sim->rand, 3) - 1;
    }
    return 0;
}

static void replay(struct sim *sim, struct sim_client *client)
{
    struct historian *h = client->role_state;
    uint32_t number = (uint32_t)sim_rand_below(&sim->rand, sim->ledger->stream_cap);
    const struct sim_stream *stream = &sim->ledger->streams[number];
    struct sim_replay *q = &h->replay;

    if (!is_replayable(sim, number) || !stream->last_seq)
        return;
    *q = (struct sim_replay){.agent = stream->to, .stream = number};
    if (sim_chance(sim, 400)) {
        uint64_t back = sim_rand_skewed(&sim->rand, stream->last_seq + 1);

        q->first_seq = stream->last_seq + 2 - back;
    }
    if (sim_chance(sim, 250))
        q->last_seq = q->first_seq + sim_rand_below(&sim->rand, 20);
    if (sim_chance(sim, 250))
        q->from_ms = pick_time(sim, stream);
    if (sim_chance(sim, 250))
        q->until_ms = pick_time(sim, stream);
    if (sim_chance(sim, 500))
        q->limit = (uint32_t)sim_rand_range(&sim->rand, 1, 30);
    send_replay(sim, client);
}

/* ---- audit ------------------------------------------------------------------------------- */

void sim_historian_audit(struct sim *sim, struct sim_client *client)
{
    struct historian *h = client->role_state;

    h->audit = 1;
    h->goes_on = false;
    sim_client_wake(sim, client, 0);
}

bool sim_historian_audit_done(const struct sim *sim, const struct sim_client *client)
{
    const struct historian *h = client->role_state;

    return !h->request && h->audit >= sim->ledger->stream_cap;
}

/* The next page, or the next stream. */
static void audit(struct sim *sim, struct sim_client *client)
{
    struct historian *h = client->role_state;

    while (h->audit < sim->ledger->stream_cap && !is_replayable(sim, h->audit))
        h->audit++;
    if (h->audit == sim->ledger->stream_cap)
        return;
    h->replay = (struct sim_replay){.agent = sim->ledger->streams[h->audit].to, .stream = h->audit};
    send_replay(sim, client);
}

/* ---- answers ----------------------------------------------------------------------------- */

/* As a library does: behind the last one that came, until there is none. */
static void next_page(struct sim *sim, struct sim_client *client)
{
    struct historian *h = client->role_state;

    h->goes_on = false;
    h->replay.first_seq = h->replay.newest + 1;
    send_replay(sim, client);
}

/* Such a stream keeps nothing, and says so. */
static bool is_unordered(const struct sim *sim, const struct historian *h,
                         const struct al_msg_done *m)
{
    return h->type == AL_MSG_REPLAY && m->code == AL_E_UNSUPPORTED &&
           sim_is_unordered(sim, h->replay.stream);
}

static void on_done(struct sim *sim, struct sim_client *client, const struct al_msg_done *m)
{
    struct historian *h = client->role_state;
    bool is_moved = m->code == AL_E_BUSY || m->code == AL_E_NOMEM || m->code == AL_E_IO ||
                    m->code == AL_E_POISONED; /* the last words of a node whose disk has failed */

    if (m->request != h->request)
        return;
    h->request = 0;
    sim_note(sim, "client %: $ is done: !", client->index, h->type, m->code);
    if (m->code && !is_moved && m->code != AL_E_NOT_FOUND && m->code != AL_E_UNKNOWN_AGENT &&
        m->code != AL_E_NO_HISTORY && m->code != AL_E_NOT_RETAINED && m->code != AL_E_DISK_FULL &&
        !is_unordered(sim, h, m))
        sim_fail(sim, "%s is answered by %s", al_msg_name(h->type), al_error_name(m->code));
    if (h->type == AL_MSG_RETAIN_SET && m->code == 0)
        sim_retain_told(sim, h->agent, &h->limits, h->asked_ns);
    if (h->type != AL_MSG_REPLAY || is_moved)
        return; /* a page that was moved is asked for again, from its beginning */
    sim_replay_done(sim, &h->replay, m);
    h->goes_on = m->code == 0 && h->replay.rows;
    h->audit += h->audit && !h->goes_on;
}

static void historian_frame(struct sim *sim, struct sim_client *client,
                            const struct al_frame *frame)
{
    struct historian *h = client->role_state;
    union {
        struct al_msg_done done;
        struct al_msg_history_row row;
        struct al_msg_replayed replayed;
    } m;

    switch (frame->type) {
    case AL_MSG_REPLAYED:
        if (SIM_GET(sim, frame, replayed, &m.replayed) && m.replayed.request == h->request)
            sim_replay_row(sim, &h->replay, &m.replayed);
        break;
    case AL_MSG_HISTORY_ROW:
        if (SIM_GET(sim, frame, history_row, &m.row) && m.row.request == h->request)
            sim_history_row(sim, h->agent, h->asked_ns, &m.row);
        break;
    case AL_MSG_DONE:
        if (SIM_GET(sim, frame, done, &m.done))
            on_done(sim, client, &m.done);
        break;
    default:
        break;
    }
}

static void historian_gone(struct sim *sim, struct sim_client *client)
{
    struct historian *h = client->role_state;

    (void)sim;
    h->request = 0;
    h->goes_on = false;
}

static void historian_ready(struct sim *sim, struct sim_client *client)
{
    (void)sim;
    (void)client;
}

static void historian_wake(struct sim *sim, struct sim_client *client)
{
    struct historian *h = client->role_state;
    uint64_t what = sim_rand_below(&sim->rand, 20);

    if (client->ready && !h->request) {
        if (h->goes_on)
            next_page(sim, client);
        else if (h->audit)
            audit(sim, client);
        else if (what < 2 && sim->load_on)
            set_limits(sim, client);
        else if (what < 4)
            list(sim, client);
        else if (sim->ledger->stream_cap)
            replay(sim, client);
    }
    sim_client_wake(sim, client,
                    sim_delay(sim, h->audit || h->goes_on ? 1000
                                   : sim->load_on         ? 10000
                                                          : 300000));
}

const struct sim_role_ops sim_historian_ops = {
    .init = historian_init,
    .free = historian_free,
    .ready = historian_ready,
    .frame = historian_frame,
    .disconnected = historian_gone,
    .crashed = historian_gone,
    .wake = historian_wake,
};
