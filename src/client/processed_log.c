/* processed_log.c - reading, appending, compacting; the format stands in processed_log.h. */
#include "client/processed_log.h"
#include "base/crc32c.h"
#include "base/errors.h"
#include "crypto/hash.h"
#include "os/entropy.h"
#include <string.h>

#define MAGIC_FILE  "ALPROC01"
#define MAGIC_ENTRY 0x45504c41u /* "ALPE" */
#define HEAD_SIZE   32u
#define ID_SIZE     16u
#define BODY_MAX    (20u << 20) /* a response of 16 MiB with all its headers fits */
#define READ_BYTES  (256u << 10)
#define LONG_BYTES  (1u << 20) /* a file is not worth compacting below this */

static uint64_t whole_size(uint32_t body_size)
{
    return (HEAD_SIZE + (uint64_t)body_size + 7) & ~7ull;
}

/* ---- entries in memory ------------------------------------------------------------------- */

static uint64_t id_hash(const struct ali_processed_log *log, const struct al_message_id *id)
{
    return al_hash64(log->seed, id->bytes, sizeof(id->bytes));
}

static uint64_t entry_hash(const void *ctx, const void *entry)
{
    return id_hash(ctx, &((const struct ali_processed_entry *)entry)->id);
}

static bool entry_is(const void *ctx, const void *entry)
{
    return memcmp(ctx, entry, sizeof(struct al_message_id)) == 0;
}

const struct ali_processed_entry *ali_processed_log_find(const struct ali_processed_log *log,
                                                         const struct al_message_id *id)
{
    return al_recent_find(&log->entries, id_hash(log, id), entry_is, id);
}

static void entry_add(struct ali_processed_log *log, const struct al_message_id *id,
                      uint64_t offset, uint32_t size)
{
    struct ali_processed_entry *entry;

    if (log->entries.next - log->entries.first == log->entries.limit) {
        const struct ali_processed_entry *oldest = al_recent_at(&log->entries, log->entries.first);

        log->bytes -= whole_size(oldest->size);
    }
    entry = al_recent_add(&log->entries, id_hash(log, id));
    *entry = (struct ali_processed_entry){*id, offset, size};
    log->bytes += whole_size(size);
}

/* ---- heads ------------------------------------------------------------------------------- */

static void put_head(uint8_t head[HEAD_SIZE], uint64_t offset, uint64_t durable,
                     const uint8_t *body, uint32_t size)
{
    al_put32(head, MAGIC_ENTRY);
    al_put32(head + 4, size);
    al_put64(head + 8, offset);
    al_put64(head + 16, durable);
    al_put32(head + 24, al_crc32c(0, body, size));
    al_put32(head + 28, al_crc32c(0, head, 28));
}

static bool head_is_good(const uint8_t head[HEAD_SIZE], uint64_t offset)
{
    return al_get32(head) == MAGIC_ENTRY && al_get64(head + 8) == offset &&
           al_get32(head + 4) >= ID_SIZE && al_get32(head + 4) <= BODY_MAX &&
           al_get32(head + 28) == al_crc32c(0, head, 28);
}

/* Reads the body behind a head into log->scratch. */
static int read_body(struct ali_processed_log *log, uint64_t offset, uint32_t size)
{
    int r;

    al_buf_clear(&log->scratch);
    r = al_buf_reserve(&log->scratch, size);
    if (r < 0)
        return r;
    r = al_append_file_read(log->file, offset + HEAD_SIZE, log->scratch.data, size);
    log->scratch.size = r < 0 ? 0 : size;
    return r;
}

/* The entry at this offset: 1 good, 0 not, or an error of reading. */
static int check_entry(struct ali_processed_log *log, uint64_t offset, uint8_t head[HEAD_SIZE])
{
    uint32_t size;
    int r;

    if (offset + HEAD_SIZE > log->size)
        return 0;
    r = al_append_file_read(log->file, offset, head, HEAD_SIZE);
    if (r < 0)
        return r;
    size = al_get32(head + 4);
    if (!head_is_good(head, offset) || offset + whole_size(size) > log->size)
        return 0;
    r = read_body(log, offset, size);
    if (r < 0)
        return r;
    return al_get32(head + 24) == al_crc32c(0, log->scratch.data, size);
}

/* ---- opening ----------------------------------------------------------------------------- */

static void make_header(uint8_t header[HEAD_SIZE])
{
    memset(header, 0, HEAD_SIZE);
    memcpy(header, MAGIC_FILE, 8);
    al_put32(header + 8, 1);
    al_put32(header + 28, al_crc32c(0, header, 28));
}

/* A new file, or one whose making was cut short. */
static int begin_file(struct ali_processed_log *log)
{
    uint8_t header[HEAD_SIZE], found[HEAD_SIZE] = {0};
    int r = 0;

    make_header(header);
    if (log->size)
        r = al_append_file_read(log->file, 0, found, (size_t)log->size);
    if (r == 0 && memcmp(header, found, (size_t)log->size) != 0)
        return -AL_E_FORMAT;
    if (r == 0)
        r = al_append_file_write(log->file, 0, header, sizeof(header));
    if (r == 0)
        r = al_append_file_flush(log->file);
    if (r == 0)
        log->size = HEAD_SIZE;
    return r;
}

static int check_header(struct ali_processed_log *log)
{
    uint8_t header[HEAD_SIZE], found[HEAD_SIZE];
    int r = al_append_file_read(log->file, 0, found, sizeof(found));

    if (r < 0)
        return r;
    make_header(header);
    if (memcmp(found, header, sizeof(found)) == 0)
        return 0;
    if (memcmp(found, MAGIC_FILE, 8) == 0 && al_get32(found + 28) != al_crc32c(0, found, 28))
        return -AL_E_DAMAGED;
    return -AL_E_FORMAT;
}

/* The highest `durable` of any head behind a bad entry. */
static int find_evidence(struct ali_processed_log *log, uint64_t from, uint64_t *durable)
{
    int r = al_buf_reserve(&log->scratch, READ_BYTES);

    for (uint64_t at = from; r == 0 && at + HEAD_SIZE <= log->size;) {
        size_t n = log->size - at < READ_BYTES ? (size_t)(log->size - at) : READ_BYTES, i;

        r = al_append_file_read(log->file, at, log->scratch.data, n);
        for (i = 0; r == 0 && i + HEAD_SIZE <= n; i += 8) {
            const uint8_t *head = log->scratch.data + i;

            if (head_is_good(head, at + i) && al_get64(head + 16) > *durable)
                *durable = al_get64(head + 16);
        }
        at += i;
    }
    return r;
}

/* Reads the entries up to the first that is not good. */
static int read_entries(struct ali_processed_log *log, uint64_t *ret_end, uint64_t *durable)
{
    uint64_t at = HEAD_SIZE;
    uint8_t head[HEAD_SIZE];
    int r;

    while ((r = check_entry(log, at, head)) == 1) {
        struct al_message_id id;

        r = al_recent_reserve(&log->entries, 1, entry_hash, log);
        if (r < 0)
            return r;
        memcpy(id.bytes, log->scratch.data, sizeof(id.bytes));
        if (!ali_processed_log_find(log, &id))
            entry_add(log, &id, at, al_get32(head + 4));
        if (al_get64(head + 16) > *durable)
            *durable = al_get64(head + 16);
        at += whole_size(al_get32(head + 4));
    }
    *ret_end = at;
    return r;
}

static int load(struct ali_processed_log *log)
{
    uint64_t durable = HEAD_SIZE, end = HEAD_SIZE;
    int r = log->size < HEAD_SIZE ? begin_file(log) : check_header(log);

    if (r == 0)
        r = read_entries(log, &end, &durable);
    if (r == 0 && end < log->size)
        r = find_evidence(log, end + 8, &durable);
    if (r < 0)
        return r;
    if (durable > end)
        return -AL_E_DAMAGED;
    if (end < log->size) { /* what a crash left of entries that nobody relied on */
        r = al_append_file_cut(log->file, end);
        log->size = end;
    } else { /* the last entries may exist only in a cache */
        r = al_append_file_flush(log->file);
    }
    log->durable = log->size;
    return r;
}

int ali_processed_log_open(struct ali_processed_log *log, const char *path, uint32_t entries_max,
                           uint64_t bytes_max)
{
    int r;

    al_recent_init(&log->entries, &log->alloc, sizeof(struct ali_processed_entry), entries_max);
    al_buf_init(&log->scratch, &log->alloc);
    log->bytes_max = bytes_max;
    r = al_entropy_fill(log->seed, sizeof(log->seed));
    if (r == 0)
        r = al_append_file_open(path, &log->file, &log->size);
    if (r == 0)
        r = load(log);
    if (r < 0)
        ali_processed_log_close(log);
    return r;
}

void ali_processed_log_close(struct ali_processed_log *log)
{
    al_append_file_close(log->file);
    log->file = NULL;
    al_recent_deinit(&log->entries);
    al_buf_deinit(&log->scratch);
}

/* ---- reading and appending --------------------------------------------------------------- */

int ali_processed_log_read(struct ali_processed_log *log, const struct ali_processed_entry *entry,
                           struct al_buf *buf, struct al_str *ret_ack)
{
    uint8_t head[HEAD_SIZE];
    int r = check_entry(log, entry->offset, head);

    if (r < 0)
        return r;
    if (r == 0 || memcmp(log->scratch.data, entry->id.bytes, ID_SIZE) != 0)
        return -AL_E_DAMAGED;
    al_buf_clear(buf);
    r = al_buf_put(buf, log->scratch.data + ID_SIZE, log->scratch.size - ID_SIZE);
    *ret_ack = al_str_of(buf->data, buf->size);
    return r;
}

/* Puts together an entry in log->scratch. */
static int make_entry(struct ali_processed_log *log, const struct al_message_id *id,
                      struct al_str ack, uint64_t offset, uint64_t durable)
{
    uint32_t body = ID_SIZE + ack.n;
    size_t whole = (size_t)whole_size(body);
    uint8_t *p;
    int r;

    if (body > BODY_MAX)
        return -AL_E_TOO_LARGE;
    al_buf_clear(&log->scratch);
    r = al_buf_reserve(&log->scratch, whole);
    if (r < 0)
        return r;
    p = log->scratch.data;
    memset(p, 0, whole);
    memcpy(p + HEAD_SIZE, id->bytes, ID_SIZE);
    if (ack.n)
        memcpy(p + HEAD_SIZE + ID_SIZE, ack.p, ack.n);
    put_head(p, offset, durable, p + HEAD_SIZE, body);
    log->scratch.size = whole;
    return 0;
}

int ali_processed_log_append(struct ali_processed_log *log, const struct al_message_id *id,
                             struct al_str ack)
{
    int r = al_recent_reserve(&log->entries, 1, entry_hash, log);

    if (r == 0)
        r = make_entry(log, id, ack, log->size, log->durable);
    if (r < 0)
        return r;
    r = al_append_file_write(log->file, log->size, log->scratch.data, log->scratch.size);
    if (r < 0)
        return r;
    entry_add(log, id, log->size, ID_SIZE + ack.n);
    log->size += log->scratch.size;
    return 0;
}

/* ---- compacting -------------------------------------------------------------------------- */

bool ali_processed_log_is_long(const struct ali_processed_log *log)
{
    return log->size > log->bytes_max ||
           (log->size > LONG_BYTES && log->size - HEAD_SIZE > 2 * log->bytes);
}

/* The number of the oldest entry that stays: half of the bound is room for what comes. */
static uint64_t first_to_keep(const struct ali_processed_log *log)
{
    uint64_t bytes = HEAD_SIZE, number = log->entries.next;

    while (number > log->entries.first) {
        const struct ali_processed_entry *entry = al_recent_at(&log->entries, number - 1);

        bytes += whole_size(entry->size);
        if (bytes > log->bytes_max / 2 && number < log->entries.next)
            break;
        number--;
    }
    return number;
}

/* Copies an entry to the end of another log's file. */
static int copy_entry(struct ali_processed_log *from, const struct ali_processed_entry *entry,
                      struct al_buf *buf, struct ali_processed_log *to)
{
    struct al_str ack;
    int r = ali_processed_log_read(from, entry, buf, &ack);

    return r < 0 ? r : ali_processed_log_append(to, &entry->id, ack);
}

int ali_processed_log_compact(struct ali_processed_log *log)
{
    struct ali_processed_log next = {
        .alloc = log->alloc, .size = HEAD_SIZE, .durable = HEAD_SIZE, .bytes_max = log->bytes_max};
    uint8_t header[HEAD_SIZE];
    uint64_t first = first_to_keep(log);
    struct al_buf buf;
    int r = al_append_file_fresh(log->file, &next.file);

    if (r < 0)
        return r == -AL_E_IO ? -AL_E_BUSY : r; /* nothing has happened to the old one */
    memcpy(next.seed, log->seed, sizeof(next.seed));
    al_recent_init(&next.entries, &log->alloc, sizeof(struct ali_processed_entry),
                   log->entries.limit);
    al_buf_init(&next.scratch, &next.alloc);
    al_buf_init(&buf, &log->alloc);
    make_header(header);
    r = al_append_file_write(next.file, 0, header, sizeof(header));
    /* All of it is flushed before it gets the name: its entries may say so. */
    for (uint64_t n = first; n < log->entries.next; n++)
        next.durable +=
            whole_size(((const struct ali_processed_entry *)al_recent_at(&log->entries, n))->size);
    for (uint64_t n = first; r == 0 && n < log->entries.next; n++)
        r = copy_entry(log, al_recent_at(&log->entries, n), &buf, &next);
    al_buf_deinit(&buf);
    if (r == 0) {
        r = al_append_file_adopt(log->file, next.file);
        next.file = NULL;
    }
    if (r < 0) {
        ali_processed_log_close(&next);
        return r;
    }
    al_recent_deinit(&log->entries);
    log->entries = next.entries;
    log->entries.alloc = &log->alloc;
    log->size = log->durable = next.size;
    log->bytes = next.bytes;
    al_buf_deinit(&next.scratch);
    return 0;
}
