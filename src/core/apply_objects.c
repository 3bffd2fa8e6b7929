/* apply_objects.c - records that make and remove agents, producers and streams. */
#include "core/internal.h"
#include <assert.h>

#define STREAM_LINK offsetof(struct ali_stream, v.link)
#define OF_STREAM   offsetof(struct ali_track, d.of_stream)
#define OF_PRODUCER offsetof(struct ali_track, d.of_producer)
#define LETTER_LINK offsetof(struct ali_letter, d.link)

/* ---- epoch ------------------------------------------------------------------------------- */

int ali_prepare_epoch(struct al_node *node, const struct ali_rec_epoch *r)
{
    return r->epoch == node->d.epoch + 1 ? 0 : -AL_E_DAMAGED;
}

void ali_apply_epoch(struct al_node *node, uint64_t lsn, const struct ali_rec_epoch *r)
{
    (void)lsn;
    node->d.epoch = r->epoch;
}

/* ---- agents ------------------------------------------------------------------------------ */

const struct ali_inbox ali_no_inbox = {
    .d = {.letters = {AL_REF_NONE, AL_REF_NONE}, .values = {AL_REF_NONE, AL_REF_NONE}},
    .v = {.own = {.conn = AL_REF_NONE}}};

/* Only groups have such names. */
static bool is_group_name(struct al_str name)
{
    return name.n > 6 && memcmp(name.p, "group:", 6) == 0;
}

void ali_agent_unprepare(struct al_node *node)
{
    al_alloc_free(&node->alloc, node->v.prepared_name, node->v.prepared_name_size);
    al_alloc_free(&node->alloc, node->v.prepared_inbox, sizeof(*node->v.prepared_inbox));
    node->v.prepared_name = NULL;
    node->v.prepared_name_size = 0;
    node->v.prepared_inbox = NULL;
}

int ali_prepare_agent_add(struct al_node *node, const struct ali_rec_agent_add *r)
{
    int e;

    if (!r->name.n || r->name.n > AL_GROUP_NAME_MAX || r->agent < node->d.next_agent ||
        ali_find_agent_name(node, r->name) != AL_REF_NONE)
        return -AL_E_DAMAGED;
    e = al_pool_reserve(&node->agents, 1);
    if (e == 0)
        e = al_index_reserve(&node->agent_ids, 1);
    if (e == 0)
        e = al_index_reserve(&node->agent_names, 1);
    if (e < 0)
        return e;
    ali_agent_unprepare(node);
    node->v.prepared_name = al_alloc_new(&node->alloc, r->name.n);
    node->v.prepared_name_size = node->v.prepared_name ? r->name.n : 0;
    if (!is_group_name(r->name))
        node->v.prepared_inbox = al_alloc_zero(&node->alloc, sizeof(*node->v.prepared_inbox));
    return node->v.prepared_name && (is_group_name(r->name) || node->v.prepared_inbox)
               ? 0
               : -AL_E_NOMEM;
}

/* An inbox that has nothing yet; a group's stays as it is. */
static void give_inbox(struct al_node *node, struct ali_agent *agent, ali_ref ref)
{
    agent->inbox = node->v.prepared_inbox;
    if (!agent->inbox) {
        agent->inbox = (struct ali_inbox *)(uintptr_t)&ali_no_inbox; /* writing would be a crash */
        return;
    }
    *agent->inbox = ali_no_inbox;
    agent->inbox->v.own.agent = ref;
    node->v.prepared_inbox = NULL;
}

void ali_apply_agent_add(struct al_node *node, uint64_t lsn, const struct ali_rec_agent_add *r)
{
    ali_ref ref = al_pool_take(&node->agents);
    struct ali_agent *agent = ali_agent_at(node, ref);

    (void)lsn;
    ali_fresh(node, &agent->object);
    agent->d.id = r->agent;
    agent->d.uid = r->uid;
    agent->d.created_ms = r->wall_ms < ALI_KEY_TIME_MAX ? r->wall_ms : ALI_KEY_TIME_MAX;
    agent->d.name_size = (uint8_t)r->name.n;
    agent->d.name = node->v.prepared_name;
    memcpy(agent->d.name, r->name.p, r->name.n);
    node->v.prepared_name = NULL;
    node->v.prepared_name_size = 0;
    give_inbox(node, agent, ref);
    agent->v.streams = ALI_LIST_EMPTY;
    agent->v.group = AL_REF_NONE;
    node->d.next_agent = r->agent + 1;
    al_index_add(&node->agent_ids, ali_hash_number(r->agent), ref);
    al_index_add(&node->agent_names, ali_hash_name(node, r->name), ref);
}

int ali_prepare_agent_remove(struct al_node *node, const struct ali_rec_agent_remove *r)
{
    return ali_find_agent(node, r->agent) == AL_REF_NONE ? -AL_E_DAMAGED : 0;
}

static void remove_marks_and_delayed(struct al_node *node, ali_ref stream)
{
    for (ali_ref ref = 0; ref < node->marks.end; ref++) {
        if (al_pool_has(&node->marks, ref) && ali_mark_at(node, ref)->d.stream == stream)
            ali_mark_remove(node, ref);
    }
    for (ali_ref ref = 0; ref < node->delayed.end; ref++) {
        if (al_pool_has(&node->delayed, ref) && ali_delayed_at(node, ref)->d.stream == stream) {
            ali_live_drop(node, ali_delayed_at(node, ref)->d.lsn);
            ali_key_lost(node, ali_stream_at(node, stream)->d.id,
                         ali_delayed_at(node, ref)->d.id | ALI_KEY_SCHEDULED);
            ali_delayed_remove(node, ref);
        }
    }
}

/* Everything of a stream goes: a removed agent takes its streams along. */
static void purge_stream(struct al_node *node, ali_ref ref)
{
    struct ali_stream *stream = ali_stream_at(node, ref);
    struct ali_agent *to = ali_agent_at(node, stream->d.to);
    ali_ref letter = to->inbox->d.letters.head;

    ali_touch(node, ALI_PART_STREAM, ref, &stream->object);
    ali_stream_drop_volatile(node, ref);
    while (ali_runs_count(&stream->d.runs)) {
        /* What is gone has given its record to a letter already. */
        if (!ali_seq_is_gone(node, stream, ref, stream->d.runs.first_seq)) {
            ali_live_drop(node, stream->d.runs.head->first_lsn);
            to->inbox->d.pending--;
        }
        if (stream->d.key_count)
            ali_key_lost(node, stream->d.id, stream->d.runs.first_seq);
        ali_runs_pop(&stream->d.runs, &node->alloc);
    }
    if (stream->d.mark_count || stream->d.letter_count)
        remove_marks_and_delayed(node, ref);
    while (letter != AL_REF_NONE && stream->d.letter_count) {
        ali_ref next = ali_letter_at(node, letter)->d.link.next;

        if (ali_letter_at(node, letter)->d.stream == ref)
            ali_letter_remove(node, letter, true);
        letter = next;
    }
    ali_stream_remove(node, ref);
}

void ali_apply_agent_remove(struct al_node *node, uint64_t lsn,
                            const struct ali_rec_agent_remove *r)
{
    ali_ref ref = ali_find_agent(node, r->agent);
    struct ali_agent *agent = ali_agent_at(node, ref);

    (void)lsn;
    ali_touch(node, ALI_PART_AGENT, ref, &agent->object);
    for (ali_ref s = 0; s < node->streams.end; s++) {
        if (!al_pool_has(&node->streams, s))
            continue;
        if (ali_stream_at(node, s)->d.to == ref || ali_stream_at(node, s)->d.from == ref)
            purge_stream(node, s);
    }
    while (agent->inbox->d.values.head != AL_REF_NONE)
        ali_value_remove(node, agent->inbox->d.values.head);
    ali_timer_cancel(node, ALI_TIMER_SESSION, ref);
    if (agent->inbox->v.breaker)
        ali_timer_cancel(node, ALI_TIMER_BREAKER, ref);
    al_index_remove(&node->agent_ids, ali_hash_number(agent->d.id), ref);
    al_index_remove(&node->agent_names,
                    ali_hash_name(node, al_str_of(agent->d.name, agent->d.name_size)), ref);
    ali_agent_free(node, agent);
    al_pool_put(&node->agents, ref);
}

void ali_agent_free(struct al_node *node, struct ali_agent *agent)
{
    al_alloc_free(&node->alloc, agent->d.name, agent->d.name_size);
    if (!ali_has_inbox(agent))
        return;
    ali_breakers_free(node, agent);
    while (agent->inbox->v.shared)
        ali_receiver_free(node, agent->inbox->v.shared);
    al_alloc_free(&node->alloc, agent->inbox->v.own.levels, sizeof(*agent->inbox->v.own.levels));
    al_alloc_free(&node->alloc, agent->inbox, sizeof(*agent->inbox));
}

/* ---- producers --------------------------------------------------------------------------- */

int ali_prepare_producer_open(struct al_node *node, const struct ali_rec_producer_open *r)
{
    int e;

    if (r->producer < node->d.next_producer || r->producer > ALI_NUMBER_MAX)
        return -AL_E_DAMAGED;
    e = al_pool_reserve(&node->producers, 1);
    return e < 0 ? e : al_index_reserve(&node->producer_ids, 1);
}

void ali_apply_producer_open(struct al_node *node, uint64_t lsn,
                             const struct ali_rec_producer_open *r)
{
    ali_ref ref = al_pool_take(&node->producers);
    struct ali_producer *producer = ali_producer_at(node, ref);

    (void)lsn;
    ali_fresh(node, &producer->object);
    producer->d.id = r->producer;
    producer->d.epoch = r->epoch;
    producer->d.uid = r->uid;
    producer->d.used_ms = r->wall_ms;
    producer->d.tracks = ALI_LIST_EMPTY;
    producer->d.commits = AL_REF_NONE;
    producer->v.conn = AL_REF_NONE;
    node->d.next_producer = r->producer + 1;
    al_index_add(&node->producer_ids, ali_hash_number(r->producer), ref);
}

int ali_prepare_producer_close(struct al_node *node, const struct ali_rec_producer_close *r)
{
    return ali_find_producer(node, r->producer) == AL_REF_NONE ? -AL_E_DAMAGED : 0;
}

static void track_remove(struct al_node *node, ali_ref ref)
{
    struct ali_track *track = ali_track_at(node, ref);
    struct ali_stream *stream = ali_stream_at(node, track->d.stream);
    struct ali_producer *producer = ali_producer_at(node, track->d.producer);

    ali_touch(node, ALI_PART_TRACK, ref, &track->object);
    al_index_remove(&node->track_keys, ali_hash_pair(track->d.stream, track->d.producer), ref);
    ali_list_remove(&node->tracks, OF_STREAM, &stream->d.tracks, ref);
    ali_list_remove(&node->tracks, OF_PRODUCER, &producer->d.tracks, ref);
    ali_holes_free(node, track);
    al_pool_put(&node->tracks, ref);
}

void ali_apply_producer_close(struct al_node *node, uint64_t lsn,
                              const struct ali_rec_producer_close *r)
{
    ali_ref ref = ali_find_producer(node, r->producer);
    struct ali_producer *producer = ali_producer_at(node, ref);

    (void)lsn;
    ali_touch(node, ALI_PART_PRODUCER, ref, &producer->object);
    while (producer->d.tracks.head != AL_REF_NONE)
        track_remove(node, producer->d.tracks.head);
    if (producer->d.commits != AL_REF_NONE) {
        ali_touch(node, ALI_PART_COMMITS, producer->d.commits,
                  &ali_commits_at(node, producer->d.commits)->object);
        al_pool_put(&node->commits, producer->d.commits);
    }
    al_index_remove(&node->producer_ids, ali_hash_number(r->producer), ref);
    al_pool_put(&node->producers, ref);
}

/* ---- streams ----------------------------------------------------------------------------- */

/* An agent that receives has its levels; to a group nothing is pushed. */
static int reserve_levels(struct al_node *node, struct ali_agent *to)
{
    if (to->inbox->v.own.levels || !ali_has_inbox(to))
        return 0;
    to->inbox->v.own.levels = al_alloc_zero(&node->alloc, sizeof(*to->inbox->v.own.levels));
    return to->inbox->v.own.levels ? 0 : -AL_E_NOMEM;
}

int ali_prepare_stream_open(struct al_node *node, const struct ali_rec_stream_open *r)
{
    int e;

    if (r->stream < node->d.next_stream || r->priority >= AL_PRIORITY_COUNT ||
        r->flags > ALI_STREAM_FLAGS_MAX || r->label.n > AL_LABEL_MAX ||
        ali_find_agent(node, r->from) == AL_REF_NONE ||
        ali_find_agent(node, r->to) == AL_REF_NONE ||
        !(r->flags & ALI_STREAM_LANE) != !ali_ext_get_u32(r->ext, ALI_STREAM_EXT_BASE))
        return -AL_E_DAMAGED;
    e = reserve_levels(node, ali_agent_at(node, ali_find_agent(node, r->to)));
    if (e == 0)
        e = al_pool_reserve(&node->streams, 1);
    if (e == 0)
        e = al_index_reserve(&node->stream_ids, 1);
    if (e == 0)
        e = al_index_reserve(&node->stream_keys, 1);
    if (e == 0 && r->flags)
        e = al_pool_reserve(&node->lanes, 1);
    if (e < 0)
        return e;
    al_alloc_free(&node->alloc, node->v.prepared_label, node->v.prepared_size);
    node->v.prepared_label = NULL;
    node->v.prepared_size = r->label.n;
    if (r->label.n) {
        node->v.prepared_label = al_alloc_new(&node->alloc, r->label.n);
        if (!node->v.prepared_label)
            return -AL_E_NOMEM;
    }
    return 0;
}

void ali_apply_stream_open(struct al_node *node, uint64_t lsn, const struct ali_rec_stream_open *r)
{
    ali_ref ref = al_pool_take(&node->streams);
    struct ali_stream *stream = ali_stream_at(node, ref);

    (void)lsn;
    ali_fresh(node, &stream->object);
    stream->d.id = r->stream;
    stream->d.from = ali_find_agent(node, r->from);
    stream->d.to = ali_find_agent(node, r->to);
    stream->d.priority = r->priority;
    stream->d.flags = r->flags;
    stream->d.used_ms = r->wall_ms;
    stream->d.label = node->v.prepared_label;
    stream->d.label_size = (uint8_t)r->label.n;
    node->v.prepared_label = NULL;
    if (r->label.n)
        memcpy(stream->d.label, r->label.p, r->label.n);
    stream->d.tracks = ALI_LIST_EMPTY;
    stream->d.history = stream->d.numbering = AL_REF_NONE;
    ali_runs_init(&stream->d.runs, 1);
    node->d.next_stream = r->stream + 1;
    al_index_add(&node->stream_ids, ali_hash_number(r->stream), ref);
    if (!(stream->d.flags & ALI_STREAM_LANE))
        al_index_add(&node->stream_keys,
                     ali_hash_stream_key(node, stream->d.from, stream->d.to,
                                         ali_stream_priority(stream), r->label),
                     ref);
    ali_stream_init_volatile(node, ref);
    if (r->flags & (ALI_STREAM_UNORDERED | ALI_STREAM_LANE))
        ali_lane_add(node, ref, ali_ext_get_u32(r->ext, ALI_STREAM_EXT_BASE));
}

void ali_stream_init_volatile(struct al_node *node, ali_ref ref)
{
    struct ali_stream *stream = ali_stream_at(node, ref);
    struct ali_agent *to = ali_agent_at(node, stream->d.to);

    memset(&stream->v, 0, sizeof(stream->v));
    stream->v.member = AL_REF_NONE;
    stream->v.flow = ali_flow_none();
    stream->v.lane = AL_REF_NONE;
    ali_list_push(&node->streams, STREAM_LINK, &to->v.streams, ref);
    to->v.stream_count++;
}

int ali_prepare_stream_close(struct al_node *node, const struct ali_rec_stream_close *r)
{
    ali_ref ref = ali_find_stream(node, r->stream);

    if (ref == AL_REF_NONE || ali_runs_count(&ali_stream_at(node, ref)->d.runs) ||
        ali_stream_at(node, ref)->d.letter_count || ali_lane_count(node, ali_stream_at(node, ref)))
        return -AL_E_DAMAGED;
    return 0;
}

void ali_apply_stream_close(struct al_node *node, uint64_t lsn,
                            const struct ali_rec_stream_close *r)
{
    ali_ref ref = ali_find_stream(node, r->stream);

    (void)lsn;
    ali_touch(node, ALI_PART_STREAM, ref, &ali_stream_at(node, ref)->object);
    ali_stream_remove(node, ref);
}

void ali_stream_remove(struct al_node *node, ali_ref ref)
{
    struct ali_stream *stream = ali_stream_at(node, ref);
    struct ali_agent *to = ali_agent_at(node, stream->d.to);
    struct al_str label = al_str_of(stream->d.label, stream->d.label_size);

    ali_stream_drop_volatile(node, ref);
    if (stream->v.member != AL_REF_NONE)
        ali_member_forget(node, stream->v.member);
    ali_history_remove(node, ref);
    ali_numbering_remove(node, ref);
    while (stream->d.tracks.head != AL_REF_NONE)
        track_remove(node, stream->d.tracks.head);
    al_index_remove(&node->stream_ids, ali_hash_number(stream->d.id), ref);
    ali_lane_remove(node, ref);
    if (!(stream->d.flags & ALI_STREAM_LANE))
        al_index_remove(&node->stream_keys,
                        ali_hash_stream_key(node, stream->d.from, stream->d.to,
                                            ali_stream_priority(stream), label),
                        ref);
    ali_list_remove(&node->streams, STREAM_LINK, &to->v.streams, ref);
    to->v.stream_count--;
    ali_runs_deinit(&stream->d.runs, &node->alloc);
    al_alloc_free(&node->alloc, stream->d.label, stream->d.label_size);
    ali_trouble_free(node, stream);
    al_pool_put(&node->streams, ref);
}
