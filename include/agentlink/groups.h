/* agentlink/groups.h - groups: conversations in which every member gets every message in one order.
 *
 * A group is called group:[namespace/]name. Its members are agents. A member posts by sending to
 * the group; every member, the author too, gets the message from its own inbox, by al_receive() or
 * a handler, with al_delivery.group saying where in the group it stands. Leases, acks, retries and
 * dead letters are each member's own. Joins and leaves are messages in the same order, of kind
 * AL_GROUP_KIND_JOIN and AL_GROUP_KIND_LEAVE, with the member's name as payload.
 *
 * The node keeps a *history* (7 days unless told otherwise): who joins later can begin in it, who
 * missed something fetches it by al_group_history().
 *
 * Each message carries the hash of the one before it. So a member can prove that what it holds is
 * what was said, by whom, in this order and with nothing missing: al_group_verify() does it with
 * the node's history, struct al_group_chain with what the member got or kept itself.
 *
 * Limits. Posts have no ttl_ms, deliver_at_ms and key, and are not cancelled. A member whose inbox
 * is full stops the group (-AL_ERR_INBOX_FULL) until it has read or left; at most 500 members.
 *
 * Every call here but the chain's asks the node and waits for the answer, as those of admin.h do,
 * with the same errors beside those named here. `group` may be given without "group:". */
#ifndef AGENTLINK_GROUPS_H
#define AGENTLINK_GROUPS_H

#include <agentlink/receive.h>
#include <agentlink/send.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- groups and members ------------------------------------------------------------------ */

/* How much of its history a group keeps; each bound counts for itself, and the oldest messages go
 * first, in pieces of about a thirty-second. What a member has not finished with is kept for it in
 * any case. Zeroed: 7 days. */
struct al_group_options {
    uint64_t keep_ms;    /* age; 0: 7 days */
    uint64_t keep_count; /* messages; 0: any number */
    uint64_t keep_bytes; /* bytes of messages; 0: any number */
};

/* Creates a group, which belongs to this user. `options` may be NULL. -AL_ERR_EXISTS,
 * -AL_ERR_BAD_NAME, -AL_ERR_LIMIT, -AL_ERR_DISK_FULL. */
AL_API int al_group_create(struct al_client *client, const char *group,
                           const struct al_group_options *options);
/* Removes a group with its history. -AL_ERR_BUSY: somebody has a channel to it open, or members
 * have not read everything (not with `force`: then that is lost); -AL_ERR_UNKNOWN_GROUP,
 * -AL_ERR_NOT_OWNER. */
AL_API int al_group_remove(struct al_client *client, const char *group, bool force);

/* Makes an agent a member; for the group's owner. from_seq: first message that it gets, out of the
 * history as far as it reaches back; 0: the one about its joining. ret_seq may be NULL: the place
 * of that one. -AL_ERR_EXISTS: it is a member; -AL_ERR_UNKNOWN_AGENT; -AL_ERR_UNKNOWN_GROUP;
 * -AL_ERR_NOT_OWNER; -AL_ERR_BUSY: it was one and has unread mail of that time; -AL_ERR_INVALID:
 * from_seq lies in the future; -AL_ERR_LIMIT, -AL_ERR_INBOX_FULL, -AL_ERR_DLQ_FULL,
 * -AL_ERR_DISK_FULL. */
AL_API int al_group_join(struct al_client *client, const char *group, const char *agent,
                         uint64_t from_seq, uint64_t *ret_seq);
/* Ends a membership; for the group's owner and the member's. The notice of it is the last message
 * that the member gets. ret_seq may be NULL. -AL_ERR_NOT_MEMBER, -AL_ERR_UNKNOWN_GROUP,
 * -AL_ERR_UNKNOWN_AGENT, -AL_ERR_NOT_OWNER. */
AL_API int al_group_leave(struct al_client *client, const char *group, const char *agent,
                          uint64_t *ret_seq);

/* Bytes of a hash of the chain. */
#define AL_GROUP_HASH_SIZE 32

struct al_group_info {
    const char *name; /* with "group:" */
    uint32_t uid;     /* owning user */
    uint32_t members;
    uint64_t created_ms; /* wall clock */
    uint64_t first_seq;  /* oldest message of the history; next_seq when it is empty */
    uint64_t next_seq;   /* of the next message */
    uint64_t keep_ms, keep_count, keep_bytes;
    uint64_t bytes;                   /* of messages in the history */
    uint8_t hash[AL_GROUP_HASH_SIZE]; /* of the newest message: the end of the chain */
};
/* Called for each group; non-zero ends the list and is returned. */
typedef int al_group_fn(void *ctx, const struct al_group_info *group);
/* All groups of the node, by name. */
AL_API int al_group_list(struct al_client *client, al_group_fn *fn, void *ctx);
/* One group. -AL_ERR_UNKNOWN_GROUP. */
AL_API int al_group_show(struct al_client *client, const char *group, al_group_fn *fn, void *ctx);

struct al_group_member {
    const char *agent;
    uint32_t stream;     /* from the group to the member: its records are found by it and the seq */
    uint64_t joined_seq; /* first message that it got */
    uint64_t left_seq;   /* 0, or the last one: it has left and still has mail */
    uint64_t acked_seq;  /* its cursor: deliveries up to here have ended */
    uint64_t pending;    /* deliveries that have not */
    uint32_t dead;       /* of those that have ended: dead letters that are still kept */
};
/* Called for each member; non-zero ends the list and is returned. */
typedef int al_group_member_fn(void *ctx, const struct al_group_member *member);
/* The roster, in the order of joining; for the owner and members. -AL_ERR_NOT_MEMBER,
 * -AL_ERR_UNKNOWN_GROUP. */
AL_API int al_group_members(struct al_client *client, const char *group, al_group_member_fn *fn,
                            void *ctx);

/* ---- posting and receiving --------------------------------------------------------------- */

/* al_send() of a message to the group, whatever its `to` says. The receipt's seq is the place in
 * the group; with AL_MESSAGE_NOTIFY the end comes when all members have finished with it. The same
 * key once more is not posted again: the receipt is the first one's, `duplicate`. Errors as
 * al_send(), and -AL_ERR_NOT_MEMBER, -AL_ERR_UNKNOWN_GROUP, -AL_ERR_UNSUPPORTED. */
AL_API int al_group_post(struct al_client *client, const char *group,
                         const struct al_message *message, int timeout_ms,
                         struct al_receipt *ret_receipt);

/* What stands in a group's history. */
enum al_group_what { AL_GROUP_SAID = 1, AL_GROUP_JOIN = 2, AL_GROUP_LEAVE = 3 };

/* The kinds of the messages about joins and leaves. */
#define AL_GROUP_KIND_JOIN  "agentlink.group.join"
#define AL_GROUP_KIND_LEAVE "agentlink.group.leave"

/* Where a received message stands in its group: al_delivery.group. The sequence in the group is
 * al_delivery.seq, the author message.from; for a join and a leave that is the member. */
struct al_group_place {
    const char *name; /* with "group:"; message.to is the same */
    enum al_group_what what;
    uint8_t prev_hash[AL_GROUP_HASH_SIZE]; /* of the message before, as the node says */
    uint8_t hash[AL_GROUP_HASH_SIZE];      /* of this one, computed here */
};

/* ---- history ----------------------------------------------------------------------------- */

/* A message of the history. */
struct al_group_entry {
    uint64_t seq; /* in the group */
    enum al_group_what what;
    uint64_t admitted_ms;                  /* the node's wall clock when it took it */
    const char *author;                    /* sending agent; joins and leaves: the member */
    uint8_t prev_hash[AL_GROUP_HASH_SIZE]; /* of the message before, as stored */
    uint8_t hash[AL_GROUP_HASH_SIZE];      /* of this one, computed when it was read */
    const void *envelope;                  /* the message as its hash covers it */
    size_t envelope_size;
    struct al_message message; /* the same, read */
};
/* Called for each entry, which is valid during the call; non-zero ends the list and is returned. */
typedef int al_group_entry_fn(void *ctx, const struct al_group_entry *entry);

/* Which part of a history. */
struct al_group_query {
    const char *group;
    const char *agent;       /* member that asks; NULL: the owner, or any member of this user */
    uint64_t first_seq;      /* 0: the oldest */
    uint64_t last_seq;       /* 0: the newest */
    const char *workflow_id; /* only messages with this one; NULL: all */
};
/* The messages of this part, in order; what is no longer kept is left out: look at `seq`.
 * -AL_ERR_NOT_MEMBER, -AL_ERR_UNKNOWN_GROUP. */
AL_API int al_group_history(struct al_client *client, const struct al_group_query *query,
                            al_group_entry_fn *fn, void *ctx);

/* Reads an entry that was kept: seq, what, admitted_ms, author, prev_hash, envelope and message.to
 * say what it is; the callback gets it with `message` and `hash` made from them. Its result, or
 * -AL_ERR_PROTOCOL: the envelope is not one; -AL_ERR_INVALID, -AL_ERR_NOMEM. */
AL_API int al_group_entry_read(const struct al_group_entry *entry, al_group_entry_fn *fn,
                               void *ctx);

/* ---- proof ------------------------------------------------------------------------------- */

/* A run of messages that was checked link by link. Zeroed: it begins with whatever comes first,
 * which is then taken on trust; after al_group_chain_begin() with the group's first message. It may
 * be stored and gone on with later. */
struct al_group_chain {
    uint64_t seq;                     /* of the last message; 0: none yet */
    uint64_t count;                   /* messages checked */
    uint64_t bad_seq;                 /* where it broke; 0: it is whole */
    uint8_t hash[AL_GROUP_HASH_SIZE]; /* of the last message, or what the first must link to */
    bool anchored;                    /* `hash` counts: something came before */
};

/* A chain that begins with the first message of the group of this name. -AL_ERR_BAD_NAME. */
AL_API int al_group_chain_begin(struct al_group_chain *chain, const char *group);
/* The hash of an entry, from its content; its `hash` is not looked at. */
AL_API void al_group_entry_hash(const struct al_group_entry *entry,
                                uint8_t ret_hash[AL_GROUP_HASH_SIZE]);
/* Adds an entry behind the last one, also one that was kept meanwhile. -AL_ERR_DAMAGED: its content
 * does not have its `hash` (which is passed over if it is all zero), or it does not continue the
 * chain: it or the one before was altered, or stands in another place; -AL_ERR_SEQUENCE_GAP:
 * messages are missing before it. al_last_error() and bad_seq say where; the chain stays as it was.
 */
AL_API int al_group_chain_add(struct al_group_chain *chain, const struct al_group_entry *entry);
/* Likewise a message that the member was given. 1: it is one of those before the last (given
 * again), and was not looked at; -AL_ERR_SEQUENCE_GAP: what is missing was left out here (a dead
 * letter) and is fetched by al_group_history(); -AL_ERR_INVALID: not of a group. */
AL_API int al_group_chain_add_delivery(struct al_group_chain *chain,
                                       const struct al_delivery *delivery);

/* What al_group_verify() found. */
struct al_group_proof {
    uint64_t first_seq, last_seq;     /* the part that is proven; 0, 0: there is nothing */
    uint64_t count;                   /* messages in it */
    uint64_t bad_seq;                 /* where the chain breaks; 0: it is whole */
    bool from_begin;                  /* it begins with the group's first message */
    uint8_t hash[AL_GROUP_HASH_SIZE]; /* of its last message; compare it with other members' */
};
/* Fetches the history, of `agent` (a member, or NULL as in al_group_query), and checks that it is
 * whole from its oldest message to the newest that the node vouches for. -AL_ERR_DAMAGED:
 * ret_proof->bad_seq and al_last_error() say where (ret_proof is written in this case too);
 * otherwise as al_group_history(). */
AL_API int al_group_verify(struct al_client *client, const char *group, const char *agent,
                           struct al_group_proof *ret_proof);

#ifdef __cplusplus
}
#endif

#endif
