/* letters.c - the room of the dead-letter queues, as the journal has it.
 *
 * Written apart from the node: from nothing but the records it follows how large each message is,
 * which of them are dead letters, and whose. A DEAD record must say the size of its message;
 * nothing is admitted for an agent whose queue is full by number or bytes, and nothing is refused
 * as DLQ_FULL while no queue is full. */
#include "base/errors.h"
#include "core/records.h"
#include "ledger.h"
#include <stdlib.h>
#include <string.h>

/* A message in a stream, or in the order of a group. */
struct place {
    uint32_t bytes;
    bool dead;
};

/* By the node's number of a stream; a group's is that of its agent, in a table of its own. */
struct line {
    uint32_t from, to;
    struct place *places; /* by sequence */
    uint64_t cap;
};
struct table {
    struct line *lines;
    uint32_t cap;
};

struct sim_letters {
    struct table streams, groups;
    struct queue {
        uint64_t count, bytes;
    } * queues; /* by the node's number of the agent */
    uint32_t queue_cap;
    /* Since the node's start: dead letters, and those that it named or counted for the log. */
    uint64_t died, named, counted, begun_ms;
};

/* ---- tables ------------------------------------------------------------------------------ */

static void *grow(void *list, uint32_t *cap, uint32_t number, size_t size)
{
    uint32_t more = number + 64;

    if (number < *cap)
        return list;
    list = sim_xrealloc(list, more * size);
    memset((uint8_t *)list + *cap * size, 0, (more - *cap) * size);
    *cap = more;
    return list;
}

static struct line *line_at(struct table *table, uint32_t number)
{
    table->lines = grow(table->lines, &table->cap, number, sizeof(*table->lines));
    return &table->lines[number];
}

static struct place *place_at(struct line *line, uint64_t seq)
{
    if (seq >= line->cap) {
        uint64_t cap = seq + 64;

        line->places = sim_xrealloc(line->places, cap * sizeof(*line->places));
        memset(line->places + line->cap, 0, (cap - line->cap) * sizeof(*line->places));
        line->cap = cap;
    }
    return &line->places[seq];
}

static struct queue *queue_at(struct sim_letters *l, uint32_t agent)
{
    l->queues = grow(l->queues, &l->queue_cap, agent, sizeof(*l->queues));
    return &l->queues[agent];
}

static void table_clear(struct table *table)
{
    for (uint32_t i = 0; i < table->cap; i++)
        free(table->lines[i].places);
    free(table->lines);
    table->lines = NULL;
    table->cap = 0;
}

static void clear(struct sim_letters *l)
{
    table_clear(&l->streams);
    table_clear(&l->groups);
    free(l->queues);
    l->queues = NULL;
    l->queue_cap = 0;
    l->died = l->named = l->counted = l->begun_ms = 0;
}

struct sim_letters *sim_letters_new(void)
{
    struct sim_letters *l = sim_xrealloc(NULL, sizeof(*l));

    memset(l, 0, sizeof(*l));
    return l;
}

void sim_letters_free(struct sim_letters *l)
{
    if (l)
        clear(l);
    free(l);
}

/* ---- records ----------------------------------------------------------------------------- */

static bool is_full(const struct sim *sim, const struct queue *queue)
{
    return queue->count >= sim->profile.dlq_max || queue->bytes >= sim->profile.dlq_bytes;
}

static uint32_t size_of(struct al_str envelope)
{
    struct al_msg_envelope e;

    return al_decode_envelope(envelope, &e) == 0 ? e.payload.n : 0;
}

/* A message with a number is one like any other. */
static void strip_number(unsigned *type, struct al_str *payload)
{
    if (*type != ALI_REC_NUMBERED || payload->n < ALI_NUMBERED_HEAD)
        return;
    *type = ALI_REC_PUBLISH;
    payload->p += ALI_NUMBERED_HEAD;
    payload->n -= ALI_NUMBERED_HEAD;
}

/* A scheduled message, which this LSN admitted, is due. */
static void on_due(struct sim *sim, const struct ali_rec_due *r)
{
    const struct sim_record *record = &sim->shadow.list[r->delayed - 1];
    struct al_str payload = al_str_of(sim->shadow.bytes.data + record->offset, record->size);
    unsigned type = record->type;
    struct ali_rec_publish first;

    strip_number(&type, &payload);
    if (ali_decode_rec_publish(payload, &first) == 0)
        place_at(line_at(&sim->ledger->dead->streams, first.stream), r->seq)->bytes =
            size_of(first.envelope);
}

/* The message of that stream; one of a group stands in the group's own line. */
static uint32_t bytes_of(struct sim_letters *l, struct line *stream, uint64_t seq)
{
    struct line *group = stream->from < l->groups.cap ? &l->groups.lines[stream->from] : NULL;

    return group && group->cap ? place_at(group, seq)->bytes : place_at(stream, seq)->bytes;
}

static void leave(struct sim_letters *l, struct line *line, uint64_t seq)
{
    struct queue *queue = queue_at(l, line->to);

    if (!place_at(line, seq)->dead)
        return;
    place_at(line, seq)->dead = false;
    queue->count--;
    queue->bytes -= bytes_of(l, line, seq);
}

static void on_publish(struct sim *sim, const struct ali_rec_publish *r, bool live)
{
    struct sim_letters *l = sim->ledger->dead;
    struct line *line = line_at(&l->streams, r->stream);

    if (live && is_full(sim, queue_at(l, line->to)))
        sim_fail(sim, "a message for agent number %u is taken, whose dead letters are full",
                 line->to);
    if (r->seq)
        place_at(line, r->seq)->bytes = size_of(r->envelope);
}

static void on_dead(struct sim *sim, const struct ali_rec_dead *r, bool live)
{
    struct sim_letters *l = sim->ledger->dead;
    struct line *line = line_at(&l->streams, r->stream);
    struct queue *queue = queue_at(l, line->to);
    uint32_t bytes = bytes_of(l, line, r->seq);
    struct al_str said = {0};

    l->died += live;
    if (live && bytes &&
        (!al_ext_find(r->ext, ALI_DEAD_EXT_BYTES, &said) || al_get32(said.p) != bytes))
        sim_fail(sim, "the dead letter %u:%llu has %u bytes, its record says otherwise", r->stream,
                 (unsigned long long)r->seq, bytes);
    place_at(line, r->seq)->dead = true;
    queue->count++;
    queue->bytes += bytes;
}

/* The streams from this agent or group go, and their dead letters. */
static void on_remove(struct sim_letters *l, uint32_t agent)
{
    for (uint32_t i = 0; i < l->streams.cap; i++) {
        struct line *line = &l->streams.lines[i];

        for (uint64_t seq = 1; seq < line->cap && (line->from == agent || line->to == agent); seq++)
            leave(l, line, seq);
    }
}

static void on_redrive(struct sim_letters *l, const struct ali_rec_redrive *r)
{
    struct line *line = line_at(&l->streams, r->stream);
    uint32_t bytes = place_at(line, r->old_seq)->bytes;

    leave(l, line, r->old_seq);
    place_at(line, r->seq)->bytes = bytes;
}

/* Who joins a group gets a stream from it. */
static void on_post(struct sim_letters *l, const struct ali_rec_group_post *r)
{
    struct line *line;

    place_at(line_at(&l->groups, r->group), r->seq)->bytes = size_of(r->envelope);
    if (r->what != AL_GROUP_JOINED)
        return;
    line = line_at(&l->streams, r->stream);
    line->from = r->group;
    line->to = r->agent;
}

union record {
    struct ali_rec_stream_open open;
    struct ali_rec_publish publish;
    struct ali_rec_due due;
    struct ali_rec_group_post post;
    struct ali_rec_dead dead;
    struct ali_rec_redrive redrive;
    struct ali_rec_purge purge;
    struct ali_rec_agent_remove agent;
    struct ali_rec_group_remove group;
};

static void take(struct sim *sim, unsigned type, struct al_str payload, bool live)
{
    struct sim_letters *l = sim->ledger->dead;
    union record r;

    strip_number(&type, &payload);
    if (type == ALI_REC_STREAM_OPEN && ali_decode_rec_stream_open(payload, &r.open) == 0) {
        struct line *line = line_at(&l->streams, r.open.stream);

        line->from = r.open.from;
        line->to = r.open.to;
    } else if (type == ALI_REC_PUBLISH && ali_decode_rec_publish(payload, &r.publish) == 0) {
        on_publish(sim, &r.publish, live);
    } else if (type == ALI_REC_DUE && ali_decode_rec_due(payload, &r.due) == 0) {
        on_due(sim, &r.due);
    } else if (type == ALI_REC_GROUP_POST && ali_decode_rec_group_post(payload, &r.post) == 0) {
        on_post(l, &r.post);
    } else if (type == ALI_REC_DEAD && ali_decode_rec_dead(payload, &r.dead) == 0) {
        on_dead(sim, &r.dead, live);
    } else if (type == ALI_REC_REDRIVE && ali_decode_rec_redrive(payload, &r.redrive) == 0) {
        on_redrive(l, &r.redrive);
    } else if (type == ALI_REC_PURGE && ali_decode_rec_purge(payload, &r.purge) == 0) {
        leave(l, line_at(&l->streams, r.purge.stream), r.purge.seq);
    } else if (type == ALI_REC_AGENT_REMOVE &&
               ali_decode_rec_agent_remove(payload, &r.agent) == 0) {
        on_remove(l, r.agent.agent);
    } else if (type == ALI_REC_GROUP_REMOVE &&
               ali_decode_rec_group_remove(payload, &r.group) == 0) {
        on_remove(l, r.group.group);
    }
}

void sim_letters_record(struct sim *sim, unsigned type, struct al_str payload)
{
    take(sim, type, payload, true);
}

void sim_letters_reset(struct sim *sim)
{
    clear(sim->ledger->dead);
    sim->ledger->dead->begun_ms = sim->mono_ns / AL_NS_PER_MS;
    for (size_t i = 0; i < sim->shadow.count; i++) {
        const struct sim_record *record = &sim->shadow.list[i];

        take(sim, record->type, al_str_of(sim->shadow.bytes.data + record->offset, record->size),
             false);
    }
}

/* ---- refusals ---------------------------------------------------------------------------- */

void sim_letters_tap(struct sim *sim, const struct al_frame *frame)
{
    const struct sim_letters *l = sim->ledger->dead;
    struct al_msg_refused m;

    if (frame->type != AL_MSG_REFUSED || al_decode_refused(frame->body, &m) < 0 ||
        m.code != AL_E_DLQ_FULL)
        return;
    for (uint32_t i = 0; i < l->queue_cap; i++)
        if (is_full(sim, &l->queues[i]))
            return;
    sim_fail(sim, "a message is refused as DLQ_FULL and nobody's dead letters are full");
}

/* ---- the log ----------------------------------------------------------------------------- */

void sim_letters_notice(struct sim *sim, const struct al_effect *effect)
{
    struct sim_letters *l = sim->ledger->dead;
    uint64_t turns = (sim->mono_ns / AL_NS_PER_MS - l->begun_ms) / AL_DLQ_LOG_MS + 1;

    if (effect->record_type == AL_NOTICE_DEAD_LETTERS_MISSING)
        l->counted += effect->lsn;
    if (effect->record_type != AL_NOTICE_DEAD_LETTER)
        return;
    l->named++;
    if (l->named >
        (turns + 1) * AL_DLQ_LOG_LINES) /* its turns begin with its timers, not with us */
        sim_fail(sim, "the log names %llu dead letters, more than its limit",
                 (unsigned long long)l->named);
    if (l->named + l->counted > l->died)
        sim_fail(sim, "the log knows of more dead letters than there were");
}

void sim_letters_check(struct sim *sim)
{
    const struct sim_letters *l = sim->ledger->dead;

    if (l->died <= AL_DLQ_LOG_LINES && l->named != l->died)
        sim_fail(sim, "the log names %llu of %llu dead letters", (unsigned long long)l->named,
                 (unsigned long long)l->died);
}
