/* id.c - UUID version 4: making, printing, parsing. */
#include "base/id.h"
#include "base/errors.h"

struct al_id al_id_from_random(const uint8_t random[16])
{
    struct al_id id;

    memcpy(id.b, random, 16);
    id.b[6] = (uint8_t)((id.b[6] & 0x0f) | 0x40); /* version 4 */
    id.b[8] = (uint8_t)((id.b[8] & 0x3f) | 0x80); /* RFC 9562 variant */
    return id;
}

static bool is_dash(unsigned byte_index)
{
    return byte_index == 4 || byte_index == 6 || byte_index == 8 || byte_index == 10;
}

void al_id_format(const struct al_id *id, char ret_text[AL_ID_TEXT_LEN + 1])
{
    static const char digits[] = "0123456789abcdef";
    char *out = ret_text;

    for (unsigned i = 0; i < 16; i++) {
        if (is_dash(i))
            *out++ = '-';
        *out++ = digits[id->b[i] >> 4];
        *out++ = digits[id->b[i] & 15];
    }
    *out = '\0';
}

static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

int al_id_parse(struct al_str text, struct al_id *ret_id)
{
    struct al_id id;
    const uint8_t *in = text.p;

    if (text.n != AL_ID_TEXT_LEN)
        return -AL_E_INVALID;
    for (unsigned i = 0; i < 16; i++) {
        int hi, lo;

        if (is_dash(i) && *in++ != '-')
            return -AL_E_INVALID;
        hi = hex_value(*in++);
        lo = hex_value(*in++);
        if (hi < 0 || lo < 0)
            return -AL_E_INVALID;
        id.b[i] = (uint8_t)(hi << 4 | lo);
    }
    *ret_id = id;
    return 0;
}
