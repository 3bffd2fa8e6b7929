/* kind.c - kinds of messages: what is registered for them, and their metrics.
 *
 * A kind has terms: lease time, retry policy, default priority (of_kind.c), circuit breaker. What
 * is registered by API (durable) counts before what stands in the configuration, and that before
 * the defaults. A kind is looked up by name once per metrics row, not per message: the rows carry
 * their terms, and are brought up to date when a registration changes. */
#include "core/internal.h"
#include "core/items.h"

#define METRICS_MAX   1024u
#define METRICS_KNOWN 4096u /* kinds with terms of their own get a row beyond the limit */

/* ---- terms ------------------------------------------------------------------------------- */

bool ali_policy_is_valid(const struct al_policy *policy)
{
    return policy->ack_timeout_ms >= 1 && policy->ack_timeout_ms <= AL_LEASE_MAX_MS &&
           policy->retry_base_ms >= 1 && policy->retry_base_ms <= AL_RETRY_CAP_MAX_MS &&
           policy->retry_factor >= 1 && policy->retry_factor <= 10 && policy->retry_cap_ms >= 1 &&
           policy->retry_cap_ms <= AL_RETRY_CAP_MAX_MS && policy->retry_max <= AL_RETRY_COUNT_MAX;
}

bool ali_breaker_policy_is_valid(const struct al_breaker_policy *policy)
{
    return policy->percent <= 100 && policy->samples >= 1 &&
           policy->samples <= AL_BREAKER_SAMPLES_MAX && policy->call_timeout_ms >= 1 &&
           policy->call_timeout_ms <= AL_LEASE_MAX_MS && policy->open_ms >= 1 &&
           policy->open_ms <= AL_BREAKER_OPEN_MAX_MS && policy->own <= 1;
}

static struct al_str name_of(const struct ali_kind *kind)
{
    return al_str_of(kind->d.name, kind->d.name_size);
}

static struct ali_kind *kind_at(const struct al_node *node, ali_ref ref)
{
    return al_pool_at(&node->kinds, ref);
}

ali_ref ali_find_kind(const struct al_node *node, struct al_str name)
{
    for (ali_ref ref = 0; ref < node->kinds.end; ref++)
        if (al_pool_has(&node->kinds, ref) && al_str_eq(name_of(kind_at(node, ref)), name))
            return ref;
    return AL_REF_NONE;
}

static const struct al_kind_policy *find_configured(const struct al_node *node, struct al_str name)
{
    for (uint32_t i = 0; i < node->config.kind_count; i++)
        if (al_str_eq(node->config.kinds[i].kind, name))
            return &node->config.kinds[i];
    return NULL;
}

struct ali_terms ali_terms_of(const struct al_node *node, struct al_str kind)
{
    ali_ref ref = ali_find_kind(node, kind);
    const struct al_kind_policy *configured = find_configured(node, kind);

    if (ref != AL_REF_NONE)
        return (struct ali_terms){&kind_at(node, ref)->d.policy, &kind_at(node, ref)->d.breaker,
                                  kind_at(node, ref)->d.priority};
    if (configured)
        return (struct ali_terms){&configured->policy, &configured->breaker,
                                  (uint8_t)configured->priority};
    return ali_terms_at(node, UINT16_MAX);
}

/* The rows point to what holds now. */
static void refresh_terms(struct al_node *node)
{
    for (uint32_t i = 0; i < node->v.metric_count; i++) {
        struct ali_metric *row = &node->v.metrics[i];
        struct ali_terms terms = ali_terms_of(node, al_str_of(row->name, row->name_size));

        if (AL_PLANT(node, KIND_STALE) && row->terms.priority != AL_PRIORITY_NONE)
            terms.priority = row->terms.priority;
        row->terms = terms;
    }
}

/* ---- metrics ----------------------------------------------------------------------------- */

static const uint32_t latency_bounds_ms[AL_LATENCY_BUCKETS - 1] = {
    1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 30000, 60000};

void ali_metric_end(struct al_node *node, struct ali_metric *row, uint64_t admitted_ms)
{
    uint64_t now = node->v.now.wall_ms, latency_ms = now > admitted_ms ? now - admitted_ms : 0;
    unsigned i = 0;

    while (i < AL_LATENCY_BUCKETS - 1 && latency_ms > latency_bounds_ms[i])
        i++;
    row->latency[i]++;
    row->latency_sum_ms += latency_ms;
}

uint16_t ali_metric_find(struct al_node *node, struct al_str kind)
{
    struct ali_metric *row;
    uint32_t limit = METRICS_MAX;

    if (kind.n > AL_KIND_MAX) /* from a record: admission would have refused it */
        return UINT16_MAX;
    for (uint32_t i = 0; i < node->v.metric_count; i++) {
        row = &node->v.metrics[i];
        if (al_str_eq(al_str_of(row->name, row->name_size), kind))
            return (uint16_t)i;
    }
    if (ali_find_kind(node, kind) != AL_REF_NONE || find_configured(node, kind))
        limit = METRICS_KNOWN; /* the terms are found by the row */
    if (node->v.metric_count >= limit)
        return UINT16_MAX;
    if (node->v.metric_count == node->v.metric_cap) {
        uint32_t cap = node->v.metric_cap ? node->v.metric_cap * 2 : 4;
        struct ali_metric *rows =
            node->alloc.realloc_fn(node->alloc.ctx, node->v.metrics,
                                   node->v.metric_cap * sizeof(*rows), cap * sizeof(*rows));

        if (!rows)
            return UINT16_MAX;
        node->v.metrics = rows;
        node->v.metric_cap = cap;
    }
    row = &node->v.metrics[node->v.metric_count];
    *row = (struct ali_metric){.name_size = (uint8_t)kind.n, .terms = ali_terms_of(node, kind)};
    memcpy(row->name, kind.p, kind.n);
    return (uint16_t)node->v.metric_count++;
}

/* ---- registration: records and items ----------------------------------------------------- */

/* The settings of a kind stand under the same names in message, record, item and row. */
#define SETTINGS(kind)                                                                            \
    .priority = (kind)->d.priority, .title = title_of(kind), .kind = name_of(kind),               \
    .ack_timeout_ms = (kind)->d.policy.ack_timeout_ms,                                            \
    .retry_base_ms = (kind)->d.policy.retry_base_ms,                                              \
    .retry_factor = (kind)->d.policy.retry_factor, .retry_cap_ms = (kind)->d.policy.retry_cap_ms, \
    .retry_max = (kind)->d.policy.retry_max, .breaker_own = (uint8_t)(kind)->d.breaker.own,       \
    .breaker_percent = (uint8_t)(kind)->d.breaker.percent,                                        \
    .breaker_samples = (kind)->d.breaker.samples,                                                 \
    .call_timeout_ms = (kind)->d.breaker.call_timeout_ms,                                         \
    .breaker_open_ms = (kind)->d.breaker.open_ms

static struct al_str title_of(const struct ali_kind *kind)
{
    return al_str_of(kind->d.title, kind->d.title_size);
}

static struct al_policy policy_of(const struct ali_rec_kind_set *r)
{
    return (struct al_policy){.ack_timeout_ms = r->ack_timeout_ms,
                              .retry_base_ms = r->retry_base_ms,
                              .retry_factor = r->retry_factor,
                              .retry_cap_ms = r->retry_cap_ms,
                              .retry_max = r->retry_max};
}

static struct al_breaker_policy breaker_of(const struct ali_rec_kind_set *r)
{
    return (struct al_breaker_policy){.percent = r->breaker_percent,
                                      .samples = r->breaker_samples,
                                      .call_timeout_ms = r->call_timeout_ms,
                                      .open_ms = r->breaker_open_ms,
                                      .own = r->breaker_own};
}

static bool settings_are_valid(const struct ali_rec_kind_set *r)
{
    struct al_policy policy = policy_of(r);
    struct al_breaker_policy breaker = breaker_of(r);

    return r->kind.n && al_kind_is_valid(r->kind) && r->title.n <= AL_KIND_TITLE_MAX &&
           al_text_is_plain(r->title) &&
           (r->priority < AL_PRIORITY_COUNT || r->priority == AL_PRIORITY_NONE) &&
           ali_policy_is_valid(&policy) && ali_breaker_policy_is_valid(&breaker);
}

int ali_prepare_kind_set(struct al_node *node, const struct ali_rec_kind_set *r)
{
    return settings_are_valid(r) ? al_pool_reserve(&node->kinds, 1) : -AL_E_DAMAGED;
}

void ali_apply_kind_set(struct al_node *node, uint64_t lsn, const struct ali_rec_kind_set *r)
{
    ali_ref ref = ali_find_kind(node, r->kind);
    struct ali_kind *kind;

    (void)lsn;
    if (ref == AL_REF_NONE) {
        ref = al_pool_take(&node->kinds);
        kind = kind_at(node, ref);
        ali_fresh(node, &kind->object);
    } else {
        kind = kind_at(node, ref);
        ali_touch(node, ALI_PART_KIND, ref, &kind->object);
    }
    kind->d.uid = r->uid;
    kind->d.priority = r->priority;
    kind->d.policy = policy_of(r);
    kind->d.breaker = breaker_of(r);
    kind->d.name_size = (uint8_t)r->kind.n;
    kind->d.title_size = (uint8_t)r->title.n;
    memcpy(kind->d.name, r->kind.p, r->kind.n);
    if (r->title.n)
        memcpy(kind->d.title, r->title.p, r->title.n);
    refresh_terms(node);
}

int ali_prepare_kind_remove(struct al_node *node, const struct ali_rec_kind_remove *r)
{
    return ali_find_kind(node, r->kind) == AL_REF_NONE ? -AL_E_DAMAGED : 0;
}

void ali_apply_kind_remove(struct al_node *node, uint64_t lsn, const struct ali_rec_kind_remove *r)
{
    ali_ref ref = ali_find_kind(node, r->kind);

    (void)lsn;
    ali_touch(node, ALI_PART_KIND, ref, &kind_at(node, ref)->object);
    al_pool_put(&node->kinds, ref);
    refresh_terms(node);
}

int ali_put_kind(const struct ali_kind *kind, struct al_buf *out)
{
    struct ali_item_kind item = {.uid = kind->d.uid, SETTINGS(kind)};

    return ali_put_item_kind(out, &item);
}

int ali_load_kind(struct al_node *node, const struct ali_item_kind *item)
{
    struct ali_rec_kind_set record = {.uid = item->uid,
                                      .priority = item->priority,
                                      .ack_timeout_ms = item->ack_timeout_ms,
                                      .retry_base_ms = item->retry_base_ms,
                                      .retry_factor = item->retry_factor,
                                      .retry_cap_ms = item->retry_cap_ms,
                                      .retry_max = item->retry_max,
                                      .breaker_own = item->breaker_own,
                                      .breaker_percent = item->breaker_percent,
                                      .breaker_samples = item->breaker_samples,
                                      .call_timeout_ms = item->call_timeout_ms,
                                      .breaker_open_ms = item->breaker_open_ms,
                                      .kind = item->kind,
                                      .title = item->title};
    int r = ali_find_kind(node, item->kind) == AL_REF_NONE ? ali_prepare_kind_set(node, &record)
                                                           : -AL_E_DAMAGED;

    if (r == 0)
        ali_apply_kind_set(node, 0, &record);
    return r;
}

/* ---- frames ------------------------------------------------------------------------------ */

int ali_handle_kind_set(struct al_node *node, struct ali_conn *conn,
                        const struct al_msg_kind_set *m)
{
    ali_ref ref = ali_find_kind(node, m->kind);
    struct ali_rec_kind_set record = {.uid = conn->uid,
                                      .priority = m->priority,
                                      .ack_timeout_ms = m->ack_timeout_ms,
                                      .retry_base_ms = m->retry_base_ms,
                                      .retry_factor = m->retry_factor,
                                      .retry_cap_ms = m->retry_cap_ms,
                                      .retry_max = m->retry_max,
                                      .breaker_own = m->breaker_own,
                                      .breaker_percent = m->breaker_percent,
                                      .breaker_samples = m->breaker_samples,
                                      .call_timeout_ms = m->call_timeout_ms,
                                      .breaker_open_ms = m->breaker_open_ms,
                                      .kind = m->kind,
                                      .title = m->title};
    int r = settings_are_valid(&record) ? 0 : -AL_E_INVALID;

    if (m->retry_cap_ms < m->retry_base_ms)
        r = -AL_E_INVALID;
    if (r == 0 && node->v.disk_full)
        r = -AL_E_DISK_FULL;
    if (r == 0 && ref == AL_REF_NONE && node->kinds.count >= AL_KINDS_MAX)
        r = -AL_E_LIMIT;
    if (r == 0 && ref != AL_REF_NONE) { /* who registered it first, keeps it */
        record.uid = kind_at(node, ref)->d.uid;
        if (conn->uid != 0 && conn->uid != record.uid)
            r = -AL_E_NOT_OWNER;
    }
    if (r == 0)
        r = ali_commit(node, ALI_REC_KIND_SET, &record);
    ali_send_done(node, conn, m->request, r, r == 0);
    return 0;
}

int ali_handle_kind_remove(struct al_node *node, struct ali_conn *conn,
                           const struct al_msg_kind_remove *m)
{
    ali_ref ref = ali_find_kind(node, m->kind);
    struct ali_rec_kind_remove record = {.kind = m->kind};
    int r = ref == AL_REF_NONE ? -AL_E_NOT_FOUND : 0;

    if (r == 0 && conn->uid != 0 && conn->uid != kind_at(node, ref)->d.uid)
        r = -AL_E_NOT_OWNER;
    if (r == 0)
        r = ali_commit(node, ALI_REC_KIND_REMOVE, &record);
    ali_send_done(node, conn, m->request, r, r == 0);
    return 0;
}

enum { CONFIGURED = 1, REGISTERED = 2, SEEN = 4 };

static void add_metrics(struct al_node *node, struct al_msg_kind_row *row,
                        uint8_t latency[8 * AL_LATENCY_BUCKETS])
{
    for (uint32_t i = 0; i < node->v.metric_count; i++) {
        const struct ali_metric *metric = &node->v.metrics[i];

        if (!al_str_eq(al_str_of(metric->name, metric->name_size), row->kind))
            continue;
        row->flags |= SEEN;
        row->sent = metric->sent;
        row->success = metric->success;
        row->failure = metric->failure;
        row->retries = metric->retries;
        row->latency_sum_ms = metric->latency_sum_ms;
        for (unsigned b = 0; b < AL_LATENCY_BUCKETS; b++)
            al_put64(latency + (size_t)8 * b, metric->latency[b]);
    }
}

static void send_row(struct al_node *node, const struct ali_conn *conn, uint32_t request,
                     struct al_str name)
{
    uint8_t latency[8 * AL_LATENCY_BUCKETS] = {0};
    ali_ref ref = ali_find_kind(node, name);
    const struct al_kind_policy *configured = find_configured(node, name);
    struct ali_terms terms = ali_terms_of(node, name);
    struct al_msg_kind_row row = {
        .request = request,
        .flags = (uint8_t)((configured ? CONFIGURED : 0) | (ref == AL_REF_NONE ? 0 : REGISTERED)),
        .priority = (uint8_t)(configured ? configured->priority : AL_PRIORITY_NONE),
        .title = configured ? configured->title : (struct al_str){0},
        .ack_timeout_ms = terms.policy->ack_timeout_ms,
        .retry_base_ms = terms.policy->retry_base_ms,
        .retry_factor = terms.policy->retry_factor,
        .retry_cap_ms = terms.policy->retry_cap_ms,
        .retry_max = terms.policy->retry_max,
        .breaker_own = (uint8_t)terms.breaker->own,
        .breaker_percent = (uint8_t)terms.breaker->percent,
        .breaker_samples = terms.breaker->samples,
        .call_timeout_ms = terms.breaker->call_timeout_ms,
        .breaker_open_ms = terms.breaker->open_ms,
        .kind = name,
        .latency = al_str_of(latency, sizeof(latency))};

    if (ref != AL_REF_NONE) {
        row.priority = kind_at(node, ref)->d.priority;
        row.title = title_of(kind_at(node, ref));
    }
    add_metrics(node, &row, latency);
    ALI_SEND(node, conn->number, kind_row, &row);
}

int ali_handle_kind_list(struct al_node *node, struct ali_conn *conn,
                         const struct al_msg_kind_list *m)
{
    uint32_t count = 0;

    if (m->kind.n) {
        send_row(node, conn, m->request, m->kind);
        ali_send_done(node, conn, m->request, 0, 1);
        return 0;
    }
    for (ali_ref ref = 0; ref < node->kinds.end; ref++) {
        if (al_pool_has(&node->kinds, ref)) {
            send_row(node, conn, m->request, name_of(kind_at(node, ref)));
            count++;
        }
    }
    for (uint32_t i = 0; i < node->config.kind_count; i++) {
        if (ali_find_kind(node, node->config.kinds[i].kind) == AL_REF_NONE) {
            send_row(node, conn, m->request, node->config.kinds[i].kind);
            count++;
        }
    }
    for (uint32_t i = 0; i < node->v.metric_count; i++) {
        struct al_str name = al_str_of(node->v.metrics[i].name, node->v.metrics[i].name_size);

        if (ali_find_kind(node, name) == AL_REF_NONE && !find_configured(node, name)) {
            send_row(node, conn, m->request, name);
            count++;
        }
    }
    ali_send_done(node, conn, m->request, 0, count);
    return 0;
}
