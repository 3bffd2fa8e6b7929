/* text.c - UTF-8 and name checks. */
#include "base/text.h"
#include "base/limits.h"

/* Length of the well-formed sequence at p, 0 if there is none; *ret_cp is its code point. */
static unsigned sequence(const uint8_t *p, const uint8_t *end, uint32_t *ret_cp)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    unsigned len = p[0] < 0x80 ? 1 : p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : p[0] >= 0xc0 ? 2 : 0;
    uint32_t cp;

    if (len == 0 || p[0] > 0xf4 || (size_t)(end - p) < len)
        return 0;
    cp = len == 1 ? p[0] : p[0] & (0x7fu >> len);
    for (unsigned i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        cp = cp << 6 | (p[i] & 0x3f);
    }
    if (len > 1 && (cp < least[len] || cp > 0x10ffff || (cp >= 0xd800 && cp < 0xe000)))
        return 0;
    *ret_cp = cp;
    return len;
}

static bool check(struct al_str text, bool refuse_controls)
{
    const uint8_t *p = text.p, *end;

    if (text.n == 0)
        return true;
    end = p + text.n;
    while (p < end) {
        uint32_t cp = 0;
        unsigned len = sequence(p, end, &cp);

        if (len == 0 || (refuse_controls && (cp < 0x20 || (cp >= 0x7f && cp < 0xa0))))
            return false;
        p += len;
    }
    return true;
}

bool al_utf8_is_valid(struct al_str text)
{
    return check(text, false);
}

bool al_text_is_plain(struct al_str text)
{
    return check(text, true);
}

static bool is_name_char(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
}

bool al_name_is_valid(struct al_str name)
{
    unsigned part = 0, slashes = 0;

    for (uint32_t i = 0; i < name.n; i++) {
        if (name.p[i] == '/') {
            if (part == 0 || ++slashes > 1)
                return false;
            part = 0;
        } else if (!is_name_char(name.p[i]) || ++part > AL_NAME_PART_MAX) {
            return false;
        }
    }
    return part > 0;
}

bool al_group_name_is_valid(struct al_str name)
{
    return name.n > 6 && memcmp(name.p, "group:", 6) == 0 &&
           al_name_is_valid(al_str_of(name.p + 6, name.n - 6));
}

bool al_kind_is_valid(struct al_str kind)
{
    for (uint32_t i = 0; i < kind.n; i++) {
        uint8_t c = kind.p[i];

        if (!is_name_char(c) && !(c >= 'A' && c <= 'Z') && c != ':' && c != '/')
            return false;
    }
    return kind.n > 0 && kind.n <= AL_KIND_MAX;
}
