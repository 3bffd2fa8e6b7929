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

int ali_runs_reserve(struct ali_runs *runs, const struct al_alloc *alloc)
{
    if (runs->spare || (runs->tail && runs->tail->cap - runs->tail->end >= (int)DELTA_MAX))
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

    if (!tail || tail->cap - tail->end < (int)DELTA_MAX) {
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
    size_t len = al_varint_get(chunk->data + at, chunk->data + chunk->end, &coded);

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

int ali_runs_reserve_move(struct ali_runs *runs, const struct al_alloc *alloc)
{
    unsigned have = 0;

    for (struct ali_chunk *chunk = runs->spare; chunk; chunk = chunk->next)
        have++;
    /* A rebuilt chunk is at most 30 bytes longer: two large chunks; the first spare may be small.
     */
    for (; have < 3; have++) {
        struct ali_chunk *chunk = chunk_new(alloc, CHUNK_CAP);

        if (!chunk)
            return -AL_E_NOMEM;
        chunk->next = runs->spare;
        runs->spare = chunk;
    }
    return 0;
}

/* Decodes the chunk, changes one entry, and encodes it again. */
void ali_runs_move(struct ali_runs *runs, const struct al_alloc *alloc, uint64_t seq, uint64_t lsn)
{
    struct ali_runs fresh = {.spare = runs->spare};
    struct ali_chunk *before = NULL, *old = runs->head;
    uint64_t at_seq = runs->first_seq, at_lsn;
    uint16_t at;

    while (at_seq + old->count <= seq) {
        at_seq += old->count;
        before = old;
        old = old->next;
    }
    at_lsn = old->first_lsn;
    at = old->begin;
    for (uint32_t i = 0; i < old->count; i++) {
        if (i > 0)
            at = take_delta(old, at, &at_lsn);
        ali_runs_push(&fresh, at_seq + i == seq ? lsn : at_lsn);
    }
    assert(fresh.tail); /* the chunk held at least one message */
    fresh.tail->next = old->next;
    if (before)
        before->next = fresh.head;
    else
        runs->head = fresh.head;
    if (runs->tail == old) {
        runs->tail = fresh.tail;
        runs->last_lsn = fresh.last_lsn;
    }
    runs->spare = fresh.spare;
    free_spares(runs, alloc);
    al_alloc_free(alloc, old, chunk_bytes(old->cap));
}
