/* kv.c - an agent's own small state: values by key, in memory and in snapshots.
 *
 * It changes by commits only (commit.c), together with the acks and messages that belong to the
 * change. Order in the list is that of first setting; lists are sorted when they are asked for. */
#include "core/internal.h"
#include <assert.h>

#define OF_AGENT offsetof(struct ali_kv, d.link)

/* ---- finding ----------------------------------------------------------------------------- */

struct wanted {
    const struct al_node *node;
    struct al_str key;
    ali_ref agent;
};

static struct al_str key_of(const struct ali_kv *value)
{
    return al_str_of(value->d.bytes, value->d.key_size);
}

static bool value_is(const void *ctx, uint32_t ref)
{
    const struct wanted *want = ctx;
    const struct ali_kv *value = ali_value_at(want->node, ref);

    return value->d.agent == want->agent && al_str_eq(key_of(value), want->key);
}

static uint64_t value_hash(const struct al_node *node, ali_ref agent, struct al_str key)
{
    return ali_hash_pair(agent, ali_hash_name(node, key));
}

ali_ref ali_find_value(const struct al_node *node, ali_ref agent, struct al_str key)
{
    struct wanted want = {node, key, agent};

    return al_index_find(&node->value_keys, value_hash(node, agent, key), value_is, &want);
}

/* ---- records ----------------------------------------------------------------------------- */

int ali_prepare_kv_set(struct al_node *node, const struct ali_rec_kv_set *r)
{
    ali_ref agent = ali_find_agent(node, r->agent);
    int e;

    if (agent == AL_REF_NONE || !ali_has_inbox(ali_agent_at(node, agent)) || r->key.n == 0)
        return -AL_E_DAMAGED;
    e = al_pool_reserve(&node->values, 1);
    if (e == 0)
        e = al_index_reserve(&node->value_keys, 1);
    if (e < 0)
        return e;
    al_alloc_free(&node->alloc, node->v.prepared_value, node->v.prepared_value_size);
    node->v.prepared_value_size = r->key.n + r->value.n;
    node->v.prepared_value = al_alloc_new(&node->alloc, node->v.prepared_value_size);
    if (!node->v.prepared_value)
        node->v.prepared_value_size = 0;
    return node->v.prepared_value ? 0 : -AL_E_NOMEM;
}

static size_t bytes_of(const struct ali_kv *value)
{
    return (size_t)value->d.key_size + value->d.size;
}

void ali_apply_kv_set(struct al_node *node, uint64_t lsn, const struct ali_rec_kv_set *r)
{
    ali_ref agent_ref = ali_find_agent(node, r->agent);
    ali_ref ref = ali_find_value(node, agent_ref, r->key);
    struct ali_agent *agent = ali_agent_at(node, agent_ref);
    struct ali_kv *value;

    (void)lsn;
    if (ref == AL_REF_NONE) {
        ref = al_pool_take(&node->values);
        value = ali_value_at(node, ref);
        ali_fresh(node, &value->object);
        value->d.agent = agent_ref;
        ali_list_push(&node->values, OF_AGENT, &agent->inbox->d.values, ref);
        al_index_add(&node->value_keys, value_hash(node, agent_ref, r->key), ref);
        agent->inbox->d.value_count++;
    } else {
        value = ali_value_at(node, ref);
        if (!AL_PLANT(node, KV_UNTOUCHED))
            ali_touch(node, ALI_PART_KV, ref, &value->object);
        agent->inbox->d.value_bytes -= (uint32_t)bytes_of(value);
        al_alloc_free(&node->alloc, value->d.bytes, bytes_of(value));
    }
    value->d.bytes = node->v.prepared_value;
    node->v.prepared_value = NULL;
    node->v.prepared_value_size = 0;
    value->d.key_size = (uint8_t)r->key.n;
    value->d.size = r->value.n;
    memcpy(value->d.bytes, r->key.p, r->key.n);
    if (r->value.n)
        memcpy(value->d.bytes + r->key.n, r->value.p, r->value.n);
    agent->inbox->d.value_bytes += (uint32_t)bytes_of(value);
}

int ali_prepare_kv_delete(struct al_node *node, const struct ali_rec_kv_delete *r)
{
    ali_ref agent = ali_find_agent(node, r->agent);

    return agent == AL_REF_NONE || ali_find_value(node, agent, r->key) == AL_REF_NONE
               ? -AL_E_DAMAGED
               : 0;
}

void ali_apply_kv_delete(struct al_node *node, uint64_t lsn, const struct ali_rec_kv_delete *r)
{
    (void)lsn;
    ali_value_remove(node, ali_find_value(node, ali_find_agent(node, r->agent), r->key));
}

void ali_value_remove(struct al_node *node, ali_ref ref)
{
    struct ali_kv *value = ali_value_at(node, ref);
    struct ali_agent *agent = ali_agent_at(node, value->d.agent);

    ali_touch(node, ALI_PART_KV, ref, &value->object);
    al_index_remove(&node->value_keys, value_hash(node, value->d.agent, key_of(value)), ref);
    ali_list_remove(&node->values, OF_AGENT, &agent->inbox->d.values, ref);
    agent->inbox->d.value_count--;
    agent->inbox->d.value_bytes -= (uint32_t)bytes_of(value);
    al_alloc_free(&node->alloc, value->d.bytes, bytes_of(value));
    al_pool_put(&node->values, ref);
}

void ali_values_deinit(struct al_node *node)
{
    for (ali_ref ref = 0; ref < node->values.end; ref++)
        if (al_pool_has(&node->values, ref))
            al_alloc_free(&node->alloc, ali_value_at(node, ref)->d.bytes,
                          bytes_of(ali_value_at(node, ref)));
    al_alloc_free(&node->alloc, node->v.prepared_value, node->v.prepared_value_size);
}

/* ---- questions --------------------------------------------------------------------------- */

static void send_row(struct al_node *node, const struct ali_conn *conn, uint32_t request,
                     const struct ali_kv *value)
{
    struct al_msg_kv_row row = {.request = request,
                                .key = key_of(value),
                                .value =
                                    al_str_of(value->d.bytes + value->d.key_size, value->d.size)};

    ALI_SEND(node, conn->number, kv_row, &row);
}

int ali_handle_kv_get(struct al_node *node, struct ali_conn *conn, const struct al_msg_kv_get *m)
{
    ali_ref agent = AL_REF_NONE, ref;
    int r = ali_agent_get(node, conn, m->agent, false, &agent);

    if (r == 0) {
        ref = ali_find_value(node, agent, m->key);
        if (ref == AL_REF_NONE)
            r = -AL_E_NOT_FOUND;
        else
            send_row(node, conn, m->request, ali_value_at(node, ref));
    }
    ali_send_done(node, conn, m->request, r, r == 0);
    return 0;
}

static bool by_key(const struct al_node *node, ali_ref a, ali_ref b)
{
    return ali_compare(key_of(ali_value_at(node, a)), key_of(ali_value_at(node, b))) <= 0;
}

int ali_handle_kv_list(struct al_node *node, struct ali_conn *conn, const struct al_msg_kv_list *m)
{
    struct ali_page page;
    ali_ref agent = AL_REF_NONE;
    int r = ali_agent_get(node, conn, m->agent, false, &agent);

    ali_page_init(&page, m->limit, by_key);
    for (ali_ref ref = r == 0 ? ali_agent_at(node, agent)->inbox->d.values.head : AL_REF_NONE;
         ref != AL_REF_NONE; ref = ali_value_at(node, ref)->d.link.next)
        if (ali_compare(key_of(ali_value_at(node, ref)), m->after) > 0)
            ali_page_offer(node, &page, ref);
    ali_page_sort(node, &page);
    for (uint32_t i = 0; i < page.count; i++)
        send_row(node, conn, m->request, ali_value_at(node, page.refs[i]));
    ali_send_done(node, conn, m->request, r, page.count);
    return 0;
}
