/* snapshot_load.c - checking and loading snapshots; the store section.
 *
 * A snapshot is checked from the first to the last byte before the first item of it is believed:
 * running numbers, offsets and salt in each frame, a trailer with the count of frames and the
 * length and CRC of all items, zeros behind it and then the end of the file. */
#include "store/internal.h"

/* A walk over the frames of a snapshot. */
struct walk {
    struct ali_reader *reader;
    struct ali_snapshot_file *snapshot;
    uint64_t at;
    uint32_t number;
};

static int bad(struct ali_snapshot_file *snapshot, const char *why, uint64_t at)
{
    snapshot->bad = why;
    snapshot->bad_at = at;
    return -AL_E_DAMAGED;
}

/* The keys of a sealed one. Whoever has no key at all can still look at the checksums. */
static int open_seal(struct ali_reader *reader, struct ali_snapshot_file *snapshot,
                     const uint8_t *block)
{
    int r = ali_sealed_open(reader->key, block, &snapshot->seal);

    snapshot->has_keys = r == 0;
    if (r == -AL_E_DAMAGED)
        return bad(snapshot, "the seal of the header is broken", 0);
    return r == -AL_E_SEAL_KEY && reader->needs_no_key ? 0 : r;
}

int ali_snapshot_peek(struct ali_reader *reader, struct ali_snapshot_file *snapshot)
{
    const uint8_t *p;
    int r = ali_reader_get(reader, 0, AL_DISK_BLOCK, &p);

    snapshot->bytes = reader->limit;
    if (r > 0)
        return bad(snapshot, "the file is shorter than its header", 0);
    if (r < 0)
        return r;
    r = ali_snapshot_header_decode(p, &snapshot->header);
    if (r == -AL_E_DAMAGED)
        return bad(snapshot, "the header is damaged", 0);
    if (r == 0 && snapshot->header.sequence != snapshot->sequence)
        return bad(snapshot, "the header belongs to another snapshot", 0);
    if (r == 0 && snapshot->header.is_sealed)
        r = open_seal(reader, snapshot, p);
    return r;
}

/* Opens what a sealed frame holds. Without the keys items stay as they are, and what is not secret
 * is believed. */
static int open_frame(struct walk *walk, const struct ali_frame *frame, const uint8_t *p,
                      struct al_str *payload)
{
    const struct al_seal *seal = &walk->snapshot->seal;
    struct al_buf *plain = &walk->reader->plain;
    struct al_str head = al_str_of(p, ALI_FRAME_HEAD), sealed = *payload;
    bool good;
    int r;

    if (payload->n < AL_SEAL_TAG)
        return bad(walk->snapshot, "a frame without a seal", walk->at);
    payload->n -= AL_SEAL_TAG;
    if (!walk->snapshot->has_keys)
        return 0;
    if (frame->type != ALI_SNAP_ITEMS) {
        good = al_seal_tag_is(seal, head, *payload, sealed.p + payload->n);
    } else {
        al_buf_clear(plain);
        r = al_buf_reserve(plain, sealed.n);
        if (r < 0)
            return r;
        good = al_seal_open(seal, frame->number, head, sealed, plain->data);
        payload->p = plain->data;
    }
    return good ? 0 : bad(walk->snapshot, "the seal of a frame is broken", walk->at);
}

/* *ret_payload: what is in the frame; *ret_raw: what stands in the file. Valid until the next. */
static int next_frame(struct walk *walk, struct ali_frame *frame, struct al_str *ret_raw,
                      struct al_str *ret_payload)
{
    struct ali_reader *reader = walk->reader;
    struct ali_snapshot_file *snapshot = walk->snapshot;
    const uint8_t *p;
    int r = ali_reader_get(reader, walk->at, ALI_FRAME_SIZE, &p);

    if (r < 0)
        return r;
    if (r > 0 || !ali_frame_decode(p, AL_PLANT_BITS(reader->plants, CRC_WITHOUT_LENGTH), frame) ||
        !(frame->flags & ALI_FRAME_IS_SNAPSHOT) || frame->number != walk->number ||
        frame->salt != al_get64(snapshot->header.salt) || frame->lsn != snapshot->header.lsn ||
        frame->offset != (uint32_t)walk->at)
        return bad(snapshot, "a damaged frame", walk->at);
    r = ali_reader_get(reader, walk->at, (size_t)ALI_FRAME_SIZE + frame->length, &p);
    if (r < 0)
        return r;
    if (r > 0 || al_crc32c(0, p + ALI_FRAME_SIZE, frame->length) != frame->payload_crc)
        return bad(snapshot, "damaged content", walk->at);
    *ret_raw = *ret_payload = al_str_of(p + ALI_FRAME_SIZE, frame->length);
    if (snapshot->header.is_sealed)
        r = open_frame(walk, frame, p, ret_payload);
    if (r < 0)
        return r;
    walk->at += ALI_FRAME_SIZE + (uint64_t)frame->length;
    walk->number++;
    return 0;
}

/* Behind the trailer: zeros to the next block, then nothing. */
static int check_end(struct walk *walk)
{
    uint64_t end = ali_round_up(walk->at);
    const uint8_t *p = NULL;
    int r = 0;

    if (end != walk->snapshot->bytes)
        return bad(walk->snapshot, "the file does not end where it should", walk->at);
    if (end > walk->at)
        r = ali_reader_get(walk->reader, walk->at, (size_t)(end - walk->at), &p);
    if (r < 0)
        return r;
    if (r > 0 || (p && !ali_is_zero(p, (size_t)(end - walk->at))))
        return bad(walk->snapshot, "padding is not zero", walk->at);
    return 0;
}

int ali_snapshot_check(struct ali_reader *reader, struct ali_snapshot_file *snapshot,
                       struct al_buf *section)
{
    struct walk walk = {.reader = reader, .snapshot = snapshot, .at = AL_DISK_BLOCK};
    uint32_t crc = 0;
    int r = ali_snapshot_peek(reader, snapshot);

    snapshot->item_bytes = 0;
    while (r == 0) {
        struct ali_frame frame;
        struct al_str raw, payload;
        const uint8_t *p;
        uint64_t at = walk.at;

        r = next_frame(&walk, &frame, &raw, &payload);
        if (r < 0)
            break;
        p = payload.p;
        if (frame.type == ALI_SNAP_STORE && section) {
            r = al_buf_put(section, p, payload.n);
        } else if (frame.type == ALI_SNAP_ITEMS) {
            crc = al_crc32c(crc, raw.p, raw.n);
            snapshot->item_bytes += raw.n;
        } else if (frame.type == ALI_SNAP_END) {
            if (payload.n != ALI_SNAP_END_SIZE || al_get64(p) != snapshot->item_bytes ||
                al_get32(p + 8) != crc || al_get32(p + 12) != walk.number - 1 ||
                !ali_is_zero(p + 16, ALI_SNAP_END_SIZE - 16))
                return bad(snapshot, "the trailer contradicts the content", at);
            return check_end(&walk);
        } else if (frame.type != ALI_SNAP_STORE) {
            return bad(snapshot, "an unknown kind of frame", at);
        }
    }
    return r;
}

/* Hands out the whole items at the front of the buffer and keeps the rest. */
static int give_items(struct al_buf *buf, const struct al_store_replay *replay)
{
    size_t at = 0;

    while (buf->size - at >= 4) {
        size_t n = al_get32(buf->data + at);
        int r;

        if (buf->size - at - 4 < n)
            break;
        r = replay->snapshot_item
                ? replay->snapshot_item(replay->ctx, al_str_of(buf->data + at + 4, n))
                : 0;
        if (r)
            return r;
        at += 4 + n;
    }
    al_buf_drop(buf, at);
    return 0;
}

int ali_snapshot_load(struct ali_reader *reader, struct ali_snapshot_file *snapshot,
                      const struct al_store_replay *replay)
{
    struct walk walk = {.reader = reader, .snapshot = snapshot, .at = AL_DISK_BLOCK};
    struct al_buf buf;
    struct ali_frame frame = {0};
    int r = 0;

    al_buf_init(&buf, reader->alloc);
    while (r == 0 && frame.type != ALI_SNAP_END) {
        struct al_str raw, payload;

        r = next_frame(&walk, &frame, &raw, &payload);
        if (r == 0 && frame.type == ALI_SNAP_ITEMS) {
            r = al_buf_put(&buf, payload.p, payload.n);
            if (r == 0)
                r = give_items(&buf, replay);
        }
    }
    if (r == 0 && buf.size)
        r = bad(snapshot, "the last item is cut", walk.at);
    al_buf_deinit(&buf);
    if (r == 0 && replay->snapshot_done)
        r = replay->snapshot_done(replay->ctx, snapshot->header.lsn);
    return r;
}

/* ---- store section ---------------------------------------------------------------------- */

#define SECTION_FIXED 64u

int ali_section_put(struct al_buf *buf, const struct ali_segment *segment)
{
    size_t n = SECTION_FIXED + (size_t)segment->index_count * 8;
    uint8_t *p;
    int r = al_buf_reserve(buf, n);

    if (r < 0)
        return r;
    p = buf->data + buf->size;
    al_put64(p, segment->id);
    al_put64(p + 8, segment->first_lsn);
    al_put64(p + 16, segment->last_lsn);
    al_put64(p + 24, segment->used);
    al_put64(p + 32, segment->bytes);
    memcpy(p + 40, segment->salt, 16);
    al_put32(p + 56, (segment->closed ? 1u : 0) | (segment->is_sized ? 2u : 0) |
                         (ali_has_closing(segment) ? 4u : 0) | (segment->is_sealed ? 8u : 0));
    al_put32(p + 60, segment->index_count);
    for (uint32_t i = 0; i < segment->index_count; i++) {
        al_put32(p + SECTION_FIXED + 8 * i, segment->index[i].delta);
        al_put32(p + SECTION_FIXED + 8 * i + 4, segment->index[i].offset);
    }
    buf->size += n;
    return 0;
}

int ali_section_next(const struct al_alloc *alloc, struct al_str *section,
                     struct ali_segment **ret_segment)
{
    const uint8_t *p = section->p;
    struct ali_segment *segment;
    uint32_t count;

    if (section->n == 0)
        return 0;
    if (section->n < SECTION_FIXED)
        return -AL_E_DAMAGED;
    count = al_get32(p + 60);
    if ((section->n - SECTION_FIXED) / 8 < count || al_get64(p + 32) > UINT32_MAX ||
        count > al_get64(p + 32) / ALI_INDEX_STEP + 8)
        return -AL_E_DAMAGED;
    segment = ali_segment_new(alloc, al_get64(p), al_get64(p + 32));
    if (!segment)
        return -AL_E_NOMEM;
    segment->first_lsn = al_get64(p + 8);
    segment->last_lsn = al_get64(p + 16);
    segment->used = al_get64(p + 24);
    memcpy(segment->salt, p + 40, 16);
    segment->closed = (al_get32(p + 56) & 1) != 0;
    segment->is_sized = (al_get32(p + 56) & 2) != 0;
    segment->is_sealed = (al_get32(p + 56) & 8) != 0;
    segment->begin = al_get32(p + 56) & 4 ? ALI_CLOSING_AT + AL_DISK_BLOCK : AL_DISK_BLOCK;
    segment->listed = true;
    segment->index_count = count;
    for (uint32_t i = 0; i < count; i++) {
        segment->index[i].delta = al_get32(p + SECTION_FIXED + 8 * i);
        segment->index[i].offset = al_get32(p + SECTION_FIXED + 8 * i + 4);
    }
    section->p += SECTION_FIXED + 8 * count;
    section->n -= SECTION_FIXED + 8 * count;
    *ret_segment = segment;
    return 1;
}
