/* runs.h - a waiting backlog as runs in the journal: a few bytes per message.
 *
 * The pending messages of a stream have consecutive sequences; all that must be kept of each is the
 * LSN of its record. Runs hold the LSNs as zigzag varint differences in chunks: one byte per
 * message in the common case. Appending at the end and taking from the front are O(1); a cursor
 * walks in between. */
#ifndef AL_CORE_RUNS_H
#define AL_CORE_RUNS_H

#include "base/bytes.h"
#include <stdbool.h>

struct ali_chunk {
    struct ali_chunk *next;
    uint64_t first_lsn; /* LSN of the first entry still held */
    uint64_t low, high; /* no entry lies outside: where not to look for one */
    uint32_t count;     /* entries still held */
    uint32_t taken;     /* entries taken from the front so far */
    uint16_t begin;     /* byte where the differences behind the first entry begin */
    uint16_t end;       /* bytes used */
    uint16_t cap;       /* bytes of data[] */
    uint8_t data[];
};

struct ali_runs {
    struct ali_chunk *head, *tail;
    struct ali_chunk *spare; /* reserved for the next append or move, linked by next */
    uint64_t first_seq;      /* sequence of the first entry; next_seq when empty */
    uint64_t next_seq;       /* sequence of the next append */
    uint64_t last_lsn;       /* of the newest entry: base of the next difference */
};

/* A place in the runs: the entry `seq`, or the end when seq == next_seq. */
struct ali_cursor {
    struct ali_chunk *chunk; /* NULL: not placed yet */
    uint64_t seq, lsn;
    uint32_t index; /* entries of the chunk before this one, taken ones included */
    uint16_t at;    /* byte where the difference of the entry after this one begins */
};

/* Entries held. */
static inline uint64_t ali_runs_count(const struct ali_runs *runs)
{
    return runs->next_seq - runs->first_seq;
}
/* Empty runs whose first entry will have this sequence. */
void ali_runs_init(struct ali_runs *runs, uint64_t first_seq);
/* Frees everything, also what was reserved. */
void ali_runs_deinit(struct ali_runs *runs, const struct al_alloc *alloc);
/* Makes sure that the next ali_runs_push cannot fail. 0 or -AL_E_NOMEM. */
int ali_runs_reserve(struct ali_runs *runs, const struct al_alloc *alloc);
/* Makes sure that the next `count` ali_runs_push cannot fail. 0 or -AL_E_NOMEM. */
int ali_runs_reserve_many(struct ali_runs *runs, const struct al_alloc *alloc, uint64_t count);
/* Gives back what was reserved and not used. */
void ali_runs_release(struct ali_runs *runs, const struct al_alloc *alloc);
/* Appends an entry; room must have been reserved. */
void ali_runs_push(struct ali_runs *runs, uint64_t lsn);
/* Removes the first entry; the runs must not be empty. Cursors that stand on it become invalid. */
void ali_runs_pop(struct ali_runs *runs, const struct al_alloc *alloc);
/* Places a cursor on the first entry (or the end). */
struct ali_cursor ali_runs_begin(const struct ali_runs *runs);
/* Places a cursor on seq; first_seq <= seq <= next_seq. Walks: for rare questions. */
struct ali_cursor ali_runs_seek(const struct ali_runs *runs, uint64_t seq);
/* Steps to the next entry; the cursor must not be at the end. A cursor at the end may be stepped
 * on with ali_cursor_refresh after a push. */
void ali_cursor_next(const struct ali_runs *runs, struct ali_cursor *cursor);
/* Re-reads the entry under a cursor that stood at the end when entries were pushed. */
void ali_cursor_refresh(const struct ali_runs *runs, struct ali_cursor *cursor);
/* Moves the cursor to the first entry with this LSN, from where it stands on; false: there is none,
 * and the cursor is at the end. Looks only into chunks that may hold it. */
bool ali_runs_find(const struct ali_runs *runs, uint64_t lsn, struct ali_cursor *cursor);
/* Makes sure that ali_runs_move of the entry `seq`, which must be there, cannot fail if it comes
 * next. 0 or -AL_E_NOMEM. */
int ali_runs_reserve_move(struct ali_runs *runs, const struct al_alloc *alloc, uint64_t seq);
/* Replaces the LSN of the entry `seq`, which must be there, within its chunk: walks the chunk once.
 * Cursors become invalid. Room must have been reserved. */
void ali_runs_move(struct ali_runs *runs, const struct al_alloc *alloc, uint64_t seq, uint64_t lsn);

#endif
