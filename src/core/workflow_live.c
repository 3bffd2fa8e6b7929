/* workflow_live.c - what live traffic does with workflows: admission, and forgetting. */
#include "core/internal.h"
#include "core/workflow.h"

#define LOOK_AT 64u /* workflows that are looked at for one to forget */

/* The namespace of an agent. */
static struct al_str space_of(const struct ali_agent *agent)
{
    const char *slash = memchr(agent->d.name, '/', agent->d.name_size);

    return slash ? al_str_of(agent->d.name, (size_t)(slash - agent->d.name)) : al_str_c("default");
}

static int forget(struct al_node *node, const struct ali_workflow *workflow)
{
    char names[AL_NAME_PART_MAX + AL_WORKFLOW_ID_MAX]; /* its own go with it */
    struct ali_rec_workflow record = {
        .over = 1,
        .wall_ms = node->v.now.wall_ms,
        .space = al_str_of(names, workflow->d.space_size),
        .workflow = al_str_of(names + workflow->d.space_size, workflow->d.name_size)};

    memcpy(names, workflow->d.name, (size_t)workflow->d.space_size + workflow->d.name_size);
    return ali_commit(node, ALI_REC_WORKFLOW, &record);
}

/* Makes room: of some workflows with nothing pending the one that was used longest ago goes. */
static int make_room(struct al_node *node)
{
    const struct ali_workflow *oldest = NULL;

    for (unsigned i = 0; i < LOOK_AT && i < node->flows.list.end; i++) {
        const struct ali_workflow *workflow;
        ali_ref ref = node->flows.hand++;

        if (ref >= node->flows.list.end)
            ref = node->flows.hand = 0;
        if (!al_pool_has(&node->flows.list, ref))
            continue;
        workflow = ali_workflow_at(node, ref);
        /* One that a message of the commit under way is about to use stays. */
        if (workflow->v.taken_ms != (uint32_t)ali_mono_ms(node) && !ali_numbers_pend(workflow) &&
            (!oldest || workflow->d.used_ms < oldest->d.used_ms))
            oldest = workflow;
    }
    return oldest ? forget(node, oldest) : -AL_E_WORKFLOW_FULL;
}

int ali_workflow_get(struct al_node *node, ali_ref from, const struct al_msg_envelope *envelope,
                     uint64_t *ret_workflow)
{
    struct ali_rec_workflow record = {.wall_ms = node->v.now.wall_ms};
    struct ali_workflow *workflow;
    ali_ref ref;
    int r = 0;

    *ret_workflow = 0;
    if (!al_ext_find(envelope->ext, AL_EXT_WORKFLOW_ID, &record.workflow) || !record.workflow.n)
        return 0;
    if (record.workflow.n > AL_WORKFLOW_ID_MAX)
        return -AL_E_TOO_LARGE;
    record.space = space_of(ali_agent_at(node, from));
    ref = ali_find_workflow_name(node, record.space, record.workflow);
    if (ref == AL_REF_NONE) {
        if (node->flows.list.count >= node->config.workflows_max)
            r = make_room(node);
        if (r == 0)
            r = ali_commit(node, ALI_REC_WORKFLOW, &record);
        if (r < 0)
            return r;
        ref = ali_find_workflow_name(node, record.space, record.workflow);
    }
    workflow = ali_workflow_at(node, ref);
    if (workflow->d.allocated + AL_COMMIT_PARTS_MAX + 1 >= AL_WORKFLOW_NUMBERS_MAX ||
        (node->flows.blocks >= node->config.workflow_blocks && ali_numbers_grow(workflow)))
        return -AL_E_WORKFLOW_FULL;
    workflow->v.taken_ms = (uint32_t)ali_mono_ms(node);
    *ret_workflow = workflow->d.id;
    return 0;
}

int ali_commit_publish(struct al_node *node, const struct ali_rec_publish *r, uint64_t workflow)
{
    struct ali_rec_numbered record = {.workflow = workflow, ALI_NUMBERED_AS_PUBLISH(r)};

    if (!workflow)
        return ali_commit(node, ALI_REC_PUBLISH, r);
    record.number =
        (uint64_t)ali_workflow_at(node, ali_find_workflow(node, workflow))->d.allocated + 1;
    return ali_commit(node, ALI_REC_NUMBERED, &record);
}

int ali_workflow_sweep(struct al_node *node, ali_ref ref)
{
    const struct ali_workflow *workflow = ali_workflow_at(node, ref);
    uint64_t now = node->v.now.wall_ms;

    if (now <= workflow->d.used_ms || now - workflow->d.used_ms <= node->config.workflow_ttl_ms ||
        ali_numbers_pend(workflow))
        return 0;
    return forget(node, workflow);
}
