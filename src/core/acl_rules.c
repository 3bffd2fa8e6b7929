/* acl_rules.c - the records that make and remove rules, and rules in snapshots. */
#include "core/internal.h"
#include "core/items.h"

/* ---- set --------------------------------------------------------------------------------- */

/* The text is one in full, and one of these. */
static bool is_full(struct al_str text, unsigned allowed)
{
    char buf[AL_ACL_NAME_MAX];
    struct al_str full;

    return text.n <= sizeof(buf) && ali_acl_normal(text, allowed, buf, &full) == 0 &&
           al_str_eq(text, full);
}

static bool is_sound(const struct ali_rec_rule_set *r)
{
    bool member = r->effect == ALI_ACL_MEMBER;
    unsigned targets = member ? ALI_ACL_ROLES : ALI_ACL_AGENTS | ALI_ACL_GROUPS | ALI_ACL_PATTERNS;

    return r->effect >= ALI_ACL_ALLOW && r->effect <= ALI_ACL_MEMBER &&
           (member ? r->actions == 0 : r->actions && r->actions <= ALI_ACL_ALL) &&
           r->hops <= AL_ACL_HOPS_MAX &&
           is_full(r->subject, ALI_ACL_AGENTS | ALI_ACL_ROLES | ALI_ACL_PATTERNS) &&
           is_full(r->target, targets) && r->kind.n <= AL_KIND_MAX &&
           ali_acl_kind_is_valid(r->kind) && r->by.n <= AL_NAME_MAX &&
           (!r->by.n || al_name_is_valid(r->by)) && r->parent < r->rule;
}

static int reserve(struct al_node *node)
{
    int r = al_pool_reserve(&node->acl.rules, 1);

    if (r == 0)
        r = al_index_reserve(&node->acl.ids, 1);
    if (r == 0)
        r = al_index_reserve(&node->acl.keys, 1);
    return r < 0 ? r : al_index_reserve(&node->acl.roles, 1);
}

static void add(struct al_node *node, const struct ali_rec_rule_set *r)
{
    ali_ref ref = al_pool_take(&node->acl.rules);
    struct ali_rule *rule = ali_rule_at(&node->acl, ref);

    ali_fresh(node, &rule->object);
    rule->d.id = r->rule;
    rule->d.parent = r->parent;
    rule->d.wall_ms = r->wall_ms;
    rule->d.expire_ms = r->expire_ms;
    rule->d.uid = r->uid;
    rule->d.effect = r->effect;
    rule->d.actions = r->actions;
    rule->d.hops = r->hops;
    rule->d.subject_size = (uint8_t)r->subject.n;
    rule->d.target_size = (uint8_t)r->target.n;
    rule->d.kind_size = (uint8_t)r->kind.n;
    rule->d.by_size = (uint8_t)r->by.n;
    memcpy(rule->d.subject, r->subject.p, r->subject.n);
    memcpy(rule->d.target, r->target.p, r->target.n);
    if (r->kind.n)
        memcpy(rule->d.kind, r->kind.p, r->kind.n);
    if (r->by.n)
        memcpy(rule->d.by, r->by.p, r->by.n);
    ali_acl_link(node, ref);
}

int ali_prepare_rule_set(struct al_node *node, const struct ali_rec_rule_set *r)
{
    return r->rule == node->acl.version + 1 && is_sound(r) ? reserve(node) : -AL_E_DAMAGED;
}

void ali_apply_rule_set(struct al_node *node, uint64_t lsn, const struct ali_rec_rule_set *r)
{
    (void)lsn;
    node->acl.version = r->rule;
    add(node, r);
    if (!AL_PLANT(node, ACL_STALE))
        ali_acl_changed(node);
}

/* ---- remove ------------------------------------------------------------------------------ */

int ali_prepare_rule_remove(struct al_node *node, const struct ali_rec_rule_remove *r)
{
    return r->version == node->acl.version + 1 && ali_acl_find(node, r->rule, NULL) ? 0
                                                                                    : -AL_E_DAMAGED;
}

static void drop(struct al_node *node, ali_ref ref)
{
    ali_touch(node, ALI_PART_RULE, ref, &ali_rule_at(&node->acl, ref)->object);
    ali_acl_unlink(node, ref);
    al_pool_put(&node->acl.rules, ref);
}

/* Rules whose parent is gone go as well; true if there were any. */
static bool drop_orphans(struct al_node *node)
{
    bool any = false;

    for (ali_ref ref = 0; ref < node->acl.rules.end; ref++) {
        const struct ali_rule *rule = ali_rule_at(&node->acl, ref);

        if (!al_pool_has(&node->acl.rules, ref) || !rule->d.parent ||
            ali_acl_find(node, rule->d.parent, NULL))
            continue;
        drop(node, ref);
        any = true;
    }
    return any;
}

void ali_apply_rule_remove(struct al_node *node, uint64_t lsn, const struct ali_rec_rule_remove *r)
{
    ali_ref ref;

    (void)lsn;
    (void)ali_acl_find(node, r->rule, &ref);
    node->acl.version = r->version;
    drop(node, ref);
    for (unsigned hop = 0; hop <= AL_ACL_HOPS_MAX && drop_orphans(node); hop++)
        ;
    if (!AL_PLANT(node, ACL_STALE))
        ali_acl_changed(node);
}

/* ---- snapshots --------------------------------------------------------------------------- */

int ali_rule_put(const struct ali_rule *rule, struct al_buf *out)
{
    struct ali_item_rule item = {.rule = rule->d.id,
                                 .parent = rule->d.parent,
                                 .wall_ms = rule->d.wall_ms,
                                 .expire_ms = rule->d.expire_ms,
                                 .uid = rule->d.uid,
                                 .effect = rule->d.effect,
                                 .actions = rule->d.actions,
                                 .hops = rule->d.hops,
                                 .subject = ali_rule_subject(rule),
                                 .target = ali_rule_target(rule),
                                 .kind = ali_rule_kind(rule),
                                 .by = ali_rule_by(rule)};

    return ali_put_item_rule(out, &item);
}

int ali_rule_load(struct al_node *node, const struct ali_item_rule *item)
{
    struct ali_rec_rule_set record = {.rule = item->rule,
                                      .parent = item->parent,
                                      .wall_ms = item->wall_ms,
                                      .expire_ms = item->expire_ms,
                                      .uid = item->uid,
                                      .effect = item->effect,
                                      .actions = item->actions,
                                      .hops = item->hops,
                                      .subject = item->subject,
                                      .target = item->target,
                                      .kind = item->kind,
                                      .by = item->by};
    int r = item->rule <= node->acl.version && is_sound(&record) &&
                    !ali_acl_find(node, item->rule, NULL)
                ? reserve(node)
                : -AL_E_DAMAGED;

    if (r == 0)
        add(node, &record);
    return r;
}
