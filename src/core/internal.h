/* internal.h - what the files of this room call in each other, file by file. */
#ifndef AL_CORE_INTERNAL_H
#define AL_CORE_INTERNAL_H

#include "core/groups.h"
#include "core/identities.h"
#include "core/list.h"
#include "core/state.h"

/* ---- effects.c: output ------------------------------------------------------------------- */

/* Room for one more effect and `bytes` of data. 0 or -AL_E_NOMEM. */
int ali_effects_room(struct al_node *node, size_t bytes);
/* Marks data[from, size) as sent to conn, joining it to a SEND just before. Needs room. */
void ali_effect_send(struct al_node *node, uint32_t conn, size_t from);
/* ALI_SEND(node, conn, lower-case message, struct): encodes a frame and sends it. If there is no
 * memory the step ends with -AL_E_NOMEM (node->v.effects is marked). */
#define ALI_SEND(node, conn, lower, msg)                                                 \
    do {                                                                                 \
        size_t from_ = (node)->v.effects->data.size;                                     \
        if (ali_effects_room((node), AL_WIRE_HEADER_SIZE + al_size_##lower(msg)) == 0 && \
            al_put_##lower(&(node)->v.effects->data, (msg)) == 0)                        \
            ali_effect_send((node), (conn), from_);                                      \
    } while (0)
/* The same with optional fields behind it. */
#define ALI_SEND_EXT(node, conn, lower, msg, ext)                            \
    do {                                                                     \
        size_t from_ = (node)->v.effects->data.size;                         \
        size_t size_ = AL_WIRE_HEADER_SIZE + al_size_##lower(msg) + (ext).n; \
        if (ali_effects_room((node), size_) == 0 &&                          \
            al_put_##lower(&(node)->v.effects->data, (msg)) == 0)            \
            ali_effect_send_ext((node), (conn), from_, (ext));               \
    } while (0)
/* ali_effect_send of a frame that begins at `from`, behind which `ext` is put. Needs room. */
void ali_effect_send_ext(struct al_node *node, uint32_t conn, size_t from, struct al_str ext);
void ali_effect_close(struct al_node *node, uint32_t conn);
/* Hands out an ISSUE for the identity. 0, -AL_E_NOMEM. */
int ali_effect_issue(struct al_node *node, uint32_t conn, uint64_t serial, struct al_str identity,
                     struct al_str csr);
/* Hands out a READ of these LSNs for `read` (its request number is filled in). 0, -AL_E_NOMEM. */
int ali_effect_read(struct al_node *node, struct ali_read *read, const uint64_t *lsns,
                    uint32_t count);
/* Hands out a notice for the log. */
void ali_effect_notice(struct al_node *node, enum al_node_notice notice, struct al_str subject,
                       struct al_str detail, uint64_t number);
/* A frame was refused; fatal ones close the connection. detail may be NULL: the error's text. */
void ali_send_error(struct al_node *node, struct ali_conn *conn, uint8_t about, uint32_t request,
                    int error);
/* Likewise, where its text says too little. */
void ali_send_error_detail(struct al_node *node, struct ali_conn *conn, uint8_t about,
                           uint32_t request, int error, const char *detail);
void ali_send_fatal(struct al_node *node, struct ali_conn *conn, uint8_t about, int error,
                    const char *detail);
void ali_send_done(struct al_node *node, struct ali_conn *conn, uint32_t request, int error,
                   uint64_t count);

/* ---- apply.c: decide → record → state ---------------------------------------------------- */

/* Reserves memory, hands out the record, applies it. The record's references must be valid. 0, or
 * -AL_E_NOMEM: nothing happened. */
int ali_commit(struct al_node *node, enum ali_record_type type, const void *record);
/* Objects by durable number; NULL or AL_REF_NONE when there is none. */
ali_ref ali_find_agent(const struct al_node *node, uint32_t id);
ali_ref ali_find_agent_name(const struct al_node *node, struct al_str name);
ali_ref ali_find_stream(const struct al_node *node, uint32_t id);
ali_ref ali_find_stream_key(const struct al_node *node, ali_ref from, ali_ref to, uint8_t priority,
                            struct al_str label);
ali_ref ali_find_producer(const struct al_node *node, uint64_t id);
ali_ref ali_find_track(const struct al_node *node, ali_ref stream, ali_ref producer);
ali_ref ali_find_mark(const struct al_node *node, ali_ref stream, uint64_t seq);
ali_ref ali_find_delayed(const struct al_node *node, uint64_t id);
ali_ref ali_find_letter(const struct al_node *node, uint32_t stream, uint64_t seq);
struct ali_ended *ali_find_ended(const struct al_node *node, uint32_t stream, uint64_t seq);
struct ali_recent_id *ali_find_id(const struct al_node *node, const struct al_id *id);
struct ali_key *ali_find_key(const struct al_node *node, const uint8_t key[16]);
/* The key of the message at this place; NULL if it had none. */
struct ali_key *ali_find_key_of(const struct al_node *node, uint32_t stream, uint64_t seq);
/* Hashes of the indexes; also used by load.c. */
uint64_t ali_hash_number(uint64_t number);
uint64_t ali_hash_pair(uint64_t a, uint64_t b);
uint64_t ali_hash_stream_key(const struct al_node *node, ali_ref from, ali_ref to, uint8_t priority,
                             struct al_str label);
uint64_t ali_hash_name(const struct al_node *node, struct al_str name);
/* Its priority as its key has it. */
static inline uint8_t ali_stream_priority(const struct ali_stream *stream)
{
    return (uint8_t)(stream->d.priority |
                     (stream->d.flags & ALI_STREAM_UNORDERED ? ALI_PRIORITY_UNORDERED : 0));
}
/* Room for that many finished deliveries, this recent id, one key. 0 or -AL_E_NOMEM. */
int ali_ended_reserve(struct al_node *node, uint32_t count);
int ali_ids_reserve(struct al_node *node, const struct al_id *id);
int ali_keys_reserve(struct al_node *node);
/* Room for what these rings hold when they are full; the rings are empty. 0 or -AL_E_NOMEM. */
int ali_ids_reserve_full(struct al_node *node);
int ali_ended_reserve_full(struct al_node *node);
/* Add ring entries, evicting the oldest properly. Room must be reserved. */
struct ali_ended *ali_ended_add(struct al_node *node, uint32_t stream, uint64_t seq);
struct ali_recent_id *ali_ids_add(struct al_node *node, const struct al_id *id);
/* seq as in ali_key; 0: it can be found by its digest only. */
struct ali_key *ali_keys_add(struct al_node *node, const uint8_t key[16], uint32_t stream,
                             uint64_t seq);
/* The key's message is in work; has ended; went away with its stream; has another sequence. */
void ali_key_open(struct al_node *node, const struct ali_key *key);
void ali_key_end(struct al_node *node, const struct ali_ended *ended);
void ali_key_lost(struct al_node *node, uint32_t stream, uint64_t seq);
void ali_key_move(struct al_node *node, uint32_t stream, uint64_t old_seq, uint64_t seq);
/* The record with the key's answer stands at lsn now. */
void ali_key_carried(struct al_node *node, struct ali_key *key, uint64_t lsn);
/* Drops the oldest idempotency key. */
void ali_keys_evict(struct al_node *node);
/* Digests of an idempotency key and of what it stands for. */
void ali_key_digest(uint32_t sender, struct al_str key, uint8_t ret_digest[16]);
void ali_body_digest(const struct ali_agent *to, const struct al_msg_envelope *envelope,
                     uint8_t ret_digest[16]);
bool ali_seq_is_gone(const struct al_node *node, const struct ali_stream *stream, ali_ref ref,
                     uint64_t seq);

/* apply_objects.c, apply_message.c, apply_end.c: for every record a prepare (reserves memory,
 * checks references: -AL_E_NOMEM, -AL_E_DAMAGED) and an apply (cannot fail). */
#define AL_X(symbol, lower, number, doc)                                            \
    int ali_prepare_##lower(struct al_node *node, const struct ali_rec_##lower *r); \
    void ali_apply_##lower(struct al_node *node, uint64_t lsn, const struct ali_rec_##lower *r);
AL_RECORDS(AL_X)
#undef AL_X

/* What the apply files share; each keeps indexes, lists and counts in step. */
/* Forgets what was prepared for the next AGENT_ADD. */
void ali_agent_unprepare(struct al_node *node);
/* What it holds outside its pool. */
void ali_agent_free(struct al_node *node, struct ali_agent *agent);
/* The inbox of all groups: empty, and not to be written to. */
extern const struct ali_inbox ali_no_inbox;
/* True of an agent that can have messages, letters, values, a receiver; false of a group. */
static inline bool ali_has_inbox(const struct ali_agent *agent)
{
    return agent->inbox != &ali_no_inbox;
}
void ali_stream_init_volatile(struct al_node *node, ali_ref ref);
void ali_stream_remove(struct al_node *node, ali_ref ref);
ali_ref ali_track_add(struct al_node *node, ali_ref stream, ali_ref producer);
ali_ref ali_mark_add(struct al_node *node, ali_ref stream, uint64_t seq);
void ali_mark_remove(struct al_node *node, ali_ref ref);
void ali_delayed_remove(struct al_node *node, ali_ref ref);
void ali_letter_link(struct al_node *node, ali_ref ref);
/* with_body: the message's record is not needed any more either. */
void ali_letter_remove(struct al_node *node, ali_ref ref, bool with_body);

/* ---- live.c: how many records of a stretch of the journal still matter ------------------- */

/* Makes sure that a record with this LSN can be counted. 0 or -AL_E_NOMEM. */
int ali_live_reserve(struct al_node *node, uint64_t lsn);
/* True if this LSN can be that of a live record (checks of a snapshot). */
bool ali_live_is_known(const struct al_node *node, uint64_t lsn);
/* One more reference to the record. */
void ali_live_add(struct al_node *node, uint64_t lsn);
/* One reference less; there must be one. */
void ali_live_drop(struct al_node *node, uint64_t lsn);

/* ---- snapshot.c -------------------------------------------------------------------------- */

/* To be called before the durable half of an object changes or goes: while a snapshot is taken,
 * its old form is kept. */
void ali_snapshot_keep(struct al_node *node, enum ali_part part, ali_ref ref,
                       struct ali_object *object);
/* Likewise for ring entries by number. */
void ali_snapshot_keep_entry(struct al_node *node, enum ali_part part, uint64_t number);
/* Likewise for a key that is about to change, which may be far from the old end. */
void ali_snapshot_keep_key(struct al_node *node, uint64_t number);
/* Likewise for a finished delivery that is about to change. */
void ali_snapshot_keep_ended(struct al_node *node, struct ali_ended *ended);
static inline void ali_touch(struct al_node *node, enum ali_part part, ali_ref ref,
                             struct ali_object *object)
{
    if (node->v.snapshot.active && object->snapshot != node->v.snapshot.number)
        ali_snapshot_keep(node, part, ref, object);
}
/* kind.c: the item of a kind, and back. 0, -AL_E_NOMEM, -AL_E_DAMAGED. */
struct ali_item_kind;
int ali_put_kind(const struct ali_kind *kind, struct al_buf *out);
int ali_load_kind(struct al_node *node, const struct ali_item_kind *item);
/* Marks an object that is new: a running snapshot does not want it. */
static inline void ali_fresh(struct al_node *node, struct ali_object *object)
{
    object->snapshot = node->v.snapshot.number;
}

/* ---- node.c: timers, volatile halves ----------------------------------------------------- */

/* A pseudo-random number below `below` (0: 0), from the injected seed. */
uint32_t ali_random(struct al_node *node, uint32_t below);
/* The monotonic clock of this step, in whole milliseconds. */
static inline uint64_t ali_mono_ms(const struct al_node *node)
{
    return node->v.now.mono_ns / AL_NS_PER_MS;
}
/* Arms the object's timer of this kind, which is due in delay_ms, not earlier. */
void ali_timer_set(struct al_node *node, enum ali_timer_kind kind, ali_ref owner,
                   uint64_t delay_ms);
/* Disarms it; before the object is freed. Harmless when it is not armed. */
void ali_timer_cancel(struct al_node *node, enum ali_timer_kind kind, ali_ref owner);
/* What is left until a wall-clock time, clamped to [0, original duration]. */
uint64_t ali_remaining_ms(const struct al_node *node, uint64_t from_ms, uint64_t until_ms);

/* ---- kind.c: registered kinds, their metrics --------------------------------------------- */

/* The metrics row of a kind, made if need be; UINT16_MAX: there is no room for another. */
uint16_t ali_metric_find(struct al_node *node, struct al_str kind);
/* A delivery that was admitted at this wall clock has ended: its latency counts. */
void ali_metric_end(struct al_node *node, struct ali_metric *row, uint64_t admitted_ms);
/* What holds for a kind: registered, else configured, else the defaults. */
struct ali_terms ali_terms_of(const struct al_node *node, struct al_str kind);
/* Likewise by metrics row; UINT16_MAX: the defaults. */
static inline struct ali_terms ali_terms_at(const struct al_node *node, uint16_t kind)
{
    return kind == UINT16_MAX
               ? (struct ali_terms){&node->config.policy, &node->config.breaker, AL_PRIORITY_NONE}
               : node->v.metrics[kind].terms;
}
/* The registered kind of that name, AL_REF_NONE. */
ali_ref ali_find_kind(const struct al_node *node, struct al_str name);
bool ali_policy_is_valid(const struct al_policy *policy);
bool ali_breaker_policy_is_valid(const struct al_breaker_policy *policy);

/* ---- breaker.c --------------------------------------------------------------------------- */

/* The head of the stream has an outcome: its attempt ended well, or not. */
void ali_breaker_outcome(struct al_node *node, ali_ref stream, uint16_t kind, bool ok);
/* True if an attempt that fails now spends nothing: the breaker is open. */
bool ali_breaker_spares(const struct al_node *node, const struct ali_stream *stream, uint16_t kind);
/* The agent's breaker is not closed: true if a probe may go out. */
bool ali_breaker_admits(const struct al_node *node, const struct ali_agent *agent);
/* True if the kind's own breaker lets a message pass; otherwise the stream is blocked until it
 * changes. */
bool ali_breaker_passes(struct al_node *node, ali_ref stream, uint16_t kind);
/* The message that was just pushed is a probe if a breaker waits for one. */
void ali_breaker_pushed(struct al_node *node, ali_ref stream, const struct ali_push *push);
/* How long the head may be without ACK or EXTEND until that counts: mono, UINT64_MAX: its lease
 * ends before. */
uint64_t ali_breaker_call_ms(const struct al_node *node, const struct ali_push *head);
int ali_breaker_timer(struct al_node *node, ali_ref agent);
/* Their timer must be off the wheel. */
void ali_breakers_free(struct al_node *node, struct ali_agent *agent);

/* ---- health.c ---------------------------------------------------------------------------- */

/* A message was given out behind a later one of its stream: our bug, and an alert. */
void ali_health_order(struct al_node *node);
/* A publish was refused. */
void ali_health_refused(struct al_node *node, int error);
int ali_health_timer(struct al_node *node);

/* ---- connection.c: hello, goodbye, dispatch of frames ------------------------------------ */

/* Frees the memory of a connection, nothing else. */
void ali_conn_free(struct al_node *node, struct ali_conn *conn);
/* The open connection of that number, or NULL. */
struct ali_conn *ali_conn_at(const struct al_node *node, uint32_t number);
/* A connection was accepted. 0 or -AL_E_NOMEM. */
int ali_conn_open(struct al_node *node, const struct al_event *event);
/* A connection is gone: its sessions may come back, its channels do not. */
void ali_conn_closed(struct al_node *node, uint32_t number);
/* Handles the frames in data; *ret_consumed bytes of it. 0 or -AL_E_NOMEM, -AL_E_DAMAGED. */
int ali_conn_bytes(struct al_node *node, struct ali_conn *conn, struct al_str data,
                   size_t *ret_consumed);
/* True if this connection may act as the agent: its owner, root, or with its certificate. */
bool ali_may_act(const struct al_node *node, const struct ali_conn *conn,
                 const struct ali_agent *agent);

/* ---- page.c: lists that are asked for page by page --------------------------------------- */

#define ALI_PAGE_ROWS_MAX 1000u /* of one list request */

/* True if a comes before b, or is b. */
typedef bool ali_before_fn(const struct al_node *node, ali_ref a, ali_ref b);
/* The first rows in the order of `before` of all that is offered. */
struct ali_page {
    ali_before_fn *before;
    uint32_t limit, count;
    ali_ref refs[ALI_PAGE_ROWS_MAX]; /* count of them; sorted by ali_page_sort */
};
/* An empty page of at most `limit` rows; 0: as many as there may be. */
void ali_page_init(struct ali_page *page, uint32_t limit, ali_before_fn *before);
/* Takes the entry if it is among the first; each may be offered once. */
void ali_page_offer(const struct al_node *node, struct ali_page *page, ali_ref ref);
/* Puts what was taken into order; nothing may be offered afterwards. */
void ali_page_sort(const struct al_node *node, struct ali_page *page);
/* Below, at or above 0 as memcmp; of two strings that begin alike the shorter comes first. */
static inline int ali_compare(struct al_str a, struct al_str b)
{
    uint32_t n = a.n < b.n ? a.n : b.n;
    int c = n ? memcmp(a.p, b.p, n) : 0;

    return c ? c : (a.n > b.n) - (a.n < b.n);
}
/* Orders: the number of a stream, the name of an agent. */
ali_before_fn ali_stream_by_number, ali_agent_by_name;

/* ---- agent.c ----------------------------------------------------------------------------- */

/* The name without the namespace that goes without saying: "default/x" is "x". */
struct al_str ali_name_normal(struct al_str name);
/* The agent called name, created for conn's user if it does not exist and `create`. 0 and the
 * reference, -AL_E_BAD_NAME, -AL_E_UNKNOWN_AGENT, -AL_E_NOT_OWNER, -AL_E_LIMIT, -AL_E_NOMEM. */
int ali_agent_get(struct al_node *node, const struct ali_conn *conn, struct al_str name,
                  bool create, ali_ref *ret_agent);

/* ---- channel.c, publish.c ---------------------------------------------------------------- */

/* Sends the receipts collected so far. */
void ali_receipts_flush(struct al_node *node, struct ali_conn *conn);
void ali_channels_close(struct al_node *node, struct ali_conn *conn);
/* The connection's producers: without a connection for now, or retired for good (goodbye). */
void ali_producers_leave(struct al_node *node, struct ali_conn *conn);
int ali_producers_retire(struct al_node *node, struct ali_conn *conn);
/* The channel of that number, NULL if it is not open. */
struct ali_channel *ali_channel_at(const struct ali_conn *conn, uint32_t number);
/* Takes, recognises or refuses a message. 0: receipted or refused; 1: it is held behind a gap;
 * -AL_E_NOMEM. */
int ali_publish_one(struct al_node *node, struct ali_conn *conn, const struct al_msg_publish *m);
/* Answers REFUSED; the channel is held from here on, except for AL_E_GAP_CLOSED. */
void ali_refuse(struct al_node *node, struct ali_conn *conn, const struct al_msg_publish *m,
                int error);
/* A scheduled message is due. */
int ali_delayed_due(struct al_node *node, ali_ref ref);
/* Tells the sender's connection, if it is there, that a message has ended; its number, or
 * AL_REF_NONE. */
uint32_t ali_send_end(struct al_node *node, uint64_t producer, const struct al_msg_end *end);
/* Passes a part of a reply on to the producer's connection, if there is one. */
bool ali_send_reply_part(struct al_node *node, uint64_t producer,
                         const struct al_msg_reply_part *part);

/* ---- gaps.c ------------------------------------------------------------------------------ */

/* A message came that is ahead of its channel: it is held and what is missing is asked for. 1: held
 * (or dropped: it will be asked for); -AL_E_SEQUENCE_GAP: to be refused. */
int ali_gap_open(struct al_node *node, struct ali_conn *conn, const struct al_msg_publish *m);
/* The expected number has moved, or the channel is held: takes or refuses what can be taken or must
 * be refused. 0 or -AL_E_NOMEM. */
int ali_gap_advance(struct al_node *node, struct ali_conn *conn, uint32_t channel);
/* Forgets what the channel holds behind a gap. */
void ali_gap_drop(struct al_node *node, struct ali_conn *conn, struct ali_channel *channel);
int ali_gap_timer(struct al_node *node, ali_ref gap);
struct ali_item_track;
/* apply_gap.c: puts a track with a closed gap into a snapshot; takes the gap out of such an item,
 * whose track has been loaded. 0, -AL_E_NOMEM, -AL_E_DAMAGED. */
int ali_gap_put(const struct ali_track *track, const struct ali_item_track *item,
                struct al_buf *out);
int ali_gap_load(struct al_node *node, struct al_str body);
void ali_holes_free(struct al_node *node, struct ali_track *track);
/* Frees what was prepared for the next GAP. */
void ali_holes_deinit(struct al_node *node);

/* ---- flow.c: what a stream needs while it has messages ----------------------------------- */

/* The flow of every stream that has nothing pending. */
extern const struct ali_flow ali_no_flow;
/* The same, for v.flow: not to be written to. */
struct ali_flow *ali_flow_none(void);
/* True if the stream has a flow of its own, which may be written to. */
static inline bool ali_has_flow(const struct ali_stream *stream)
{
    return stream->v.flow != &ali_no_flow;
}
/* The stream's flow, made if there is none, with its cursor on the head. NULL: no memory, and the
 * step ends with -AL_E_NOMEM. */
struct ali_flow *ali_flow_get(struct al_node *node, ali_ref stream);
/* The stream has nothing pending now: its flow goes at the end of the step, unless more comes. */
void ali_flow_emptied(struct al_node *node, ali_ref stream);
/* The stream goes; nothing of it may be out. */
void ali_flow_drop(struct al_node *node, ali_ref stream);
/* The end of a step. */
void ali_flows_rest(struct al_node *node);
/* Frees all flows; those of streams too. */
void ali_flows_free(struct al_node *node);
/* Room in the ring for one more message that is given out. 0 or -AL_E_NOMEM. */
int ali_flow_reserve_push(struct al_node *node, struct ali_stream *stream);
/* A burst long ago must not cost memory for ever. */
void ali_flow_shrink(struct al_node *node, struct ali_flow *flow);
/* Appends to a list; takes out of it. offset: of the link in the flow. */
void ali_flow_push(struct ali_flows *list, size_t offset, struct ali_flow *flow);
void ali_flow_unlink(struct ali_flows *list, size_t offset, struct ali_flow *flow);
/* Failed attempts of the head; without any, all zero. */
const struct ali_trouble *ali_trouble_of(const struct ali_stream *stream);
/* The same to be written to, made if there is none. NULL: no memory. */
struct ali_trouble *ali_trouble_get(struct al_node *node, struct ali_stream *stream);
/* The head has changed. */
void ali_trouble_free(struct al_node *node, struct ali_stream *stream);

/* ---- lanes.c: unordered streams ---------------------------------------------------------- */

/* The stream that a message of this stream goes to: a lane if it is unordered, otherwise itself. 0,
 * -AL_E_INBOX_FULL, -AL_E_LIMIT, -AL_E_NOMEM. */
int ali_lane_get(struct al_node *node, ali_ref stream, ali_ref *ret_lane);
/* The stream has perhaps become empty: if it is a lane it is used again. */
void ali_lane_free(struct al_node *node, ali_ref stream);
/* An unordered stream (base 0) or a lane of one comes, or goes. Room for it was reserved. */
void ali_lane_add(struct al_node *node, ali_ref stream, uint32_t base);
void ali_lane_remove(struct al_node *node, ali_ref stream);
/* Number of the unordered stream whose lane it is; 0: none. How many lanes it has itself. */
uint32_t ali_lane_base(const struct al_node *node, const struct ali_stream *stream);
uint32_t ali_lane_count(const struct al_node *node, const struct ali_stream *stream);
/* The stream that has the high-water marks of this one's producers; AL_REF_NONE: it is missing. */
ali_ref ali_track_stream(const struct al_node *node, ali_ref stream);
/* The table of lanes, empty. */
void ali_lanes_init(struct al_node *node);
/* All streams are loaded; the node starts: lanes are counted; the free ones are found. */
void ali_lanes_count(struct al_node *node);
void ali_lanes_start(struct al_node *node);

/* ---- deliver.c --------------------------------------------------------------------------- */

/* Pushes the message that was just admitted as the stream's newest, if nothing is before it. */
void ali_push_new(struct al_node *node, ali_ref stream, const struct ali_rec_publish *record,
                  uint16_t kind);
/* Likewise for a group's message on the stream to one member. */
void ali_push_post(struct al_node *node, ali_ref stream, const struct ali_rec_group_post *post,
                   uint16_t kind);
/* Passes a volatile message on, or drops and counts it. */
void ali_push_volatile(struct al_node *node, ali_ref stream, const struct al_msg_publish *m);
/* Disarms and unlinks a stream that is about to go. */
void ali_stream_drop_volatile(struct al_node *node, ali_ref ref);
/* A read under way is not wanted any more. */
void ali_stream_forget_reading(struct al_node *node, struct ali_stream *stream);
/* Gives back everything that the stream has out, and begins again at its head. */
void ali_stream_recall(struct al_node *node, ali_ref ref, uint64_t tell_from_seq, int code);
/* The head was settled or is new: its lease clock starts. */
void ali_lease_start(struct al_node *node, ali_ref ref);
static inline struct ali_push *ali_push_at(const struct ali_stream *stream, uint32_t index)
{
    return &stream->v.flow
                ->pushed[(stream->v.flow->pushed_first + index) & (stream->v.flow->pushed_cap - 1)];
}
/* Forgets the first pushed message (it was settled) and gives its credit back. */
void ali_push_drop(struct al_node *node, ali_ref stream);

/* Takes back what is out from the index-th message of the stream on; all of it if that is simpler.
 */
void ali_stream_recall_tail(struct al_node *node, ali_ref ref, uint32_t index, int code);

/* ---- backlog.c --------------------------------------------------------------------------- */

/* Serves the inboxes that were noted. */
int ali_pump_dirty(struct al_node *node);
/* The answer to a READ effect. */
int ali_read_done(struct al_node *node, const struct al_event *event);
/* Sends everything that the receiver's session has out once more, under the same leases. */
int ali_push_again(struct al_node *node, const struct ali_receiver *receiver);
/* Likewise, of one stream, what is out with this connection between two sequences; if nothing is,
 * the first one behind; if nothing is out there either, RECALL says so. 0 or -AL_E_NOMEM. */
int ali_push_range(struct al_node *node, const struct ali_conn *conn, ali_ref stream,
                   uint64_t start, uint64_t end);

/* ---- settle.c ---------------------------------------------------------------------------- */

/* Persists and answers the acks collected so far. 0 or -AL_E_NOMEM. */
int ali_acks_flush(struct al_node *node);
/* Tells the sender of a message how it ended, and whoever else waits. */
void ali_tell_end(struct al_node *node, const struct ali_stream *stream,
                  const struct ali_push *push, const struct al_msg_end *end);

/* ---- failure.c --------------------------------------------------------------------------- */

/* The head's attempt failed: retry by policy or dead letter. retry_after_ms 0: by policy. */
int ali_head_failed(struct al_node *node, ali_ref stream, int code, uint32_t retry_after_ms,
                    struct al_str reason);
/* Appends to a history of attempts, in which there must be room for ali_attempt_size more bytes. */
void ali_log_attempt(struct al_buf *log, const struct al_msg_attempt *attempt);
size_t ali_attempt_size(const struct al_msg_attempt *attempt);
/* How a message dies. `last` is the attempt that was one too many, NULL if there was none: it goes
 * into the DEAD record, for a crash between two records would give the message another attempt. */
struct ali_death {
    uint8_t state; /* AL_STATE_FAILED, _DEAD or _EXPIRED */
    int code;
    struct al_str reason;
    const struct al_msg_attempt *last;
};
/* A pending message becomes a dead letter; `what` has its seq, id, producer, bytes,
 * kind, notify. */
int ali_message_dead(struct al_node *node, ali_ref stream, const struct ali_push *what,
                     const struct ali_death *death);
/* The lease of the stream's head has run out, or the time of its retry has come. */
int ali_stream_timer(struct al_node *node, ali_ref stream);
/* A message's life time is over. */
int ali_mark_timer(struct al_node *node, ali_ref mark);

/* ---- receiver.c -------------------------------------------------------------------------- */

/* One more receiver that shares the inbox, without a session yet. NULL: no memory. */
struct ali_receiver *ali_receiver_share(struct al_node *node, ali_ref agent);
/* Its instance is awaited for delay_ms, 0: no more. */
void ali_receiver_await(struct al_node *node, struct ali_receiver *receiver, uint64_t delay_ms);
/* Frees one that shares an inbox and is not awaited. */
void ali_receiver_free(struct al_node *node, struct ali_receiver *receiver);
/* Frees it if it shares an inbox, has gone and has nothing out. */
void ali_receiver_done(struct al_node *node, struct ali_receiver *receiver);
/* The receivers of an inbox: its own, then those that share it; NULL behind the last. */
struct ali_receiver *ali_receiver_next(const struct ali_inbox *inbox,
                                       const struct ali_receiver *receiver);
/* The one on this connection, NULL: none. */
struct ali_receiver *ali_receiver_on(struct ali_inbox *inbox, const struct ali_conn *conn);
/* Likewise, by the agent's number. */
struct ali_receiver *ali_find_receiver(const struct al_node *node, const struct ali_conn *conn,
                                       uint32_t agent);
/* What is out of an inbox, of all its receivers together. */
struct ali_out_sum {
    uint32_t receivers; /* connected ones */
    uint64_t planned, messages, bytes;
};
struct ali_out_sum ali_inbox_out(const struct ali_inbox *inbox);
/* True if what is out belongs to a session before the receiver's present one, which kept its
 * leases: the present one must not get ahead of it. */
bool ali_is_out_elsewhere(const struct ali_stream *stream);
/* If nothing of the stream is out or on its way, any receiver may have what comes next: the caller
 * makes it ready. */
void ali_stream_unbind(struct al_node *node, ali_ref stream);

/* The stream has (or may have) something to push. */
void ali_stream_ready(struct al_node *node, ali_ref ref);
void ali_stream_unready(struct al_node *node, ali_ref ref);
/* Notes that the agent's inbox must be looked at before the step ends. */
void ali_agent_dirty(struct al_node *node, ali_ref agent);

/* ---- attach.c ---------------------------------------------------------------------------- */

/* The session is over: its heads failed with this code; 0: it left politely, nothing failed. A
 * receiver that shares the inbox may be freed. */
int ali_session_end(struct al_node *node, struct ali_receiver *receiver, int code);
/* The session has no connection from here on; unless its leases are kept, it ends soon. */
void ali_session_leave(struct al_node *node, struct ali_receiver *receiver, bool keep_leases);
/* The agent is about to be removed: tells its receivers. */
void ali_sessions_removed(struct al_node *node, ali_ref agent);
/* The connection broke: its sessions wait for their instance to come back. */
void ali_session_lost(struct al_node *node, struct ali_conn *conn);
/* The connection's sessions end politely, or leave their leases to run. */
int ali_session_goodbye(struct al_node *node, struct ali_conn *conn, bool keep_leases);
int ali_session_timer(struct al_node *node, ali_ref agent);

/* ---- query.c, letters.c: answers that need records read back ----------------------------- */

/* Sends END of a message that has ended, with its stored response; 1 if it has not. `id`: under
 * which conn knows it, NULL: by its place. -AL_E_NOT_FOUND: there is no such message that conn may
 * ask about. */
int ali_end_tell(struct al_node *node, struct ali_conn *conn, uint32_t stream, uint64_t seq,
                 const struct al_id *id);
/* Sends END with the answer that the key holds; 1 if its message has not ended. */
int ali_key_tell(struct al_node *node, struct ali_conn *conn, const struct ali_key *key,
                 const struct al_id *id);
int ali_query_read_done(struct al_node *node, const struct ali_read *read,
                        const struct al_event *event);

/* True if the agent's dead letters have used up their room: nothing new is taken for it. */
static inline bool ali_letters_are_full(const struct al_node *node, const struct ali_agent *agent)
{
    return agent->inbox->d.letter_count >= node->config.dlq_max ||
           agent->inbox->d.letter_bytes >= node->config.dlq_bytes;
}
/* Order of the dead letters of an agent. */
ali_before_fn ali_letter_by_position;
/* The log is told that the message has become a dead letter. */
void ali_letter_log(struct al_node *node, const struct ali_rec_dead *record);
/* Now and then: of those that were not named, how many they were. */
void ali_letter_log_turn(struct al_node *node);
/* Sorts the agent's list of letters. */
void ali_letters_sort(struct al_node *node, struct ali_agent *agent, ali_before_fn *before);
/* What DLQ_GET asked for has been read. */
void ali_letter_read(struct al_node *node, struct ali_conn *conn, const struct ali_read *read,
                     const struct al_event *event);

/* ---- cancel.c ---------------------------------------------------------------------------- */

/* The record of a message that is to be cancelled has been read. */
void ali_cancel_read(struct al_node *node, struct ali_conn *conn, const struct ali_read *read,
                     const struct al_event *event);

/* ---- schedule.c, apply_schedule.c -------------------------------------------------------- */

#define ALI_OWN_EPOCH UINT32_MAX /* of producers that belong to the node */

/* The schedule of that name, AL_REF_NONE. */
ali_ref ali_find_schedule(const struct al_node *node, struct al_str name);
/* Fires what is due, or waits on. 0 or -AL_E_NOMEM. */
int ali_schedule_timer(struct al_node *node, ali_ref ref);
/* The node starts: every schedule waits for its time. */
void ali_schedules_start(struct al_node *node);
/* True if a schedule sends to or from this agent. */
bool ali_schedule_uses(const struct al_node *node, ali_ref agent);
/* Frees what the schedules have allocated. */
void ali_schedules_free(struct al_node *node);
/* A schedule of a snapshot: its producer is there already. 0, -AL_E_NOMEM, -AL_E_DAMAGED. */
int ali_schedule_load(struct al_node *node, const struct ali_rec_schedule_set *r);
/* 0, -AL_E_TOO_LARGE or -AL_E_INVALID: what a message may say (publish.c). */
int ali_check_envelope(const struct al_node *node, const struct al_msg_envelope *envelope);

/* ---- waiters.c: connections that wait for the end of somebody else's message ------------- */

/* conn is told the end of that message, which is pending. 0, -AL_E_LIMIT, -AL_E_NOMEM. */
int ali_waiter_add(struct al_node *node, struct ali_conn *conn, uint32_t stream, uint64_t seq,
                   const struct al_id *id);
/* Tells whoever waits, but for the connection `told` (AL_REF_NONE: nobody was told). */
void ali_waiter_tell(struct al_node *node, const struct al_msg_end *end, uint32_t told);
/* The scheduled message has got its sequence. */
void ali_waiter_move(struct al_node *node, uint32_t stream, uint64_t old_seq, uint64_t seq);
/* The connection is gone; the stream is gone: who waited asks again. */
void ali_waiter_leave(struct al_node *node, struct ali_conn *conn);
void ali_waiter_drop_stream(struct al_node *node, uint32_t stream);

/* ---- kv.c, commit.c: an agent's own state, and commits ----------------------------------- */

/* The value of that key, AL_REF_NONE. */
ali_ref ali_find_value(const struct al_node *node, ali_ref agent, struct al_str key);
/* The value goes, and its memory. */
void ali_value_remove(struct al_node *node, ali_ref ref);
/* Frees what the values have allocated. */
void ali_values_deinit(struct al_node *node);
/* The value at a reference in use. */
static inline struct ali_kv *ali_value_at(const struct al_node *node, ali_ref ref)
{
    return al_pool_at(&node->values, ref);
}
/* The last commit of a producer, at a reference in use. */
static inline struct ali_commits *ali_commits_at(const struct al_node *node, ali_ref ref)
{
    return al_pool_at(&node->commits, ref);
}
/* Notes the producer's last commit; room in the pool was reserved if it is the first. */
void ali_commits_set(struct al_node *node, ali_ref producer, uint64_t cseq);
/* Replay: a commit whose end is not there counts as if it had never been. */
void ali_held_commit_drop(struct al_node *node);

/* Parts of a commit, in settle.c and publish.c: check whether it can be done, do it. */
/* `before`: acks of the same stream in the commit before this one. */
int ali_ack_part_check(struct al_node *node, struct ali_conn *conn, ali_ref agent,
                       const struct al_msg_ack *m, uint32_t before);
/* Acks the head, which was checked. 0, -AL_E_NOMEM. */
int ali_ack_part(struct al_node *node, struct ali_conn *conn, const struct al_msg_ack *m);
struct ali_send_part {
    struct al_msg_commit_send m;
    struct al_msg_envelope envelope;
    ali_ref stream;
    bool duplicate;          /* it was here: nothing to do */
    uint64_t workflow;       /* that numbers it, 0 */
    uint32_t receipt_stream; /* where it is */
    uint64_t receipt_seq;    /* 0: not due, or not known any more */
};
/* `more`: messages of the commit before this one. */
int ali_send_part_check(struct al_node *node, struct ali_conn *conn, ali_ref from,
                        struct ali_send_part *part, uint32_t more);
/* Admits the message, which was checked; `evict` keys go before. 0, -AL_E_NOMEM. */
int ali_send_part(struct al_node *node, struct ali_send_part *part, uint64_t producer,
                  uint32_t evict);
/* Room for `more` more keys of this sender; *ret_evict of the oldest go. 0, -AL_E_DEDUP_FULL. */
int ali_keys_room(const struct al_node *node, ali_ref from, uint32_t more, uint32_t *ret_evict);
/* The stream that CHANNEL_OPEN describes, made if it is new. */
int ali_stream_get(struct al_node *node, const struct ali_conn *conn,
                   const struct al_msg_channel_open *m, ali_ref *ret_stream);
/* The connection holds the producer from here on. */
void ali_producer_take(struct al_node *node, struct ali_conn *conn, ali_ref ref);
/* ---- history.c, replay.c: what has ended well and is kept -------------------------------- */

struct ali_item_agent;
struct ali_item_history;
/* Messages that the stream keeps. */
uint32_t ali_history_count(const struct al_node *node, const struct ali_stream *stream);
/* The i-th of them, oldest first. */
struct ali_kept *ali_history_entry(const struct ali_history *history, uint32_t index);
/* Collects what the ack of this message adds to KEEP, if the stream keeps anything; the
 * record goes in front of that of the acks. 0 or -AL_E_NOMEM. */
int ali_keep_add(struct al_node *node, const struct ali_stream *stream,
                 const struct ali_push *push);
/* Hands KEEP out. 0 or -AL_E_NOMEM. */
int ali_keep_flush(struct al_node *node, uint32_t stream);
/* The same for one message that is out. */
int ali_keep_one(struct al_node *node, const struct ali_stream *stream, uint64_t seq);
/* Forgets what is older than the recipient wants to keep. 0 or -AL_E_NOMEM. */
int ali_history_trim(struct al_node *node, ali_ref history);
/* Says what the agent's streams keep. 0 or -AL_E_NOMEM. */
int ali_retain_commit(struct al_node *node, uint32_t agent, const struct al_retain *retain);
/* A message did not end well after all: it is not kept. */
void ali_history_drop(struct al_node *node, struct ali_stream *stream, uint64_t seq);
/* The stream keeps nothing any more. */
void ali_history_remove(struct al_node *node, ali_ref stream);
/* The sequence under which the message of this record is kept, 0: it is not. */
uint64_t ali_history_seq_of(const struct al_node *node, ali_ref stream, uint64_t lsn,
                            uint64_t admitted_seq);
/* Moves a kept message's record to a new place: see ali_prepare_carry, ali_apply_carry. */
int ali_history_prepare_carry(struct al_node *node, const struct ali_rec_carry *r);
/* Cannot fail. */
void ali_history_apply_carry(struct al_node *node, uint64_t lsn, const struct ali_rec_carry *r);
/* The snapshot item of a history, and back. 0, -AL_E_NOMEM, -AL_E_DAMAGED. */
int ali_history_put(const struct al_node *node, const struct ali_history *history,
                    struct al_buf *out);
/* Makes the history that the item describes. */
int ali_history_load(struct al_node *node, const struct ali_item_history *item);
/* All is loaded: the kept records count as live. 0 or -AL_E_DAMAGED. */
int ali_history_count_live(struct al_node *node, ali_ref history);
/* The item of an agent, with its limits behind; and the limits back. */
int ali_retain_put(const struct ali_agent *agent, const struct ali_item_agent *item,
                   struct al_buf *out);
/* Takes the limits from behind the agent's item, if there are any. */
int ali_retain_load(struct al_node *node, struct al_str body);
/* What REPLAY asked for has been read. */
void ali_replay_read(struct al_node *node, struct ali_conn *conn, const struct ali_read *read,
                     const struct al_event *event);

/* ---- sweep.c ----------------------------------------------------------------------------- */

/* Looks at some producers and streams, and arms its timer again. 0 or -AL_E_NOMEM. */
int ali_sweep(struct al_node *node);

/* ---- carry.c ----------------------------------------------------------------------------- */

/* Persists those of the event's records again that the state still refers to. 0, -AL_E_NOMEM,
 * -AL_E_DAMAGED. */
int ali_carry(struct al_node *node, const struct al_event *event);
/* A message's record read back: a PUBLISH, or a group's. Then *ret_post is filled and *ret_record
 * says the same as far as it can; without a group ret_post->group is 0. 0 or -AL_E_DAMAGED. */
int ali_unwrap_message(const struct al_record_view *view, struct ali_rec_publish *ret_record,
                       struct ali_rec_group_post *ret_post);
/* The payload of a record of that type, also if it was carried. 0 or -AL_E_DAMAGED. */
int ali_unwrap(const struct al_record_view *view, unsigned type, struct al_str *ret_payload);

/* ---- handlers of frames: 0, -AL_E_NOMEM, -AL_E_DAMAGED; everything else is answered ------ */

/* clang-format off */
#define ALI_HANDLED(H) \
    H(HELLO, hello) H(PING, ping) H(PONG, pong) H(GOODBYE, goodbye) \
    H(PRODUCER_OPEN, producer_open) H(CHANNEL_OPEN, channel_open) \
    H(CHANNEL_RESUME, channel_resume) H(CHANNEL_CLOSE, channel_close) H(PUBLISH, publish) \
    H(ATTACH, attach) H(DETACH, detach) H(CREDIT, credit) H(ACK, ack) H(NACK, nack) \
    H(EXTEND, extend) H(SETTLE, settle) H(END_WATCH, end_watch) H(RECORD_GET, record_get) \
    H(AGENT_LIST, agent_list) H(AGENT_ADD, agent_add) H(AGENT_REMOVE, agent_remove) \
    H(STREAM_LIST, stream_list) H(DLQ_LIST, dlq_list) H(DLQ_GET, dlq_get) \
    H(DLQ_REDRIVE, dlq_redrive) H(DLQ_PURGE, dlq_purge) H(STATUS_GET, status_get) \
    H(METRICS_GET, metrics_get) H(CANCEL, cancel) H(KIND_LIST, kind_list) H(KIND_SET, kind_set) \
    H(KIND_REMOVE, kind_remove) H(BREAKER_LIST, breaker_list) H(SCHEDULE_SET, schedule_set) \
    H(SCHEDULE_REMOVE, schedule_remove) H(SCHEDULE_LIST, schedule_list) H(COMMIT, commit) \
    H(KV_GET, kv_get) H(KV_LIST, kv_list) H(HEALTH_GET, health_get) H(GAP_NACK, gap_nack) \
    H(GROUP_ADD, group_add) H(GROUP_REMOVE, group_remove) H(GROUP_LIST, group_list) \
    H(GROUP_JOIN, group_join) H(GROUP_LEAVE, group_leave) H(GROUP_MEMBERS, group_members) \
    H(GROUP_HISTORY, group_history) H(RETAIN_SET, retain_set) H(HISTORY_LIST, history_list) \
    H(REPLAY, replay) H(PART, part) H(WORKFLOW_GET, workflow_get) H(WORKFLOW_LIST, workflow_list) \
    H(IDENTITY_NEW, identity_new) H(JOIN, join) H(CERT_RENEW, cert_renew) \
    H(IDENTITY_REVOKE, identity_revoke) H(IDENTITY_LIST, identity_list) \
    H(ACL_SET, acl_set) H(ACL_REMOVE, acl_remove) H(ACL_LIST, acl_list) H(ACL_TEST, acl_test)
/* clang-format on */

#define ALI_H(symbol, lower)                                            \
    int ali_handle_##lower(struct al_node *node, struct ali_conn *conn, \
                           const struct al_msg_##lower *m);
ALI_HANDLED(ALI_H)
#undef ALI_H

#endif
