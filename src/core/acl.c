/* acl.c - decisions: which rules match a question, and what follows.
 *
 * The index leads from (subject, object, kind) to the rules with exactly these texts. A question
 * looks up every text that could match its subject (the name, three patterns, everybody, its roles)
 * with every text that could match its object, once with its kind and once without; rules whose
 * kind is a pattern stand under no kind and are compared one by one. So a decision costs the same
 * with ten rules and with ten thousand. Memberships of roles are rules too, found by their subject.
 *
 * The alternative, a tree of segments, answers no faster for two segments and costs more code. */
#include "core/internal.h"

#define WHO_MAX  (5u + AL_ROLES_MAX)
#define WHAT_MAX 5u

struct text {
    uint64_t hash;
    struct al_str text;
};

/* A question made ready: all texts that match. */
struct query {
    struct al_node *node;
    uint8_t action;
    struct al_str kind;
    uint64_t kind_hash;
    uint32_t who_count, what_count;
    bool overflow; /* more roles than there can be: refused */
    struct text who[WHO_MAX], what[WHAT_MAX];
    char room[10 * AL_ACL_NAME_MAX];
    uint32_t room_size;
};

/* ---- the index --------------------------------------------------------------------------- */

#define MEMBERS 1u /* in place of the hash of an object */

static uint64_t key_hash(uint64_t who, uint64_t what, uint64_t kind)
{
    return ali_hash_pair(ali_hash_pair(who, what), kind);
}

static uint64_t hash_of(const struct al_node *node, const struct ali_rule *rule)
{
    uint64_t who = ali_hash_name(node, ali_rule_subject(rule));
    struct al_str kind = ali_rule_kind(rule);

    if (rule->d.effect == ALI_ACL_MEMBER)
        return key_hash(who, MEMBERS, 0);
    return key_hash(who, ali_hash_name(node, ali_rule_target(rule)),
                    ali_acl_kind_is_one(kind) ? ali_hash_name(node, kind) : 0);
}

struct key {
    const struct ali_acl *acl;
    struct al_str who, what, kind; /* what.n 0: memberships; kind.n 0: any pattern */
};

static bool key_is(const void *ctx, uint32_t ref)
{
    const struct key *key = ctx;
    const struct ali_rule *rule = ali_rule_at(key->acl, ref);
    bool one = ali_acl_kind_is_one(ali_rule_kind(rule));

    if (!al_str_eq(ali_rule_subject(rule), key->who) ||
        (rule->d.effect == ALI_ACL_MEMBER) != !key->what.n)
        return false;
    return !key->what.n ||
           (al_str_eq(ali_rule_target(rule), key->what) && one == (key->kind.n > 0) &&
            (!one || al_str_eq(ali_rule_kind(rule), key->kind)));
}

static struct key key_of(const struct al_node *node, const struct ali_rule *rule)
{
    struct key key = {.acl = &node->acl, .who = ali_rule_subject(rule)};

    if (rule->d.effect != ALI_ACL_MEMBER) {
        key.what = ali_rule_target(rule);
        if (ali_acl_kind_is_one(ali_rule_kind(rule)))
            key.kind = ali_rule_kind(rule);
    }
    return key;
}

static bool id_is(const void *ctx, uint32_t ref)
{
    const struct key *key = ctx;

    return ali_rule_at(key->acl, ref)->d.id == al_get64(key->who.p);
}

struct ali_rule *ali_acl_find(const struct al_node *node, uint64_t id, ali_ref *ret_ref)
{
    uint8_t number[8];
    struct key key = {.acl = &node->acl, .who = al_str_of(number, 8)};
    ali_ref ref;

    al_put64(number, id);
    ref = al_index_find(&node->acl.ids, ali_hash_number(id), id_is, &key);
    if (ret_ref)
        *ret_ref = ref;
    return ref == AL_REF_NONE ? NULL : ali_rule_at(&node->acl, ref);
}

static bool role_is(const void *ctx, uint32_t ref)
{
    const struct key *key = ctx;

    return al_str_eq(ali_rule_target(ali_rule_at(key->acl, ref)), key->who);
}

/* Lists whose heads stand in an index: of rules with the same key, of members of the same role. */
struct chain {
    struct al_index *index;
    uint64_t hash;
    al_index_eq_fn *eq;
    struct key key;
    bool is_role;
};

static ali_ref *next_in(const struct chain *chain, ali_ref ref)
{
    struct ali_rule *rule = ali_rule_at(chain->key.acl, ref);

    return chain->is_role ? &rule->v.next_member : &rule->v.next;
}

static void chain_add(const struct chain *chain, ali_ref ref)
{
    ali_ref head = al_index_find(chain->index, chain->hash, chain->eq, &chain->key);

    *next_in(chain, ref) = AL_REF_NONE;
    if (head == AL_REF_NONE) {
        al_index_add(chain->index, chain->hash, ref);
        return;
    }
    *next_in(chain, ref) = *next_in(chain, head);
    *next_in(chain, head) = ref;
}

static void chain_remove(const struct chain *chain, ali_ref ref)
{
    ali_ref at = al_index_find(chain->index, chain->hash, chain->eq, &chain->key);
    ali_ref next = *next_in(chain, ref);

    if (at == ref) {
        al_index_remove(chain->index, chain->hash, ref);
        if (next != AL_REF_NONE)
            al_index_add(chain->index, chain->hash, next);
        return;
    }
    while (*next_in(chain, at) != ref)
        at = *next_in(chain, at);
    *next_in(chain, at) = next;
}

static struct chain chain_of_key(struct al_node *node, const struct ali_rule *rule)
{
    return (struct chain){.index = &node->acl.keys,
                          .hash = hash_of(node, rule),
                          .eq = key_is,
                          .key = key_of(node, rule)};
}

static struct chain chain_of_role(struct al_node *node, struct al_str role)
{
    return (struct chain){.index = &node->acl.roles,
                          .hash = ali_hash_name(node, role),
                          .eq = role_is,
                          .key = {.acl = &node->acl, .who = role},
                          .is_role = true};
}

void ali_acl_link(struct al_node *node, ali_ref ref)
{
    struct ali_rule *rule = ali_rule_at(&node->acl, ref);
    struct chain keys = chain_of_key(node, rule);
    struct chain roles = chain_of_role(node, ali_rule_target(rule));

    al_index_add(&node->acl.ids, ali_hash_number(rule->d.id), ref);
    chain_add(&keys, ref);
    if (rule->d.effect == ALI_ACL_MEMBER)
        chain_add(&roles, ref);
}

void ali_acl_unlink(struct al_node *node, ali_ref ref)
{
    struct ali_rule *rule = ali_rule_at(&node->acl, ref);
    struct chain keys = chain_of_key(node, rule);
    struct chain roles = chain_of_role(node, ali_rule_target(rule));

    al_index_remove(&node->acl.ids, ali_hash_number(rule->d.id), ref);
    chain_remove(&keys, ref);
    if (rule->d.effect == ALI_ACL_MEMBER)
        chain_remove(&roles, ref);
}

bool ali_role_is_known(struct al_node *node, struct al_str role)
{
    struct chain roles = chain_of_role(node, role);

    return al_index_find(roles.index, roles.hash, roles.eq, &roles.key) != AL_REF_NONE;
}

void ali_acl_init(struct al_node *node)
{
    al_pool_init(&node->acl.rules, &node->alloc, sizeof(struct ali_rule), 6);
    al_index_init(&node->acl.ids, &node->alloc);
    al_index_init(&node->acl.keys, &node->alloc);
    al_index_init(&node->acl.roles, &node->alloc);
    node->acl.generation = 1;
}

void ali_acl_deinit(struct al_node *node)
{
    al_pool_deinit(&node->acl.rules);
    al_index_deinit(&node->acl.ids);
    al_index_deinit(&node->acl.keys);
    al_index_deinit(&node->acl.roles);
}

/* ---- what matches ------------------------------------------------------------------------ */

bool ali_rule_is_live(const struct al_node *node, const struct ali_rule *rule)
{
    if (AL_PLANT(node, ACL_EXPIRED_HOLDS))
        return true;
    return !rule->d.expire_ms || node->v.now.wall_ms < rule->d.expire_ms;
}

static struct al_str put(struct query *q, const char *prefix, struct al_str space,
                         struct al_str name)
{
    char *at = q->room + q->room_size;
    size_t n = strlen(prefix);

    memcpy(at, prefix, n);
    memcpy(at + n, space.p, space.n);
    at[n + space.n] = '/';
    memcpy(at + n + space.n + 1, name.p, name.n);
    n += (size_t)space.n + 1 + name.n;
    q->room_size += (uint32_t)n;
    return al_str_of(at, n);
}

/* All texts that match a name. */
static uint32_t match_name(struct query *q, struct al_str name, struct text *list)
{
    bool group = name.n > 6 && memcmp(name.p, "group:", 6) == 0;
    struct al_str star = al_str_c("*"), space = ali_acl_space(name), last = name;

    for (uint32_t i = 0; i < name.n; i++)
        if (name.p[i] == '/' || name.p[i] == ':')
            last = al_str_of(name.p + i + 1, name.n - i - 1);
    list[0].text = put(q, group ? "group:" : "", space, last);
    list[1].text = put(q, group ? "group:" : "", space, star);
    list[2].text = put(q, group ? "group:" : "", star, last);
    list[3].text = put(q, group ? "group:" : "", star, star);
    list[4].text = al_str_c("**");
    for (unsigned i = 0; i < 5; i++)
        list[i].hash = ali_hash_name(q->node, list[i].text);
    return 5;
}

static ali_ref first_of(const struct query *q, const struct text *who, const struct text *what,
                        bool with_kind)
{
    const struct ali_acl *acl = &q->node->acl;
    struct key key = {.acl = acl, .who = who->text};
    uint64_t kind = with_kind ? q->kind_hash : 0;

    if (what)
        key.what = what->text;
    if (with_kind)
        key.kind = q->kind;
    return al_index_find(&acl->keys, key_hash(who->hash, what ? what->hash : MEMBERS, kind), key_is,
                         &key);
}

static void add_role(struct query *q, struct al_str role)
{
    uint64_t hash = ali_hash_name(q->node, role);

    for (uint32_t i = 0; i < q->who_count; i++)
        if (q->who[i].hash == hash && al_str_eq(q->who[i].text, role))
            return;
    if (q->who_count == WHO_MAX) {
        q->overflow = true;
        return;
    }
    q->who[q->who_count++] = (struct text){hash, role};
}

/* The roles of who is in the list, and theirs, are appended to it. */
static void add_roles(struct query *q)
{
    for (uint32_t i = 0; i < q->who_count; i++) {
        ali_ref ref = first_of(q, &q->who[i], NULL, false);

        for (; ref != AL_REF_NONE; ref = ali_rule_at(&q->node->acl, ref)->v.next)
            if (ali_rule_is_live(q->node, ali_rule_at(&q->node->acl, ref)))
                add_role(q, ali_rule_target(ali_rule_at(&q->node->acl, ref)));
        if (AL_PLANT(q->node, ACL_ROLE_SHALLOW) && i >= 4)
            return;
    }
}

static void query_init(struct query *q, struct al_node *node,
                       const struct ali_acl_question *question)
{
    q->node = node;
    q->action = question->action;
    q->kind = question->kind;
    q->kind_hash = question->kind.n ? ali_hash_name(node, question->kind) : 0;
    q->room_size = 0;
    q->overflow = false;
    q->who_count = match_name(q, question->subject, q->who);
    q->what_count = match_name(q, question->object, q->what);
    add_roles(q);
}

/* ---- deciding ---------------------------------------------------------------------------- */

/* The lowest numbers of rules that match; 0: none. */
struct found {
    uint64_t deny, allow,
        passed; /* passed: it was passed on and nobody has looked whether rightly */
};

static void note(uint64_t *lowest, uint64_t id)
{
    if (!*lowest || id < *lowest)
        *lowest = id;
}

/* The lowest rule above `above` that was passed on is in ret->passed. */
static void scan(const struct query *q, uint64_t above, struct found *ret)
{
    *ret = (struct found){0};
    for (uint32_t i = 0; i < q->who_count * q->what_count * 2; i++) {
        const struct text *who = &q->who[i / 2 / q->what_count];
        const struct text *what = &q->what[i / 2 % q->what_count];
        ali_ref ref;

        if (i % 2 && !q->kind.n)
            continue;
        for (ref = first_of(q, who, what, i % 2); ref != AL_REF_NONE;
             ref = ali_rule_at(&q->node->acl, ref)->v.next) {
            const struct ali_rule *rule = ali_rule_at(&q->node->acl, ref);

            if (!(rule->d.actions & q->action) || !ali_rule_is_live(q->node, rule) ||
                !ali_acl_kind_matches(ali_rule_kind(rule), q->kind))
                continue;
            if (rule->d.effect == ALI_ACL_DENY)
                note(&ret->deny, rule->d.id);
            else if (!rule->d.parent)
                note(&ret->allow, rule->d.id);
            else if (rule->d.id > above)
                note(&ret->passed, rule->d.id);
        }
    }
}

static bool query_has(const struct query *q, struct al_str subject)
{
    for (uint32_t i = 0; i < q->who_count; i++)
        if (al_str_eq(q->who[i].text, subject))
            return true;
    return false;
}

/* True if all who passed the right on, up to the first, may do it themselves. `question` NULL: no
 * matter to whom. */
static bool chain_holds(struct al_node *node, const struct ali_rule *rule,
                        const struct ali_acl_question *question)
{
    for (unsigned hop = 0; rule->d.parent && hop <= AL_ACL_HOPS_MAX; hop++) {
        const struct ali_rule *parent = ali_acl_find(node, rule->d.parent, NULL);
        struct ali_acl_question again = {.subject = ali_name_normal(ali_rule_by(rule)),
                                         .object = al_str_c("default/default")};
        struct found found;
        struct query q;

        if (!parent || !ali_rule_is_live(node, parent))
            return false;
        if (question) {
            again.object = question->object;
            again.kind = question->kind;
            again.action = question->action;
        }
        query_init(&q, node, &again);
        if (!query_has(&q, ali_rule_subject(parent)))
            return false;
        if (question) {
            scan(&q, 0, &found);
            if (found.deny)
                return false;
        }
        rule = parent;
    }
    return !rule->d.parent;
}

bool ali_rule_is_backed(struct al_node *node, const struct ali_rule *rule)
{
    return chain_holds(node, rule, NULL);
}

bool ali_rule_is_about(struct al_node *node, const struct ali_rule *rule, struct al_str agent)
{
    struct ali_acl_question question = {.subject = agent, .object = agent};
    struct query q;

    query_init(&q, node, &question);
    return query_has(&q, ali_rule_subject(rule));
}

bool ali_role_reaches(struct al_node *node, struct al_str role, struct al_str other)
{
    struct query q = {.node = node};

    add_role(&q, role);
    add_roles(&q);
    return q.overflow || query_has(&q, other);
}

static bool is_default_allowed(const struct ali_acl_question *question)
{
    return question->action != ALI_ACL_ADMINISTER &&
           al_str_eq(ali_acl_space(question->subject), ali_acl_space(question->object));
}

struct ali_verdict ali_acl_decide(struct al_node *node, const struct ali_acl_question *question)
{
    struct found found;
    struct query q;

    if (node->acl.rules.count == 0)
        return (struct ali_verdict){.allowed = is_default_allowed(question)};
    query_init(&q, node, question);
    if (q.overflow)
        return (struct ali_verdict){.allowed = false};
    scan(&q, 0, &found);
    if (AL_PLANT(node, ACL_ALLOW_WINS) && found.allow)
        return (struct ali_verdict){.allowed = true, .rule = found.allow};
    if (found.deny)
        return (struct ali_verdict){.rule = found.deny};
    while (!found.allow && found.passed) {
        uint64_t id = found.passed;

        if (chain_holds(node, ali_acl_find(node, id, NULL), question))
            found.allow = id;
        else
            scan(&q, id, &found);
    }
    if (found.allow)
        return (struct ali_verdict){.allowed = true, .rule = found.allow};
    return (struct ali_verdict){.allowed = is_default_allowed(question)};
}
