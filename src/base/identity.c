/* identity.c - SPIFFE identities as text. */
#include "base/identity.h"
#include "base/errors.h"

#define SCHEME         "spiffe://"
#define NAMESPACE_NONE "default"

static const char *const role_texts[] = {
    [AL_ROLE_AGENT] = "agent", [AL_ROLE_NODE] = "node", [AL_ROLE_OPERATOR] = "operator"};
#define ROLE_COUNT (sizeof role_texts / sizeof role_texts[0])

_Static_assert(sizeof SCHEME - 1 + AL_NETWORK_MAX + 2 * (1 + AL_NAME_PART_MAX) +
                       sizeof "/operator" - 1 <=
                   AL_IDENTITY_MAX,
               "every valid identity fits");

static bool is_small(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

bool al_network_is_valid(struct al_str network)
{
    if (network.n == 0 || network.n > AL_NETWORK_MAX)
        return false;
    if (!is_small(network.p[0]) || !is_small(network.p[network.n - 1]))
        return false;
    for (uint32_t i = 0; i < network.n; i++) {
        uint8_t c = network.p[i];

        if (!is_small(c) && c != '-' && c != '.')
            return false;
        if (c == '.' && network.p[i - 1] == '.') /* never the first: that is small */
            return false;
    }
    return true;
}

/* Part of a name that can be part of a path too: "." and ".." would be steps in it. */
static bool part_is_valid(struct al_str part)
{
    bool dots_only = true;

    if (part.n == 0 || part.n > AL_NAME_PART_MAX)
        return false;
    for (uint32_t i = 0; i < part.n; i++) {
        uint8_t c = part.p[i];

        if (!is_small(c) && c != '.' && c != '_' && c != '-')
            return false;
        dots_only = dots_only && c == '.';
    }
    return !(dots_only && part.n <= 2);
}

/* Takes the text up to the next slash (or all of it) off the front, and the slash. */
static struct al_str take_part(struct al_str *text)
{
    struct al_str part = {text->p, 0};

    while (part.n < text->n && text->p[part.n] != '/')
        part.n++;
    text->p += part.n;
    text->n -= part.n;
    if (text->n > 1) { /* a slash at the very end stays, and is refused */
        text->p++;
        text->n--;
    }
    return part;
}

static bool role_parse(struct al_str text, enum al_identity_role *ret_role)
{
    for (unsigned role = AL_ROLE_AGENT; role < ROLE_COUNT; role++) {
        if (al_str_eq(text, al_str_c(role_texts[role]))) {
            *ret_role = (enum al_identity_role)role;
            return true;
        }
    }
    return false;
}

static bool is_valid(const struct al_identity *identity)
{
    return (unsigned)identity->role >= AL_ROLE_AGENT && (unsigned)identity->role < ROLE_COUNT &&
           al_network_is_valid(identity->network) && part_is_valid(identity->namespace) &&
           part_is_valid(identity->name);
}

int al_identity_parse(struct al_str text, struct al_identity *ret_identity)
{
    const size_t scheme_size = sizeof SCHEME - 1;
    struct al_identity identity;

    if (text.n < scheme_size || text.n > AL_IDENTITY_MAX ||
        memcmp(text.p, SCHEME, scheme_size) != 0)
        return -AL_E_INVALID;
    text = al_str_of(text.p + scheme_size, text.n - scheme_size);
    identity.network = take_part(&text);
    identity.namespace = take_part(&text);
    if (!role_parse(take_part(&text), &identity.role))
        return -AL_E_INVALID;
    identity.name = take_part(&text);
    if (text.n || !is_valid(&identity))
        return -AL_E_INVALID;
    *ret_identity = identity;
    return 0;
}

static char *put(char *to, const void *p, size_t n)
{
    memcpy(to, p, n);
    return to + n;
}

int al_identity_format(const struct al_identity *identity, char ret_text[AL_IDENTITY_MAX + 1])
{
    const char *role;
    char *to = ret_text;

    if (!is_valid(identity))
        return -AL_E_INVALID;
    role = role_texts[identity->role];
    to = put(to, SCHEME, sizeof SCHEME - 1);
    to = put(to, identity->network.p, identity->network.n);
    to = put(to, "/", 1);
    to = put(to, identity->namespace.p, identity->namespace.n);
    to = put(to, "/", 1);
    to = put(to, role, strlen(role));
    to = put(to, "/", 1);
    to = put(to, identity->name.p, identity->name.n);
    *to = 0;
    return 0;
}

int al_identity_of(struct al_str network, enum al_identity_role role, struct al_str full_name,
                   struct al_identity *ret_identity)
{
    struct al_identity identity = {role, network, al_str_c(NAMESPACE_NONE), full_name};
    const uint8_t *slash = full_name.n ? memchr(full_name.p, '/', full_name.n) : NULL;

    if (slash) {
        identity.namespace = al_str_of(full_name.p, (size_t)(slash - full_name.p));
        identity.name = al_str_of(slash + 1, full_name.n - identity.namespace.n - 1);
    }
    if (!is_valid(&identity))
        return -AL_E_INVALID;
    *ret_identity = identity;
    return 0;
}

void al_identity_full_name(const struct al_identity *identity, char ret_name[AL_NAME_MAX + 1])
{
    char *to = ret_name;

    if (!al_str_eq(identity->namespace, al_str_c(NAMESPACE_NONE))) {
        to = put(to, identity->namespace.p, identity->namespace.n);
        to = put(to, "/", 1);
    }
    to = put(to, identity->name.p, identity->name.n);
    *to = 0;
}

const char *al_identity_role_text(enum al_identity_role role)
{
    if ((unsigned)role < AL_ROLE_AGENT || (unsigned)role >= ROLE_COUNT)
        return "unknown";
    return role_texts[role];
}
