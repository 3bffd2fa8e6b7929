/* acl_check.c - what the rest of the node asks of the rules: decisions, remembered, and why not.
 *
 * A decision is remembered by the numbers of the two agents, the action, the kind and the
 * generation of the rules. The generation is new with every change of the rules, and whenever one
 * has expired since (or has not any more: the wall clock may be set back). */
#include "core/internal.h"
#include "crypto/hash.h"
#include <stdarg.h>
#include <stdio.h>

static const char *const action_names[] = {"send", "join", "read", "administer"};

static unsigned index_of(uint8_t action)
{
    unsigned i = 0;

    while (i < 3 && !(action >> i & 1))
        i++;
    return i;
}

/* ---- generations ------------------------------------------------------------------------- */

void ali_acl_changed(struct al_node *node)
{
    node->acl.generation++;
    node->acl.from_ms = 1;
    node->acl.until_ms = 0; /* to be found out */
}

/* Between which times nothing expires. */
static void find_window(struct al_node *node)
{
    struct ali_acl *acl = &node->acl;
    uint64_t now = node->v.now.wall_ms;

    acl->from_ms = 0;
    acl->until_ms = UINT64_MAX;
    for (ali_ref ref = 0; ref < acl->rules.end; ref++) {
        uint64_t at = al_pool_has(&acl->rules, ref) ? ali_rule_at(acl, ref)->d.expire_ms : 0;

        if (at && at <= now && at > acl->from_ms)
            acl->from_ms = at;
        if (at > now && at < acl->until_ms)
            acl->until_ms = at;
    }
}

uint32_t ali_acl_generation(struct al_node *node)
{
    struct ali_acl *acl = &node->acl;

    if (node->v.now.wall_ms < acl->from_ms || node->v.now.wall_ms >= acl->until_ms) {
        acl->generation++;
        find_window(node);
    }
    return acl->generation;
}

/* ---- decisions --------------------------------------------------------------------------- */

static struct al_str name_of(const struct al_node *node, ali_ref ref)
{
    const struct ali_agent *agent = ali_agent_at(node, ref);

    return al_str_of(agent->d.name, agent->d.name_size);
}

struct ali_verdict ali_acl_verdict(struct al_node *node, ali_ref from, ali_ref to, uint8_t action,
                                   struct al_str kind)
{
    uint32_t a = ali_agent_at(node, from)->d.id, b = ali_agent_at(node, to)->d.id;
    uint32_t generation = ali_acl_generation(node);
    uint64_t hash = kind.n ? al_hash64(node->config.hash_seed, kind.p, kind.n) : 0;
    struct ali_acl_memo *memo =
        &node->acl.memo[(ali_hash_pair((uint64_t)a << 32 | b, hash) + action) % ALI_ACL_MEMOS];
    struct ali_acl_question question = {.kind = kind, .action = action};
    struct ali_verdict verdict;

    if (memo->generation == generation && memo->from == a && memo->to == b && memo->kind == hash &&
        memo->action == action)
        return (struct ali_verdict){.allowed = memo->allowed, .rule = memo->rule};
    question.subject = name_of(node, from);
    question.object = name_of(node, to);
    verdict = ali_acl_decide(node, &question);
    *memo = (struct ali_acl_memo){.kind = hash,
                                  .rule = verdict.rule,
                                  .generation = generation,
                                  .from = a,
                                  .to = b,
                                  .action = action,
                                  .allowed = verdict.allowed};
    return verdict;
}

int ali_acl_check(struct al_node *node, ali_ref from, ali_ref to, uint8_t action,
                  struct al_str kind)
{
    struct ali_verdict verdict = ali_acl_verdict(node, from, to, action, kind);
    struct al_str a = name_of(node, from), b = name_of(node, to);
    char rule[40] = "no rule allows it across namespaces";

    if (verdict.allowed)
        return 0;
    node->acl.denied[index_of(action)]++;
    if (verdict.rule)
        snprintf(rule, sizeof(rule), "rule %llu denies it", (unsigned long long)verdict.rule);
    return ali_acl_denied(node, "%.*s may not %s %.*s: %s; see 'agentlink acl test'",
                          (int)(a.n < 64 ? a.n : 64), (const char *)a.p,
                          action == ALI_ACL_SEND ? "send to" : action_names[index_of(action)],
                          (int)(b.n < 64 ? b.n : 64), (const char *)b.p, rule);
}

int ali_acl_denied(struct al_node *node, const char *format, ...)
{
    struct ali_acl *acl = &node->acl;
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(acl->detail, sizeof(acl->detail), format, args);
    va_end(args);
    acl->detail_size = (uint8_t)(n < 0                          ? 0
                                 : n < (int)sizeof(acl->detail) ? n
                                                                : (int)sizeof(acl->detail) - 1);
    return -AL_E_DENIED;
}

struct al_str ali_acl_error_text(struct al_node *node, int error)
{
    struct al_str detail = al_str_of(node->acl.detail, node->acl.detail_size);

    if ((error != -AL_E_DENIED && error != AL_E_DENIED) || !detail.n)
        return al_str_c(al_error_text(error));
    node->acl.detail_size = 0;
    return detail;
}

/* ---- administration ---------------------------------------------------------------------- */

bool ali_is_administrator(const struct al_node *node, const struct ali_conn *conn)
{
    return conn->uid == 0 || conn->uid == node->config.admin_uid;
}

/* True if some rule lets anybody administer anything. */
static bool anybody_administers(const struct al_node *node)
{
    for (ali_ref ref = 0; ref < node->acl.rules.end; ref++)
        if (al_pool_has(&node->acl.rules, ref) &&
            ali_rule_at(&node->acl, ref)->d.effect == ALI_ACL_ALLOW &&
            ali_rule_at(&node->acl, ref)->d.actions & ALI_ACL_ADMINISTER)
            return true;
    return false;
}

int ali_acl_check_admin(struct al_node *node, const struct ali_conn *conn, struct al_str target)
{
    struct ali_acl_question question = {.object = target, .action = ALI_ACL_ADMINISTER};

    if (ali_is_administrator(node, conn))
        return 0;
    if (!anybody_administers(node))
        return -AL_E_NOT_OWNER;
    for (ali_ref ref = 0; ref < node->agents.end; ref++) {
        if (!al_pool_has(&node->agents, ref) || ali_agent_at(node, ref)->d.uid != conn->uid ||
            !ali_has_inbox(ali_agent_at(node, ref)))
            continue;
        question.subject = name_of(node, ref);
        if (ali_acl_decide(node, &question).allowed)
            return 0;
    }
    return -AL_E_NOT_OWNER;
}
