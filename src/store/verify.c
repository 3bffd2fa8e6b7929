/* verify.c - every frame of every file, without a store and without changing anything.
 *
 * First everything is walked: snapshots from header to padding, segments from header to the first
 * frame that does not fit, and behind it for batches that were written later. Then each file gets a
 * verdict. Recovery trusts closed segments that a snapshot covers; this does not, so it also finds
 * what only a later read would find. */
#include "store/internal.h"

struct file {
    enum ali_name_kind kind;
    uint64_t number;
    char name[64];
    uint64_t bytes;
    struct al_verify_row row;
    struct ali_segment *segment; /* of a segment with a whole header */
    uint64_t durable;            /* said by its header and batches */
    uint64_t end;                /* LSN behind the last good record */
    uint64_t torn_end;
    enum ali_closing_state closing_state;
    struct ali_closing closing;
    bool is_bad;
    bool is_unread; /* damaged already by its header */
    bool is_forged; /* the walk ended at a seal that is broken */
};

struct verify {
    const struct al_alloc *alloc;
    struct al_disk *disk;
    struct ali_reader reader;
    struct file *files;
    size_t count, cap;
    struct ali_table listed;
    uint64_t snapshot_lsn, next_segment_id;
    bool have_snapshot, newest_is_bad;
    uint64_t durable;
};

static int collect(void *ctx, const char *name)
{
    struct verify *verify = ctx;
    struct file *file;
    size_t i;

    if (verify->count == verify->cap) {
        size_t cap = verify->cap ? 2 * verify->cap : 16;
        struct file *files = verify->alloc->realloc_fn(
            verify->alloc->ctx, verify->files, verify->cap * sizeof *files, cap * sizeof *files);

        if (!files)
            return -AL_E_NOMEM;
        verify->files = files;
        verify->cap = cap;
    }
    for (i = verify->count++; i && strcmp(verify->files[i - 1].name, name) > 0; i--)
        verify->files[i] = verify->files[i - 1];
    file = &verify->files[i];
    memset(file, 0, sizeof *file);
    ali_text_add(file->name, sizeof file->name, name);
    file->kind = ali_name_parse(name, &file->number);
    return 0;
}

static int mark(struct file *file, const char *verdict, uint64_t offset, const char *detail)
{
    file->row.verdict = verdict;
    file->row.offset = offset;
    file->row.detail = detail;
    file->is_bad = strcmp(verdict, "damaged") == 0;
    return 0;
}

/* ---- walking ---------------------------------------------------------------------------- */

static int load_section(struct verify *verify, const struct al_buf *buf)
{
    struct al_str section = al_str_of(buf->data, buf->size);
    struct ali_segment *segment;
    int r;

    while ((r = ali_section_next(verify->alloc, &section, &segment)) == 1) {
        r = ali_table_add(verify->alloc, &verify->listed, segment);
        if (r < 0) {
            ali_segment_free(verify->alloc, segment);
            return r;
        }
    }
    return r;
}

static int walk_snapshot(struct verify *verify, struct file *file)
{
    struct ali_snapshot_file snapshot = {.sequence = file->number};
    struct al_buf section;
    int r;

    al_buf_init(&section, verify->alloc);
    r = ali_snapshot_check(&verify->reader, &snapshot, &section);
    if (snapshot.header.lsn > verify->durable)
        verify->durable = snapshot.header.lsn;
    file->row.last_lsn = snapshot.header.lsn;
    file->row.bytes = snapshot.bytes;
    if (r == 0) {
        /* Files come in the order of their names: the last good one is the newest. */
        ali_table_free(verify->alloc, &verify->listed);
        verify->have_snapshot = true;
        verify->newest_is_bad = false;
        verify->snapshot_lsn = snapshot.header.lsn;
        verify->next_segment_id = snapshot.header.next_segment_id;
        r = load_section(verify, &section);
        mark(file, "ok", 0, "");
    } else if (r == -AL_E_DAMAGED) {
        verify->newest_is_bad = true;
        r = mark(file, "damaged", snapshot.bad_at, snapshot.bad);
    } else if (r == -AL_E_SEAL_KEY) {
        verify->newest_is_bad = true;
        r = mark(file, "damaged", 0, "sealed under another key");
    } else if (r == -AL_E_FORMAT) {
        r = mark(file, "damaged", 0, "written by a newer version");
    }
    al_buf_deinit(&section);
    return r;
}

static int walk_frames(struct verify *verify, struct file *file)
{
    struct ali_record record;
    struct ali_scan scan;
    int r;

    ali_scan_begin(&scan, &verify->reader, file->segment,
                   (struct ali_place){file->segment->begin, file->segment->first_lsn, true});
    do
        r = ali_scan_next(&scan, &record);
    while (r == 1);
    if (r == 0)
        r = ali_scan_rest(&scan, &file->torn_end);
    file->row.records = scan.records;
    file->row.first_lsn = file->segment->first_lsn;
    file->row.last_lsn = scan.expect - 1;
    file->row.offset = scan.bad_at;
    file->row.detail = scan.bad;
    file->is_forged = scan.is_forged;
    file->end = scan.expect;
    if (scan.durable > verify->durable)
        verify->durable = scan.durable;
    return r;
}

/* A sealed segment whose header cannot be believed: nothing behind it is looked at. */
static int mark_header(struct file *file, const char *detail)
{
    file->is_unread = true;
    return mark(file, "damaged", 0, detail);
}

static int walk_segment(struct verify *verify, struct file *file)
{
    struct ali_segment_header header = {0};
    const uint8_t *p;
    uint64_t begin;
    int r = ali_reader_get(&verify->reader, 0, AL_DISK_BLOCK, &p);

    if (r < 0)
        return r;
    r = r > 0 ? -AL_E_DAMAGED : ali_segment_header_decode(p, &header);
    if (r == -AL_E_FORMAT)
        return mark(file, "damaged", 0, "written by a newer version");
    if (r < 0 || header.id != file->number)
        return mark(file, "damaged", 0, "the header is damaged");
    begin = header.has_closing ? ALI_CLOSING_AT + AL_DISK_BLOCK : AL_DISK_BLOCK;
    if (file->row.bytes < begin ||
        ((header.flags & ALI_SEGMENT_SIZED) && file->row.bytes < header.bytes))
        return mark(file, "damaged", file->row.bytes, "the file was cut");
    file->segment = ali_segment_new(verify->alloc, header.id, ALI_INDEX_STEP);
    if (!file->segment)
        return -AL_E_NOMEM;
    file->segment->begin = begin;
    file->segment->first_lsn = header.first_lsn;
    file->segment->is_zeroed = (header.flags & ALI_SEGMENT_ZEROED) != 0;
    file->segment->is_sealed = header.is_sealed;
    memcpy(file->segment->salt, header.salt, 16);
    if (header.is_sealed && !ali_sealed_slots_are_whole(p))
        return mark_header(file, "a slot of the key is damaged");
    if (header.is_sealed && verify->reader.key) {
        r = ali_sealed_open(verify->reader.key, p, &file->segment->seal);
        if (r < 0)
            return mark_header(file, r == -AL_E_SEAL_KEY ? "sealed under another key"
                                                         : "the seal of the header is broken");
        file->segment->has_keys = true;
    }
    if (header.durable_lsn > verify->durable)
        verify->durable = header.durable_lsn;
    r = ali_closing_read(&verify->reader, file->segment, &file->closing_state, &file->closing);
    return r < 0 ? r : walk_frames(verify, file);
}

static int walk_file(struct verify *verify, struct file *file)
{
    int r;

    file->row.file = file->name;
    file->row.kind = file->kind == ALI_NAME_JOURNAL    ? "segment"
                     : file->kind == ALI_NAME_SNAPSHOT ? "snapshot"
                                                       : "other";
    file->row.detail = "";
    if (file->kind == ALI_NAME_OTHER && strcmp(file->name, AL_STORE_KEY_FILE) == 0)
        return mark(file, "ok", 0, ""); /* the master key: not ours, and not to be read here */
    if (file->kind == ALI_NAME_OTHER)
        return mark(file, "unknown", 0, "not a file of the store");
    r = ali_reader_open(&verify->reader, file->name);
    if (r < 0)
        return r;
    file->row.bytes = verify->reader.limit;
    if (file->kind == ALI_NAME_FREE)
        return mark(file, "free", 0, "prepared for later");
    if (file->kind == ALI_NAME_NEW)
        return mark(file, "free", 0, "unfinished; removed at the next start");
    return file->kind == ALI_NAME_SNAPSHOT ? walk_snapshot(verify, file)
                                           : walk_segment(verify, file);
}

/* ---- judging ---------------------------------------------------------------------------- */

static struct file *next_segment(struct verify *verify, struct file *file)
{
    for (struct file *f = file + 1; f < verify->files + verify->count; f++)
        if (f->kind == ALI_NAME_JOURNAL && f->segment)
            return f;
    return NULL;
}

static bool is_released(const struct verify *verify, const struct file *file)
{
    return verify->have_snapshot && file->number < verify->next_segment_id &&
           !ali_table_by_id(&verify->listed, file->number);
}

static void judge_segment(struct verify *verify, struct file *file)
{
    struct file *next = next_segment(verify, file);
    const struct ali_segment *listed = ali_table_by_id(&verify->listed, file->number);

    if (!file->segment || file->is_unread)
        return; /* has its verdict */
    if (is_released(verify, file))
        mark(file, "free", 0, "released");
    else if (listed && listed->closed && file->end == listed->last_lsn + 1)
        mark(file, "ok", 0, "");
    else if (next && file->end >= next->segment->first_lsn)
        mark(file, "ok", 0, "");
    else if (next || file->end <= verify->durable || file->is_forged)
        mark(file, "damaged", file->row.offset, file->row.detail);
    else if (file->torn_end > file->row.offset)
        mark(file, "torn tail", file->row.offset, file->row.detail);
    else
        mark(file, "ok", 0, "");
}

/* Records between what the snapshot holds and what the segments begin with. */
static void judge_start(struct verify *verify)
{
    for (size_t i = 0; i < verify->count; i++) {
        struct file *file = &verify->files[i];

        if (file->kind != ALI_NAME_JOURNAL || !file->segment)
            continue;
        if (file->segment->first_lsn > verify->snapshot_lsn + 1 && !file->is_bad)
            mark(file, "damaged", 0, "the records before this segment are not there");
        return;
    }
}

/* The closing blocks: each names the file behind it, the newest none. Returns the newest if the
 * file that it names is not there. */
static const struct file *judge_chain(struct verify *verify)
{
    struct file *newest = NULL;
    char name[ALI_NAME_CAP];
    struct al_disk_file *there;

    for (size_t i = 0; i < verify->count; i++) {
        struct file *file = &verify->files[i];

        if (file->kind != ALI_NAME_JOURNAL)
            continue;
        if (newest && newest->closing_state == ALI_CLOSING_WHOLE && file->segment &&
            newest->closing.next_id == file->number &&
            memcmp(newest->closing.next_salt, file->segment->salt, 16) != 0)
            mark(file, "damaged", 0, "another file has this name; the one before it says so");
        newest = file;
    }
    if (!newest || !newest->segment || newest->is_bad || is_released(verify, newest))
        return NULL;
    if (newest->closing_state == ALI_CLOSING_TORN)
        mark(newest, "damaged", ALI_CLOSING_AT,
             "the closing block is damaged, and there is no file behind this one");
    if (newest->closing_state != ALI_CLOSING_WHOLE)
        return NULL;
    /* A node that is at work may have made it since the directory was read. */
    ali_name_format(ALI_NAME_JOURNAL, newest->closing.next_id, name);
    if (verify->disk->ops->open(verify->disk, name, AL_DISK_READ, &there) < 0)
        return newest;
    verify->disk->ops->close(verify->disk, there);
    return NULL;
}

/* The first thing that is wrong goes into the report. */
static void note_bad(struct al_store_report *report, const struct al_verify_row *row)
{
    if (report->detail[0])
        return;
    ali_text_add(report->detail, sizeof report->detail, row->file);
    ali_text_add(report->detail, sizeof report->detail, ", offset ");
    ali_text_add_number(report->detail, sizeof report->detail, row->offset);
    ali_text_add(report->detail, sizeof report->detail, ": ");
    ali_text_add(report->detail, sizeof report->detail, row->detail);
}

/* Where the rows go. */
struct output {
    void (*fn)(void *ctx, const struct al_verify_row *row);
    void *ctx;
    struct al_store_report *report;
    int result;
};

static void give_row(struct output *output, const struct al_verify_row *row, bool is_bad)
{
    if (output->fn)
        output->fn(output->ctx, row);
    if (!is_bad)
        return;
    note_bad(output->report, row);
    output->result = -AL_E_DAMAGED;
}

static void give_files(struct verify *verify, struct output *output)
{
    for (size_t i = 0; i < verify->count; i++) {
        const struct file *file = &verify->files[i];

        output->report->records_replayed += file->row.records;
        if (file->row.last_lsn > output->report->last_lsn)
            output->report->last_lsn = file->row.last_lsn;
        give_row(output, &file->row, file->is_bad);
    }
}

static void give_missing(struct output *output, uint64_t id, struct al_verify_row row)
{
    char name[ALI_NAME_CAP];

    ali_name_format(ALI_NAME_JOURNAL, id, name);
    row.file = name;
    row.kind = "segment";
    row.verdict = "damaged";
    give_row(output, &row, true);
}

/* Segments that the newest snapshot lists and that are not there. */
static void give_listed_missing(struct verify *verify, struct output *output)
{
    for (size_t i = 0; i < verify->listed.count && !verify->newest_is_bad; i++) {
        const struct ali_segment *segment = verify->listed.list[i];
        size_t k = 0;

        while (k < verify->count && !(verify->files[k].kind == ALI_NAME_JOURNAL &&
                                      verify->files[k].number == segment->id))
            k++;
        if (k == verify->count)
            give_missing(output, segment->id,
                         (struct al_verify_row){.first_lsn = segment->first_lsn,
                                                .last_lsn = segment->last_lsn,
                                                .detail = "the file is gone"});
    }
}

static int run(struct verify *verify, struct output *output)
{
    int r = verify->disk->ops->list(verify->disk, collect, verify);
    const struct file *last;

    for (size_t i = 0; i < verify->count && r == 0; i++)
        r = walk_file(verify, &verify->files[i]);
    if (r < 0)
        return r;
    for (size_t i = 0; i < verify->count; i++)
        if (verify->files[i].kind == ALI_NAME_JOURNAL)
            judge_segment(verify, &verify->files[i]);
    judge_start(verify);
    last = judge_chain(verify);
    output->report->snapshot_lsn = verify->snapshot_lsn;
    give_files(verify, output);
    give_listed_missing(verify, output);
    if (last && !ali_table_by_id(&verify->listed, last->closing.next_id))
        give_missing(output, last->closing.next_id,
                     (struct al_verify_row){
                         .first_lsn = last->closing.next_lsn,
                         .detail = "the file is gone; the segment before it goes on in it"});
    return output->result;
}

int al_store_verify(const struct al_alloc *alloc, struct al_disk *disk,
                    const uint8_t key[AL_SEAL_KEY],
                    void (*fn)(void *ctx, const struct al_verify_row *row), void *ctx,
                    struct al_store_report *ret_report)
{
    struct verify verify = {.alloc = alloc, .disk = disk};
    struct output output = {.fn = fn, .ctx = ctx, .report = ret_report};
    int r;

    memset(ret_report, 0, sizeof *ret_report);
    ali_reader_init(&verify.reader, alloc, disk, ALI_READ_CHUNK);
    verify.reader.key = key;
    verify.reader.needs_no_key = !key;
    r = run(&verify, &output);
    for (size_t i = 0; i < verify.count; i++)
        ali_segment_free(alloc, verify.files[i].segment);
    al_alloc_free(alloc, verify.files, verify.cap * sizeof *verify.files);
    ali_table_free(alloc, &verify.listed);
    ali_reader_deinit(&verify.reader);
    return r;
}
