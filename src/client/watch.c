/* watch.c - ends that are awaited: "no silent end" holds over reconnects and restarts.
 *
 * The node tells the end of a message on the connection that sent it. After a reconnect the client
 * asks again by stream and sequence (END_WATCH), and the node answers by them: so a watch is found
 * by its id and by its place.
 *
 * Two kinds of watch may be told nothing, and they are asked for once a second until there is an
 * answer: a message that is not due yet has no place to ask by, and after a reconnect only its
 * record says when it has got one; of a duplicate of somebody else's message the node tells the end
 * only while it has room to note who waits. */
#include "base/errors.h"
#include "base/limits.h"
#include "client/session.h"
#include <assert.h>
#include <stddef.h>

#define WATCH_MAX    1000000u
#define ENDS_MAX     65536u /* with so many not taken by the program, it cannot ask for more */
#define POLL_MS      1000u
#define POLL_AT_ONCE 64u

struct place_key {
    const struct ali_csession *session;
    uint32_t stream;
    uint64_t seq;
};

struct watch_key {
    const struct ali_csession *session;
    const struct al_message_id *id;
};

static struct ali_watch *watch_at(const struct ali_csession *session, uint32_t ref)
{
    return al_pool_at(&session->watch_pool, ref);
}

static bool watch_eq(const void *ctx, uint32_t ref)
{
    const struct watch_key *key = ctx;

    return memcmp(watch_at(key->session, ref)->id.bytes, key->id->bytes, 16) == 0;
}

/* Ids are random, and ours: any 8 bytes of them are a hash. */
static uint64_t id_hash(const struct al_message_id *id)
{
    return al_get64(id->bytes + 8);
}

static uint32_t watch_find(const struct ali_csession *session, const struct al_message_id *id)
{
    struct watch_key key = {session, id};

    return al_index_find(&session->watch_index, id_hash(id), watch_eq, &key);
}

static bool place_eq(const void *ctx, uint32_t ref)
{
    const struct place_key *key = ctx;
    const struct ali_watch *watch = watch_at(key->session, ref);

    return watch->stream == key->stream && watch->seq == key->seq;
}

static uint64_t place_hash(uint32_t stream, uint64_t seq)
{
    uint64_t x = seq * 0x9e3779b97f4a7c15ull ^ (stream + 1ull) * 0xd6e8feb86659fd93ull;

    return x ^ x >> 32;
}

static uint32_t watch_find_place(const struct ali_csession *session, uint32_t stream, uint64_t seq)
{
    struct place_key key = {session, stream, seq};

    if (seq == 0)
        return AL_REF_NONE;
    return al_index_find(&session->watch_places, place_hash(stream, seq), place_eq, &key);
}

/* Room was reserved when the watch was added: one place per watch. */
static void watch_set_place(struct ali_csession *session, uint32_t ref, uint32_t stream,
                            uint64_t seq)
{
    struct ali_watch *watch = watch_at(session, ref);

    if (watch->seq)
        al_index_remove(&session->watch_places, place_hash(watch->stream, watch->seq), ref);
    watch->stream = stream;
    watch->seq = seq;
    if (seq)
        al_index_add(&session->watch_places, place_hash(stream, seq), ref);
}

static void watch_set_polled(struct ali_csession *session, struct ali_watch *watch, bool polled)
{
    if (watch->polled == polled)
        return;
    watch->polled = polled;
    session->watch_polled = session->watch_polled + polled - !polled;
    if (session->watch_polled == 0)
        session->watch_poll_ns = AL_NEVER_NS;
    else if (session->watch_poll_ns == AL_NEVER_NS)
        session->watch_poll_ns = session->now.mono_ns + POLL_MS * AL_NS_PER_MS;
}

static void watch_remove(struct ali_csession *session, uint32_t ref)
{
    struct ali_watch *watch = watch_at(session, ref);

    watch_set_polled(session, watch, false);
    watch_set_place(session, ref, 0, 0);
    al_index_remove(&session->watch_index, id_hash(&watch->id), ref);
    al_pool_put(&session->watch_pool, ref);
}

int ali_watch_add(struct ali_csession *session, const struct al_message_id *id)
{
    uint32_t ref = watch_find(session, id);
    struct ali_watch *watch;
    int r;

    if (ref != AL_REF_NONE) { /* the same message sent again: one end for both */
        watch_at(session, ref)->sends++;
        return 0;
    }
    if (session->end_count >= ENDS_MAX) /* no end is dropped: the program must take them first */
        return -AL_E_BUSY;
    if (session->watch_pool.count >= WATCH_MAX)
        return -AL_E_LIMIT;
    r = al_pool_reserve(&session->watch_pool, 1);
    if (r >= 0)
        r = al_index_reserve(&session->watch_index, 1);
    if (r >= 0) /* for every watch, also those that have no place yet */
        r = al_index_reserve(&session->watch_places,
                             session->watch_pool.count + 1 - session->watch_places.count);
    if (r < 0)
        return r;
    ref = al_pool_take(&session->watch_pool);
    watch = watch_at(session, ref);
    watch->id = *id;
    watch->sends = 1;
    al_index_add(&session->watch_index, id_hash(id), ref);
    return 0;
}

void ali_watch_receipt(struct ali_csession *session, const struct ali_out *out)
{
    uint32_t ref = watch_find(session, &out->id);
    struct ali_watch *watch;

    if (ref == AL_REF_NONE)
        return;
    watch = watch_at(session, ref);
    if (out->error < 0) {
        if (--watch->sends == 0)
            watch_remove(session, ref);
        return;
    }
    watch->receipted = true;
    watch->is_duplicate = out->duplicate;
    watch_set_place(session, ref, out->stream, out->seq);
    /* Of a scheduled message under another id there is nothing to ask by; the node tells its end.
     */
    watch_set_polled(session, watch, out->duplicate && out->seq);
}

struct ali_watch *ali_watch_find(const struct ali_csession *session, const struct al_message_id *id)
{
    uint32_t ref = watch_find(session, id);

    return ref == AL_REF_NONE ? NULL : watch_at(session, ref);
}

bool ali_watch_wait(struct ali_csession *session, const struct al_message_id *id,
                    struct al_end **ret_end)
{
    uint32_t ref = watch_find(session, id);

    if (ref == AL_REF_NONE)
        return false;
    watch_at(session, ref)->waiter = ret_end;
    return true;
}

void ali_watch_forget(struct ali_csession *session, const struct al_message_id *id)
{
    uint32_t ref = watch_find(session, id);

    if (ref != AL_REF_NONE)
        watch_remove(session, ref);
}

/* ---- ends -------------------------------------------------------------------------------- */

static int end_new(struct ali_csession *session, const struct al_msg_end *m,
                   struct ali_end **ret_end)
{
    size_t size = sizeof(struct ali_end) + m->reason.n + m->response_type.n + m->response.n + 2;
    struct ali_end *end = al_alloc_zero(&session->config.alloc, size);
    uint8_t *room;

    if (!end)
        return -AL_E_NOMEM;
    room = (uint8_t *)(end + 1);
    end->alloc = session->config.alloc;
    end->size = size;
    memcpy(end->end.id.bytes, m->message_id.b, 16);
    end->end.stream = m->stream;
    end->end.seq = m->seq;
    end->end.state = m->state;
    end->end.attempts = m->attempts;
    end->end.end_ms = m->end_ms;
    end->end.reason = ali_text_copy(&room, m->reason);
    end->end.response_type = ali_text_copy(&room, m->response_type);
    if (m->response.n)
        memcpy(room, m->response.p, m->response.n);
    end->end.response = room;
    end->end.response_size = m->response.n;
    *ret_end = end;
    return 0;
}

void al_end_free(struct al_end *end)
{
    struct ali_end *whole;

    if (!end)
        return;
    whole = (struct ali_end *)(void *)((uint8_t *)end - offsetof(struct ali_end, end));
    al_alloc_free(&whole->alloc, whole, whole->size);
}

struct al_end *ali_csession_take_end(struct ali_csession *session)
{
    struct ali_end *end = session->ends;

    if (!end)
        return NULL;
    session->ends = end->next;
    if (!session->ends)
        session->ends_end = &session->ends;
    session->end_count--;
    return &end->end;
}

struct al_end *ali_csession_find_end(struct ali_csession *session, const struct al_message_id *id)
{
    struct ali_end **link = &session->ends, *end;

    while (*link && memcmp((*link)->end.id.bytes, id->bytes, 16) != 0)
        link = &(*link)->next;
    end = *link;
    if (!end)
        return NULL;
    *link = end->next;
    if (!end->next)
        session->ends_end = link;
    session->end_count--;
    return &end->end;
}

/* Gives the end to whoever waits for this watch; the watch is over. */
static int tell(struct ali_csession *session, uint32_t ref, const struct al_msg_end *m)
{
    struct ali_watch *watch = watch_at(session, ref);
    struct al_end **waiter = watch->waiter;
    struct al_msg_end proper = *m;
    uint32_t count = 0;
    struct ali_end *end;
    int r = ali_parts_end(session, watch->parts, &proper, &count);

    if (r >= 0)
        r = end_new(session, &proper, &end);
    if (r < 0)
        return r;
    end->end.parts = count;
    end->end.parts_attempt = count ? watch->parts ? watch->parts->attempt : 1 : 0;
    end->end.duplicate = watch->is_duplicate;
    end->end.id = watch->id; /* of a duplicate: the id under which this program knows it */
    watch_remove(session, ref);
    session->stats.ended++;
    if (waiter) {
        *waiter = &end->end;
        return 0;
    }
    *session->ends_end = end;
    session->ends_end = &end->next;
    session->end_count++;
    return 0;
}

int ali_watch_end(struct ali_csession *session, const struct al_msg_end *m)
{
    struct al_message_id id;
    uint32_t ref;
    int r = 0;

    memcpy(id.bytes, m->message_id.b, 16);
    if (m->state < AL_STATE_DELIVERED || m->state > AL_STATE_CANCELLED)
        return -AL_E_PROTOCOL;
    ref = watch_find(session, &id);
    if (ref != AL_REF_NONE)
        r = tell(session, ref, m);
    /* Several may wait for one place: the message and its duplicates. */
    while (r >= 0 && (ref = watch_find_place(session, m->stream, m->seq)) != AL_REF_NONE)
        r = tell(session, ref, m);
    return r; /* nobody: it was told already */
}

/* ---- after a reconnect ------------------------------------------------------------------- */

static int watch_put(struct ali_csession *session, const struct ali_watch *watch)
{
    struct al_msg_end_watch m = {.stream = watch->stream, .seq = watch->seq};

    return al_put_end_watch(&session->out, &m);
}

int ali_watch_at(struct ali_csession *session, const struct al_message_id *id, uint32_t stream,
                 uint64_t seq, struct al_end **ret_end)
{
    int r = ali_watch_add(session, id);
    uint32_t ref;

    if (r < 0)
        return r;
    ref = watch_find(session, id);
    watch_at(session, ref)->receipted = true;
    watch_at(session, ref)->waiter = ret_end;
    watch_set_place(session, ref, stream, seq);
    if (session->link == ALI_LINK_UP) /* otherwise the next connection asks */
        r = watch_put(session, watch_at(session, ref));
    if (r < 0)
        watch_remove(session, ref);
    return r;
}

int ali_watch_welcome(struct ali_csession *session)
{
    uint32_t ref;
    int r = 0;

    for (ref = 0; ref < session->watch_pool.end && r >= 0; ref++) {
        struct ali_watch *watch;

        if (!al_pool_has(&session->watch_pool, ref))
            continue;
        watch = watch_at(session, ref);
        if (!watch->receipted) /* will be sent again, and tell its end then */
            continue;
        if (watch->seq)
            r = watch_put(session, watch);
        else
            watch_set_polled(session, watch, true);
    }
    return r;
}

void ali_watch_error(struct ali_csession *session, const struct al_msg_error *m)
{
    uint32_t ref;

    /* The error names the stream only: whatever is awaited in it is looked up one by one. */
    for (ref = 0; ref < session->watch_pool.end; ref++) {
        if (al_pool_has(&session->watch_pool, ref) && watch_at(session, ref)->seq &&
            watch_at(session, ref)->stream == m->request)
            watch_set_polled(session, watch_at(session, ref), true);
    }
}

/* The record of a polled watch has come. */
static int record_came(struct ali_csession *session, struct ali_request *request)
{
    uint32_t ref = watch_find(session, &request->about);
    struct al_msg_end end = {.state = AL_STATE_ENDED};
    struct al_msg_record record;
    struct ali_watch *watch;
    int r = ali_request_record(request, &record);

    if (ref == AL_REF_NONE || (r < 0 && r != -AL_E_NOT_FOUND)) {
        ali_request_free(session, request);
        return 0; /* over, or asked again later */
    }
    watch = watch_at(session, ref);
    if (r == -AL_E_NOT_FOUND) {
        end.stream = watch->stream;
        end.seq = watch->seq;
        r = tell(session, ref, &end);
    } else if (record.seq && (record.state >= AL_STATE_DELIVERED || !watch->is_duplicate)) {
        watch_set_place(session, ref, record.stream, record.seq);
        watch_set_polled(session, watch, false);
        r = watch_put(session, watch); /* the end has the response, the record has not */
    }
    ali_request_free(session, request);
    return r;
}

int ali_watch_tick(struct ali_csession *session)
{
    uint32_t looked, asked = 0, end = session->watch_pool.end;
    int r = 0;

    if (session->now.mono_ns < session->watch_poll_ns)
        return 0;
    session->watch_poll_ns = session->now.mono_ns + POLL_MS * AL_NS_PER_MS;
    for (looked = 0; looked < end && asked < POLL_AT_ONCE && r >= 0; looked++) {
        uint32_t ref = session->watch_cursor++ % end;
        struct al_msg_record_get question = {0};
        const struct ali_watch *watch;

        if (!al_pool_has(&session->watch_pool, ref) || !watch_at(session, ref)->polled)
            continue;
        watch = watch_at(session, ref);
        question.stream = watch->stream;
        question.seq = watch->seq;
        if (!watch->seq)
            memcpy(question.message_id.b, watch->id.bytes, 16);
        r = ali_csession_ask_record(session, &question, &watch->id, record_came);
        asked++;
    }
    return r;
}

void ali_watch_deinit(struct ali_csession *session)
{
    struct al_end *end;

    while ((end = ali_csession_take_end(session)))
        al_end_free(end);
    al_pool_deinit(&session->watch_pool);
    al_index_deinit(&session->watch_index);
    al_index_deinit(&session->watch_places);
}
