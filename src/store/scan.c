/* scan.c - walking the frames of one segment, trusting nothing.
 *
 * A record counts only if everything about it fits: both CRCs, the segment's salt and number, its
 * own offset, the LSN that comes next, its place inside its batch. The walk ends at the first frame
 * that does not fit; whether that is the end of the journal, a torn tail or damage is not known
 * here (recover.c decides, from the durable LSNs that batches carry). */
#include "store/internal.h"

#define SECTOR 512u /* what a disk writes as one */

#define PLANTED(scan, symbol) AL_PLANT_BITS((scan)->reader->plants, symbol)

void ali_scan_begin(struct ali_scan *scan, struct ali_reader *reader, struct ali_segment *segment,
                    struct ali_place place)
{
    memset(scan, 0, sizeof *scan);
    scan->reader = reader;
    scan->segment = segment;
    scan->at = place.at;
    scan->expect = place.lsn;
    scan->is_loose = !place.is_batch;
}

static int bad(struct ali_scan *scan, const char *why, uint64_t at)
{
    scan->bad = why;
    scan->bad_at = at;
    return 0;
}

/* True if the tag of a batch frame with this payload is right, or is not there to be checked. */
static bool tag_is_right(const struct ali_scan *scan, const uint8_t *p)
{
    const struct al_seal *seal = ali_seal_of(scan->segment);

    return !seal || al_seal_tag_is(seal, al_str_of(p - ALI_FRAME_SIZE, ALI_FRAME_HEAD),
                                   al_str_of(p, ALI_BATCH_TAG_AT), p + ALI_BATCH_TAG_AT);
}

/* Reads and checks the frame at `at`: 1 and its view; 0 bad; or an error. */
static int frame_at(struct ali_scan *scan, uint64_t at, struct ali_frame *frame,
                    const uint8_t **ret_payload)
{
    const struct ali_segment *segment = scan->segment;
    const uint8_t *p;
    size_t covered;
    int r = ali_reader_get(scan->reader, at, ALI_FRAME_SIZE, &p);

    if (r < 0)
        return r;
    if (r > 0)
        return bad(scan, "the file ends", at);
    if (!ali_frame_decode(p, PLANTED(scan, CRC_WITHOUT_LENGTH), frame))
        return bad(scan, "no frame, or its header checksum is wrong", at);
    if (frame->salt != al_get64(segment->salt) || frame->number != (uint32_t)segment->id ||
        frame->offset != (uint32_t)at || (frame->flags & ALI_FRAME_IS_SNAPSHOT))
        return bad(scan, "a frame that belongs elsewhere", at);
    r = ali_reader_get(scan->reader, at, (size_t)ALI_FRAME_SIZE + frame->length, &p);
    if (r < 0)
        return r;
    if (r > 0)
        return bad(scan, "the file ends inside a frame", at);
    covered = frame->length;
    if (PLANTED(scan, CRC_WITHOUT_LENGTH) && covered > 16)
        covered = 16;
    if (al_crc32c(0, p + ALI_FRAME_SIZE, covered) != frame->payload_crc &&
        !PLANTED(scan, SKIP_PAYLOAD_CRC))
        return bad(scan, "payload checksum", at);
    *ret_payload = p + ALI_FRAME_SIZE;
    return 1;
}

/* A seal or tag that does not fit a frame whose checksums are right. */
static int forged(struct ali_scan *scan, uint64_t at)
{
    scan->is_forged = true;
    return bad(scan,
               "the seal is broken: this is not what was written, although its checksum is "
               "right",
               at);
}

/* Checks a batch frame at a block boundary; as frame_at. */
static int batch_at(struct ali_scan *scan, uint64_t at, struct ali_frame *frame,
                    struct ali_batch_info *info)
{
    const uint8_t *p;
    int r = frame_at(scan, at, frame, &p);

    if (r <= 0)
        return r;
    if (!(frame->flags & ALI_FRAME_IS_BATCH) || frame->length != ALI_BATCH_INFO_SIZE)
        return bad(scan, "a record where a batch must begin", at);
    if (!ali_batch_info_decode(p, scan->segment->is_sealed, info) ||
        memcmp(info->salt, scan->segment->salt, 16) != 0 || info->segment_id != scan->segment->id ||
        info->bytes < ALI_BATCH_HEAD)
        return bad(scan, "a batch frame that contradicts itself", at);
    return tag_is_right(scan, p) ? 1 : forged(scan, at);
}

/* Opens the payload of a sealed record; as frame_at. Without the key there is nothing to see. */
static int open_record(struct ali_scan *scan, const struct ali_frame *frame, struct al_str *payload)
{
    struct al_buf *plain = &scan->reader->plain;
    const struct al_seal *seal = ali_seal_of(scan->segment);
    struct al_str head = al_str_of(payload->p - ALI_FRAME_SIZE, ALI_FRAME_HEAD);
    int r;

    if (payload->n < AL_SEAL_TAG)
        return forged(scan, scan->at);
    if (!seal || frame->lsn < scan->from) {
        payload->n = 0;
        return 1;
    }
    al_buf_clear(plain);
    r = al_buf_reserve(plain, payload->n);
    if (r < 0)
        return r;
    if (!al_seal_open(seal, frame->lsn, head, *payload, plain->data))
        return forged(scan, scan->at);
    *payload = al_str_of(plain->data, payload->n - AL_SEAL_TAG);
    return 1;
}

/* The padding behind the last batch must be zero: nothing on disk goes unchecked. */
static int padding(struct ali_scan *scan)
{
    uint64_t end = ali_round_up(scan->batch_end);
    const uint8_t *p;
    int r;

    if (scan->at != scan->batch_end)
        return bad(scan, "the batch is longer than its records", scan->at);
    if (end == scan->batch_end)
        return 1;
    r = ali_reader_get(scan->reader, scan->batch_end, (size_t)(end - scan->batch_end), &p);
    if (r < 0)
        return r;
    if (r > 0 || !ali_is_zero(p, (size_t)(end - scan->batch_end)))
        return bad(scan, "padding is not zero", scan->batch_end);
    scan->at = end;
    return 1;
}

static int next_batch(struct ali_scan *scan)
{
    struct ali_frame frame;
    struct ali_batch_info info;
    int r;

    if (scan->batch_end) {
        r = padding(scan);
        if (r <= 0)
            return r;
    }
    scan->batch_end = 0;
    r = batch_at(scan, scan->at, &frame, &info);
    if (r <= 0)
        return r;
    if (frame.lsn != scan->expect)
        return bad(scan, "a batch that does not follow from the one before", scan->at);
    if (info.durable_lsn > scan->durable)
        scan->durable = info.durable_lsn;
    scan->batch_at = scan->at;
    scan->batch_end = scan->at + info.bytes;
    scan->batch_left = info.count;
    scan->at += ALI_BATCH_HEAD;
    return 1;
}

/* Finds the next record's frame; 1 and the frame, 0 the walk ended, or an error. */
static int next_record(struct ali_scan *scan, struct ali_frame *frame, const uint8_t **ret_payload)
{
    int r;

    if (scan->is_loose) {
        r = frame_at(scan, scan->at, frame, ret_payload);
        if (r < 0 || (r == 1 && !(frame->flags & ALI_FRAME_IS_BATCH)))
            return r;
        scan->is_loose = false; /* the batch has ended: the next one begins at a block */
        scan->bad = NULL;
        scan->at = ali_round_up(scan->at);
    }
    while (scan->batch_left == 0) {
        r = next_batch(scan);
        if (r <= 0)
            return r;
    }
    if (scan->batch_end - scan->at < ALI_FRAME_SIZE)
        return bad(scan, "the batch is shorter than its records", scan->at);
    r = frame_at(scan, scan->at, frame, ret_payload);
    if (r <= 0)
        return r;
    if (frame->flags & ALI_FRAME_IS_BATCH)
        return bad(scan, "a batch where a record must stand", scan->at);
    if (frame->length > scan->batch_end - scan->at - ALI_FRAME_SIZE)
        return bad(scan, "a record reaches beyond its batch", scan->at);
    scan->batch_left--;
    return 1;
}

int ali_scan_next(struct ali_scan *scan, struct ali_record *ret_record)
{
    uint64_t batch_at = scan->batch_at;
    struct ali_frame frame;
    const uint8_t *p;
    struct al_str payload;
    int r;

    if (scan->bad)
        return 0;
    r = next_record(scan, &frame, &p);
    if (r <= 0)
        return r;
    if (frame.lsn != scan->expect)
        return bad(scan, "a record out of sequence", scan->at);
    payload = al_str_of(p, frame.length);
    if (scan->segment->is_sealed) {
        r = open_record(scan, &frame, &payload);
        if (r <= 0)
            return r;
    }
    *ret_record = (struct ali_record){.lsn = frame.lsn,
                                      .at = scan->at,
                                      .type = frame.type,
                                      .first = scan->batch_at != batch_at,
                                      .payload = payload};
    scan->at += ALI_FRAME_SIZE + (uint64_t)frame.length;
    scan->expect++;
    scan->records++;
    return 1;
}

/* True if something was written into this block since the segment was made, as far as that can be
 * told: stale frames of a recycled file carry another salt and another number. */
static bool looks_written(const struct ali_segment *segment, const uint8_t *p, uint64_t at)
{
    if (segment->is_zeroed)
        return !ali_is_zero(p, AL_DISK_BLOCK);
    return al_get64(p + 16) == al_get64(segment->salt) ||
           (al_get32(p + 24) == (uint32_t)at && al_get32(p + 28) == (uint32_t)segment->id);
}

/* Notes what a batch frame anywhere in this segment's file says was durable. It need not stand
 * where it belongs: a write that went astray still proves what was flushed before it. 1, 0: the
 * file ends, or an error. */
static int take_evidence(struct ali_scan *scan, uint64_t at, uint64_t *end)
{
    struct ali_frame frame;
    struct ali_batch_info info;
    const uint8_t *p;
    int r = ali_reader_get(scan->reader, at, ALI_BATCH_HEAD, &p);

    if (r != 0)
        return r < 0 ? r : 0;
    if (!ali_frame_decode(p, PLANTED(scan, CRC_WITHOUT_LENGTH), &frame) ||
        !(frame.flags & ALI_FRAME_IS_BATCH) || frame.length != ALI_BATCH_INFO_SIZE ||
        al_crc32c(0, p + ALI_FRAME_SIZE,
                  PLANTED(scan, CRC_WITHOUT_LENGTH) ? 16 : ALI_BATCH_INFO_SIZE) !=
            frame.payload_crc ||
        !ali_batch_info_decode(p + ALI_FRAME_SIZE, scan->segment->is_sealed, &info) ||
        !tag_is_right(scan, p + ALI_FRAME_SIZE) ||
        memcmp(info.salt, scan->segment->salt, 16) != 0 || info.segment_id != scan->segment->id)
        return 1;
    if (info.durable_lsn > scan->durable)
        scan->durable = info.durable_lsn;
    if (at + info.bytes > *end)
        *end = at + info.bytes;
    return 1;
}

/* One block behind the bad place. 1: go on, 0: the file ends, or an error. */
static int look_at(struct ali_scan *scan, uint64_t at, uint64_t *end)
{
    const uint8_t *p;
    int r = ali_reader_get(scan->reader, at, AL_DISK_BLOCK, &p);

    if (r != 0)
        return r < 0 ? r : 0;
    if (looks_written(scan->segment, p, at) && at + AL_DISK_BLOCK > *end)
        *end = at + AL_DISK_BLOCK;
    for (uint64_t sector = 0; sector < AL_DISK_BLOCK; sector += SECTOR) {
        r = ali_reader_get(scan->reader, at + sector, SECTOR, &p);
        if (r == 0 && al_get64(p + 16) == al_get64(scan->segment->salt))
            r = take_evidence(scan, at + sector, end);
        if (r < 0)
            return r;
    }
    return 1;
}

int ali_scan_rest(struct ali_scan *scan, uint64_t *ret_torn_end)
{
    uint64_t end = scan->bad_at;
    int r = 1;

    if (scan->batch_end > end)
        end = scan->batch_end;
    for (uint64_t at = ali_round_down(scan->bad_at); r == 1; at += AL_DISK_BLOCK)
        r = look_at(scan, at, &end);
    if (r < 0)
        return r;
    *ret_torn_end = end;
    return 0;
}
