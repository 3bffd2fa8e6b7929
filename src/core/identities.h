/* identities.h - who comes from beyond this machine: the objects, and what identity.c and enroll.c
 * do with them. Part of internal.h. */
#ifndef AL_CORE_IDENTITIES_H
#define AL_CORE_IDENTITIES_H

#include "core/state.h"

/* States of an identity; on the wire, too. */
enum { AL_IDENTITY_WAITS = 1, AL_IDENTITY_ACTIVE = 2, AL_IDENTITY_REVOKED = 3 };

/* Somebody beyond this machine who may act as one agent: identity.c. */
struct ali_identity {
    struct ali_object object;
    struct {
        uint32_t number, uid; /* uid: who made it */
        uint8_t state;        /* AL_IDENTITY_ */
        uint8_t name_size;
        bool has_key;
        char name[AL_NAME_MAX]; /* of the agent, without default/ */
        uint8_t token[32];      /* digest */
        uint8_t key[32];        /* Ed25519 */
        uint64_t made_ms, token_ms, issued_ms;
        uint64_t valid_serial, serial;
    } d;
    struct {
        uint32_t link_count; /* connections that came with its certificate */
    } v;
};

/* The identity at a reference in use. */
struct ali_identity *ali_identity_at(const struct al_node *node, ali_ref ref);
/* The (normal) name of its agent. */
struct al_str ali_identity_name(const struct ali_identity *identity);
/* The identity of the agent of that normal name, AL_REF_NONE. */
ali_ref ali_find_identity(const struct al_node *node, struct al_str name);
/* Writes the identity's text into ret_text[AL_IDENTITY_MAX + 1]; false: it is too long for one. */
bool ali_identity_text(const struct al_node *node, struct al_str name, char *ret_text);
/* Who a new connection is; one whose certificate does not count is told so and closed. */
void ali_link_open(struct al_node *node, struct ali_conn *conn, const struct al_event *event);
/* The connection is gone. */
void ali_link_closed(struct al_node *node, struct ali_conn *conn);
/* True if it came with the certificate of this (normal) name. */
bool ali_link_is_of(const struct al_node *node, const struct ali_conn *conn, struct al_str name);
/* Ends all links of an identity, saying why. */
void ali_links_end(struct al_node *node, ali_ref identity, const char *why);
struct ali_item_identity;
/* Appends the item of an identity. 0 or -AL_E_NOMEM. */
int ali_identity_put(const struct ali_identity *identity, struct al_buf *out);
/* Takes an identity from its item. 0, -AL_E_NOMEM, -AL_E_DAMAGED. */
int ali_identity_load(struct al_node *node, const struct ali_item_identity *item);
/* enroll.c: the answer to an ISSUE effect. 0 or -AL_E_NOMEM. */
int ali_issued(struct al_node *node, const struct al_event *event);

#endif
