/* group_chain.c - the chain of a group's messages, seen from a member: hashes and runs of them. */
#include "base/errors.h"
#include "base/text.h"
#include "client/client.h"
#include "client/groups.h"
#include "crypto/hash.h"
#include <stdio.h>

_Static_assert((int)AL_GROUP_SAID == (int)AL_GROUP_MESSAGE, "the wire's numbers are public");
_Static_assert((int)AL_GROUP_JOIN == (int)AL_GROUP_JOINED, "the wire's numbers are public");
_Static_assert((int)AL_GROUP_LEAVE == (int)AL_GROUP_LEFT, "the wire's numbers are public");

int ali_group_name(const char *group, char ret_name[AL_GROUP_NAME_MAX + 1])
{
    const char *rest = group && strncmp(group, "group:", 6) == 0 ? group + 6 : group;

    if (!rest || !al_name_is_valid(al_str_c(rest)))
        return ali_client_fail(-AL_E_BAD_NAME,
                               "'%.130s' is not the name of a group: [namespace/]name, each part 1 "
                               "to 64 of a-z 0-9 . _ -",
                               group ? group : "");
    snprintf(ret_name, AL_GROUP_NAME_MAX + 1, "group:%s", rest);
    return 0;
}

/* ---- what was given out ------------------------------------------------------------------ */

int ali_group_place(const struct ali_csession *session, const struct al_msg_deliver *m,
                    struct al_str kind, struct al_group_place *ret_place, struct al_str *ret_group)
{
    struct al_chain_link link = {
        .seq = m->seq, .wall_ms = m->admitted_ms, .author = m->from, .envelope = m->envelope};
    struct al_str prev;

    if (!al_ext_find(session->deliver_ext, AL_DELIVER_EXT_GROUP, ret_group)) {
        *ret_group = al_str_of(NULL, 0);
        return 0;
    }
    if (!al_group_name_is_valid(*ret_group) || m->from.n > AL_NAME_MAX ||
        !al_ext_find(session->deliver_ext, AL_DELIVER_EXT_PREV_HASH, &prev) ||
        prev.n != AL_GROUP_HASH_SIZE)
        return -AL_E_PROTOCOL;
    link.what = al_str_eq(kind, al_str_c(AL_GROUP_KIND_JOIN))    ? AL_GROUP_JOINED
                : al_str_eq(kind, al_str_c(AL_GROUP_KIND_LEAVE)) ? AL_GROUP_LEFT
                                                                 : AL_GROUP_MESSAGE;
    memset(ret_place, 0, sizeof(*ret_place));
    ret_place->what = (enum al_group_what)link.what;
    memcpy(ret_place->prev_hash, prev.p, AL_GROUP_HASH_SIZE);
    al_chain_next(prev.p, &link, ret_place->hash);
    return 0;
}

/* ---- runs of messages -------------------------------------------------------------------- */

int al_group_chain_begin(struct al_group_chain *chain, const char *group)
{
    char name[AL_GROUP_NAME_MAX + 1];
    const char *whole = name;
    int r = ali_group_name(group, name);

    if (r < 0)
        return r;
    if (strncmp(name, "group:default/", 14) == 0) { /* goes without saying */
        memmove(name + 6, name + 14, strlen(name + 14) + 1);
        whole = name;
    }
    memset(chain, 0, sizeof(*chain));
    chain->anchored = true;
    al_chain_begin(al_str_c(whole), chain->hash);
    return 0;
}

void al_group_entry_hash(const struct al_group_entry *entry, uint8_t ret_hash[AL_GROUP_HASH_SIZE])
{
    struct al_chain_link link = {.seq = entry->seq,
                                 .wall_ms = entry->admitted_ms,
                                 .what = (uint8_t)entry->what,
                                 .author = al_str_c(entry->author),
                                 .envelope = al_str_of(entry->envelope, entry->envelope_size)};

    al_chain_next(entry->prev_hash, &link, ret_hash);
}

static int broken(struct al_group_chain *chain, uint64_t seq, int error, const char *what)
{
    chain->bad_seq = seq;
    return ali_client_fail(error, "the chain breaks at %llu, behind %llu: %s",
                           (unsigned long long)seq, (unsigned long long)chain->seq, what);
}

/* The next message, whose own hash is `hash`. */
static int chain_add(struct al_group_chain *chain, uint64_t seq, const uint8_t *prev_hash,
                     const uint8_t *hash)
{
    if (chain->anchored && seq > chain->seq + 1)
        return broken(chain, seq, -AL_E_SEQUENCE_GAP, "messages before it are missing");
    if (seq == 0 || (chain->anchored && seq <= chain->seq))
        return broken(chain, seq, -AL_E_DAMAGED, "it stands in another place than it says");
    if (chain->anchored && memcmp(prev_hash, chain->hash, AL_GROUP_HASH_SIZE) != 0)
        return broken(chain, seq, -AL_E_DAMAGED,
                      "the message before it, or its link to it, is not what was posted");
    chain->anchored = true;
    chain->bad_seq = 0;
    chain->seq = seq;
    chain->count++;
    memcpy(chain->hash, hash, AL_GROUP_HASH_SIZE);
    return 0;
}

int al_group_chain_add(struct al_group_chain *chain, const struct al_group_entry *entry)
{
    static const uint8_t unknown[AL_GROUP_HASH_SIZE];
    uint8_t hash[AL_GROUP_HASH_SIZE];

    al_group_entry_hash(entry, hash);
    if (memcmp(entry->hash, unknown, sizeof(hash)) != 0 &&
        memcmp(entry->hash, hash, sizeof(hash)) != 0)
        return broken(chain, entry->seq, -AL_E_DAMAGED, "it is not what its hash was made from");
    return chain_add(chain, entry->seq, entry->prev_hash, hash);
}

int al_group_chain_add_delivery(struct al_group_chain *chain, const struct al_delivery *delivery)
{
    const struct al_group_place *place = delivery->group;

    if (!place)
        return ali_client_fail(-AL_E_INVALID, "the message did not come through a group");
    if (chain->seq && delivery->seq <= chain->seq)
        return 1;
    return chain_add(chain, delivery->seq, place->prev_hash, place->hash);
}
