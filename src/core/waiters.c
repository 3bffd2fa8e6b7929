/* waiters.c - connections that wait for the end of a message that they did not send themselves.
 *
 * END goes to the connection that holds the producer. A program that was restarted, or another one
 * that sends with the same idempotency key, has another producer: it is noted here, in memory only,
 * by the place of the message. Whoever is cut off, or finds no room here, asks again (END_WATCH).
 */
#include "core/internal.h"
#include <assert.h>

#define OF_CONN offsetof(struct ali_waiter, link)

struct wanted {
    const struct al_node *node;
    uint64_t seq;
    uint32_t stream, conn; /* conn AL_REF_NONE: any */
};

static struct ali_waiter *watch_at(const struct al_node *node, ali_ref ref)
{
    return al_pool_at(&node->v.watches, ref);
}

static bool watch_is(const void *ctx, uint32_t ref)
{
    const struct wanted *want = ctx;
    const struct ali_waiter *watch = watch_at(want->node, ref);

    return watch->stream == want->stream && watch->seq == want->seq &&
           (want->conn == AL_REF_NONE || watch->conn == want->conn);
}

static ali_ref find(const struct al_node *node, uint32_t stream, uint64_t seq, uint32_t conn)
{
    struct wanted want = {node, seq, stream, conn};

    return al_index_find(&node->v.watch_places, ali_hash_pair(stream, seq), watch_is, &want);
}

static void count(struct al_node *node, uint32_t stream, uint32_t add)
{
    ali_ref ref = ali_find_stream(node, stream);

    if (ref != AL_REF_NONE)
        ali_stream_at(node, ref)->v.watch_count += add;
}

static void take_away(struct al_node *node, ali_ref ref)
{
    struct ali_waiter *watch = watch_at(node, ref);
    struct ali_conn *conn = ali_conn_at(node, watch->conn);

    assert(conn);
    ali_list_remove(&node->v.watches, OF_CONN, &conn->watches, ref);
    conn->watch_count--;
    count(node, watch->stream, UINT32_MAX);
    al_index_remove(&node->v.watch_places, ali_hash_pair(watch->stream, watch->seq), ref);
    al_pool_put(&node->v.watches, ref);
}

int ali_waiter_add(struct al_node *node, struct ali_conn *conn, uint32_t stream, uint64_t seq,
                   const struct al_id *id)
{
    ali_ref ref = find(node, stream, seq, conn->number);
    struct ali_waiter *watch;
    int r;

    if (ref != AL_REF_NONE) { /* one END per connection; the newest question names it */
        watch_at(node, ref)->id = id ? *id : watch_at(node, ref)->id;
        return 0;
    }
    if (conn->watch_count >= AL_WATCHES_PER_CONN_MAX)
        return -AL_E_LIMIT;
    r = al_pool_reserve(&node->v.watches, 1);
    if (r == 0)
        r = al_index_reserve(&node->v.watch_places, 1);
    if (r < 0)
        return r;
    ref = al_pool_take(&node->v.watches);
    watch = watch_at(node, ref);
    watch->conn = conn->number;
    watch->stream = stream;
    watch->seq = seq;
    watch->id = id ? *id : (struct al_id){{0}};
    al_index_add(&node->v.watch_places, ali_hash_pair(stream, seq), ref);
    ali_list_push(&node->v.watches, OF_CONN, &conn->watches, ref);
    conn->watch_count++;
    count(node, stream, 1);
    return 0;
}

void ali_waiter_tell(struct al_node *node, const struct al_msg_end *end, uint32_t told)
{
    ali_ref ref;

    while ((ref = find(node, end->stream, end->seq, AL_REF_NONE)) != AL_REF_NONE) {
        struct ali_waiter watch = *watch_at(node, ref);
        const struct ali_conn *conn = ali_conn_at(node, watch.conn);
        struct al_msg_end own = *end;

        take_away(node, ref);
        if (!al_id_is_zero(&watch.id))
            own.message_id = watch.id;
        if (watch.conn != told && !conn->closing)
            ALI_SEND(node, watch.conn, end, &own);
    }
}

void ali_waiter_move(struct al_node *node, uint32_t stream, uint64_t old_seq, uint64_t seq)
{
    ali_ref ref;

    while ((ref = find(node, stream, old_seq, AL_REF_NONE)) != AL_REF_NONE) {
        al_index_remove(&node->v.watch_places, ali_hash_pair(stream, old_seq), ref);
        watch_at(node, ref)->seq = seq;
        al_index_add(&node->v.watch_places, ali_hash_pair(stream, seq), ref);
    }
}

void ali_waiter_leave(struct al_node *node, struct ali_conn *conn)
{
    while (conn->watches.head != AL_REF_NONE)
        take_away(node, conn->watches.head);
}

void ali_waiter_drop_stream(struct al_node *node, uint32_t stream)
{
    for (ali_ref ref = 0; ref < node->v.watches.end; ref++)
        if (al_pool_has(&node->v.watches, ref) && watch_at(node, ref)->stream == stream)
            take_away(node, ref);
}
