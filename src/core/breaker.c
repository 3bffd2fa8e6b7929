/* breaker.c - circuit breakers: a destination that mostly fails is left alone for a while.
 *
 * Each agent has one, made with its first outcome; a kind may ask for its own at each destination.
 * It counts the outcomes of attempts in six slots of ten seconds. An attempt counts as an error
 * when it was refused (NACK, FAILED), when its lease ran out, or when it has been without ACK or
 * EXTEND for the call timeout of its kind, and never more than once. A lost connection says nothing
 * about the agent's work and does not count.
 *
 *   closed     at 50 % errors of at least 10 outcomes it opens
 *   open       nothing is pushed. What was out may still be settled; what fails of it goes back
 *              without having spent an attempt. After 30 s it is half-open
 *   half-open  one message goes out as a probe. If it ends well, the breaker closes; if it fails it
 *              has spent an attempt like any other, so that a message that can never succeed
 *              becomes a dead letter at last, and the breaker is open again
 *
 * A probe is known by its stream and lease; it is the newest that its stream has out, for nothing
 * is pushed behind it. If it was recalled the next message is the probe.
 *
 * Everything here is volatile: after a restart all breakers are closed and learn anew. */
#include "core/internal.h"

/* ---- finding ----------------------------------------------------------------------------- */

static struct al_str name_of(const struct ali_agent *agent)
{
    return al_str_of(agent->d.name, agent->d.name_size);
}

static struct al_str kind_name(const struct al_node *node, uint16_t kind)
{
    if (kind == UINT16_MAX)
        return al_str_of(NULL, 0);
    return al_str_of(node->v.metrics[kind].name, node->v.metrics[kind].name_size);
}

static const struct al_breaker_policy *policy_of(const struct al_node *node, uint16_t kind)
{
    return ali_terms_at(node, kind).breaker;
}

/* The kind that a breaker is asked for: UINT16_MAX unless it has its own. */
static uint16_t own_kind(const struct al_node *node, uint16_t kind)
{
    return kind != UINT16_MAX && policy_of(node, kind)->own ? kind : UINT16_MAX;
}

static struct ali_breaker *find(const struct ali_agent *agent, uint16_t kind)
{
    struct ali_breaker *breaker = agent->inbox->v.breaker;

    while (breaker && breaker->kind != kind)
        breaker = breaker->next;
    return breaker;
}

static struct ali_breaker *add(struct al_node *node, struct ali_agent *agent, uint16_t kind)
{
    struct ali_breaker *breaker = al_alloc_zero(&node->alloc, sizeof(*breaker));

    if (!breaker)
        return NULL;
    breaker->kind = kind;
    breaker->probe = AL_REF_NONE;
    if (agent->inbox->v.breaker) {
        breaker->next = agent->inbox->v.breaker->next;
        agent->inbox->v.breaker->next = breaker;
    } else {
        agent->inbox->v.breaker = breaker;
    }
    return breaker;
}

/* Made when it is needed first; the agent's own comes before those of kinds, for its timer. NULL:
 * there is no memory, the outcome is not counted. */
static struct ali_breaker *get(struct al_node *node, struct ali_agent *agent, uint16_t kind)
{
    struct ali_breaker *breaker = find(agent, kind);

    if (breaker)
        return breaker;
    if (!agent->inbox->v.breaker && !add(node, agent, UINT16_MAX))
        return NULL;
    return kind == UINT16_MAX ? agent->inbox->v.breaker : add(node, agent, kind);
}

void ali_breakers_free(struct al_node *node, struct ali_agent *agent)
{
    struct ali_breaker *breaker = agent->inbox->v.breaker, *next;

    for (; breaker; breaker = next) {
        next = breaker->next;
        node->v.breakers_open -= breaker->state != ALI_BREAKER_CLOSED;
        al_alloc_free(&node->alloc, breaker, sizeof(*breaker));
    }
    agent->inbox->v.breaker = NULL;
    agent->inbox->v.gate = ALI_BREAKER_CLOSED;
}

/* ---- changing state ---------------------------------------------------------------------- */

/* Arms the timer of the list for the earliest change. */
static void arm(struct al_node *node, ali_ref agent_ref)
{
    struct ali_breaker *first = ali_agent_at(node, agent_ref)->inbox->v.breaker;
    uint64_t due = UINT64_MAX, now = ali_mono_ms(node);

    for (const struct ali_breaker *b = first; b; b = b->next)
        if (b->state != ALI_BREAKER_CLOSED && b->until_ms < due)
            due = b->until_ms;
    if (due == UINT64_MAX)
        ali_timer_cancel(node, ALI_TIMER_BREAKER, agent_ref);
    else
        ali_timer_set(node, ALI_TIMER_BREAKER, agent_ref, due > now ? due - now : 0);
}

/* Streams that a kind's breaker has blocked may try again; so may everything else. */
static void wake(struct al_node *node, ali_ref agent_ref)
{
    const struct ali_agent *agent = ali_agent_at(node, agent_ref);

    for (ali_ref ref = agent->v.streams.head; ref != AL_REF_NONE;
         ref = ali_stream_at(node, ref)->v.link.next) {
        struct ali_stream *stream = ali_stream_at(node, ref);

        if (stream->v.flow->is_blocked) {
            stream->v.flow->is_blocked = false;
            ali_stream_ready(node, ref);
        }
    }
    ali_agent_dirty(node, agent_ref);
}

static void change(struct al_node *node, ali_ref agent_ref, struct ali_breaker *breaker,
                   uint8_t state)
{
    static const enum al_node_notice notices[] = {AL_NOTICE_BREAKER_CLOSED, AL_NOTICE_BREAKER_OPEN,
                                                  AL_NOTICE_BREAKER_HALF_OPEN};
    struct ali_agent *agent = ali_agent_at(node, agent_ref);

    node->v.breakers_open += (state != ALI_BREAKER_CLOSED);
    node->v.breakers_open -= (breaker->state != ALI_BREAKER_CLOSED);
    breaker->state = state;
    breaker->since_ms = node->v.now.wall_ms;
    breaker->probe = AL_REF_NONE;
    breaker->until_ms = UINT64_MAX;
    if (state == ALI_BREAKER_OPEN) {
        breaker->opened++;
        breaker->until_ms = ali_mono_ms(node) + policy_of(node, breaker->kind)->open_ms;
    } else if (state == ALI_BREAKER_CLOSED) {
        memset(breaker->ok, 0, sizeof(breaker->ok));
        memset(breaker->errors, 0, sizeof(breaker->errors));
    }
    if (breaker->kind == UINT16_MAX)
        agent->inbox->v.gate = state;
    ali_effect_notice(node, notices[state], name_of(agent), kind_name(node, breaker->kind), 0);
    if (!(state == ALI_BREAKER_OPEN && AL_PLANT(node, BREAKER_STUCK) && breaker->opened > 1))
        arm(node, agent_ref);
    if (state != ALI_BREAKER_OPEN)
        wake(node, agent_ref);
}

int ali_breaker_timer(struct al_node *node, ali_ref agent_ref)
{
    uint64_t now = ali_mono_ms(node);
    struct ali_breaker *breaker = ali_agent_at(node, agent_ref)->inbox->v.breaker;

    for (; breaker; breaker = breaker->next) {
        if (breaker->state == ALI_BREAKER_CLOSED || now < breaker->until_ms)
            continue;
        if (breaker->state == ALI_BREAKER_OPEN) {
            change(node, agent_ref, breaker, ALI_BREAKER_HALF_OPEN);
        } else { /* blocked streams may have lost the probe that they wait for */
            breaker->until_ms = UINT64_MAX;
            wake(node, agent_ref);
        }
    }
    arm(node, agent_ref);
    return 0;
}

/* ---- outcomes ---------------------------------------------------------------------------- */

/* Makes room for the present slot: what is older than a minute does not count any more. */
static void turn_slots(struct ali_breaker *breaker, uint64_t slot)
{
    if (slot - breaker->slot >= ALI_BREAKER_SLOTS) {
        memset(breaker->ok, 0, sizeof(breaker->ok));
        memset(breaker->errors, 0, sizeof(breaker->errors));
        breaker->slot = slot;
    }
    while (breaker->slot < slot) {
        breaker->slot++;
        breaker->ok[breaker->slot % ALI_BREAKER_SLOTS] = 0;
        breaker->errors[breaker->slot % ALI_BREAKER_SLOTS] = 0;
    }
}

static void sum_up(const struct ali_breaker *breaker, uint64_t *ret_ok, uint64_t *ret_errors)
{
    *ret_ok = *ret_errors = 0;
    for (unsigned i = 0; i < ALI_BREAKER_SLOTS; i++) {
        *ret_ok += breaker->ok[i];
        *ret_errors += breaker->errors[i];
    }
}

static bool is_sick(const struct ali_breaker *breaker, const struct al_breaker_policy *policy)
{
    uint64_t ok, errors;

    sum_up(breaker, &ok, &errors);
    return policy->percent && ok + errors >= policy->samples &&
           errors * 100 >= (ok + errors) * policy->percent;
}

void ali_breaker_outcome(struct al_node *node, ali_ref stream_ref, uint16_t kind, bool ok)
{
    const struct ali_stream *stream = ali_stream_at(node, stream_ref);
    ali_ref agent_ref = stream->d.to;
    uint16_t own = own_kind(node, kind);
    struct ali_breaker *breaker = ali_agent_at(node, agent_ref)->inbox->v.breaker;

    /* A probe that does not count for the agent's own breaker has answered its question all the
     * same: otherwise it would stay half-open for ever. */
    if (stream->v.flow->call_ms && breaker && breaker->state == ALI_BREAKER_HALF_OPEN &&
        breaker->probe == stream_ref && (own != UINT16_MAX || !policy_of(node, kind)->percent))
        change(node, agent_ref, breaker, ok ? ALI_BREAKER_CLOSED : ALI_BREAKER_OPEN);
    if (stream->v.flow->call_ms == 0 || !policy_of(node, kind)->percent)
        return; /* it was an error already */
    breaker = get(node, ali_agent_at(node, agent_ref), own);
    if (!breaker || breaker->state == ALI_BREAKER_OPEN)
        return;
    turn_slots(breaker, ali_mono_ms(node) / AL_BREAKER_SLOT_MS);
    if (ok)
        breaker->ok[breaker->slot % ALI_BREAKER_SLOTS]++;
    else
        breaker->errors[breaker->slot % ALI_BREAKER_SLOTS]++;
    if (breaker->state == ALI_BREAKER_HALF_OPEN)
        change(node, agent_ref, breaker, ok ? ALI_BREAKER_CLOSED : ALI_BREAKER_OPEN);
    else if (!ok && is_sick(breaker, policy_of(node, own)))
        change(node, agent_ref, breaker, ALI_BREAKER_OPEN);
}

bool ali_breaker_spares(const struct al_node *node, const struct ali_stream *stream, uint16_t kind)
{
    const struct ali_agent *to = ali_agent_at(node, stream->d.to);
    const struct ali_breaker *breaker =
        to->inbox->v.breaker ? find(to, own_kind(node, kind)) : NULL;

    if (AL_PLANT(node, BREAKER_SPENDS))
        return false;
    return to->inbox->v.gate == ALI_BREAKER_OPEN || (breaker && breaker->state == ALI_BREAKER_OPEN);
}

uint64_t ali_breaker_call_ms(const struct al_node *node, const struct ali_push *head)
{
    const struct al_breaker_policy *policy = policy_of(node, head->kind);

    return policy->percent && head->lease_ms > policy->call_timeout_ms
               ? ali_mono_ms(node) + policy->call_timeout_ms
               : UINT64_MAX;
}

/* ---- the gate ---------------------------------------------------------------------------- */

static bool probe_is_out(const struct al_node *node, const struct ali_breaker *breaker)
{
    const struct ali_stream *stream;

    if (breaker->probe == AL_REF_NONE || !al_pool_has(&node->streams, breaker->probe))
        return false;
    stream = ali_stream_at(node, breaker->probe);
    return stream->v.flow->pushed_count &&
           ali_push_at(stream, stream->v.flow->pushed_count - 1)->lease == breaker->probe_lease;
}

static bool admits(const struct al_node *node, const struct ali_breaker *breaker)
{
    return breaker->state == ALI_BREAKER_CLOSED ||
           (breaker->state == ALI_BREAKER_HALF_OPEN && !probe_is_out(node, breaker));
}

bool ali_breaker_admits(const struct al_node *node, const struct ali_agent *agent)
{
    return AL_PLANT(node, BREAKER_LEAKS) || admits(node, agent->inbox->v.breaker);
}

bool ali_breaker_passes(struct al_node *node, ali_ref ref, uint16_t kind)
{
    struct ali_stream *stream = ali_stream_at(node, ref);
    const struct ali_agent *to = ali_agent_at(node, stream->d.to);
    uint16_t own = to->inbox->v.breaker ? own_kind(node, kind) : UINT16_MAX;
    struct ali_breaker *breaker = own == UINT16_MAX ? NULL : find(to, own);

    if (!breaker || admits(node, breaker))
        return true;
    ali_stream_unready(node, ref);
    stream->v.flow->is_blocked = true;
    if (breaker->state == ALI_BREAKER_HALF_OPEN && breaker->until_ms == UINT64_MAX) {
        breaker->until_ms = ali_mono_ms(node) + AL_BREAKER_LOOK_MS;
        arm(node, stream->d.to);
    }
    return false;
}

void ali_breaker_pushed(struct al_node *node, ali_ref ref, const struct ali_push *push)
{
    const struct ali_agent *to = ali_agent_at(node, ali_stream_at(node, ref)->d.to);

    for (struct ali_breaker *b = to->inbox->v.breaker; b; b = b->next) {
        if (b->state == ALI_BREAKER_HALF_OPEN && (b->kind == UINT16_MAX || b->kind == push->kind)) {
            b->probe = ref;
            b->probe_lease = push->lease;
        }
    }
}

/* ---- questions --------------------------------------------------------------------------- */

static void send_row(struct al_node *node, const struct ali_conn *conn, uint32_t request,
                     const struct ali_agent *agent, struct ali_breaker *breaker)
{
    uint64_t now = ali_mono_ms(node);
    struct al_msg_breaker_row row = {.request = request,
                                     .state = breaker->state,
                                     .since_ms = breaker->since_ms,
                                     .opened = breaker->opened,
                                     .waiting = agent->inbox->d.pending -
                                                ali_inbox_out(agent->inbox).messages -
                                                agent->inbox->v.delayed,
                                     .agent = name_of(agent),
                                     .kind = kind_name(node, breaker->kind)};

    if (breaker->state == ALI_BREAKER_OPEN && breaker->until_ms > now)
        row.left_ms = (uint32_t)(breaker->until_ms - now);
    turn_slots(breaker, now / AL_BREAKER_SLOT_MS);
    sum_up(breaker, &row.successes, &row.errors);
    ALI_SEND(node, conn->number, breaker_row, &row);
}

int ali_handle_breaker_list(struct al_node *node, struct ali_conn *conn,
                            const struct al_msg_breaker_list *m)
{
    ali_ref only = m->agent.n ? ali_find_agent_name(node, ali_name_normal(m->agent)) : AL_REF_NONE;
    uint64_t count = 0;

    if (m->agent.n && only == AL_REF_NONE) {
        ali_send_done(node, conn, m->request, -AL_E_UNKNOWN_AGENT, 0);
        return 0;
    }
    for (ali_ref ref = only == AL_REF_NONE ? 0 : only; ref < node->agents.end; ref++) {
        const struct ali_agent *agent = ali_agent_at(node, ref);

        if (!al_pool_has(&node->agents, ref) || (only != AL_REF_NONE && ref != only))
            continue;
        for (struct ali_breaker *b = agent->inbox->v.breaker; b && count < AL_BREAKER_ROWS_MAX;
             b = b->next) {
            if (b->state == ALI_BREAKER_CLOSED && !(m->flags & 1))
                continue;
            send_row(node, conn, m->request, agent, b);
            count++;
        }
    }
    ali_send_done(node, conn, m->request, 0, count);
    return 0;
}
