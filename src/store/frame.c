/* frame.c - see frame.h. */
#include "store/frame.h"
#include "base/crc32c.h"
#include "base/errors.h"

#define SEGMENT_MAGIC  0x314e52554f4a4c41ull /* "ALJOURN1" */
#define SNAPSHOT_MAGIC 0x315350414e534c41ull /* "ALSNAPS1" */
#define BLOCK_CRC_AT   (AL_DISK_BLOCK - 4u)
#define HEADER_CRC_AT  36u

/* Incompatible features that this version knows. A compatible one may be ignored, these may not. */
#define SEGMENT_HAS_CLOSING 1ull
#define SEGMENT_IS_SEALED   2ull
#define SEGMENT_KNOWN       (SEGMENT_HAS_CLOSING | SEGMENT_IS_SEALED)
#define SNAPSHOT_IS_SEALED  1ull
#define SNAPSHOT_KNOWN      SNAPSHOT_IS_SEALED

static uint32_t header_crc(const uint8_t *p, bool weak)
{
    return weak ? al_crc32c(0, p + 4, HEADER_CRC_AT - 4) : al_crc32c(0, p, HEADER_CRC_AT);
}

void ali_frame_place(uint8_t *out, const struct ali_frame *frame)
{
    out[6] = ALI_FRAME_VERSION;
    out[7] = frame->flags;
    al_put64(out + 16, frame->salt);
    al_put32(out + 24, frame->offset);
    al_put32(out + 28, frame->number);
}

void ali_frame_finish(uint8_t *out, bool weak, uint32_t payload_crc)
{
    al_put32(out + 32, payload_crc);
    al_put32(out + HEADER_CRC_AT, header_crc(out, weak));
}

void ali_frame_complete(uint8_t *out, bool weak, const struct ali_frame *frame)
{
    ali_frame_place(out, frame);
    ali_frame_finish(out, weak, frame->payload_crc);
}

void ali_frame_encode(uint8_t *out, bool weak, const struct ali_frame *frame)
{
    al_put32(out + ALI_AT_LENGTH, frame->length);
    al_put16(out + ALI_AT_TYPE, frame->type);
    al_put64(out + ALI_AT_LSN, frame->lsn);
    ali_frame_complete(out, weak, frame);
}

bool ali_frame_decode(const uint8_t *p, bool weak, struct ali_frame *ret_frame)
{
    if (p[6] != ALI_FRAME_VERSION || al_get32(p + HEADER_CRC_AT) != header_crc(p, weak))
        return false;
    ret_frame->length = al_get32(p + ALI_AT_LENGTH);
    ret_frame->type = al_get16(p + ALI_AT_TYPE);
    ret_frame->flags = p[7];
    ret_frame->lsn = al_get64(p + ALI_AT_LSN);
    ret_frame->salt = al_get64(p + 16);
    ret_frame->offset = al_get32(p + 24);
    ret_frame->number = al_get32(p + 28);
    ret_frame->payload_crc = al_get32(p + 32);
    return true;
}

void ali_batch_info_encode(uint8_t *out, const struct ali_batch_info *info)
{
    al_put64(out, info->durable_lsn);
    al_put32(out + 8, info->bytes);
    al_put32(out + 12, info->count);
    memcpy(out + 16, info->salt, 16);
    al_put64(out + 32, info->segment_id);
    memset(out + ALI_BATCH_TAG_AT, 0, AL_SEAL_TAG);
}

bool ali_batch_info_decode(const uint8_t *p, bool is_sealed, struct ali_batch_info *ret_info)
{
    ret_info->durable_lsn = al_get64(p);
    ret_info->bytes = al_get32(p + 8);
    ret_info->count = al_get32(p + 12);
    memcpy(ret_info->salt, p + 16, 16);
    ret_info->segment_id = al_get64(p + 32);
    return is_sealed || ali_is_zero(p + ALI_BATCH_TAG_AT, AL_SEAL_TAG);
}

/* What both header blocks share: magic, version, size, feature bits, CRC. */
static void block_begin(uint8_t *block, uint64_t magic)
{
    memset(block, 0, AL_DISK_BLOCK);
    al_put64(block, magic);
    al_put32(block + 8, ALI_FORMAT_VERSION);
    al_put32(block + 12, AL_DISK_BLOCK);
}

bool ali_block_is_sealed(const uint8_t *block)
{
    uint64_t bit = al_get64(block) == SEGMENT_MAGIC ? SEGMENT_IS_SEALED : SNAPSHOT_IS_SEALED;

    return (al_get64(block + 24) & bit) != 0;
}

static uint32_t block_crc(const uint8_t *block)
{
    uint32_t crc;

    if (!ali_block_is_sealed(block))
        return al_crc32c(0, block, BLOCK_CRC_AT);
    crc = al_crc32c(0, block, ALI_SLOTS_AT);
    return al_crc32c(crc, block + ALI_SLOTS_END, BLOCK_CRC_AT - ALI_SLOTS_END);
}

void ali_block_finish(uint8_t *block)
{
    al_put32(block + BLOCK_CRC_AT, block_crc(block));
}

static int block_check(const uint8_t *block, uint64_t magic, uint64_t known_features)
{
    if (al_get64(block) != magic || al_get32(block + BLOCK_CRC_AT) != block_crc(block))
        return -AL_E_DAMAGED;
    if (al_get32(block + 8) != ALI_FORMAT_VERSION || al_get32(block + 12) != AL_DISK_BLOCK ||
        (al_get64(block + 24) & ~known_features))
        return -AL_E_FORMAT;
    /* Without the tag: what a seal leaves behind when somebody takes the feature bit away. */
    if (!ali_block_is_sealed(block) && !ali_is_zero(block + ALI_HEADER_TAG_AT, AL_SEAL_TAG))
        return -AL_E_DAMAGED;
    return 0;
}

void ali_segment_header_encode(uint8_t *block, const struct ali_segment_header *header)
{
    block_begin(block, SEGMENT_MAGIC);
    al_put64(block + 24, (header->has_closing ? SEGMENT_HAS_CLOSING : 0) |
                             (header->is_sealed ? SEGMENT_IS_SEALED : 0));
    al_put64(block + 32, header->id);
    memcpy(block + 40, header->salt, 16);
    al_put64(block + 56, header->first_lsn);
    al_put64(block + 64, header->durable_lsn);
    al_put64(block + 72, header->generation);
    al_put64(block + 80, header->bytes);
    al_put32(block + 88, header->flags);
    ali_block_finish(block);
}

int ali_segment_header_decode(const uint8_t *block, struct ali_segment_header *ret_header)
{
    int r = block_check(block, SEGMENT_MAGIC, SEGMENT_KNOWN);

    if (r < 0)
        return r;
    ret_header->id = al_get64(block + 32);
    memcpy(ret_header->salt, block + 40, 16);
    ret_header->first_lsn = al_get64(block + 56);
    ret_header->durable_lsn = al_get64(block + 64);
    ret_header->generation = al_get64(block + 72);
    ret_header->bytes = al_get64(block + 80);
    ret_header->flags = al_get32(block + 88);
    ret_header->has_closing = (al_get64(block + 24) & SEGMENT_HAS_CLOSING) != 0;
    ret_header->is_sealed = ali_block_is_sealed(block);
    return ret_header->first_lsn ? 0 : -AL_E_DAMAGED;
}

#define CLOSING_TAG_AT 48u

void ali_closing_encode(uint8_t *block, const struct ali_closing *closing,
                        const struct al_seal *seal)
{
    uint8_t *p = block + ALI_FRAME_SIZE;
    struct ali_frame frame = {.length = ALI_CLOSING_SIZE,
                              .flags = ALI_FRAME_IS_CLOSING,
                              .lsn = closing->next_lsn,
                              .salt = al_get64(closing->salt),
                              .offset = ALI_CLOSING_AT,
                              .number = (uint32_t)closing->id};

    memset(block, 0, AL_DISK_BLOCK);
    al_put64(p, closing->next_id);
    memcpy(p + 8, closing->next_salt, 16);
    al_put64(p + 24, closing->id);
    memcpy(p + 32, closing->salt, 16);
    ali_frame_encode(block, false, &frame);
    if (seal)
        al_seal_tag(seal, al_str_of(block, ALI_FRAME_HEAD), al_str_of(p, CLOSING_TAG_AT),
                    p + CLOSING_TAG_AT);
    ali_frame_finish(block, false, al_crc32c(0, p, ALI_CLOSING_SIZE));
}

bool ali_closing_decode(const uint8_t *block, bool is_sealed, const struct al_seal *seal,
                        struct ali_closing *ret_closing)
{
    const uint8_t *p = block + ALI_FRAME_SIZE;
    const size_t used = ALI_FRAME_SIZE + ALI_CLOSING_SIZE;
    struct ali_frame frame;

    if (!ali_frame_decode(block, false, &frame) || frame.flags != ALI_FRAME_IS_CLOSING ||
        frame.length != ALI_CLOSING_SIZE || frame.offset != ALI_CLOSING_AT ||
        al_crc32c(0, p, ALI_CLOSING_SIZE) != frame.payload_crc)
        return false;
    if (seal ? !al_seal_tag_is(seal, al_str_of(block, ALI_FRAME_HEAD), al_str_of(p, CLOSING_TAG_AT),
                               p + CLOSING_TAG_AT)
             : !is_sealed && !ali_is_zero(p + CLOSING_TAG_AT, AL_SEAL_TAG))
        return false;
    ret_closing->next_id = al_get64(p);
    memcpy(ret_closing->next_salt, p + 8, 16);
    ret_closing->id = al_get64(p + 24);
    memcpy(ret_closing->salt, p + 32, 16);
    ret_closing->next_lsn = frame.lsn;
    return frame.salt == al_get64(ret_closing->salt) && frame.number == (uint32_t)ret_closing->id &&
           ali_is_zero(block + used, AL_DISK_BLOCK - used);
}

void ali_snapshot_header_encode(uint8_t *block, const struct ali_snapshot_header *header)
{
    block_begin(block, SNAPSHOT_MAGIC);
    al_put64(block + 24, header->is_sealed ? SNAPSHOT_IS_SEALED : 0);
    al_put64(block + 32, header->sequence);
    memcpy(block + 40, header->salt, 16);
    al_put64(block + 56, header->lsn);
    al_put64(block + 64, header->next_segment_id);
    al_put64(block + 72, header->generation);
    ali_block_finish(block);
}

int ali_snapshot_header_decode(const uint8_t *block, struct ali_snapshot_header *ret_header)
{
    int r = block_check(block, SNAPSHOT_MAGIC, SNAPSHOT_KNOWN);

    if (r < 0)
        return r;
    ret_header->sequence = al_get64(block + 32);
    memcpy(ret_header->salt, block + 40, 16);
    ret_header->lsn = al_get64(block + 56);
    ret_header->next_segment_id = al_get64(block + 64);
    ret_header->generation = al_get64(block + 72);
    ret_header->is_sealed = ali_block_is_sealed(block);
    return 0;
}

bool ali_is_zero(const uint8_t *p, size_t n)
{
    uint64_t any = 0;

    for (; n >= 8; n -= 8, p += 8)
        any |= al_get64(p);
    for (; n; n--)
        any |= *p++;
    return any == 0;
}

/* ---- names ------------------------------------------------------------------------------ */

static const char *const prefix[] = {
    [ALI_NAME_OTHER] = "",     [ALI_NAME_JOURNAL] = "journal-",
    [ALI_NAME_FREE] = "free-", [ALI_NAME_SNAPSHOT] = "snapshot-",
    [ALI_NAME_NEW] = "new-",
};

void ali_name_format(enum ali_name_kind kind, uint64_t number, char ret_name[ALI_NAME_CAP])
{
    size_t n = strlen(prefix[kind]);

    memcpy(ret_name, prefix[kind], n);
    for (int i = 0; i < 16; i++)
        ret_name[n + (size_t)i] = "0123456789abcdef"[number >> (60 - 4 * i) & 15];
    ret_name[n + 16] = 0;
}

enum ali_name_kind ali_name_parse(const char *name, uint64_t *ret_number)
{
    for (enum ali_name_kind kind = ALI_NAME_JOURNAL; kind <= ALI_NAME_NEW; kind++) {
        size_t n = strlen(prefix[kind]);
        uint64_t number = 0;
        const char *digit = name + n;

        if (strncmp(name, prefix[kind], n) != 0 || strlen(digit) != 16)
            continue;
        for (; *digit; digit++) {
            if (*digit >= '0' && *digit <= '9')
                number = number << 4 | (uint64_t)(*digit - '0');
            else if (*digit >= 'a' && *digit <= 'f')
                number = number << 4 | (uint64_t)(*digit - 'a' + 10);
            else
                return ALI_NAME_OTHER;
        }
        *ret_number = number;
        return kind;
    }
    return ALI_NAME_OTHER;
}

void ali_text_add(char *buf, size_t cap, const char *text)
{
    size_t have = strlen(buf), n = strlen(text);

    if (n > cap - 1 - have)
        n = cap - 1 - have;
    memcpy(buf + have, text, n);
    buf[have + n] = 0;
}

void ali_text_add_number(char *buf, size_t cap, uint64_t number)
{
    char digits[21];
    size_t at = sizeof digits;

    digits[--at] = 0;
    do
        digits[--at] = (char)('0' + number % 10);
    while (number /= 10);
    ali_text_add(buf, cap, digits + at);
}
