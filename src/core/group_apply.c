/* group_apply.c - records of groups: the group itself, its messages, its history.
 *
 * A group is an agent called "group:NAME" and an object beside it. What is posted to it is one
 * record; its LSN goes into the history and into the stream of every member, under the group's
 * sequence: so a member's stream is the group's order, nothing more. A join and a leave are
 * messages like any other, and take effect in their place in that order. Each of these references
 * counts for itself (live.c); a carried record moves for all of them at once. */
#include "core/internal.h"
#include "crypto/hash.h"
#include <assert.h>

#define OF_GROUP offsetof(struct ali_member, d.of_group)

/* ---- finding, making, forgetting --------------------------------------------------------- */

ali_ref ali_find_group_id(const struct al_node *node, uint32_t id)
{
    ali_ref agent = ali_find_agent(node, id);

    return agent == AL_REF_NONE ? AL_REF_NONE : ali_agent_at(node, agent)->v.group;
}

static struct ali_stream *stream_of(const struct al_node *node, const struct ali_member *member)
{
    return ali_stream_at(node, member->d.stream);
}

ali_ref ali_find_member(const struct al_node *node, ali_ref group, ali_ref agent)
{
    ali_ref stream = ali_find_stream_key(node, ali_group_at(node, group)->d.agent, agent,
                                         AL_PRIORITY_DEFAULT, al_str_of(NULL, 0));

    return stream == AL_REF_NONE ? AL_REF_NONE : ali_stream_at(node, stream)->v.member;
}

ali_ref ali_group_make(struct al_node *node, ali_ref agent)
{
    ali_ref ref = al_pool_take(&node->groups);
    struct ali_group *group = ali_group_at(node, ref);

    ali_fresh(node, &group->object);
    group->d.agent = agent;
    group->d.members = ALI_LIST_EMPTY;
    ali_runs_init(&group->d.history, 1);
    ali_agent_at(node, agent)->v.group = ref;
    return ref;
}

void ali_group_free(struct al_node *node, ali_ref ref)
{
    struct ali_group *group = ali_group_at(node, ref);

    ali_runs_deinit(&group->d.history, &node->alloc);
    al_alloc_free(&node->alloc, group->d.slices, group->v.slice_cap * sizeof(*group->d.slices));
    al_alloc_free(&node->alloc, group->v.watches, group->v.watch_cap * sizeof(*group->v.watches));
}

int ali_slices_reserve(struct al_node *node, struct ali_group *group, uint32_t more)
{
    uint32_t need = group->d.slice_count + more, cap = group->v.slice_cap ? group->v.slice_cap : 1;
    struct ali_slice *slices;

    if (need <= group->v.slice_cap)
        return 0;
    if (more > ALI_SLICES_MAX || need > ALI_SLICES_MAX)
        return -AL_E_DAMAGED;
    while (cap < need)
        cap *= 2;
    slices = node->alloc.realloc_fn(node->alloc.ctx, group->d.slices,
                                    group->v.slice_cap * sizeof(*slices), cap * sizeof(*slices));
    if (!slices)
        return -AL_E_NOMEM;
    group->d.slices = slices;
    group->v.slice_cap = cap & 0x3fff;
    return 0;
}

ali_ref ali_member_load(struct al_node *node, ali_ref group_ref, ali_ref stream_ref,
                        uint64_t joined_seq, uint64_t left_seq)
{
    ali_ref ref = al_pool_take(&node->members);
    struct ali_member *member = ali_member_at(node, ref);
    struct ali_stream *stream = ali_stream_at(node, stream_ref);
    struct ali_group *group = ali_group_at(node, group_ref);

    ali_fresh(node, &member->object);
    member->d.group = group_ref;
    member->d.stream = stream_ref;
    member->d.joined_seq = joined_seq;
    member->d.left_seq = left_seq;
    ali_list_push(&node->members, OF_GROUP, &group->d.members, ref);
    stream->v.member = ref;
    if (!left_seq) {
        group->v.member_count++;
        ali_agent_at(node, stream->d.to)->inbox->v.member_count++;
    }
    return ref;
}

/* The member gets nothing more. */
static void member_leaves(struct al_node *node, struct ali_member *member, uint64_t seq)
{
    ali_agent_at(node, stream_of(node, member)->d.to)->inbox->v.member_count--;
    ali_group_at(node, member->d.group)->v.member_count--;
    member->d.left_seq = seq;
}

void ali_member_forget(struct al_node *node, ali_ref ref)
{
    struct ali_member *member = ali_member_at(node, ref);

    ali_touch(node, ALI_PART_MEMBER, ref, &member->object);
    if (!member->d.left_seq)
        member_leaves(node, member, UINT64_MAX);
    stream_of(node, member)->v.member = AL_REF_NONE;
    ali_list_remove(&node->members, OF_GROUP, &ali_group_at(node, member->d.group)->d.members, ref);
    al_pool_put(&node->members, ref);
}

/* ---- the group --------------------------------------------------------------------------- */

int ali_prepare_group_add(struct al_node *node, const struct ali_rec_group_add *r)
{
    struct ali_rec_agent_add agent = {.agent = r->group, .name = r->name};
    int e = ali_prepare_agent_add(node, &agent);

    return e < 0 ? e : al_pool_reserve(&node->groups, 1);
}

void ali_apply_group_add(struct al_node *node, uint64_t lsn, const struct ali_rec_group_add *r)
{
    struct ali_rec_agent_add agent = {
        .agent = r->group, .uid = r->uid, .wall_ms = r->wall_ms, .name = r->name};
    struct ali_group *group;

    ali_apply_agent_add(node, lsn, &agent);
    group = ali_group_at(node, ali_group_make(node, ali_find_agent(node, r->group)));
    group->d.keep_ms = r->keep_ms;
    group->d.keep_count = r->keep_count;
    group->d.keep_bytes = r->keep_bytes;
    al_chain_begin(r->name, group->d.hash);
}

int ali_prepare_group_remove(struct al_node *node, const struct ali_rec_group_remove *r)
{
    return ali_find_group_id(node, r->group) == AL_REF_NONE ? -AL_E_DAMAGED : 0;
}

/* Takes the oldest entry off the history. */
static void forget_oldest(struct al_node *node, struct ali_group *group)
{
    ali_live_drop(node, group->d.history.head->first_lsn);
    ali_runs_pop(&group->d.history, &node->alloc);
}

void ali_apply_group_remove(struct al_node *node, uint64_t lsn,
                            const struct ali_rec_group_remove *r)
{
    struct ali_rec_agent_remove agent = {.agent = r->group};
    ali_ref ref = ali_find_group_id(node, r->group);
    struct ali_group *group = ali_group_at(node, ref);

    ali_touch(node, ALI_PART_GROUP, ref, &group->object);
    for (ali_ref m = group->d.members.head; m != AL_REF_NONE;
         m = ali_member_at(node, m)->d.of_group.next)
        ali_touch(node, ALI_PART_MEMBER, m, &ali_member_at(node, m)->object);
    ali_apply_agent_remove(node, lsn, &agent); /* the members go with their streams */
    while (ali_runs_count(&group->d.history))
        forget_oldest(node, group);
    ali_group_free(node, ref);
    al_pool_put(&node->groups, ref);
}

/* ---- messages ---------------------------------------------------------------------------- */

/* The author's half of a post, as the record of an ordinary admission. */
static struct ali_rec_publish admission_of(const struct ali_rec_group_post *r)
{
    return (struct ali_rec_publish){.stream = r->stream,
                                    .seq = r->seq,
                                    .producer = r->producer,
                                    .pseq = r->pseq,
                                    .flags = r->flags,
                                    .wall_ms = r->wall_ms,
                                    .dedup_evict = ali_ext_get_u32(r->ext, ALI_POST_EXT_EVICT),
                                    .envelope = r->envelope};
}

static int prepare_message(struct al_node *node, ali_ref group, const struct ali_rec_group_post *r)
{
    struct ali_rec_publish admission = admission_of(r);
    ali_ref stream = ali_find_stream(node, r->stream);

    if (stream == AL_REF_NONE ||
        ali_stream_at(node, stream)->d.to != ali_group_at(node, group)->d.agent)
        return -AL_E_DAMAGED;
    return ali_prepare_admission(node, &admission);
}

static struct ali_rec_stream_open opening_of(const struct ali_rec_group_post *r)
{
    return (struct ali_rec_stream_open){.stream = r->stream,
                                        .from = r->group,
                                        .to = r->agent,
                                        .priority = AL_PRIORITY_DEFAULT,
                                        .wall_ms = r->wall_ms};
}

/* A former member comes back on its stream, which goes on behind what it got then. */
static int prepare_return(struct al_node *node, ali_ref stream, const struct ali_rec_group_post *r)
{
    struct ali_runs *runs = &ali_stream_at(node, stream)->d.runs;

    if (ali_stream_at(node, stream)->d.id != r->stream || r->start_seq < runs->next_seq ||
        (ali_runs_count(runs) && r->start_seq != runs->next_seq))
        return -AL_E_DAMAGED;
    return ali_runs_reserve_many(runs, &node->alloc, r->seq - r->start_seq + 1);
}

static int prepare_join(struct al_node *node, ali_ref ref, const struct ali_rec_group_post *r)
{
    const struct ali_group *group = ali_group_at(node, ref);
    struct ali_rec_stream_open opening = opening_of(r);
    ali_ref agent = ali_find_agent(node, r->agent), stream, member;
    int e;

    if (agent == AL_REF_NONE || !ali_has_inbox(ali_agent_at(node, agent)) ||
        r->start_seq < group->d.history.first_seq || r->start_seq > r->seq)
        return -AL_E_DAMAGED;
    stream =
        ali_find_stream_key(node, group->d.agent, agent, AL_PRIORITY_DEFAULT, al_str_of(NULL, 0));
    member = stream == AL_REF_NONE ? AL_REF_NONE : ali_stream_at(node, stream)->v.member;
    if (member != AL_REF_NONE && !ali_member_at(node, member)->d.left_seq)
        return -AL_E_DAMAGED;
    e = al_pool_reserve(&node->members, 1);
    if (e < 0)
        return e;
    if (stream != AL_REF_NONE)
        return prepare_return(node, stream, r);
    e = ali_runs_reserve_many(&node->v.prepared_runs, &node->alloc, r->seq - r->start_seq + 1);
    return e < 0 ? e : ali_prepare_stream_open(node, &opening);
}

/* Room for the message in the stream of every member. */
static int reserve_fan_out(struct al_node *node, const struct ali_group *group)
{
    int e = 0;

    for (ali_ref ref = group->d.members.head; ref != AL_REF_NONE && e == 0;
         ref = ali_member_at(node, ref)->d.of_group.next)
        if (!ali_member_at(node, ref)->d.left_seq)
            e = ali_runs_reserve(&stream_of(node, ali_member_at(node, ref))->d.runs, &node->alloc);
    return e;
}

int ali_prepare_group_post(struct al_node *node, const struct ali_rec_group_post *r)
{
    ali_ref ref = ali_find_group_id(node, r->group), member = AL_REF_NONE;
    struct ali_group *group;
    int e;

    if (ref == AL_REF_NONE)
        return -AL_E_DAMAGED;
    group = ali_group_at(node, ref);
    if (r->seq != group->d.history.next_seq || r->envelope.n < 16 || r->prev_hash.n != 32 ||
        memcmp(r->prev_hash.p, group->d.hash, 32) != 0)
        return -AL_E_DAMAGED;
    if (r->what == AL_GROUP_LEFT) {
        ali_ref agent = ali_find_agent(node, r->agent);

        if (agent != AL_REF_NONE)
            member = ali_find_member(node, ref, agent);
        if (member == AL_REF_NONE || ali_member_at(node, member)->d.left_seq)
            return -AL_E_DAMAGED;
        e = 0;
    } else {
        e = r->what == AL_GROUP_MESSAGE  ? prepare_message(node, ref, r)
            : r->what == AL_GROUP_JOINED ? prepare_join(node, ref, r)
                                         : -AL_E_DAMAGED;
    }
    if (e == 0)
        e = ali_runs_reserve(&group->d.history, &node->alloc);
    if (e == 0)
        e = ali_slices_reserve(node, group, 1);
    return e < 0 ? e : reserve_fan_out(node, group);
}

/* The newest message goes into the piece of history that is being filled, or into a new one. */
static void fill_slice(struct ali_group *group, const struct ali_rec_group_post *r)
{
    uint32_t count = group->d.slice_count;
    struct ali_slice *last = count ? &group->d.slices[count - 1] : NULL;

    if (!last ||
        (group->d.keep_ms && r->wall_ms > last->first_ms + group->d.keep_ms / AL_GROUP_SLICES) ||
        (group->d.keep_count && r->seq - last->first_seq > group->d.keep_count / AL_GROUP_SLICES) ||
        (group->d.keep_bytes && last->bytes > group->d.keep_bytes / AL_GROUP_SLICES)) {
        assert(group->d.slices && count < group->v.slice_cap); /* reserved */
        last = &group->d.slices[group->d.slice_count++];
        *last = (struct ali_slice){.first_seq = r->seq, .first_ms = r->wall_ms};
    }
    last->bytes += r->envelope.n;
    if (r->wall_ms > last->last_ms)
        last->last_ms = r->wall_ms;
    group->d.bytes += r->envelope.n;
}

/* One more message for the member. */
static void give(struct al_node *node, ali_ref stream_ref, uint64_t lsn, uint64_t wall_ms)
{
    struct ali_stream *stream = ali_stream_at(node, stream_ref);

    ali_touch(node, ALI_PART_STREAM, stream_ref, &stream->object);
    ali_runs_push(&stream->d.runs, lsn);
    stream->d.used_ms = wall_ms;
    ali_agent_at(node, stream->d.to)->inbox->d.pending++;
    ali_live_add(node, lsn);
}

/* A member from here on; what it is to catch up on comes out of the history. */
static void apply_join(struct al_node *node, ali_ref ref, const struct ali_rec_group_post *r)
{
    struct ali_group *group = ali_group_at(node, ref);
    struct ali_rec_stream_open opening = opening_of(r);
    ali_ref stream_ref = ali_find_stream(node, r->stream);
    struct ali_stream *stream;
    struct ali_cursor at;

    if (stream_ref == AL_REF_NONE) {
        ali_apply_stream_open(node, 0, &opening);
        stream_ref = ali_find_stream(node, r->stream);
        ali_stream_at(node, stream_ref)->d.runs.spare = node->v.prepared_runs.spare;
        node->v.prepared_runs.spare = NULL;
    }
    stream = ali_stream_at(node, stream_ref);
    ali_touch(node, ALI_PART_STREAM, stream_ref, &stream->object);
    if (stream->v.member != AL_REF_NONE)
        ali_member_forget(node, stream->v.member);
    ali_member_load(node, ref, stream_ref, r->start_seq, 0);
    if (!ali_runs_count(&stream->d.runs)) {
        stream->d.runs.first_seq = stream->d.runs.next_seq = r->start_seq;
        stream->d.prev_seq = 0;
        if (ali_has_flow(stream))
            stream->v.flow->next = ali_runs_begin(&stream->d.runs);
    }
    at = ali_runs_seek(&group->d.history, r->start_seq);
    for (; at.seq < r->seq; ali_cursor_next(&group->d.history, &at))
        give(node, stream_ref, at.lsn, r->wall_ms);
}

void ali_apply_group_post(struct al_node *node, uint64_t lsn, const struct ali_rec_group_post *r)
{
    ali_ref ref = ali_find_group_id(node, r->group);
    struct ali_group *group = ali_group_at(node, ref);
    struct al_chain_link link = {.seq = r->seq,
                                 .wall_ms = r->wall_ms,
                                 .what = r->what,
                                 .author = r->author,
                                 .envelope = r->envelope};
    struct ali_rec_publish admission = admission_of(r);

    ali_touch(node, ALI_PART_GROUP, ref, &group->object);
    if (r->what == AL_GROUP_MESSAGE || !AL_PLANT(node, GROUP_CHAIN_GAP))
        al_chain_next(group->d.hash, &link, group->d.hash);
    if (r->what == AL_GROUP_MESSAGE && (node->v.started || !AL_PLANT(node, GROUP_POST_TWICE)))
        ali_apply_admission(node, &admission);
    else if (r->what == AL_GROUP_JOINED)
        apply_join(node, ref, r);
    fill_slice(group, r);
    ali_runs_push(&group->d.history, lsn);
    ali_live_add(node, lsn);
    for (ali_ref m = group->d.members.head; m != AL_REF_NONE;
         m = ali_member_at(node, m)->d.of_group.next)
        if (!ali_member_at(node, m)->d.left_seq)
            give(node, ali_member_at(node, m)->d.stream, lsn, r->wall_ms);
    if (r->what == AL_GROUP_LEFT) {
        ali_ref m = ali_find_member(node, ref, ali_find_agent(node, r->agent));

        ali_touch(node, ALI_PART_MEMBER, m, &ali_member_at(node, m)->object);
        member_leaves(node, ali_member_at(node, m), r->seq);
    }
}

/* ---- history ----------------------------------------------------------------------------- */

int ali_prepare_group_trim(struct al_node *node, const struct ali_rec_group_trim *r)
{
    ali_ref ref = ali_find_group_id(node, r->group);
    const struct ali_runs *history;

    if (ref == AL_REF_NONE)
        return -AL_E_DAMAGED;
    history = &ali_group_at(node, ref)->d.history;
    return r->first_seq < history->first_seq || r->first_seq > history->next_seq ? -AL_E_DAMAGED
                                                                                 : 0;
}

void ali_apply_group_trim(struct al_node *node, uint64_t lsn, const struct ali_rec_group_trim *r)
{
    ali_ref ref = ali_find_group_id(node, r->group);
    struct ali_group *group = ali_group_at(node, ref);
    uint32_t count, gone = 0;
    const struct ali_slice *slices = ali_slices(group, &count);

    (void)lsn;
    ali_touch(node, ALI_PART_GROUP, ref, &group->object);
    while (group->d.history.first_seq < r->first_seq)
        forget_oldest(node, group);
    while (gone < count && (gone + 1 < count ? slices[gone + 1].first_seq
                                             : group->d.history.next_seq) <= r->first_seq)
        group->d.bytes -= slices[gone++].bytes;
    group->d.slice_count -= gone;
    if (gone)
        memmove(group->d.slices, slices + gone, group->d.slice_count * sizeof(*slices));
}

/* ---- carrying ---------------------------------------------------------------------------- */

static bool runs_hold(const struct ali_runs *runs, uint64_t seq, uint64_t lsn)
{
    return seq >= runs->first_seq && seq < runs->next_seq && ali_runs_seek(runs, seq).lsn == lsn;
}

static bool member_holds(const struct al_node *node, const struct ali_member *member, uint64_t seq,
                         uint64_t lsn, ali_ref *ret_letter)
{
    const struct ali_stream *stream = stream_of(node, member);
    ali_ref letter =
        stream->d.letter_count ? ali_find_letter(node, stream->d.id, seq) : AL_REF_NONE;

    if (letter != AL_REF_NONE && ali_letter_at(node, letter)->d.lsn != lsn)
        letter = AL_REF_NONE;
    *ret_letter = letter;
    return letter != AL_REF_NONE || (runs_hold(&stream->d.runs, seq, lsn) &&
                                     !ali_seq_is_gone(node, stream, member->d.stream, seq));
}

bool ali_group_holds(const struct al_node *node, ali_ref ref, uint64_t seq, uint64_t lsn)
{
    const struct ali_group *group = ali_group_at(node, ref);
    ali_ref letter;

    if (runs_hold(&group->d.history, seq, lsn))
        return true;
    for (ali_ref m = group->d.members.head; m != AL_REF_NONE;
         m = ali_member_at(node, m)->d.of_group.next)
        if (member_holds(node, ali_member_at(node, m), seq, lsn, &letter))
            return !AL_PLANT(node, GROUP_UNREAD_LOST);
    return false;
}

int ali_group_prepare_carry(struct al_node *node, const struct ali_rec_carry *r)
{
    ali_ref ref = ali_find_group_id(node, r->stream);
    struct ali_group *group;
    int e = 0;

    if (ref == AL_REF_NONE || !ali_group_holds(node, ref, r->key, r->old_lsn))
        return -AL_E_DAMAGED;
    group = ali_group_at(node, ref);
    if (runs_hold(&group->d.history, r->key, r->old_lsn))
        e = ali_runs_reserve_move(&group->d.history, &node->alloc, r->key);
    for (ali_ref m = group->d.members.head; m != AL_REF_NONE && e == 0;
         m = ali_member_at(node, m)->d.of_group.next)
        if (runs_hold(&stream_of(node, ali_member_at(node, m))->d.runs, r->key, r->old_lsn))
            e = ali_runs_reserve_move(&stream_of(node, ali_member_at(node, m))->d.runs,
                                      &node->alloc, r->key);
    return e;
}

void ali_group_apply_carry(struct al_node *node, uint64_t lsn, const struct ali_rec_carry *r)
{
    ali_ref ref = ali_find_group_id(node, r->stream);
    struct ali_group *group = ali_group_at(node, ref);

    ali_touch(node, ALI_PART_GROUP, ref, &group->object);
    if (runs_hold(&group->d.history, r->key, r->old_lsn)) {
        ali_runs_move(&group->d.history, &node->alloc, r->key, lsn);
        ali_live_add(node, lsn);
        ali_live_drop(node, r->old_lsn);
    }
    for (ali_ref m = group->d.members.head; m != AL_REF_NONE;
         m = ali_member_at(node, m)->d.of_group.next) {
        const struct ali_member *member = ali_member_at(node, m);
        ali_ref letter;

        if (!member_holds(node, member, r->key, r->old_lsn, &letter) ||
            AL_PLANT(node, GROUP_CARRY_HALF))
            continue;
        if (letter != AL_REF_NONE) {
            ali_touch(node, ALI_PART_LETTER, letter, &ali_letter_at(node, letter)->object);
            ali_letter_at(node, letter)->d.lsn = lsn;
        } else {
            ali_stream_moved(node, member->d.stream, r->key, lsn);
        }
        ali_live_add(node, lsn);
        ali_live_drop(node, r->old_lsn);
    }
}
