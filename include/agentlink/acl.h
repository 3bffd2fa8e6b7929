/* agentlink/acl.h - permissions: who may send what to whom, join and read groups, administer.
 *
 * Without any rule agents of one namespace may do everything to each other but administer, agents
 * of different namespaces nothing. Rules change that: an explicit deny counts before every allow,
 * an allow before the default. Subjects and objects are names or patterns by segment:
 * "billing/api", "billing/" with a star for every name, a star and "/api" for every namespace, "**"
 * for everybody; groups as "group:billing/ops". A name without a namespace is in "default". The
 * subject may be "role:NAME"; who is a member of a role has all its rights and restrictions, and a
 * role may be a member of another one.
 *
 * The node's own user and root make rules as they like. An agent makes them by a right of its own
 * (`by`): about what it may administer, or by passing on a right that may be passed on, to do less,
 * for no longer. What was passed on holds only as long as the right it came from.
 *
 * Calls behave as those of admin.h. -AL_ERR_DENIED: al_last_error() says by which rule. */
#ifndef AGENTLINK_ACL_H
#define AGENTLINK_ACL_H

#include <agentlink/client.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What can be allowed; added up in rules. */
enum al_acl_action {
    AL_ACL_SEND = 1,      /* messages to an agent, posts to a group */
    AL_ACL_JOIN = 2,      /* become a member of a group */
    AL_ACL_READ = 4,      /* read the history of a group, as a member */
    AL_ACL_ADMINISTER = 8 /* remove agents and groups, manage dead letters, make rules about them */
};

enum al_acl_effect {
    AL_ACL_ALLOW = 1,
    AL_ACL_DENY = 2,
    AL_ACL_MEMBER = 3 /* the subject is a member of the role that is the object */
};

/* Whether a rule holds. */
enum al_acl_state {
    AL_ACL_HOLDS = 1,
    AL_ACL_EXPIRED = 2,
    AL_ACL_UNBACKED = 3 /* who passed it on has lost the right himself */
};

struct al_acl_rule {
    enum al_acl_effect effect;
    unsigned actions;    /* AL_ACL_SEND and so on; ignored for a membership */
    const char *subject; /* agent, pattern or "role:NAME" */
    const char *object;  /* agent, "group:NAME" or pattern; for a membership "role:NAME" */
    const char *kind;    /* kinds of messages by segments: "tool.call", "tool.*" (one more segment),
                            "tool.**" (any number); NULL or "": all */
    uint64_t expire_ms;  /* wall clock in ms since 1970 from which on it does not hold; 0: ever */
    unsigned hops;       /* allow: how often the right may be passed on, one after the other; 0-8 */
    const char *by;      /* agent by whose right it is made; NULL: the node's user or root */

    /* Filled in by al_acl_list() and al_acl_test(), ignored by al_acl_set(): */
    uint64_t rule;           /* its number: the version of the rules that it made */
    enum al_acl_state state; /* whether it holds now */
    uint64_t parent;         /* rule by whose right it was passed on, 0: none */
    uint64_t made_ms;        /* wall clock */
    uint32_t uid;            /* user who made it */
};

/* Makes a rule. Durable and in force when it returns: what is sent from then on is judged by it;
 * what waits is judged again when it is its turn, and becomes a dead letter with reason DENIED if
 * it is forbidden by then. A rule that says the same already is returned again. Returns 0 and its
 * number in *ret_rule, which may be NULL. -AL_ERR_BAD_NAME, -AL_ERR_INVALID (actions, kind, hops,
 * a time that has passed), -AL_ERR_EXISTS (a role would be a member of itself), -AL_ERR_LIMIT
 * (10,000 rules, 1,000 roles), -AL_ERR_DENIED. */
AL_API int al_acl_set(struct al_client *client, const struct al_acl_rule *rule, uint64_t *ret_rule);
/* Lets the subject do these things to the object. */
AL_API int al_acl_allow(struct al_client *client, const char *subject, unsigned actions,
                        const char *object, const char *kind);
/* Forbids them, whatever else is allowed. */
AL_API int al_acl_deny(struct al_client *client, const char *subject, unsigned actions,
                       const char *object, const char *kind);
/* Removes a rule, and all that was passed on by its right. `by` as in al_acl_rule.
 * -AL_ERR_NOT_FOUND, -AL_ERR_DENIED. */
AL_API int al_acl_remove(struct al_client *client, uint64_t rule, const char *by);

/* Called for each rule; texts are valid during the call. Non-zero ends the list. */
typedef int al_acl_fn(void *ctx, const struct al_acl_rule *rule);
/* All rules, by number. */
AL_API int al_acl_list(struct al_client *client, al_acl_fn *fn, void *ctx);

/* What may be asked: may the subject do this to the object? Both are names, not patterns. */
struct al_acl_question {
    const char *subject;       /* an agent */
    enum al_acl_action action; /* one of them */
    const char *object;        /* an agent or group:NAME */
    const char *kind;          /* of the message; NULL or "": none */
};

struct al_acl_verdict {
    bool allowed;
    uint64_t rule;    /* that decides; 0: none, the namespaces do */
    uint64_t version; /* of the rules */
};
/* What the rules say now about one action; agents and groups need not exist. If a rule decides, fn
 * (may be NULL) is called with it. -AL_ERR_BAD_NAME, -AL_ERR_INVALID. */
AL_API int al_acl_test(struct al_client *client, const struct al_acl_question *question,
                       struct al_acl_verdict *ret_verdict, al_acl_fn *fn, void *ctx);

#ifdef __cplusplus
}
#endif

#endif
