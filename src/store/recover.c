/* recover.c - from a directory to a store: which records are there, and is that all of them?
 *
 * 1. The newest snapshot whose every byte is right; a damaged one is passed over, loudly.
 * 2. Segments, oldest first. Those that the snapshot covers and lists are taken as they are listed;
 *    the others are walked frame by frame and their records replayed. A segment counts only up to
 *    the first LSN of the next one: what recovery rewrote supersedes what it was copied from. The
 *    newest one must not name a successor (closing.c): that file would be gone.
 * 3. The verdict. D is the highest LSN that anything says is durable: the snapshot, the segment
 *    headers, the batches. If the walk ended at or below D, acknowledged data is damaged: report,
 *    change nothing. Above D it is a torn tail, which was never acknowledged or whose
 * acknowledgement no later write could confirm: discarded, reported.
 * 4. Records above D that are whole are kept, but they may exist only in a cache. They are written
 *    again, into a segment that gets its name only when all of it is flushed. A crash before that
 *    leaves everything as it was; after it, the new segment supersedes the old tail. The closing
 *    block before the newest segment may be missing or exist only in a cache, too: it is written.
 *
 * Nothing is written before step 4, so every step can be repeated after a crash at any call. */
#include "store/internal.h"

struct numbers {
    uint64_t *list;
    size_t count, cap;
};

struct recovery {
    struct al_store *store;
    const struct al_store_replay *replay;
    struct al_store_report *report;
    struct ali_reader reader;
    struct numbers names[ALI_NAME_NEW + 1];
    struct ali_snapshot_file snapshot;
    bool have_snapshot;
    struct al_buf section;
    struct ali_table listed; /* what the snapshot lists and was not found yet */
    uint64_t durable;
    uint64_t expect;         /* LSN of the next record to replay */
    uint64_t header_durable; /* what the header of the newest segment says */
    bool is_named; /* a snapshot says that the newest segment is named by the one before */
};

/* ---- texts ------------------------------------------------------------------------------ */

static void say(struct recovery *rec, const char *text)
{
    ali_text_add(rec->report->detail, sizeof rec->report->detail, text);
}

static void say_number(struct recovery *rec, uint64_t number)
{
    ali_text_add_number(rec->report->detail, sizeof rec->report->detail, number);
}

static void say_place(struct recovery *rec, const char *file, uint64_t offset, const char *what)
{
    say(rec, file);
    say(rec, ", offset ");
    say_number(rec, offset);
    say(rec, ": ");
    say(rec, what);
}

static int damaged(struct recovery *rec, const struct ali_segment *segment, uint64_t offset,
                   const char *what, uint64_t lsn)
{
    char name[ALI_NAME_CAP] = "journal";

    if (segment)
        ali_name_format(ALI_NAME_JOURNAL, segment->id, name);
    say_place(rec, name, offset, what);
    say(rec, "; record ");
    say_number(rec, lsn);
    say(rec, " is missing or damaged although everything up to ");
    say_number(rec, rec->durable);
    say(rec, " was durable. Nothing was changed. Restore the directory from a copy, or look at it "
             "with 'agentlink journal verify'.");
    return -AL_E_DAMAGED;
}

/* A file is sealed, and not under the key that is here. `block` is its header block. */
static int no_key(struct recovery *rec, const char *name, const uint8_t *block)
{
    char text[160] = "";

    ali_sealed_say(text, sizeof text, block);
    rec->report->detail[0] = 0;
    say(rec, name);
    say(rec, " is ");
    say(rec, text);
    say(rec,
        rec->reader.key ? ", and the key that is here is another one." : ", and there is no key.");
    say(rec, " Nothing was changed. Without that key nobody can read what is in the directory.");
    return -AL_E_SEAL_KEY;
}

/* ---- the directory ---------------------------------------------------------------------- */

static int collect(void *ctx, const char *name)
{
    struct recovery *rec = ctx;
    uint64_t number;
    enum ali_name_kind kind = ali_name_parse(name, &number);
    struct numbers *names = &rec->names[kind];
    size_t i;

    if (kind == ALI_NAME_OTHER)
        return 0;
    if (names->count == names->cap) {
        const struct al_alloc *alloc = &rec->store->alloc;
        size_t cap = names->cap ? 2 * names->cap : 16;
        uint64_t *list = alloc->realloc_fn(alloc->ctx, names->list, names->cap * sizeof *list,
                                           cap * sizeof *list);

        if (!list)
            return -AL_E_NOMEM;
        names->list = list;
        names->cap = cap;
    }
    for (i = names->count++; i && names->list[i - 1] > number; i--) /* sorted by insertion */
        names->list[i] = names->list[i - 1];
    names->list[i] = number;
    return 0;
}

static uint64_t highest(const struct numbers *names)
{
    return names->count ? names->list[names->count - 1] : 0;
}

/* ---- snapshots -------------------------------------------------------------------------- */

static int open_snapshot(struct recovery *rec, uint64_t sequence, char name[ALI_NAME_CAP])
{
    ali_name_format(ALI_NAME_SNAPSHOT, sequence, name);
    rec->reader.chunk = rec->reader.piece;
    memset(&rec->snapshot, 0, sizeof rec->snapshot);
    rec->snapshot.sequence = sequence;
    return ali_reader_open(&rec->reader, name);
}

/* The snapshot that is open in the reader is sealed under another key. */
static int snapshot_no_key(struct recovery *rec, const char *name)
{
    const uint8_t *p;
    int r = ali_reader_get(&rec->reader, 0, AL_DISK_BLOCK, &p);

    return r == 0 ? no_key(rec, name, p) : -AL_E_SEAL_KEY;
}

/* Takes the newest snapshot that is whole. A damaged one still tells what was durable. */
static int choose_snapshot(struct recovery *rec)
{
    const struct numbers *names = &rec->names[ALI_NAME_SNAPSHOT];

    for (size_t i = names->count; i-- > 0;) {
        char name[ALI_NAME_CAP];
        int r = open_snapshot(rec, names->list[i], name);

        al_buf_clear(&rec->section);
        if (r == 0)
            r = ali_snapshot_check(&rec->reader, &rec->snapshot, &rec->section);
        if (r == -AL_E_SEAL_KEY)
            return snapshot_no_key(rec, name);
        if (r < 0 && r != -AL_E_DAMAGED)
            return r;
        if (rec->snapshot.header.lsn > rec->durable)
            rec->durable = rec->snapshot.header.lsn;
        if (r == 0) {
            rec->have_snapshot = true;
            return 0;
        }
        say_place(rec, name, rec->snapshot.bad_at, rec->snapshot.bad);
        say(rec, "; it was passed over. ");
        rec->report->snapshot_generation++;
    }
    return 0;
}

/* Notes the generation before the chosen one, for the time when the next is committed. */
static int note_generations(struct recovery *rec)
{
    const struct numbers *names = &rec->names[ALI_NAME_SNAPSHOT];
    struct al_store *store = rec->store;
    struct ali_snapshot_file chosen = rec->snapshot;

    store->next_snapshot = highest(names) + 1;
    if (!rec->have_snapshot)
        return 0;
    store->snapshot_sequence[0] = chosen.sequence;
    store->snapshot_lsn[0] = chosen.header.lsn;
    if (chosen.header.generation >= store->generation)
        store->generation = chosen.header.generation + 1;
    for (size_t i = names->count; i-- > 0;) {
        char name[ALI_NAME_CAP];
        int r;

        if (names->list[i] >= chosen.sequence)
            continue;
        r = open_snapshot(rec, names->list[i], name);
        rec->reader.chunk = AL_DISK_BLOCK;
        if (r == 0)
            r = ali_snapshot_peek(&rec->reader, &rec->snapshot);
        if (r == 0) {
            store->snapshot_sequence[1] = rec->snapshot.sequence;
            store->snapshot_lsn[1] = rec->snapshot.header.lsn;
        }
        rec->snapshot = chosen;
        return r == -AL_E_DAMAGED ? 0 : r;
    }
    return 0;
}

static int load_snapshot(struct recovery *rec)
{
    struct al_str section;
    char name[ALI_NAME_CAP];
    struct ali_segment *segment;
    int r = 1;

    rec->expect = 1;
    if (!rec->have_snapshot)
        return 0;
    rec->report->snapshot_lsn = rec->snapshot.header.lsn;
    rec->expect = rec->snapshot.header.lsn + 1;
    section = al_str_of(rec->section.data, rec->section.size);
    while (r == 1) {
        r = ali_section_next(&rec->store->alloc, &section, &segment);
        if (r == 1) {
            r = ali_table_add(&rec->store->alloc, &rec->listed, segment);
            if (r < 0)
                ali_segment_free(&rec->store->alloc, segment);
            r = r < 0 ? r : 1;
        }
    }
    if (r < 0)
        return r;
    ali_name_format(ALI_NAME_SNAPSHOT, rec->snapshot.sequence, name);
    rec->reader.chunk = rec->reader.piece;
    r = ali_reader_open(&rec->reader, name);
    if (r == 0)
        r = ali_snapshot_load(&rec->reader, &rec->snapshot, rec->replay);
    return r;
}

/* ---- segments --------------------------------------------------------------------------- */

static bool is_cold(const struct recovery *rec, const struct ali_segment *segment)
{
    return segment->listed && segment->closed && segment->last_lsn <= rec->snapshot.header.lsn;
}

/* The keys of a segment whose header block is p. */
static int load_keys(struct recovery *rec, struct ali_segment *segment, const uint8_t *p)
{
    char name[ALI_NAME_CAP];
    int r = ali_sealed_open(rec->reader.key, p, &segment->seal);

    segment->has_keys = r == 0;
    ali_name_format(ALI_NAME_JOURNAL, segment->id, name);
    if (r == -AL_E_SEAL_KEY)
        return no_key(rec, name, p);
    if (r == -AL_E_DAMAGED)
        return damaged(rec, segment, 0, "the seal of the header is broken", rec->expect);
    return r;
}

/* Reads the header of a journal file into a segment; the file is open in the reader. */
static int load_header(struct recovery *rec, struct ali_segment *segment, uint64_t bytes)
{
    struct al_store *store = rec->store;
    struct ali_segment_header header = {0};
    const uint8_t *p;
    int r = ali_reader_get(&rec->reader, 0, AL_DISK_BLOCK, &p);

    if (r < 0)
        return r;
    r = r > 0 ? -AL_E_DAMAGED : ali_segment_header_decode(p, &header);
    if (r == 0 && header.id != segment->id)
        r = -AL_E_DAMAGED;
    if (r == -AL_E_DAMAGED)
        return damaged(rec, segment, 0, "the header is damaged", rec->expect);
    if (r < 0)
        return r;
    segment->begin = header.has_closing ? ALI_CLOSING_AT + AL_DISK_BLOCK : AL_DISK_BLOCK;
    if (bytes < segment->begin || ((header.flags & ALI_SEGMENT_SIZED) && bytes < header.bytes))
        return damaged(rec, segment, bytes, "the file was cut", rec->expect);
    if (header.generation >= store->generation)
        store->generation = header.generation + 1;
    if (header.durable_lsn > rec->durable)
        rec->durable = header.durable_lsn;
    rec->header_durable = header.durable_lsn;
    segment->first_lsn = header.first_lsn;
    segment->is_zeroed = (header.flags & ALI_SEGMENT_ZEROED) != 0;
    memcpy(segment->salt, header.salt, 16);
    if (segment->listed && segment->is_sealed != header.is_sealed)
        return damaged(rec, segment, 0, "another file has this name", rec->expect);
    segment->is_sealed = header.is_sealed;
    return header.is_sealed ? load_keys(rec, segment, p) : 0;
}

static int load_segment(struct recovery *rec, uint64_t id)
{
    struct al_store *store = rec->store;
    struct ali_segment *segment = ali_table_by_id(&rec->listed, id);
    struct ali_table *table = &store->table;
    uint64_t bytes;
    char name[ALI_NAME_CAP];
    int r;

    if (segment) {
        ali_table_remove(&rec->listed, segment);
        r = ali_table_add(&store->alloc, table, segment);
        if (r < 0)
            ali_segment_free(&store->alloc, segment);
        if (r < 0 || is_cold(rec, segment))
            return r;
    }
    ali_name_format(ALI_NAME_JOURNAL, id, name);
    rec->reader.chunk = AL_DISK_BLOCK;
    r = ali_reader_open(&rec->reader, name);
    if (r < 0)
        return r;
    bytes = rec->reader.limit;
    if (segment)
        return load_header(rec, segment, bytes);
    segment = ali_segment_new(&store->alloc, id, bytes);
    if (!segment)
        return -AL_E_NOMEM;
    segment->is_sized = true;
    r = load_header(rec, segment, bytes);
    if (r == 0)
        r = ali_table_add(&store->alloc, table, segment);
    if (r < 0)
        ali_segment_free(&store->alloc, segment);
    return r;
}

static int load_segments(struct recovery *rec)
{
    const struct numbers *names = &rec->names[ALI_NAME_JOURNAL];
    const struct ali_table *table = &rec->store->table;
    uint64_t next_id = rec->have_snapshot ? rec->snapshot.header.next_segment_id : 0;

    for (size_t i = 0; i < names->count; i++) {
        int r;

        if (names->list[i] < next_id && !ali_table_by_id(&rec->listed, names->list[i]))
            continue; /* released before the snapshot began */
        r = load_segment(rec, names->list[i]);
        if (r < 0)
            return r;
    }
    /* A newer, damaged snapshot may have allowed what this one lists to go. */
    if (rec->listed.count && rec->report->snapshot_generation == 0)
        return damaged(rec, rec->listed.list[0], 0, "the file is gone",
                       rec->listed.list[0]->first_lsn);
    for (size_t i = 1; i < table->count; i++)
        if (table->list[i]->first_lsn < table->list[i - 1]->first_lsn)
            return damaged(rec, table->list[i], 0, "it begins before the one before it",
                           table->list[i]->first_lsn);
    return 0;
}

/* ---- the chain -------------------------------------------------------------------------- */

/* The newest file is not here, or not the right one: `what` is wrong at `offset` of segment `id`,
 * and the segment `before` (may be NULL) is the witness. */
static int broken_chain(struct recovery *rec, uint64_t id, uint64_t offset, const char *what,
                        const struct ali_segment *before)
{
    char name[ALI_NAME_CAP];

    ali_name_format(ALI_NAME_JOURNAL, id, name);
    say_place(rec, name, offset, what);
    if (before) {
        ali_name_format(ALI_NAME_JOURNAL, before->id, name);
        say(rec, "; the journal goes on in it, says ");
        say(rec, name);
    }
    say(rec, ". Nothing was changed. Put the file back, or restore the directory from a copy; "
             "'agentlink journal verify' shows what is there.");
    return -AL_E_DAMAGED;
}

static int read_closing(struct recovery *rec, struct ali_segment *segment,
                        enum ali_closing_state *ret_state, struct ali_closing *ret_closing)
{
    char name[ALI_NAME_CAP];
    const uint8_t *p;
    int r;

    ali_name_format(ALI_NAME_JOURNAL, segment->id, name);
    rec->reader.chunk = AL_DISK_BLOCK;
    r = ali_reader_open(&rec->reader, name);
    if (r == 0)
        r = ali_sealed_load(&rec->reader, segment);
    if (r == -AL_E_SEAL_KEY && ali_reader_get(&rec->reader, 0, AL_DISK_BLOCK, &p) == 0)
        return no_key(rec, name, p);
    if (r == -AL_E_DAMAGED)
        return damaged(rec, segment, 0, "the header is damaged", segment->first_lsn);
    return r < 0 ? r : ali_closing_read(&rec->reader, segment, ret_state, ret_closing);
}

/* The newest segment names none, and the one before it names the newest. */
static int check_chain(struct recovery *rec)
{
    const struct ali_table *table = &rec->store->table;
    struct ali_segment *newest, *before;
    enum ali_closing_state state;
    struct ali_closing closing;
    int r;

    if (table->count == 0)
        return 0;
    newest = table->list[table->count - 1];
    r = read_closing(rec, newest, &state, &closing);
    if (r < 0)
        return r;
    if (state == ALI_CLOSING_WHOLE)
        return broken_chain(rec, closing.next_id, 0, "the file is gone", newest);
    if (state == ALI_CLOSING_TORN)
        return broken_chain(rec, newest->id, ALI_CLOSING_AT,
                            "the closing block is damaged, and the file behind this one is gone "
                            "or was never there",
                            NULL);
    if (table->count == 1)
        return 0;
    before = table->list[table->count - 2];
    r = read_closing(rec, before, &state, &closing);
    if (r < 0)
        return r;
    rec->is_named = before->listed && before->closed;
    if (state == ALI_CLOSING_WHOLE && closing.next_id == newest->id &&
        memcmp(closing.next_salt, newest->salt, 16) != 0)
        return broken_chain(rec, newest->id, 0, "another file has this name", before);
    return 0;
}

/* ---- walking ---------------------------------------------------------------------------- */

static int give_record(struct recovery *rec, const struct ali_record *record)
{
    int r;

    if (record->lsn != rec->expect)
        return 0; /* below: in the snapshot already */
    rec->expect++;
    rec->report->records_replayed++;
    if (!rec->replay->record)
        return 0;
    r = rec->replay->record(rec->replay->ctx, record->lsn, record->type, record->payload);
    return r;
}

/* Walks a segment from the last listed batch at or below rec->expect, up to next_first. */
static int walk_segment(struct recovery *rec, struct ali_segment *segment, uint64_t next_first,
                        struct ali_scan *scan)
{
    struct ali_place place = ali_index_find(segment, rec->expect, true);
    struct ali_record record;
    int r = 1;

    while (segment->index_count && segment->index[segment->index_count - 1].offset >= place.at)
        segment->index_count--;
    ali_scan_begin(scan, &rec->reader, segment, place);
    if (place.lsn > rec->expect)
        return damaged(rec, segment, place.at, "the records before it are not there", rec->expect);
    while (scan->expect < next_first) {
        r = ali_scan_next(scan, &record);
        if (r <= 0)
            break;
        ali_index_note(segment, record.lsn, record.first ? scan->batch_at : record.at,
                       record.first);
        r = give_record(rec, &record);
        if (r)
            return r;
    }
    segment->last_lsn = scan->expect - 1;
    segment->used = ali_round_up(scan->batch_end ? scan->batch_end : scan->at);
    rec->store->appended_bytes += segment->used - place.at;
    if (scan->durable > rec->durable)
        rec->durable = scan->durable;
    return r < 0 ? r : 0;
}

/* The end of the newest segment: looks behind it for anything that was written later. */
static int judge_tail(struct recovery *rec, struct ali_segment *segment, struct ali_scan *scan)
{
    uint64_t end = scan->bad_at;
    int r = 0;

    if (!AL_PLANT(rec->store, STOP_AT_BAD))
        r = ali_scan_rest(scan, &end);
    if (r < 0)
        return r;
    if (scan->durable > rec->durable)
        rec->durable = scan->durable;
    if ((scan->expect <= rec->durable || scan->is_forged) && !AL_PLANT(rec->store, STOP_AT_BAD))
        return damaged(rec, segment, scan->bad_at, scan->bad, scan->expect);
    if (end > scan->bad_at)
        rec->report->torn_bytes = end - scan->bad_at;
    return 0;
}

static int walk_segments(struct recovery *rec)
{
    struct ali_table *table = &rec->store->table;

    for (size_t i = 0; i < table->count; i++) {
        struct ali_segment *segment = table->list[i];
        bool is_last = i + 1 == table->count;
        uint64_t next_first = is_last ? UINT64_MAX : table->list[i + 1]->first_lsn;
        struct ali_scan scan;
        char name[ALI_NAME_CAP];
        int r;

        if (is_cold(rec, segment) && !is_last)
            continue; /* complete when the snapshot began: it is as it is listed */
        ali_name_format(ALI_NAME_JOURNAL, segment->id, name);
        rec->reader.chunk = rec->reader.piece;
        r = ali_reader_open(&rec->reader, name);
        if (r == 0)
            r = walk_segment(rec, segment, next_first, &scan);
        if (r)
            return r;
        if (is_last)
            r = judge_tail(rec, segment, &scan);
        else if (scan.expect < next_first)
            r = damaged(rec, segment, scan.bad_at, scan.bad, scan.expect);
        if (r)
            return r;
        segment->closed = !is_last; /* it waits for its successor */
    }
    if (rec->expect <= rec->durable && !AL_PLANT(rec->store, STOP_AT_BAD))
        return damaged(rec, NULL, 0, "segments are gone", rec->expect);
    return 0;
}

/* ---- making it durable ------------------------------------------------------------------ */

/* Copies the records (durable, last] into batches and writes them as a new segment. */
static int rewrite_tail(struct recovery *rec, uint64_t last)
{
    struct al_store *store = rec->store;
    uint64_t first = rec->durable + 1, before = store->appended_bytes;
    struct ali_segment *segment;
    int r = 0;

    atomic_store(&store->appended, rec->durable);
    store->durable_shared = last; /* for reading */
    for (uint64_t lsn = first; lsn <= last && r == 0; lsn++) {
        struct ali_record record;

        r = ali_read_stored(store, lsn, &record);
        if (r == 0)
            r = al_store_append(store, lsn, record.type, record.payload);
    }
    store->appended_bytes = before;
    if (r == -AL_E_DAMAGED || r == -AL_E_NOT_FOUND) {
        say(rec, "The end of the journal read differently the second time; start again.");
        return -AL_E_IO;
    }
    if (r < 0)
        return r;
    ali_batches_close(store);
    r = ali_segment_create(store, first, last, store->pending, &segment, &store->active_file);
    if (r < 0)
        return r;
    for (size_t i = 0; i + 1 < store->table.count; i++) /* what was copied counts no more */
        if (store->table.list[i]->last_lsn > rec->durable)
            store->table.list[i]->last_lsn = rec->durable;
    store->active = segment;
    ali_batches_done(store);
    return ali_closing_follow(store, NULL);
}

/* Names the newest segment in the one before, unless that is known to be durable: a snapshot or
 * a batch was written afterwards. What is seen of it may be a page that a failed flush left. */
static int name_newest(struct recovery *rec)
{
    const struct ali_table *table = &rec->store->table;

    if (table->count < 2 || rec->is_named || rec->durable > rec->header_durable)
        return 0;
    return ali_closing_write(rec->store, table->list[table->count - 2], NULL,
                             table->list[table->count - 1]);
}

static int set_state(struct recovery *rec)
{
    struct al_store *store = rec->store;
    uint64_t last = rec->expect - 1;
    int r;

    store->next_segment_id = highest(&rec->names[ALI_NAME_JOURNAL]) + 1;
    if (rec->have_snapshot && rec->snapshot.header.next_segment_id > store->next_segment_id)
        store->next_segment_id = rec->snapshot.header.next_segment_id;
    store->snapshot_segment = rec->have_snapshot ? rec->snapshot.header.next_segment_id : 0;
    store->next_number = highest(&rec->names[ALI_NAME_FREE]) + 1;
    if (highest(&rec->names[ALI_NAME_NEW]) >= store->next_number)
        store->next_number = highest(&rec->names[ALI_NAME_NEW]) + 1;
    /* What is visible may not be durable: names that a failed start left so are made so now. */
    r = store->disk->ops->sync_dir(store->disk);
    if (r == 0)
        r = name_newest(rec);
    if (r == 0 && last > rec->durable && !AL_PLANT(store, NO_TAIL_REWRITE))
        r = rewrite_tail(rec, last);
    atomic_store(&store->appended, last);
    store->durable = store->carried = store->flushed = store->durable_shared = last;
    rec->report->last_lsn = last;
    return r;
}

static int unlink_one(struct recovery *rec, enum ali_name_kind kind, uint64_t number)
{
    char name[ALI_NAME_CAP];

    ali_name_format(kind, number, name);
    return rec->store->disk->ops->unlink(rec->store->disk, name);
}

/* Takes over a prepared file if it has the right size; otherwise it goes. */
static int adopt_free(struct recovery *rec, uint64_t number)
{
    struct al_store *store = rec->store;
    char name[ALI_NAME_CAP];
    uint64_t bytes;
    int r;

    ali_name_format(ALI_NAME_FREE, number, name);
    r = ali_reader_open(&rec->reader, name);
    bytes = rec->reader.limit;
    ali_reader_close(&rec->reader);
    if (r < 0)
        return r;
    if (bytes != store->config.segment_bytes || store->free_count == ALI_FREE_MAX)
        return unlink_one(rec, ALI_NAME_FREE, number);
    store->free_list[store->free_count++] = (struct ali_free){.number = number, .bytes = bytes};
    return 0;
}

/* Removes what a crash left half-made and what a snapshot set free. */
static int clean_up(struct recovery *rec)
{
    struct al_store *store = rec->store;
    const struct numbers *names = rec->names;
    uint64_t next_id = rec->have_snapshot ? rec->snapshot.header.next_segment_id : 0;
    int r = 0;

    for (size_t i = 0; i < names[ALI_NAME_NEW].count && r == 0; i++)
        r = unlink_one(rec, ALI_NAME_NEW, names[ALI_NAME_NEW].list[i]);
    for (size_t i = 0; i < names[ALI_NAME_JOURNAL].count && r == 0; i++) {
        uint64_t id = names[ALI_NAME_JOURNAL].list[i];

        if (id < next_id && !ali_table_by_id(&store->table, id))
            r = unlink_one(rec, ALI_NAME_JOURNAL, id);
    }
    store->passed_over = rec->report->snapshot_generation > 0;
    for (size_t i = 0; i < store->table.count; i++) {
        struct ali_segment *segment = store->table.list[i];

        if (segment->closed && segment->last_lsn < segment->first_lsn)
            segment->released = true; /* superseded or never used */
        if (ali_segment_is_free(store, segment))
            atomic_store(&store->maintain_due, true);
    }
    return r;
}

static int recover(struct recovery *rec)
{
    struct al_store *store = rec->store;
    int r = store->disk->ops->list(store->disk, collect, rec);

    if (r == 0)
        r = choose_snapshot(rec);
    if (r == 0)
        r = note_generations(rec);
    if (r == 0)
        r = load_snapshot(rec);
    if (r == 0)
        r = load_segments(rec);
    if (r == 0)
        r = check_chain(rec);
    if (r == 0)
        r = walk_segments(rec);
    for (size_t i = 0; i < rec->names[ALI_NAME_FREE].count && r == 0; i++)
        r = adopt_free(rec, rec->names[ALI_NAME_FREE].list[i]);
    if (r == 0)
        r = set_state(rec);
    if (r == 0)
        r = clean_up(rec);
    return r;
}

int ali_recover(struct al_store *store, const struct al_store_replay *replay,
                struct al_store_report *report)
{
    static const struct al_store_replay nothing;
    struct recovery rec = {.store = store, .replay = replay ? replay : &nothing, .report = report};
    int r;

    al_buf_init(&rec.section, &store->alloc);
    ali_reader_init(&rec.reader, &store->alloc, store->disk, store->config.read_bytes);
    rec.reader.plants = store->config.plants;
    rec.reader.piece = store->config.read_bytes;
    rec.reader.key = store->reader.key;
    r = recover(&rec);
    ali_reader_deinit(&rec.reader);
    ali_table_free(&store->alloc, &rec.listed);
    al_buf_deinit(&rec.section);
    for (size_t i = 0; i < sizeof rec.names / sizeof rec.names[0]; i++)
        al_alloc_free(&store->alloc, rec.names[i].list, rec.names[i].cap * sizeof(uint64_t));
    return r;
}
