/* workflow_query.c - questions about the numbers of workflows. Whoever may connect may ask, as
 * about agents and groups: the answers hold no content. */
#include "core/internal.h"
#include "core/workflow.h"

static void send_row(struct al_node *node, const struct ali_conn *conn, uint32_t request,
                     const struct ali_workflow *workflow)
{
    uint64_t counts[ALI_NUMBER_STATES];
    struct al_msg_workflow_row row = {
        .request = request,
        .number = workflow->d.id,
        .allocated = workflow->d.allocated,
        .used_ms = workflow->d.used_ms,
        .space = al_str_of(workflow->d.name, workflow->d.space_size),
        .workflow = al_str_of(workflow->d.name + workflow->d.space_size, workflow->d.name_size)};

    ali_numbers_count(workflow, counts);
    row.processed = counts[ALI_NUMBER_PROCESSED];
    row.pending = counts[ALI_NUMBER_PENDING];
    row.failed = counts[ALI_NUMBER_FAILED];
    row.dead = counts[ALI_NUMBER_DEAD];
    row.expired = counts[ALI_NUMBER_EXPIRED];
    row.cancelled = counts[ALI_NUMBER_CANCELLED];
    ALI_SEND(node, conn->number, workflow_row, &row);
}

int ali_handle_workflow_get(struct al_node *node, struct ali_conn *conn,
                            const struct al_msg_workflow_get *m)
{
    struct al_str space = m->space.n ? m->space : al_str_c("default");
    uint32_t limit = m->limit && m->limit < AL_WORKFLOW_ROWS_MAX ? m->limit : AL_WORKFLOW_ROWS_MAX;
    struct al_msg_workflow_range range = {.request = m->request, .first = m->first};
    const struct ali_workflow *workflow;
    uint32_t count = 0;
    unsigned state;
    ali_ref ref;
    int r = ali_acks_flush(node);

    if (r < 0)
        return r;
    ref = ali_find_workflow_name(node, space, m->workflow);
    if (ref == AL_REF_NONE) {
        ali_send_done(node, conn, m->request, -AL_E_NOT_FOUND, 0);
        return 0;
    }
    workflow = ali_workflow_at(node, ref);
    send_row(node, conn, m->request, workflow);
    for (; count < limit && ali_numbers_next(workflow, &range.first, &range.last, &state);
         count++) {
        range.state = (uint8_t)state;
        ALI_SEND(node, conn->number, workflow_range, &range);
        range.first = range.last + 1;
    }
    ali_send_done(node, conn, m->request, 0, count);
    return 0;
}

/* ---- the list ---------------------------------------------------------------------------- */

static bool by_number(const struct al_node *node, ali_ref a, ali_ref b)
{
    return ali_workflow_at(node, a)->d.id <= ali_workflow_at(node, b)->d.id;
}

static bool is_wanted(const struct ali_workflow *workflow, const struct al_msg_workflow_list *m)
{
    return workflow->d.id > m->after &&
           (!m->space.n ||
            al_str_eq(al_str_of(workflow->d.name, workflow->d.space_size), m->space));
}

int ali_handle_workflow_list(struct al_node *node, struct ali_conn *conn,
                             const struct al_msg_workflow_list *m)
{
    uint32_t limit = m->limit && m->limit < AL_WORKFLOW_ROWS_MAX ? m->limit : AL_WORKFLOW_ROWS_MAX;
    struct ali_page page;
    int r = ali_acks_flush(node);

    if (r < 0)
        return r;
    ali_page_init(&page, limit, by_number);
    for (ali_ref ref = 0; ref < node->flows.list.end; ref++)
        if (al_pool_has(&node->flows.list, ref) && is_wanted(ali_workflow_at(node, ref), m))
            ali_page_offer(node, &page, ref);
    ali_page_sort(node, &page);
    for (uint32_t i = 0; i < page.count; i++)
        send_row(node, conn, m->request, ali_workflow_at(node, page.refs[i]));
    ali_send_done(node, conn, m->request, 0, page.count);
    return 0;
}
