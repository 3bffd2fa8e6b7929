/* acl.h - permissions: the rules and what follows from them.
 *
 * A rule says that a subject may, or may not, do something to an object; or that the subject is a
 * member of a role. The rules are durable objects, each made by a record; their number grows by one
 * with every change of the rules, so it is also the version that the change made.
 *
 * What decides: a deny that matches; else an allow that matches; else the namespaces: within one
 * all but administration is allowed, across nothing. A rule that was passed on (parent) holds only
 * as long as who passed it on still has the right himself, all the way up.
 *
 * Names stand in rules in full ("default/x"), so that a pattern is a text like any other: a
 * question is answered by looking up the few texts that can match - the name, its namespace, the
 * name in any namespace, everybody, each role of the subject - not by trying every rule. */
#ifndef AL_CORE_ACL_H
#define AL_CORE_ACL_H

#include "base/bytes.h"
#include "base/index.h"
#include "base/limits.h"
#include "base/pool.h"
#include "core/object.h"
#include <stdbool.h>

struct al_node;
struct ali_conn;

/* Effects and actions as in ACL_SET. */
enum { ALI_ACL_ALLOW = 1, ALI_ACL_DENY = 2, ALI_ACL_MEMBER = 3 };
enum { ALI_ACL_SEND = 1, ALI_ACL_JOIN = 2, ALI_ACL_READ = 4, ALI_ACL_ADMINISTER = 8 };
#define ALI_ACL_ALL 15u

struct ali_rule {
    struct ali_object object;
    struct {
        uint64_t id, parent; /* parent: the rule by whose right it was passed on, 0 */
        uint64_t wall_ms, expire_ms;
        uint32_t uid;
        uint8_t effect, actions, hops;
        uint8_t subject_size, target_size, kind_size, by_size;
        char subject[AL_ACL_NAME_MAX], target[AL_ACL_NAME_MAX];
        char kind[AL_KIND_MAX], by[AL_NAME_MAX];
    } d;
    struct {
        ali_ref next;        /* of those with the same key */
        ali_ref next_member; /* of the same role */
    } v;
};

/* One remembered decision. */
struct ali_acl_memo {
    uint64_t kind, rule;
    uint32_t generation, from, to; /* agents' numbers, which are never given out again */
    uint8_t action, allowed;
};
#define ALI_ACL_MEMOS 1024u

struct ali_acl {
    struct al_pool rules;
    /* By number; by subject, object and kind, and memberships by role: heads of lists. */
    struct al_index ids, keys, roles;
    uint64_t version; /* durable: how often the rules have changed */
    /* What was decided holds while the generation is the same: it changes with the rules and when
     * one begins or ceases to be expired. */
    uint32_t generation;
    uint64_t from_ms, until_ms; /* wall clock: in between nothing expires */
    uint8_t detail_size;        /* why the last thing was refused; taken by who tells it */
    char detail[AL_REASON_MAX];
    uint64_t denied[4], denied_deliver; /* refusals by action; letters made at delivery */
    struct ali_acl_memo memo[ALI_ACL_MEMOS];
};

struct ali_verdict {
    bool allowed;
    uint64_t rule; /* that decides, 0: none does */
};

/* ---- acl_match.c: texts ------------------------------------------------------------------ */

/* What may stand somewhere. */
enum { ALI_ACL_AGENTS = 1, ALI_ACL_GROUPS = 2, ALI_ACL_ROLES = 4, ALI_ACL_PATTERNS = 8 };
/* The name or pattern in full, in buf[AL_ACL_NAME_MAX]. 0 or -AL_E_BAD_NAME. */
int ali_acl_normal(struct al_str text, unsigned allowed, char *buf, struct al_str *ret_text);
/* True if `wide` matches all that `narrow` does; both in full. */
bool ali_acl_covers(struct al_str wide, struct al_str narrow);
/* True if there may be a name that both match. */
bool ali_acl_overlaps(struct al_str a, struct al_str b);
bool ali_acl_is_role(struct al_str text);
/* A pattern of kinds: segments between dots; one is "*" for any one, the last may be "**". */
bool ali_acl_kind_is_valid(struct al_str pattern);
bool ali_acl_kind_matches(struct al_str pattern, struct al_str kind);
bool ali_acl_kind_covers(struct al_str wide, struct al_str narrow);
/* True if the pattern names one kind. */
bool ali_acl_kind_is_one(struct al_str pattern);
/* Namespace of an agent's or group's name as it is kept. */
struct al_str ali_acl_space(struct al_str name);

/* ---- acl.c: the rules and their index; decisions ----------------------------------------- */

struct ali_acl_question {
    struct al_str subject, object; /* names as agents and groups have them */
    struct al_str kind;
    uint8_t action;
};
/* What the rules say now. */
struct ali_verdict ali_acl_decide(struct al_node *node, const struct ali_acl_question *question);
/* The rule of that number, or NULL. */
struct ali_rule *ali_acl_find(const struct al_node *node, uint64_t id, ali_ref *ret_ref);
/* The rule at a reference in use; its texts. */
static inline struct ali_rule *ali_rule_at(const struct ali_acl *acl, ali_ref ref)
{
    return al_pool_at(&acl->rules, ref);
}
/* Who. */
static inline struct al_str ali_rule_subject(const struct ali_rule *rule)
{
    return al_str_of(rule->d.subject, rule->d.subject_size);
}
/* To whom. */
static inline struct al_str ali_rule_target(const struct ali_rule *rule)
{
    return al_str_of(rule->d.target, rule->d.target_size);
}
/* Kinds of messages; empty: all. */
static inline struct al_str ali_rule_kind(const struct ali_rule *rule)
{
    return al_str_of(rule->d.kind, rule->d.kind_size);
}
/* Who made it; empty: the administrator. */
static inline struct al_str ali_rule_by(const struct ali_rule *rule)
{
    return al_str_of(rule->d.by, rule->d.by_size);
}
/* True if it has not expired. */
bool ali_rule_is_live(const struct al_node *node, const struct ali_rule *rule);
/* False if it was passed on by somebody who may not do that any more. */
bool ali_rule_is_backed(struct al_node *node, const struct ali_rule *rule);
/* True if the subject of the rule is the agent or a role that it has. */
bool ali_rule_is_about(struct al_node *node, const struct ali_rule *rule, struct al_str agent);
/* True if a role is, directly or not, a member of another, or the same. */
bool ali_role_reaches(struct al_node *node, struct al_str role, struct al_str other);
/* True if it has members. */
bool ali_role_is_known(struct al_node *node, struct al_str role);
/* Puts a rule that is new into the index. Room was reserved. */
void ali_acl_link(struct al_node *node, ali_ref ref);
/* Takes it out. */
void ali_acl_unlink(struct al_node *node, ali_ref ref);
/* The rules have changed: nothing that was decided before holds. */
void ali_acl_changed(struct al_node *node);
/* No rules. */
void ali_acl_init(struct al_node *node);
/* Frees what it holds. */
void ali_acl_deinit(struct al_node *node);

/* ---- acl_check.c: what the rest of the node asks ----------------------------------------- */

/* Whether one agent may do something to another (or a group), from memory if it was asked before.
 */
struct ali_verdict ali_acl_verdict(struct al_node *node, ali_ref from, ali_ref to, uint8_t action,
                                   struct al_str kind);
/* Likewise: 0 or -AL_E_DENIED, which is counted and explained in the answer that follows. */
int ali_acl_check(struct al_node *node, ali_ref from, ali_ref to, uint8_t action,
                  struct al_str kind);
/* 0 if the connection's user administers the node, or one of his agents may administer this agent
 * or group, or all that a pattern matches. */
int ali_acl_check_admin(struct al_node *node, const struct ali_conn *conn, struct al_str target);
bool ali_is_administrator(const struct al_node *node, const struct ali_conn *conn);
/* agent.c: */
/* True if the connection owns the agent or group, or may administer it (acl.h). */
bool ali_may_manage(struct al_node *node, const struct ali_conn *conn, ali_ref agent);
/* ali_agent_get of an agent that is there, for who owns or administers it. */
int ali_agent_manage(struct al_node *node, const struct ali_conn *conn, struct al_str name,
                     ali_ref *ret_agent);
/* Notes why the answer that follows is -AL_E_DENIED, which is returned. */
int ali_acl_denied(struct al_node *node, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The text of an error for an answer: of AL_E_DENIED what was noted, once. */
struct al_str ali_acl_error_text(struct al_node *node, int error);
/* The present generation: see struct ali_acl. */
uint32_t ali_acl_generation(struct al_node *node);

/* ---- acl_rules.c ------------------------------------------------------------------------- */

struct ali_item_rule;
/* The item of a rule. 0, -AL_E_NOMEM, -AL_E_DAMAGED. */
int ali_rule_put(const struct ali_rule *rule, struct al_buf *out);
/* Makes the rule of an item. */
int ali_rule_load(struct al_node *node, const struct ali_item_rule *item);

#endif
