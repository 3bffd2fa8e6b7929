/* keys.c - idempotency keys, and with them the stored answers.
 *
 * A key remembers the message that it was first used for and, once that has ended, how: state, time
 * and the ACK record that holds the response, which it keeps alive as long as it lives itself. So a
 * duplicate send gets the first one's answer, also when the delivery record is long forgotten.
 *
 * A key is found by its digest, and by the place of its message (stream and sequence) when that
 * ends. The place of a scheduled message, which has no sequence yet, is the number of the scheduled
 * message and ALI_KEY_SCHEDULED. Redrive and the due time move a key to its message's new place.
 * Keys whose message is still in work are counted in the stream, so that a stream without keys
 * looks for none.
 *
 * A post to a group has no single end, so its key stays open: whoever posts it again gets the first
 * one's place, and is told the end at all members when there is one (group_post.c). */
#include "core/internal.h"
#include "crypto/hash.h"
#include <assert.h>

/* ---- finding ----------------------------------------------------------------------------- */

static uint64_t key_hash(const void *ctx, const void *entry)
{
    (void)ctx;
    return al_get64(((const struct ali_key *)entry)->key); /* a digest already */
}

static bool key_is(const void *ctx, const void *entry)
{
    return memcmp(ctx, ((const struct ali_key *)entry)->key, 16) == 0;
}

struct ali_key *ali_find_key(const struct al_node *node, const uint8_t key[16])
{
    return al_recent_find(&node->d.keys, al_get64(key), key_is, key);
}

/* An index holds 32 bits: entry numbers modulo 2^32 - 1, which no reference to none can equal. */
static uint32_t ref_of(uint64_t number)
{
    return (uint32_t)(number % UINT32_MAX);
}

static struct ali_key *key_at(const struct al_node *node, uint32_t ref)
{
    uint64_t first = node->d.keys.first;
    uint64_t behind = ((uint64_t)ref + UINT32_MAX - first % UINT32_MAX) % UINT32_MAX;

    return al_recent_at(&node->d.keys, first + behind);
}

struct place {
    const struct al_node *node;
    uint64_t seq;
    uint32_t stream;
};

static uint64_t place_hash(const struct al_node *node, uint32_t stream, uint64_t seq)
{
    (void)node;
    return ali_hash_pair(stream, seq);
}

static bool place_is(const void *ctx, uint32_t ref)
{
    const struct place *place = ctx;
    const struct ali_key *key = key_at(place->node, ref);

    return key->seq == place->seq && key->stream == place->stream;
}

struct ali_key *ali_find_key_of(const struct al_node *node, uint32_t stream, uint64_t seq)
{
    struct place place = {node, seq, stream};
    uint32_t ref = AL_REF_NONE;

    if (node->key_places.count)
        ref = al_index_find(&node->key_places, place_hash(node, stream, seq), place_is, &place);
    return ref == AL_REF_NONE ? NULL : key_at(node, ref);
}

/* ---- the ring ---------------------------------------------------------------------------- */

int ali_keys_reserve(struct al_node *node)
{
    int r = al_recent_reserve(&node->d.keys, 1, key_hash, NULL);

    return r < 0 ? r : al_index_reserve(&node->key_places, 1);
}

/* The stream's count of keys whose message is still in work. */
static void count_open(struct al_node *node, uint32_t stream, uint32_t add)
{
    ali_ref ref = ali_find_stream(node, stream);

    if (ref != AL_REF_NONE)
        ali_stream_at(node, ref)->d.key_count += add;
}

void ali_keys_evict(struct al_node *node)
{
    uint64_t number = node->d.keys.first;
    const struct ali_key *oldest = al_recent_at(&node->d.keys, number);
    ali_ref agent = ali_find_agent(node, oldest->agent);

    ali_snapshot_keep_entry(node, ALI_PART_KEYED, number);
    if (agent != AL_REF_NONE)
        ali_agent_at(node, agent)->inbox->d.key_count--;
    if (oldest->lsn)
        ali_live_drop(node, oldest->lsn);
    if (oldest->seq)
        al_index_remove(&node->key_places, place_hash(node, oldest->stream, oldest->seq),
                        ref_of(number));
    if (oldest->state == 0)
        count_open(node, oldest->stream, UINT32_MAX);
    node->d.keys.first++;
}

struct ali_key *ali_keys_add(struct al_node *node, const uint8_t key[16], uint32_t stream,
                             uint64_t seq)
{
    struct ali_key *entry;

    /* Only after the limit was lowered: admission makes room. */
    if (node->d.keys.next - node->d.keys.first == node->d.keys.cap)
        ali_keys_evict(node);
    entry = al_recent_add(&node->d.keys, al_get64(key));
    memcpy(entry->key, key, 16);
    entry->stream = stream;
    entry->seq = seq;
    if (seq)
        al_index_add(&node->key_places, place_hash(node, stream, seq),
                     ref_of(node->d.keys.next - 1));
    return entry;
}

/* ---- what becomes of the message --------------------------------------------------------- */

void ali_key_open(struct al_node *node, const struct ali_key *key)
{
    count_open(node, key->stream, 1);
}

void ali_key_end(struct al_node *node, const struct ali_ended *ended)
{
    struct ali_key *key = ali_find_key_of(node, ended->stream, ended->seq);

    if (!key || key->state)
        return;
    ali_snapshot_keep_key(node, al_recent_number(&node->d.keys, key));
    key->state = ended->state;
    key->attempts = ended->attempts & ALI_KEY_ATTEMPTS_MAX;
    key->end_ms = ended->end_ms & ALI_KEY_TIME_MAX;
    /* Of a dead letter there is nothing to tell again: the key is refused. */
    if (ended->lsn && (key->state == AL_STATE_DELIVERED || key->state == AL_STATE_PARTIAL)) {
        key->lsn = ended->lsn;
        ali_live_add(node, key->lsn);
    }
    count_open(node, key->stream, UINT32_MAX);
}

void ali_key_lost(struct al_node *node, uint32_t stream, uint64_t seq)
{
    struct ali_ended dead = {.stream = stream, .seq = seq, .state = AL_STATE_DEAD};

    ali_key_end(node, &dead);
}

void ali_key_move(struct al_node *node, uint32_t stream, uint64_t old_seq, uint64_t seq)
{
    struct ali_key *key = ali_find_key_of(node, stream, old_seq);
    uint64_t number;

    if (!key)
        return;
    number = al_recent_number(&node->d.keys, key);
    ali_snapshot_keep_key(node, number);
    al_index_remove(&node->key_places, place_hash(node, stream, old_seq), ref_of(number));
    key->seq = seq;
    /* As many went out as come in: there is room. */
    al_index_add(&node->key_places, place_hash(node, stream, seq), ref_of(number));
    if (key->state == 0)
        return;
    key->state = 0; /* a dead letter is sent again */
    key->attempts = 0;
    key->end_ms = 0;
    ali_key_open(node, key);
}

void ali_key_carried(struct al_node *node, struct ali_key *key, uint64_t lsn)
{
    ali_snapshot_keep_key(node, al_recent_number(&node->d.keys, key));
    ali_live_drop(node, key->lsn);
    ali_live_add(node, lsn);
    key->lsn = lsn;
}

/* ---- digests ----------------------------------------------------------------------------- */

void ali_key_digest(uint32_t sender, struct al_str key, uint8_t ret_digest[16])
{
    uint8_t number[4] = {0};
    struct al_str parts[2] = {al_str_of(number, sizeof(number)), key};

    al_put32(number, sender);
    al_digest128(parts, 2, ret_digest);
}

void ali_body_digest(const struct ali_agent *to, const struct al_msg_envelope *envelope,
                     uint8_t ret_digest[16])
{
    uint8_t number[4];
    /* Not the id and the time: a client that restarted sends the same thing under new ones. */
    struct al_str parts[6] = {al_str_of(to->d.name, to->d.name_size),
                              envelope->kind,
                              envelope->content_type,
                              envelope->headers,
                              envelope->payload,
                              al_str_of(number, sizeof(number))};

    /* A group that was removed has taken what was said along: one of its name is another one. */
    al_put32(number, to->d.id);
    al_digest128(parts, to->v.group == AL_REF_NONE ? 5 : 6, ret_digest);
}
