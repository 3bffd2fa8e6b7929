/* acl_admin.c - rules made, removed, listed and asked about by clients.
 *
 * Who administers the node (its own user, root) may make and remove every rule; nobody can lock him
 * out. An agent may make rules about what it may administer, and may pass on a right that it has
 * been allowed to pass on: to others, for no more than it has, for no longer, one hop less. */
#include "core/internal.h"

struct draft {
    struct ali_rec_rule_set record;
    char subject[AL_ACL_NAME_MAX], target[AL_ACL_NAME_MAX];
};

/* ---- who may ----------------------------------------------------------------------------- */

/* 0 if the connection may speak for this agent, which is there. */
static int check_by(struct al_node *node, const struct ali_conn *conn, struct al_str by)
{
    ali_ref agent;
    int r = ali_agent_get(node, conn, by, false, &agent);

    return r == 0 && !ali_has_inbox(ali_agent_at(node, agent)) ? -AL_E_BAD_NAME : r;
}

/* True if the agent may administer everything that the pattern matches: an allow that covers it,
 * and no deny that touches it. */
static bool may_administer(struct al_node *node, struct al_str agent, struct al_str target)
{
    bool allowed = false;

    for (ali_ref ref = 0; ref < node->acl.rules.end; ref++) {
        const struct ali_rule *rule = ali_rule_at(&node->acl, ref);

        if (!al_pool_has(&node->acl.rules, ref) || !(rule->d.actions & ALI_ACL_ADMINISTER) ||
            !ali_rule_is_live(node, rule) || !ali_acl_overlaps(ali_rule_target(rule), target) ||
            !ali_rule_is_about(node, rule, agent))
            continue;
        if (rule->d.effect == ALI_ACL_DENY)
            return false;
        if (ali_acl_covers(ali_rule_target(rule), target) && ali_rule_is_backed(node, rule))
            allowed = true;
    }
    return allowed;
}

/* The rule by whose right the agent may make this one, the oldest; NULL: there is none. */
static const struct ali_rule *find_parent(struct al_node *node, struct al_str agent,
                                          const struct ali_rec_rule_set *r)
{
    const struct ali_rule *best = NULL;

    for (ali_ref ref = 0; ref < node->acl.rules.end; ref++) {
        const struct ali_rule *rule = ali_rule_at(&node->acl, ref);

        if (!al_pool_has(&node->acl.rules, ref) || rule->d.effect != ALI_ACL_ALLOW ||
            rule->d.hops <= r->hops || r->actions & ~rule->d.actions ||
            (best && best->d.id < rule->d.id) || !ali_rule_is_live(node, rule) ||
            !ali_acl_covers(ali_rule_target(rule), r->target) ||
            !ali_acl_kind_covers(ali_rule_kind(rule), r->kind) ||
            !ali_rule_is_about(node, rule, agent) || !ali_rule_is_backed(node, rule))
            continue;
        best = rule;
    }
    return best;
}

/* What the agent wants to make: as an administrator, or passing a right on. */
static int check_right(struct al_node *node, struct draft *draft)
{
    struct ali_rec_rule_set *r = &draft->record;
    const struct ali_rule *parent;

    if (r->effect != ALI_ACL_MEMBER && !(r->actions & ALI_ACL_ADMINISTER) &&
        may_administer(node, r->by, r->target))
        return 0;
    parent = r->effect == ALI_ACL_ALLOW ? find_parent(node, r->by, r) : NULL;
    if (!parent)
        return ali_acl_denied(node,
                              "%.*s neither administers %.*s nor has such a right that may be "
                              "passed on so far",
                              (int)(r->by.n < 64 ? r->by.n : 64), (const char *)r->by.p,
                              (int)(r->target.n < 64 ? r->target.n : 64),
                              (const char *)r->target.p);
    r->parent = parent->d.id;
    if (parent->d.expire_ms && (!r->expire_ms || r->expire_ms > parent->d.expire_ms))
        r->expire_ms = parent->d.expire_ms;
    return 0;
}

/* ---- set --------------------------------------------------------------------------------- */

static int check_member(struct al_node *node, const struct ali_rec_rule_set *r)
{
    if (r->actions || r->hops || r->kind.n)
        return -AL_E_INVALID;
    if (ali_acl_is_role(r->subject) && ali_role_reaches(node, r->target, r->subject))
        return -AL_E_EXISTS; /* a circle: the role would be a member of itself */
    if (!ali_role_is_known(node, r->target) && node->acl.roles.count >= AL_ROLES_MAX)
        return -AL_E_LIMIT;
    return 0;
}

/* The rule that was asked for, in full. */
static int read_draft(struct al_node *node, const struct al_msg_acl_set *m, struct draft *draft)
{
    struct ali_rec_rule_set *r = &draft->record;
    bool member = m->effect == ALI_ACL_MEMBER;
    int e = ali_acl_normal(m->subject, ALI_ACL_AGENTS | ALI_ACL_ROLES | ALI_ACL_PATTERNS,
                           draft->subject, &r->subject);

    if (e == 0)
        e = ali_acl_normal(
            m->object, member ? ALI_ACL_ROLES : ALI_ACL_AGENTS | ALI_ACL_GROUPS | ALI_ACL_PATTERNS,
            draft->target, &r->target);
    if (e < 0)
        return e;
    r->kind = al_str_eq(m->kind, al_str_c("**")) ? al_str_of(NULL, 0) : m->kind;
    if (m->effect < ALI_ACL_ALLOW || m->effect > ALI_ACL_MEMBER || m->hops > AL_ACL_HOPS_MAX ||
        (!member && (!m->actions || m->actions > ALI_ACL_ALL)) ||
        (m->effect != ALI_ACL_ALLOW && m->hops) || !ali_acl_kind_is_valid(r->kind) ||
        (m->expire_ms && m->expire_ms <= node->v.now.wall_ms))
        return -AL_E_INVALID;
    r->effect = m->effect;
    r->actions = m->actions;
    r->hops = m->hops;
    r->expire_ms = m->expire_ms;
    return member ? check_member(node, r) : 0;
}

/* A rule that says the same already, 0: none. */
static uint64_t find_same(const struct al_node *node, const struct ali_rec_rule_set *r)
{
    for (ali_ref ref = 0; ref < node->acl.rules.end; ref++) {
        const struct ali_rule *rule = ali_rule_at(&node->acl, ref);

        if (al_pool_has(&node->acl.rules, ref) && rule->d.effect == r->effect &&
            rule->d.actions == r->actions && rule->d.hops == r->hops &&
            rule->d.expire_ms == r->expire_ms && rule->d.parent == r->parent &&
            al_str_eq(ali_rule_subject(rule), r->subject) &&
            al_str_eq(ali_rule_target(rule), r->target) &&
            al_str_eq(ali_rule_kind(rule), r->kind) && al_str_eq(ali_rule_by(rule), r->by))
            return rule->d.id;
    }
    return 0;
}

static int set(struct al_node *node, const struct ali_conn *conn, const struct al_msg_acl_set *m,
               uint64_t *ret_rule)
{
    struct draft draft = {.record = {.rule = node->acl.version + 1,
                                     .uid = conn->uid,
                                     .wall_ms = node->v.now.wall_ms,
                                     .by = m->by}};
    int r = m->by.n ? check_by(node, conn, m->by) : 0;

    if (r == 0)
        r = read_draft(node, m, &draft);
    if (r == 0 && m->by.n)
        r = check_right(node, &draft);
    else if (r == 0 && !ali_is_administrator(node, conn))
        r = ali_acl_denied(node, "only root and the node's own user make rules of their own; name "
                                 "the agent by whose right you do");
    if (r < 0)
        return r;
    *ret_rule = find_same(node, &draft.record);
    if (*ret_rule)
        return 0;
    if (node->acl.rules.count >= AL_ACL_RULES_MAX)
        return -AL_E_LIMIT;
    if (node->v.disk_full)
        return -AL_E_DISK_FULL;
    *ret_rule = draft.record.rule;
    return ali_commit(node, ALI_REC_RULE_SET, &draft.record);
}

static void count_denied(struct al_node *node, int error)
{
    node->acl.denied[3] += error == -AL_E_DENIED;
}

int ali_handle_acl_set(struct al_node *node, struct ali_conn *conn, const struct al_msg_acl_set *m)
{
    uint64_t rule = 0;
    int r = set(node, conn, m, &rule);

    count_denied(node, r);
    ali_send_done(node, conn, m->request, r, r == 0 ? rule : 0);
    return 0;
}

/* ---- remove ------------------------------------------------------------------------------ */

/* An agent removes what agents made: its own rules, and those about what it administers. */
static int check_removal(struct al_node *node, const struct ali_conn *conn, struct al_str by,
                         const struct ali_rule *rule)
{
    int r = by.n ? check_by(node, conn, by) : 0;

    if (r < 0)
        return r;
    if (!by.n && ali_is_administrator(node, conn))
        return 0;
    if (by.n && rule->d.by_size &&
        (al_str_eq(ali_name_normal(ali_rule_by(rule)), ali_name_normal(by)) ||
         may_administer(node, by, ali_rule_target(rule))))
        return 0;
    return ali_acl_denied(node,
                          "rule %llu was made by %s: only who made it and who administers "
                          "what it is about may remove it",
                          (unsigned long long)rule->d.id,
                          rule->d.by_size ? "another agent" : "the node's administrator");
}

int ali_handle_acl_remove(struct al_node *node, struct ali_conn *conn,
                          const struct al_msg_acl_remove *m)
{
    struct ali_rec_rule_remove record = {.version = node->acl.version + 1,
                                         .rule = m->rule,
                                         .wall_ms = node->v.now.wall_ms,
                                         .uid = conn->uid,
                                         .by = m->by};
    const struct ali_rule *rule = ali_acl_find(node, m->rule, NULL);
    int r = rule ? check_removal(node, conn, m->by, rule) : -AL_E_NOT_FOUND;

    if (r == 0)
        r = ali_commit(node, ALI_REC_RULE_REMOVE, &record);
    count_denied(node, r);
    ali_send_done(node, conn, m->request, r, r == 0);
    return 0;
}

/* ---- questions --------------------------------------------------------------------------- */

enum { HOLDS = 1, EXPIRED = 2, UNBACKED = 3 };

static void send_row(struct al_node *node, const struct ali_conn *conn, uint32_t request,
                     const struct ali_rule *rule)
{
    struct al_msg_acl_row row = {.request = request,
                                 .rule = rule->d.id,
                                 .effect = rule->d.effect,
                                 .actions = rule->d.actions,
                                 .hops = rule->d.hops,
                                 .state = HOLDS,
                                 .parent = rule->d.parent,
                                 .wall_ms = rule->d.wall_ms,
                                 .expire_ms = rule->d.expire_ms,
                                 .uid = rule->d.uid,
                                 .subject = ali_rule_subject(rule),
                                 .object = ali_rule_target(rule),
                                 .kind = ali_rule_kind(rule),
                                 .by = ali_rule_by(rule)};

    if (!ali_rule_is_live(node, rule))
        row.state = EXPIRED;
    else if (!ali_rule_is_backed(node, rule))
        row.state = UNBACKED;
    ALI_SEND(node, conn->number, acl_row, &row);
}

static bool by_number(const struct al_node *node, ali_ref a, ali_ref b)
{
    return ali_rule_at(&node->acl, a)->d.id <= ali_rule_at(&node->acl, b)->d.id;
}

int ali_handle_acl_list(struct al_node *node, struct ali_conn *conn,
                        const struct al_msg_acl_list *m)
{
    struct ali_page page;

    ali_page_init(&page, m->limit, by_number);
    for (ali_ref ref = 0; ref < node->acl.rules.end; ref++)
        if (al_pool_has(&node->acl.rules, ref) && ali_rule_at(&node->acl, ref)->d.id > m->after)
            ali_page_offer(node, &page, ref);
    ali_page_sort(node, &page);
    for (uint32_t i = 0; i < page.count; i++)
        send_row(node, conn, m->request, ali_rule_at(&node->acl, page.refs[i]));
    ali_send_done(node, conn, m->request, 0, page.count);
    return 0;
}

int ali_handle_acl_test(struct al_node *node, struct ali_conn *conn,
                        const struct al_msg_acl_test *m)
{
    char subject[AL_ACL_NAME_MAX], object[AL_ACL_NAME_MAX];
    struct ali_acl_question question = {.kind = m->kind, .action = m->action};
    struct al_msg_acl_verdict answer = {.request = m->request, .version = node->acl.version};
    struct ali_verdict verdict;
    int r = ali_acl_normal(m->subject, ALI_ACL_AGENTS, subject, &question.subject);

    if (r == 0)
        r = ali_acl_normal(m->object, ALI_ACL_AGENTS | ALI_ACL_GROUPS, object, &question.object);
    if (r == 0 && (!m->action || m->action & (m->action - 1) || m->action > ALI_ACL_ALL ||
                   (m->kind.n && !al_kind_is_valid(m->kind))))
        r = -AL_E_INVALID;
    if (r == 0) {
        verdict = ali_acl_decide(node, &question);
        answer.allowed = verdict.allowed;
        answer.rule = verdict.rule;
        ALI_SEND(node, conn->number, acl_verdict, &answer);
    }
    if (answer.rule)
        send_row(node, conn, m->request, ali_acl_find(node, answer.rule, NULL));
    ali_send_done(node, conn, m->request, r, answer.rule != 0);
    return 0;
}
