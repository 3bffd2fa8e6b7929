/* runs.c - LSNs of pending messages as varint differences in chunks. */
#include "core/runs.h"
#include "base/errors.h"
#include <assert.h>

/* A stream with one pending message pays for 48 bytes of differences, a backlog for 1 KiB each. */
#define FIRST_CAP 48u
#define CHUNK_CAP 1000u
#define DELTA_MAX 10u

static size_t chunk_bytes(unsigned cap)
{
    return sizeof(struct ali_chunk) + cap;
}

void ali_runs_init(struct ali_runs *runs, uint64_t first_seq)
{
    *runs = (struct ali_runs){.first_seq = first_seq, .next_seq = first_seq};
}

static void free_spares(struct ali_runs *runs, const struct al_alloc *alloc)
{
    while (runs->spare) {
        struct ali_chunk *next = runs->spare->next;

        al_alloc_free(alloc, runs->spare, chunk_bytes(runs->spare->cap));
        runs->spare = next;
    }
}

void ali_runs_deinit(struct ali_runs *runs, const struct al_alloc *alloc)
{
    while (runs->head) {
        struct ali_chunk *next = runs->head->next;

        al_alloc_free(alloc, runs->head, chunk_bytes(runs->head->cap));
        runs->head = next;
    }
    free_spares(runs, alloc);
    *runs = (struct ali_runs){0};
}

static struct ali_chunk *chunk_new(const struct al_alloc *alloc, unsigned cap)
{
    struct ali_chunk *chunk = al_alloc_new(alloc, chunk_bytes(cap));

    if (chunk)
        *chunk = (struct ali_chunk){.cap = (uint16_t)cap};
    return chunk;
}

/* Is there room for one more entry at the end? What a chunk is longer than usual is for moves. */
static bool takes_more(const struct ali_chunk *tail)
{
    unsigned cap = tail->cap < CHUNK_CAP ? tail->cap : CHUNK_CAP;

    return tail->end + DELTA_MAX <= cap;
}

int ali_runs_reserve(struct ali_runs *runs, const struct al_alloc *alloc)
{
    if (runs->spare || (runs->tail && takes_more(runs->tail)))
        return 0;
    runs->spare = chunk_new(alloc, runs->tail ? CHUNK_CAP : FIRST_CAP);
    return runs->spare ? 0 : -AL_E_NOMEM;
}

int ali_runs_reserve_many(struct ali_runs *runs, const struct al_alloc *alloc, uint64_t count)
{
    uint64_t need = count / (CHUNK_CAP / DELTA_MAX) + 1, have = 0;

    for (const struct ali_chunk *chunk = runs->spare; chunk; chunk = chunk->next)
        have += chunk->cap == CHUNK_CAP; /* the small one may come first: it is not counted */
    for (; have < need; have++) {
        struct ali_chunk *chunk = chunk_new(alloc, CHUNK_CAP);

        if (!chunk)
            return -AL_E_NOMEM;
        chunk->next = runs->spare;
        runs->spare = chunk;
    }
    return 0;
}

void ali_runs_release(struct ali_runs *runs, const struct al_alloc *alloc)
{
    free_spares(runs, alloc);
}

void ali_runs_push(struct ali_runs *runs, uint64_t lsn)
{
    struct ali_chunk *tail = runs->tail;

    if (!tail || !takes_more(tail)) {
        tail = runs->spare;
        assert(tail);
        runs->spare = tail->next;
        tail->next = NULL;
        tail->first_lsn = tail->low = tail->high = lsn;
        if (runs->tail)
            runs->tail->next = tail;
        else
            runs->head = tail;
        runs->tail = tail;
    } else {
        int64_t delta = (int64_t)(lsn - runs->last_lsn);

        tail->end = (uint16_t)(tail->end + al_varint_put(tail->data + tail->end, al_zigzag(delta)));
        if (lsn < tail->low)
            tail->low = lsn;
        if (lsn > tail->high)
            tail->high = lsn;
    }
    tail->count++;
    runs->last_lsn = lsn;
    runs->next_seq++;
}

static uint16_t take_delta(const struct ali_chunk *chunk, uint16_t at, uint64_t *lsn)
{
    uint64_t coded = 0;
    size_t len = 1;

    if (at < chunk->end && chunk->data[at] < 0x80) /* nearly all of them */
        coded = chunk->data[at];
    else
        len = al_varint_get(chunk->data + at, chunk->data + chunk->end, &coded);
    assert(len > 0);
    *lsn += (uint64_t)al_unzigzag(coded);
    return (uint16_t)(at + len);
}

void ali_runs_pop(struct ali_runs *runs, const struct al_alloc *alloc)
{
    struct ali_chunk *head = runs->head;

    assert(head && head->count > 0);
    runs->first_seq++;
    head->taken++;
    if (--head->count > 0) {
        head->begin = take_delta(head, head->begin, &head->first_lsn);
        return;
    }
    runs->head = head->next;
    if (!runs->head)
        runs->tail = NULL;
    /* A stream that runs empty again and again keeps its small chunk. */
    if (!runs->head && !runs->spare && head->cap == FIRST_CAP) {
        *head = (struct ali_chunk){.cap = head->cap};
        runs->spare = head;
        return;
    }
    al_alloc_free(alloc, head, chunk_bytes(head->cap));
}

struct ali_cursor ali_runs_begin(const struct ali_runs *runs)
{
    struct ali_cursor cursor = {.chunk = runs->head, .seq = runs->first_seq};

    if (runs->head) {
        cursor.lsn = runs->head->first_lsn;
        cursor.at = runs->head->begin;
        cursor.index = runs->head->taken;
    }
    return cursor;
}

void ali_cursor_next(const struct ali_runs *runs, struct ali_cursor *cursor)
{
    assert(cursor->seq < runs->next_seq && cursor->chunk);
    cursor->seq++;
    if (cursor->index + 1 < cursor->chunk->taken + cursor->chunk->count) {
        cursor->index++;
        cursor->at = take_delta(cursor->chunk, cursor->at, &cursor->lsn);
    } else if (cursor->chunk->next) {
        cursor->chunk = cursor->chunk->next;
        cursor->index = 0;
        cursor->lsn = cursor->chunk->first_lsn;
        cursor->at = cursor->chunk->begin;
    } else {
        cursor->chunk = NULL; /* at the end */
    }
}

void ali_cursor_refresh(const struct ali_runs *runs, struct ali_cursor *cursor)
{
    if (cursor->chunk || cursor->seq == runs->next_seq)
        return;
    if (cursor->seq + 1 == runs->next_seq) { /* the usual case: one message came in */
        cursor->chunk = runs->tail;
        cursor->index = runs->tail->taken + runs->tail->count - 1;
        cursor->lsn = runs->last_lsn;
        cursor->at = runs->tail->end;
        return;
    }
    *cursor = ali_runs_seek(runs, cursor->seq);
}

struct ali_cursor ali_runs_seek(const struct ali_runs *runs, uint64_t seq)
{
    struct ali_cursor cursor = ali_runs_begin(runs);

    assert(seq >= runs->first_seq && seq <= runs->next_seq);
    while (cursor.chunk && cursor.seq + cursor.chunk->count <= seq) {
        cursor.seq += cursor.chunk->count;
        cursor.chunk = cursor.chunk->next;
        if (cursor.chunk) {
            cursor.lsn = cursor.chunk->first_lsn;
            cursor.at = cursor.chunk->begin;
            cursor.index = 0;
        }
    }
    while (cursor.seq < seq)
        ali_cursor_next(runs, &cursor);
    return cursor;
}

/* Leaves the chunk under the cursor behind. */
static void skip_chunk(struct ali_cursor *cursor)
{
    const struct ali_chunk *chunk = cursor->chunk;

    cursor->seq += chunk->taken + chunk->count - cursor->index;
    cursor->index = 0;
    cursor->chunk = chunk->next;
    if (cursor->chunk) {
        cursor->lsn = cursor->chunk->first_lsn;
        cursor->at = cursor->chunk->begin;
        cursor->index = cursor->chunk->taken;
    }
}

bool ali_runs_find(const struct ali_runs *runs, uint64_t lsn, struct ali_cursor *cursor)
{
    while (cursor->chunk) {
        if (lsn < cursor->chunk->low || lsn > cursor->chunk->high)
            skip_chunk(cursor);
        else if (cursor->lsn == lsn)
            return true;
        else
            ali_cursor_next(runs, cursor);
    }
    return false;
}

/* ---- moving ------------------------------------------------------------------------------ */

/* A moved entry changes its own difference and the one behind it, which may grow from one byte to
 * DELTA_MAX each. */
#define MOVE_GROWTH (2 * (DELTA_MAX - 1))
/* Room that a chunk gets when it is full and an entry of it moves: the next ones move as well. */
#define MOVE_ROOM 64u

/* The chunk that holds `seq`; the chunk before it, or NULL, and the sequence it begins with. */
static struct ali_chunk *chunk_of(const struct ali_runs *runs, uint64_t seq,
                                  struct ali_chunk **ret_before, uint64_t *ret_first_seq)
{
    struct ali_chunk *chunk = runs->head;

    assert(seq >= runs->first_seq && seq < runs->next_seq);
    *ret_before = NULL;
    *ret_first_seq = runs->first_seq;
    while (*ret_first_seq + chunk->count <= seq) {
        *ret_first_seq += chunk->count;
        *ret_before = chunk;
        chunk = chunk->next;
    }
    return chunk;
}

static bool has_room_to_move(const struct ali_chunk *chunk)
{
    return (unsigned)(chunk->cap - (chunk->end - chunk->begin)) >= MOVE_GROWTH;
}

int ali_runs_reserve_move(struct ali_runs *runs, const struct al_alloc *alloc, uint64_t seq)
{
    struct ali_chunk *before, *bigger;
    uint64_t first_seq;
    const struct ali_chunk *chunk = chunk_of(runs, seq, &before, &first_seq);
    unsigned need = (unsigned)(chunk->end - chunk->begin) + MOVE_GROWTH;

    if (has_room_to_move(chunk) || (runs->spare && runs->spare->cap >= need))
        return 0;
    bigger = chunk_new(alloc, need + MOVE_ROOM);
    if (!bigger)
        return -AL_E_NOMEM;
    bigger->next = runs->spare;
    runs->spare = bigger;
    return 0;
}

/* Where an entry stands in its chunk, and between which others. */
struct place {
    uint16_t at, end;        /* bytes of its difference and of the one behind it */
    uint64_t before, behind; /* the LSNs next to it */
    uint64_t low, high;      /* of all others */
};

static struct place find_place(const struct ali_chunk *chunk, uint32_t index)
{
    struct place place = {chunk->begin, chunk->begin, 0, 0, UINT64_MAX, 0};
    uint64_t lsn = chunk->first_lsn;
    uint16_t at = chunk->begin;

    for (uint32_t i = 0; i < chunk->count; i++) {
        uint16_t begin = at;

        if (i > 0)
            at = take_delta(chunk, at, &lsn);
        if (i == index) {
            place.at = begin;
            place.end = at;
            continue;
        }
        if (i + 1 == index)
            place.before = lsn;
        if (i == index + 1) {
            place.behind = lsn;
            place.end = at;
        }
        place.low = lsn < place.low ? lsn : place.low;
        place.high = lsn > place.high ? lsn : place.high;
    }
    return place;
}

/* Replaces the bytes [at, end) of the differences. */
static void splice(struct ali_chunk *chunk, const struct place *place, const uint8_t *p, size_t n)
{
    size_t rest = (size_t)(chunk->end - place->end);

    assert(place->at + n + rest <= chunk->cap);
    memmove(chunk->data + place->at + n, chunk->data + place->end, rest);
    memcpy(chunk->data + place->at, p, n);
    chunk->end = (uint16_t)(place->at + n + rest);
}

/* Brings the differences of a chunk to the front of it, or of a bigger one that takes its place. */
static struct ali_chunk *make_room(struct ali_runs *runs, struct ali_chunk *old,
                                   struct ali_chunk *before, bool is_full)
{
    struct ali_chunk *chunk = is_full ? runs->spare : old;
    uint16_t cap = chunk->cap, size = (uint16_t)(old->end - old->begin);

    if (is_full) {
        runs->spare = chunk->next;
        *chunk = *old; /* copies the first of data[] as well: the end of the struct is padded */
        chunk->cap = cap;
        if (before)
            before->next = chunk;
        else
            runs->head = chunk;
        if (runs->tail == old)
            runs->tail = chunk;
    }
    memmove(chunk->data, old->data + old->begin, size);
    chunk->begin = 0;
    chunk->end = size;
    return chunk;
}

void ali_runs_move(struct ali_runs *runs, const struct al_alloc *alloc, uint64_t seq, uint64_t lsn)
{
    struct ali_chunk *before, *old;
    uint64_t first_seq;
    struct ali_chunk *chunk = old = chunk_of(runs, seq, &before, &first_seq);
    uint32_t index = (uint32_t)(seq - first_seq);
    uint8_t deltas[2 * DELTA_MAX];
    struct place place;
    size_t n = 0;

    if ((unsigned)(chunk->cap - chunk->end) < MOVE_GROWTH)
        chunk = make_room(runs, old, before, !has_room_to_move(old));
    if (chunk != old)
        al_alloc_free(alloc, old, chunk_bytes(old->cap));
    place = find_place(chunk, index);
    if (index > 0)
        n = al_varint_put(deltas, al_zigzag((int64_t)(lsn - place.before)));
    else
        chunk->first_lsn = lsn;
    if (index + 1 < chunk->count)
        n += al_varint_put(deltas + n, al_zigzag((int64_t)(place.behind - lsn)));
    splice(chunk, &place, deltas, n);
    chunk->low = lsn < place.low ? lsn : place.low;
    chunk->high = lsn > place.high ? lsn : place.high;
    if (seq + 1 == runs->next_seq)
        runs->last_lsn = lsn;
}
