/* acl_match.c - the texts of rules: names in full, patterns, kinds.
 *
 * A name in full is [group:]namespace/name, a pattern has "*" for a whole segment, "**" matches
 * every agent and every group. A role is role:NAME and matches nothing but itself. */
#include "base/errors.h"
#include "base/text.h"
#include "core/acl.h"
#include <string.h>

static bool begins(struct al_str text, const char *prefix)
{
    size_t n = strlen(prefix);

    return text.n >= n && memcmp(text.p, prefix, n) == 0;
}

static bool is_all(struct al_str text)
{
    return al_str_eq(text, al_str_c("**"));
}

bool ali_acl_is_role(struct al_str text)
{
    return begins(text, "role:");
}

/* Cuts the text at the first `mark`; without one `ret_rest` is empty and false is returned. */
static bool cut(struct al_str text, char mark, struct al_str *ret_first, struct al_str *ret_rest)
{
    const uint8_t *at = text.n ? memchr(text.p, mark, text.n) : NULL;
    uint32_t n = at ? (uint32_t)(at - text.p) : text.n;

    *ret_first = al_str_of(text.p, n);
    *ret_rest = at ? al_str_of(at + 1, text.n - n - 1) : al_str_of(NULL, 0);
    return at != NULL;
}

static bool is_star(struct al_str text)
{
    return text.n == 1 && text.p[0] == '*';
}

static bool part_is_valid(struct al_str part, unsigned allowed)
{
    if (is_star(part))
        return allowed & ALI_ACL_PATTERNS;
    return !memchr(part.p ? part.p : (const uint8_t *)"/", '/', part.p ? part.n : 1) &&
           al_name_is_valid(part);
}

static struct al_str append(char *buf, struct al_str done, struct al_str more)
{
    if (more.n)
        memcpy(buf + done.n, more.p, more.n);
    return al_str_of(buf, done.n + more.n);
}

int ali_acl_normal(struct al_str text, unsigned allowed, char *buf, struct al_str *ret_text)
{
    struct al_str rest = text, space, name, out = al_str_of(buf, 0);

    if (is_all(text)) {
        if (!(allowed & ALI_ACL_PATTERNS))
            return -AL_E_BAD_NAME;
        *ret_text = append(buf, out, text);
        return 0;
    }
    if (ali_acl_is_role(text)) {
        rest = al_str_of(text.p + 5, text.n - 5);
        if (!(allowed & ALI_ACL_ROLES) || !al_name_is_valid(rest))
            return -AL_E_BAD_NAME;
        *ret_text = append(buf, out, text);
        return 0;
    }
    if (begins(text, "group:")) {
        if (!(allowed & ALI_ACL_GROUPS))
            return -AL_E_BAD_NAME;
        out = append(buf, out, al_str_of(text.p, 6));
        rest = al_str_of(text.p + 6, text.n - 6);
    } else if (!(allowed & ALI_ACL_AGENTS)) {
        return -AL_E_BAD_NAME;
    }
    if (!cut(rest, '/', &space, &name)) {
        name = rest;
        space = al_str_c("default");
    }
    if (!part_is_valid(space, allowed) || !part_is_valid(name, allowed))
        return -AL_E_BAD_NAME;
    out = append(buf, out, space);
    out = append(buf, out, al_str_c("/"));
    *ret_text = append(buf, out, name);
    return 0;
}

/* Namespace and name of a text in full, and whether it is a group. */
static bool split(struct al_str text, struct al_str *ret_space, struct al_str *ret_name)
{
    bool group = begins(text, "group:");

    if (group)
        text = al_str_of(text.p + 6, text.n - 6);
    (void)cut(text, '/', ret_space, ret_name);
    return group;
}

bool ali_acl_covers(struct al_str wide, struct al_str narrow)
{
    struct al_str space[2], name[2];

    if (ali_acl_is_role(wide) || ali_acl_is_role(narrow))
        return al_str_eq(wide, narrow);
    if (is_all(wide) || is_all(narrow))
        return is_all(wide);
    if (split(wide, &space[0], &name[0]) != split(narrow, &space[1], &name[1]))
        return false;
    return (is_star(space[0]) || al_str_eq(space[0], space[1])) &&
           (is_star(name[0]) || al_str_eq(name[0], name[1]));
}

static bool part_overlaps(struct al_str a, struct al_str b)
{
    return is_star(a) || is_star(b) || al_str_eq(a, b);
}

bool ali_acl_overlaps(struct al_str a, struct al_str b)
{
    struct al_str space[2], name[2];

    if (ali_acl_is_role(a) || ali_acl_is_role(b))
        return al_str_eq(a, b);
    if (is_all(a) || is_all(b))
        return true;
    return split(a, &space[0], &name[0]) == split(b, &space[1], &name[1]) &&
           part_overlaps(space[0], space[1]) && part_overlaps(name[0], name[1]);
}

struct al_str ali_acl_space(struct al_str name)
{
    struct al_str space, rest;

    if (begins(name, "group:"))
        name = al_str_of(name.p + 6, name.n - 6);
    return cut(name, '/', &space, &rest) ? space : al_str_c("default");
}

/* ---- kinds ------------------------------------------------------------------------------- */

bool ali_acl_kind_is_valid(struct al_str pattern)
{
    struct al_str rest = pattern, part;
    bool more = pattern.n > 0;

    if (pattern.n > AL_KIND_MAX)
        return false;
    while (more) {
        more = cut(rest, '.', &part, &rest);
        if (is_star(part) || (is_all(part) && !more) || !part.n)
            continue;
        if (!al_kind_is_valid(part))
            return false;
    }
    return true;
}

bool ali_acl_kind_is_one(struct al_str pattern)
{
    return pattern.n && !memchr(pattern.p, '*', pattern.n);
}

bool ali_acl_kind_covers(struct al_str wide, struct al_str narrow)
{
    struct al_str a, b;
    bool more_a = true, more_b = true;

    if (!wide.n || !narrow.n)
        return !wide.n;
    while (more_a && more_b) {
        more_a = cut(wide, '.', &a, &wide);
        more_b = cut(narrow, '.', &b, &narrow);
        if (is_all(a))
            return true;
        if (is_all(b) || (!is_star(a) && !al_str_eq(a, b)))
            return false;
    }
    return more_a == more_b;
}

bool ali_acl_kind_matches(struct al_str pattern, struct al_str kind)
{
    return ali_acl_kind_covers(pattern, kind); /* no kind has a star */
}
