/* history.c - what of a stream has ended well and is kept for replay: records and snapshots.
 *
 * A recipient may say that its streams keep what it has acknowledged (RETAIN_SET), by count, bytes
 * and age. Then a KEEP record goes in front of the record of the acks: it says how large the
 * messages are, which nothing else in the state remembers, and gives each message's record one more
 * reference. Limits by count and bytes are kept while the record is applied; what is too old goes
 * by a FORGET record, since applying reads no clock.
 *
 * Crash between KEEP and the acks: the messages are kept and still pending. They are not shown
 * before they have ended; acknowledged again they are kept already; if they die they are dropped.
 */
#include "core/internal.h"
#include "core/items.h"
#include <assert.h>

#define ENTRY      sizeof(struct ali_kept)
#define RETAIN_TAG 1u

/* ---- entries ----------------------------------------------------------------------------- */

static uint32_t entry_count(const struct ali_history *history)
{
    return (uint32_t)(history->d.entries.size / ENTRY) - history->d.first;
}

uint32_t ali_history_count(const struct al_node *node, const struct ali_stream *stream)
{
    return stream->d.history == AL_REF_NONE ? 0
                                            : entry_count(ali_history_at(node, stream->d.history));
}

struct ali_kept *ali_history_entry(const struct ali_history *history, uint32_t index)
{
    return (struct ali_kept *)(void *)history->d.entries.data + history->d.first + index;
}

/* The entry of that sequence, NULL. */
static struct ali_kept *find_entry(const struct ali_history *history, uint64_t seq)
{
    uint32_t low = 0, high = entry_count(history);

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (ali_history_entry(history, middle)->seq < seq)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == entry_count(history) || ali_history_entry(history, low)->seq != seq)
        return NULL;
    return ali_history_entry(history, low);
}

/* Brings the entries to the front of their buffer when most of it is forgotten. */
static void compact(struct ali_history *history)
{
    if (!entry_count(history)) {
        al_buf_deinit(&history->d.entries);
        history->d.first = 0;
    } else if (history->d.first > entry_count(history)) {
        al_buf_drop(&history->d.entries, history->d.first * ENTRY);
        history->d.first = 0;
    }
}

static void forget_first(struct al_node *node, struct ali_history *history)
{
    const struct ali_kept *kept = ali_history_entry(history, 0);

    ali_live_drop(node, kept->lsn);
    node->d.kept--;
    history->d.bytes -= kept->bytes;
    history->d.from_seq = kept->seq + 1;
    if (kept->end_ms > history->d.gone_ms)
        history->d.gone_ms = kept->end_ms;
    history->d.first++;
}

/* Forgets what is beyond count and bytes. */
static void apply_limits(struct al_node *node, struct ali_history *history)
{
    const struct ali_stream *stream = ali_stream_at(node, history->d.stream);
    const struct al_retain *retain = &ali_agent_at(node, stream->d.to)->inbox->d.retain;

    while (entry_count(history) &&
           (entry_count(history) + (AL_PLANT(node, RETAIN_SHORT) ? 1 : 0) > retain->count ||
            history->d.bytes > retain->bytes || node->d.kept > AL_RETAIN_MESSAGES_MAX))
        forget_first(node, history);
    compact(history);
}

void ali_history_drop(struct al_node *node, struct ali_stream *stream, uint64_t seq)
{
    struct ali_history *history;
    struct ali_kept *kept;

    if (stream->d.history == AL_REF_NONE)
        return;
    history = ali_history_at(node, stream->d.history);
    kept = find_entry(history, seq);
    if (!kept)
        return;
    ali_touch(node, ALI_PART_HISTORY, stream->d.history, &history->object);
    ali_live_drop(node, kept->lsn);
    node->d.kept--;
    history->d.bytes -= kept->bytes;
    memmove(kept, kept + 1,
            (size_t)(history->d.entries.data + history->d.entries.size - (uint8_t *)(kept + 1)));
    history->d.entries.size -= ENTRY;
    compact(history);
}

void ali_history_remove(struct al_node *node, ali_ref stream_ref)
{
    struct ali_stream *stream = ali_stream_at(node, stream_ref);
    struct ali_history *history;

    if (stream->d.history == AL_REF_NONE)
        return;
    history = ali_history_at(node, stream->d.history);
    ali_touch(node, ALI_PART_HISTORY, stream->d.history, &history->object);
    while (entry_count(history))
        forget_first(node, history);
    al_buf_deinit(&history->d.entries);
    al_pool_put(&node->histories, stream->d.history);
    stream->d.history = AL_REF_NONE;
}

static struct ali_history *history_make(struct al_node *node, ali_ref stream_ref)
{
    struct ali_stream *stream = ali_stream_at(node, stream_ref);
    struct ali_history *history;

    stream->d.history = al_pool_take(&node->histories);
    history = ali_history_at(node, stream->d.history);
    ali_fresh(node, &history->object);
    history->d.stream = stream_ref;
    history->d.from_seq = stream->d.runs.first_seq;
    al_buf_init(&history->d.entries, &node->alloc);
    return history;
}

/* ---- what an agent's streams keep -------------------------------------------------------- */

int ali_prepare_retain_set(struct al_node *node, const struct ali_rec_retain_set *r)
{
    ali_ref ref = ali_find_agent(node, r->agent);

    if (ref == AL_REF_NONE || !ali_has_inbox(ali_agent_at(node, ref)) ||
        r->keep_count > AL_RETAIN_COUNT_MAX || r->keep_bytes > AL_RETAIN_BYTES_MAX)
        return -AL_E_DAMAGED;
    return 0;
}

void ali_apply_retain_set(struct al_node *node, uint64_t lsn, const struct ali_rec_retain_set *r)
{
    ali_ref ref = ali_find_agent(node, r->agent);
    struct ali_agent *agent = ali_agent_at(node, ref);

    (void)lsn;
    ali_touch(node, ALI_PART_AGENT, ref, &agent->object);
    agent->inbox->d.retain = (struct al_retain){r->keep_count, r->keep_bytes, r->keep_ms};
    for (ali_ref s = agent->v.streams.head; s != AL_REF_NONE;
         s = ali_stream_at(node, s)->v.link.next) {
        ali_ref history = ali_stream_at(node, s)->d.history;

        if (history == AL_REF_NONE)
            continue;
        ali_touch(node, ALI_PART_HISTORY, history, &ali_history_at(node, history)->object);
        if (r->keep_count)
            apply_limits(node, ali_history_at(node, history));
        else
            ali_history_remove(node, s);
    }
}

/* ---- keeping ----------------------------------------------------------------------------- */

/* Takes the next entry of KEEP off: 1; 0 at the end; -AL_E_DAMAGED. */
static int next_kept(struct al_str *entries, uint64_t *seq, uint64_t *ret_bytes)
{
    uint64_t delta = 0;
    size_t n, m;

    if (entries->n == 0)
        return 0;
    n = al_varint_get(entries->p, entries->p + entries->n, &delta);
    m = n ? al_varint_get(entries->p + n, entries->p + entries->n, ret_bytes) : 0;
    if (!m || delta == 0 || *ret_bytes > AL_PAYLOAD_MAX)
        return -AL_E_DAMAGED;
    *seq += delta;
    *entries = al_str_of(entries->p + n + m, entries->n - n - m);
    return 1;
}

static uint64_t last_seq(const struct al_node *node, const struct ali_stream *stream)
{
    uint32_t count = ali_history_count(node, stream);

    return count ? ali_history_entry(ali_history_at(node, stream->d.history), count - 1)->seq : 0;
}

int ali_prepare_keep(struct al_node *node, const struct ali_rec_keep *r)
{
    ali_ref ref = ali_find_stream(node, r->stream);
    struct al_str entries = r->entries;
    struct ali_stream *stream;
    uint64_t seq = 0, bytes = 0;
    uint32_t count = 0;
    int e;

    if (ref == AL_REF_NONE)
        return -AL_E_DAMAGED;
    stream = ali_stream_at(node, ref);
    while ((e = next_kept(&entries, &seq, &bytes)) == 1)
        if (seq < stream->d.runs.first_seq || seq >= stream->d.runs.next_seq ||
            ali_seq_is_gone(node, stream, ref, seq) ||
            (count++ == 0 && seq <= last_seq(node, stream)))
            return -AL_E_DAMAGED;
    if (e < 0 || !count || !ali_agent_at(node, stream->d.to)->inbox->d.retain.count)
        return -AL_E_DAMAGED;
    if (stream->d.history != AL_REF_NONE)
        return al_buf_reserve(&ali_history_at(node, stream->d.history)->d.entries, count * ENTRY);
    e = al_pool_reserve(&node->histories, 1);
    return e < 0 ? e : al_buf_reserve(&node->v.prepared_kept, count * ENTRY);
}

void ali_apply_keep(struct al_node *node, uint64_t lsn, const struct ali_rec_keep *r)
{
    ali_ref ref = ali_find_stream(node, r->stream);
    struct ali_stream *stream = ali_stream_at(node, ref);
    struct al_str entries = r->entries;
    struct ali_cursor at = ali_runs_begin(&stream->d.runs);
    uint64_t seq = 0, bytes = 0;
    struct ali_history *history;

    (void)lsn;
    if (stream->d.history == AL_REF_NONE) {
        history = history_make(node, ref);
        history->d.entries = node->v.prepared_kept;
        al_buf_init(&node->v.prepared_kept, &node->alloc);
    }
    history = ali_history_at(node, stream->d.history);
    ali_touch(node, ALI_PART_HISTORY, stream->d.history, &history->object);
    while (next_kept(&entries, &seq, &bytes) == 1) {
        struct ali_kept kept = {.seq = seq, .end_ms = r->wall_ms, .bytes = (uint32_t)bytes};

        while (at.seq < seq)
            ali_cursor_next(&stream->d.runs, &at);
        kept.lsn = at.lsn;
        (void)al_buf_put(&history->d.entries, &kept, ENTRY); /* reserved */
        history->d.bytes += bytes;
        node->d.kept++;
        ali_live_add(node, at.lsn);
        if (stream->d.moved_count)
            history->d.moved_seq = seq;
    }
    apply_limits(node, history);
}

int ali_prepare_forget(struct al_node *node, const struct ali_rec_forget *r)
{
    ali_ref ref = ali_find_stream(node, r->stream);

    return ref == AL_REF_NONE || ali_stream_at(node, ref)->d.history == AL_REF_NONE ? -AL_E_DAMAGED
                                                                                    : 0;
}

void ali_apply_forget(struct al_node *node, uint64_t lsn, const struct ali_rec_forget *r)
{
    ali_ref ref = ali_stream_at(node, ali_find_stream(node, r->stream))->d.history;
    struct ali_history *history = ali_history_at(node, ref);

    (void)lsn;
    ali_touch(node, ALI_PART_HISTORY, ref, &history->object);
    while (entry_count(history) && ali_history_entry(history, 0)->seq <= r->last_seq)
        forget_first(node, history);
    compact(history);
}

/* ---- carrying ---------------------------------------------------------------------------- */

uint64_t ali_history_seq_of(const struct al_node *node, ali_ref stream_ref, uint64_t lsn,
                            uint64_t admitted_seq)
{
    const struct ali_stream *stream = ali_stream_at(node, stream_ref);
    const struct ali_history *history;
    const struct ali_kept *kept;

    if (stream->d.history == AL_REF_NONE)
        return 0;
    history = ali_history_at(node, stream->d.history);
    kept = find_entry(history, admitted_seq);
    if (kept && kept->lsn == lsn)
        return kept->seq;
    for (uint32_t i = 0; i < entry_count(history); i++) {
        kept = ali_history_entry(history, i);
        if (kept->seq > history->d.moved_seq)
            break;
        if (kept->lsn == lsn)
            return kept->seq;
    }
    return 0;
}

/* The entry whose record is carried, NULL. */
static struct ali_kept *find_carried(const struct al_node *node, const struct ali_rec_carry *r)
{
    ali_ref ref = ali_find_stream(node, r->stream);
    struct ali_kept *kept = NULL;

    if (ref != AL_REF_NONE && ali_stream_at(node, ref)->d.history != AL_REF_NONE)
        kept = find_entry(ali_history_at(node, ali_stream_at(node, ref)->d.history), r->key);
    return kept && kept->lsn == r->old_lsn ? kept : NULL;
}

int ali_history_prepare_carry(struct al_node *node, const struct ali_rec_carry *r)
{
    return find_carried(node, r) ? 0 : -AL_E_DAMAGED;
}

void ali_history_apply_carry(struct al_node *node, uint64_t lsn, const struct ali_rec_carry *r)
{
    ali_ref ref = ali_stream_at(node, ali_find_stream(node, r->stream))->d.history;

    ali_touch(node, ALI_PART_HISTORY, ref, &ali_history_at(node, ref)->object);
    if (AL_PLANT(node, RETAIN_CARRY))
        return;
    find_carried(node, r)->lsn = lsn;
    ali_live_add(node, lsn);
    ali_live_drop(node, r->old_lsn);
}

/* ---- snapshots --------------------------------------------------------------------------- */

static int put_entries(const struct ali_history *history, struct al_buf *out)
{
    struct ali_kept last = {0};

    for (uint32_t i = 0; i < entry_count(history); i++) {
        const struct ali_kept *kept = ali_history_entry(history, i);

        if (al_buf_reserve(out, 40) < 0)
            return -AL_E_NOMEM;
        out->size += al_varint_put(out->data + out->size, kept->seq - last.seq);
        out->size +=
            al_varint_put(out->data + out->size, al_zigzag((int64_t)(kept->lsn - last.lsn)));
        out->size +=
            al_varint_put(out->data + out->size, al_zigzag((int64_t)(kept->end_ms - last.end_ms)));
        out->size += al_varint_put(out->data + out->size, kept->bytes);
        last = *kept;
    }
    return 0;
}

int ali_history_put(const struct al_node *node, const struct ali_history *history,
                    struct al_buf *out)
{
    struct al_buf entries;
    struct ali_item_history item = {.stream = ali_stream_at(node, history->d.stream)->d.id,
                                    .from_seq =
                                        AL_PLANT(node, RETAIN_REACH) ? 1 : history->d.from_seq,
                                    .gone_ms = history->d.gone_ms,
                                    .moved_seq = history->d.moved_seq};
    int r;

    al_buf_init(&entries, &node->alloc);
    r = put_entries(history, &entries);
    item.entries = al_str_of(entries.data, entries.size);
    if (r == 0)
        r = ali_put_item_history(out, &item);
    al_buf_deinit(&entries);
    return r;
}

static int take_varint(struct al_str *in, uint64_t *ret_value)
{
    size_t n = al_varint_get(in->p, in->p + in->n, ret_value);

    *in = al_str_of(in->p + n, in->n - n);
    return n ? 0 : -AL_E_DAMAGED;
}

static int load_entries(struct al_node *node, struct ali_history *history, struct al_str in)
{
    struct ali_kept kept = {0};

    while (in.n) {
        uint64_t seq = 0, lsn = 0, end_ms = 0, bytes = 0;

        if (take_varint(&in, &seq) < 0 || take_varint(&in, &lsn) < 0 ||
            take_varint(&in, &end_ms) < 0 || take_varint(&in, &bytes) < 0 || seq == 0 ||
            bytes > AL_PAYLOAD_MAX)
            return -AL_E_DAMAGED;
        kept.seq += seq;
        kept.lsn += (uint64_t)al_unzigzag(lsn);
        kept.end_ms += (uint64_t)al_unzigzag(end_ms);
        kept.bytes = (uint32_t)bytes;
        if (al_buf_put(&history->d.entries, &kept, ENTRY) < 0)
            return -AL_E_NOMEM;
        history->d.bytes += bytes;
        node->d.kept++;
    }
    return 0;
}

int ali_history_load(struct al_node *node, const struct ali_item_history *item)
{
    ali_ref ref = ali_find_stream(node, item->stream);
    struct ali_history *history;
    int r = al_pool_reserve(&node->histories, 1);

    if (r < 0 || ref == AL_REF_NONE || ali_stream_at(node, ref)->d.history != AL_REF_NONE)
        return r < 0 ? r : -AL_E_DAMAGED;
    history = history_make(node, ref);
    history->d.from_seq = item->from_seq;
    history->d.gone_ms = item->gone_ms;
    history->d.moved_seq = item->moved_seq;
    return load_entries(node, history, item->entries);
}

int ali_history_count_live(struct al_node *node, ali_ref ref)
{
    const struct ali_history *history = ali_history_at(node, ref);

    for (uint32_t i = 0; i < entry_count(history); i++) {
        uint64_t lsn = ali_history_entry(history, i)->lsn;

        if (!ali_live_is_known(node, lsn))
            return -AL_E_DAMAGED;
        ali_live_add(node, lsn);
    }
    return 0;
}

/* The limits stand behind the item's fields as an optional one: most agents have none. */
int ali_retain_put(const struct ali_agent *agent, const struct ali_item_agent *item,
                   struct al_buf *out)
{
    size_t at = out->size;
    uint8_t limits[24];
    int r = ali_put_item_agent(out, item);

    if (r < 0 || !agent->inbox->d.retain.count)
        return r;
    al_put64(limits, agent->inbox->d.retain.count);
    al_put64(limits + 8, agent->inbox->d.retain.bytes);
    al_put64(limits + 16, agent->inbox->d.retain.age_ms);
    r = al_ext_put(out, RETAIN_TAG, al_str_of(limits, sizeof(limits)));
    if (r == 0)
        al_put32(out->data + at, (uint32_t)(out->size - at - 4));
    return r;
}

int ali_retain_load(struct al_node *node, struct al_str body)
{
    struct ali_item_agent item;
    struct al_str limits;
    size_t fixed;

    if (ali_decode_item_agent(body, &item) < 0)
        return -AL_E_DAMAGED;
    fixed = (size_t)(item.name.p + item.name.n - body.p); /* the name is the last field */
    if (!al_ext_find(al_str_of(body.p + fixed, body.n - fixed), RETAIN_TAG, &limits))
        return 0;
    if (limits.n != 24)
        return -AL_E_DAMAGED;
    ali_agent_at(node, ali_find_agent(node, item.agent))->inbox->d.retain =
        (struct al_retain){al_get64(limits.p), al_get64(limits.p + 8), al_get64(limits.p + 16)};
    return 0;
}
