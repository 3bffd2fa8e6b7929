/* snapshot.c - writing a snapshot beside the work.
 *
 * The core begins a snapshot (al_store_snapshot_begin copies the segment table, no I/O), a worker
 * streams the items into "new-…" and commits: flush, read back and check every byte, rename to
 * "snapshot-<sequence>", flush the directory, and only then forget the oldest generation. A crash
 * anywhere leaves the generations that were there.
 *
 * The store section lists every segment that is not released. From the commit on, each listed
 * segment must be there at the next start, so a file that disappears is noticed at once and not
 * when somebody asks for a message in it. That is why a released segment stays until a snapshot
 * that does not list it has been committed. */
#include "store/internal.h"

#define OUT_BYTES   (256u << 10) /* written at once */
#define FRAME_BYTES (64u << 10)  /* payload of one frame */

struct al_snapshot_writer {
    struct al_store *store;
    struct ali_snapshot_header header;
    uint64_t number; /* in the name of the unfinished file */
    uint64_t began_bytes;
    struct al_buf section;
    uint64_t *ids; /* segments in the section */
    size_t id_count, id_cap;
    struct al_disk_file *file;
    uint8_t *out;
    size_t out_size;
    uint64_t out_at;     /* where `out` goes in the file */
    struct al_buf items; /* of the frame being filled */
    uint32_t frames;
    uint64_t item_bytes;
    uint32_t item_crc;
    struct al_seal seal;  /* of a sealed one */
    struct al_buf sealed; /* the payload of a frame on its way */
};

static void writer_free(struct al_snapshot_writer *writer)
{
    struct al_store *store = writer->store;

    if (writer->file)
        store->disk->ops->close(store->disk, writer->file);
    ali_pages_free(&store->alloc, writer->out, OUT_BYTES);
    al_alloc_free(&store->alloc, writer->ids, writer->id_cap * sizeof *writer->ids);
    al_buf_deinit(&writer->section);
    al_buf_deinit(&writer->items);
    al_buf_deinit(&writer->sealed);
    al_seal_wipe(&writer->seal, sizeof writer->seal);
    ali_lock(store);
    store->writer = NULL;
    ali_unlock(store);
    al_alloc_free(&store->alloc, writer, sizeof *writer);
}

/* ---- beginning -------------------------------------------------------------------------- */

/* Lock held. */
static int take_section(struct al_snapshot_writer *writer)
{
    struct al_store *store = writer->store;
    const struct ali_table *table = &store->table;

    writer->id_cap = table->count;
    if (table->count) {
        writer->ids = al_alloc_new(&store->alloc, table->count * sizeof *writer->ids);
        if (!writer->ids)
            return -AL_E_NOMEM;
    }
    for (size_t i = 0; i < table->count; i++) {
        const struct ali_segment *segment = table->list[i];
        int r;

        if (segment->released)
            continue;
        r = ali_section_put(&writer->section, segment);
        if (r < 0)
            return r;
        writer->ids[writer->id_count++] = segment->id;
    }
    return 0;
}

int al_store_snapshot_begin(struct al_store *store, uint64_t lsn,
                            struct al_snapshot_writer **ret_writer)
{
    struct al_snapshot_writer *writer;
    int r = 0;

    if (ali_is_poisoned(store))
        return -AL_E_POISONED;
    if (store->writer)
        return -AL_E_BUSY;
    writer = al_alloc_zero(&store->alloc, sizeof *writer);
    if (!writer)
        return -AL_E_NOMEM;
    writer->store = store;
    writer->header.lsn = lsn + (AL_PLANT(store, SNAPSHOT_WRONG_LSN) ? 1 : 0);
    writer->header.generation = store->generation;
    writer->header.is_sealed = store->config.seal.is_on;
    writer->began_bytes = store->appended_bytes;
    al_buf_init(&writer->section, &store->alloc);
    al_buf_init(&writer->items, &store->alloc);
    al_buf_init(&writer->sealed, &store->alloc);
    ali_lock(store);
    writer->header.sequence = store->next_snapshot++;
    writer->header.next_segment_id = store->next_segment_id;
    al_put64(writer->header.salt,
             store->config.random_seed ^ writer->header.sequence * 0x9e3779b97f4a7c15ull);
    al_put64(writer->header.salt + 8, lsn ^ store->generation << 48);
    writer->number = store->next_number++;
    r = take_section(writer);
    if (r == 0)
        store->writer = writer;
    ali_unlock(store);
    if (r < 0) {
        writer_free(writer);
        return r;
    }
    store->snapshot_began_bytes = store->appended_bytes;
    *ret_writer = writer;
    return 0;
}

/* ---- writing ---------------------------------------------------------------------------- */

/* Appends raw bytes to the file, in writes of whole blocks. */
static int out_put(struct al_snapshot_writer *writer, const uint8_t *p, size_t n)
{
    struct al_disk *disk = writer->store->disk;

    while (n) {
        size_t part = OUT_BYTES - writer->out_size;

        if (part > n)
            part = n;
        memcpy(writer->out + writer->out_size, p, part);
        writer->out_size += part;
        p += part;
        n -= part;
        if (writer->out_size == OUT_BYTES) {
            int r = disk->ops->write(disk, writer->file, writer->out, OUT_BYTES, writer->out_at);

            if (r < 0)
                return r;
            writer->out_at += OUT_BYTES;
            writer->out_size = 0;
        }
    }
    return 0;
}

/* The payload as it goes to the disk: items are sealed, the rest gets a tag. The frame's header is
 * complete but for the checksums. */
static int seal_payload(struct al_snapshot_writer *writer, const struct ali_frame *frame,
                        const uint8_t *head, struct al_str *payload)
{
    struct al_buf *out = &writer->sealed;
    struct al_str covered = al_str_of(head, ALI_FRAME_HEAD);
    int r;

    al_buf_clear(out);
    r = al_buf_reserve(out, payload->n + AL_SEAL_TAG);
    if (r < 0)
        return r;
    if (frame->type == ALI_SNAP_ITEMS) {
        al_seal_frame(&writer->seal, frame->number, covered, *payload, out->data);
    } else {
        memcpy(out->data, payload->p, payload->n);
        al_seal_tag(&writer->seal, covered, *payload, out->data + payload->n);
    }
    *payload = al_str_of(out->data, (size_t)payload->n + AL_SEAL_TAG);
    return 0;
}

static int frame_put(struct al_snapshot_writer *writer, uint16_t kind, struct al_str payload)
{
    uint8_t head[ALI_FRAME_SIZE];
    bool weak = AL_PLANT(writer->store, CRC_WITHOUT_LENGTH);
    bool is_sealed = writer->header.is_sealed;
    struct ali_frame frame = {.length = payload.n + (is_sealed ? AL_SEAL_TAG : 0),
                              .type = kind,
                              .flags = ALI_FRAME_IS_SNAPSHOT,
                              .lsn = writer->header.lsn,
                              .salt = al_get64(writer->header.salt),
                              .offset = (uint32_t)(writer->out_at + writer->out_size),
                              .number = writer->frames++};
    int r = 0;

    ali_frame_encode(head, weak, &frame);
    if (is_sealed)
        r = seal_payload(writer, &frame, head, &payload);
    if (r < 0)
        return r;
    ali_frame_finish(head, weak, al_crc32c(0, payload.p, payload.n));
    if (kind == ALI_SNAP_ITEMS) {
        writer->item_crc = al_crc32c(writer->item_crc, payload.p, payload.n);
        writer->item_bytes += payload.n;
    }
    r = out_put(writer, head, sizeof head);
    return r < 0 ? r : out_put(writer, payload.p, payload.n);
}

/* Creates the file with header and store section, the first time. */
static int start_file(struct al_snapshot_writer *writer)
{
    struct al_store *store = writer->store;
    char name[ALI_NAME_CAP];
    size_t at = 0;
    int r;

    if (writer->file)
        return 0;
    writer->out = ali_pages_new(&store->alloc, OUT_BYTES);
    if (!writer->out)
        return -AL_E_NOMEM;
    ali_name_format(ALI_NAME_NEW, writer->number, name);
    r = store->disk->ops->open(store->disk, name,
                               AL_DISK_READ | AL_DISK_WRITE | AL_DISK_CREATE | AL_DISK_DIRECT,
                               &writer->file);
    if (r < 0)
        return r;
    ali_snapshot_header_encode(writer->out, &writer->header);
    if (writer->header.is_sealed)
        ali_sealed_begin(store, writer->out, &writer->seal);
    writer->out_size = AL_DISK_BLOCK;
    while (at < writer->section.size && r == 0) {
        size_t n = writer->section.size - at;

        if (n > FRAME_BYTES)
            n = FRAME_BYTES;
        r = frame_put(writer, ALI_SNAP_STORE, al_str_of(writer->section.data + at, n));
        at += n;
    }
    return r;
}

static int items_flush(struct al_snapshot_writer *writer)
{
    int r = 0;

    if (writer->items.size)
        r = frame_put(writer, ALI_SNAP_ITEMS, al_str_of(writer->items.data, writer->items.size));
    al_buf_clear(&writer->items);
    return r;
}

static int write_items(struct al_snapshot_writer *writer, struct al_str bytes)
{
    int r = start_file(writer);

    while (bytes.n && r == 0) {
        uint32_t part = FRAME_BYTES - (uint32_t)writer->items.size;

        if (part > bytes.n)
            part = bytes.n;
        r = al_buf_put(&writer->items, bytes.p, part);
        if (r == 0 && writer->items.size == FRAME_BYTES)
            r = items_flush(writer);
        bytes.p += part;
        bytes.n -= part;
    }
    return r;
}

/* Full disks and missing memory cost only the snapshot, a failing disk the store. */
static int snapshot_fail(struct al_store *store, int error)
{
    if (error == -AL_E_DISK_FULL)
        ali_space_sample(store);
    if (error == -AL_E_NOMEM || error == -AL_E_DAMAGED)
        return error;
    return ali_fail(store, error, true);
}

int al_store_snapshot_write(struct al_snapshot_writer *writer, struct al_str bytes)
{
    if (ali_is_poisoned(writer->store))
        return -AL_E_POISONED;
    return snapshot_fail(writer->store, write_items(writer, bytes));
}

/* ---- committing ------------------------------------------------------------------------- */

static int finish_file(struct al_snapshot_writer *writer)
{
    struct al_disk *disk = writer->store->disk;
    uint8_t end[ALI_SNAP_END_SIZE] = {0};
    size_t padded;
    int r = start_file(writer);

    if (r == 0)
        r = items_flush(writer);
    if (r < 0)
        return r;
    al_put64(end, writer->item_bytes);
    al_put32(end + 8, writer->item_crc);
    al_put32(end + 12, writer->frames);
    r = frame_put(writer, ALI_SNAP_END, al_str_of(end, sizeof end));
    if (r < 0)
        return r;
    padded = (size_t)ali_round_up(writer->out_size);
    memset(writer->out + writer->out_size, 0, padded - writer->out_size);
    if (padded)
        r = disk->ops->write(disk, writer->file, writer->out, padded, writer->out_at);
    if (r == 0 && !AL_PLANT(writer->store, SNAPSHOT_NO_FLUSH))
        r = disk->ops->flush(disk, writer->file);
    disk->ops->close(disk, writer->file);
    writer->file = NULL;
    return r;
}

static int read_back(struct al_snapshot_writer *writer, const char *name)
{
    struct al_store *store = writer->store;
    struct ali_snapshot_file snapshot = {.sequence = writer->header.sequence};
    struct ali_reader reader;
    int r;

    if (AL_PLANT(store, SNAPSHOT_NO_FLUSH))
        return 0;
    ali_reader_init(&reader, &store->alloc, store->disk, OUT_BYTES);
    reader.plants = store->config.plants;
    reader.key = store->reader.key;
    r = ali_reader_open(&reader, name);
    if (r == 0)
        r = ali_snapshot_check(&reader, &snapshot, NULL);
    if (r == 0 && snapshot.header.lsn != writer->header.lsn)
        r = -AL_E_DAMAGED;
    ali_reader_deinit(&reader);
    return r;
}

static int unlink_old(void *ctx, const char *name)
{
    struct al_store *store = ctx;
    uint64_t sequence;

    if (ali_name_parse(name, &sequence) != ALI_NAME_SNAPSHOT ||
        sequence == store->snapshot_sequence[0])
        return 0;
    if (sequence == store->snapshot_sequence[1] && !AL_PLANT(store, NO_SNAPSHOT_DIR_SYNC))
        return 0;
    return store->disk->ops->unlink(store->disk, name);
}

/* From here on the new snapshot is the one that recovery will take. */
static void publish(struct al_snapshot_writer *writer)
{
    struct al_store *store = writer->store;
    size_t k = 0;

    ali_lock(store);
    store->snapshot_sequence[1] = store->snapshot_sequence[0];
    store->snapshot_lsn[1] = store->snapshot_lsn[0];
    store->snapshot_sequence[0] = writer->header.sequence;
    store->snapshot_lsn[0] = writer->header.lsn;
    store->passed_over = false;
    store->free_stock = (size_t)(writer->header.next_segment_id - store->snapshot_segment);
    store->snapshot_segment = writer->header.next_segment_id;
    for (size_t i = 0; i < store->table.count; i++) {
        struct ali_segment *segment = store->table.list[i];

        while (k < writer->id_count && writer->ids[k] < segment->id)
            k++;
        segment->listed = k < writer->id_count && writer->ids[k] == segment->id;
    }
    ali_unlock(store);
    atomic_store(&store->maintain_due, true);
}

static int commit(struct al_snapshot_writer *writer)
{
    struct al_store *store = writer->store;
    const struct al_disk_ops *ops = store->disk->ops;
    char from[ALI_NAME_CAP], to[ALI_NAME_CAP];
    int r = finish_file(writer);

    ali_name_format(ALI_NAME_NEW, writer->number, from);
    ali_name_format(ALI_NAME_SNAPSHOT, writer->header.sequence, to);
    if (r == 0)
        r = read_back(writer, from);
    if (r == 0)
        r = ops->rename(store->disk, from, to);
    if (r == 0 && !AL_PLANT(store, NO_SNAPSHOT_DIR_SYNC))
        r = ops->sync_dir(store->disk);
    if (r < 0)
        return r;
    publish(writer);
    return ops->list(store->disk, unlink_old, store);
}

int al_store_snapshot_commit(struct al_snapshot_writer *writer)
{
    struct al_store *store = writer->store;
    uint64_t durable;
    int r;

    ali_lock(store);
    durable = store->durable_shared;
    ali_unlock(store);
    if (ali_is_poisoned(store)) {
        al_store_snapshot_abort(writer);
        return -AL_E_POISONED;
    }
    if (writer->header.lsn > durable + (AL_PLANT(store, SNAPSHOT_WRONG_LSN) ? 1 : 0) &&
        !AL_PLANT(store, SNAPSHOT_AHEAD))
        return -AL_E_BUSY;
    r = snapshot_fail(store, commit(writer));
    if (r < 0 && !ali_is_poisoned(store))
        al_store_snapshot_abort(writer);
    else
        writer_free(writer);
    return r;
}

void al_store_snapshot_abort(struct al_snapshot_writer *writer)
{
    struct al_store *store;
    char name[ALI_NAME_CAP];

    if (!writer)
        return;
    store = writer->store;
    ali_name_format(ALI_NAME_NEW, writer->number, name);
    if (writer->out && !ali_is_poisoned(store)) /* out: the file was created */
        (void)store->disk->ops->unlink(store->disk, name);
    writer_free(writer);
}
