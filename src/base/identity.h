/* identity.h - who somebody is: spiffe://NETWORK/NAMESPACE/agent/NAME and its sisters.
 *
 * A network is what one certificate authority vouches for. An agent's identity says which agent
 * name its holder may act as; a node's (…/node/NAME) that it serves the network; an operator's
 * (…/operator/NAME) that it administers it. Pure text: no keys, no certificates, no memory; any
 * thread. */
#ifndef AL_BASE_IDENTITY_H
#define AL_BASE_IDENTITY_H

#include "base/bytes.h"
#include "base/limits.h"
#include <stdbool.h>

/* What an identity lets its holder be. Numbers may be stored: never reused. */
enum al_identity_role { AL_ROLE_AGENT = 1, AL_ROLE_NODE = 2, AL_ROLE_OPERATOR = 3 };

/* Parts of an identity; they point into the text that was parsed, or are the caller's. */
struct al_identity {
    enum al_identity_role role;
    struct al_str network;   /* see al_network_is_valid */
    struct al_str namespace; /* part of a name, [a-z0-9._-]{1,64}, but neither "." nor ".." */
    struct al_str name;      /* likewise */
};

/* [a-z0-9.-]{1,63}, with a letter or digit at both ends and no "..": like a host name. */
bool al_network_is_valid(struct al_str network);
/* Reads exactly the canonical form: lower case, nothing percent-encoded, no empty part, nothing
 * behind it. 0 or -AL_E_INVALID. */
int al_identity_parse(struct al_str text, struct al_identity *ret_identity);
/* Writes that form, with a terminating zero; parsing it gives the same parts again. 0, or
 * -AL_E_INVALID if a part or the role is not valid. */
int al_identity_format(const struct al_identity *identity, char ret_text[AL_IDENTITY_MAX + 1]);
/* Identity of a role with the name "[namespace/]name", "default" where it has none. The parts point
 * into `network` and `full_name`, or to a constant. 0 or -AL_E_INVALID. */
int al_identity_of(struct al_str network, enum al_identity_role role, struct al_str full_name,
                   struct al_identity *ret_identity);
/* The name as agents and answers show it: "name" in the namespace default, "namespace/name"
 * elsewhere; with a terminating zero. The parts must be valid, as the ones of a parsed identity. */
void al_identity_full_name(const struct al_identity *identity, char ret_name[AL_NAME_MAX + 1]);
/* "agent", "node", "operator"; "unknown" for anything else. */
const char *al_identity_role_text(enum al_identity_role role);

#endif
