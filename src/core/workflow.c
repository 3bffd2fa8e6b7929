/* workflow.c - numbers of messages with a workflow id: the fold.
 *
 * NUMBERED is a PUBLISH with the number in front; WORKFLOW begins and forgets. What ends a message
 * ends its number with it, in the same record: the place says which number it was. A message that
 * leaves its stream but may come back (a dead letter) or is not there yet (scheduled) has a tag.
 *
 * A message that ends in the middle of its stream leaves its entry behind, as it does in the runs
 * of the stream; both go when their turn comes. */
#include "core/workflow.h"
#include "core/internal.h"
#include <assert.h>

#define RUN sizeof(struct ali_number_run)

struct ali_workflow *ali_workflow_at(const struct al_node *node, ali_ref ref)
{
    return al_pool_at(&node->flows.list, ref);
}

static struct ali_numbering *numbering_at(const struct al_node *node, ali_ref ref)
{
    return al_pool_at(&node->flows.numberings, ref);
}

static struct ali_number_tag *tag_at(const struct al_node *node, ali_ref ref)
{
    return al_pool_at(&node->flows.tags, ref);
}

void ali_workflows_init(struct al_node *node)
{
    struct ali_workflows *flows = &node->flows;

    al_pool_init(&flows->list, &node->alloc, sizeof(struct ali_workflow), 6);
    al_pool_init(&flows->numberings, &node->alloc, sizeof(struct ali_numbering), 6);
    al_pool_init(&flows->tags, &node->alloc, sizeof(struct ali_number_tag), 6);
    al_index_init(&flows->ids, &node->alloc);
    al_index_init(&flows->names, &node->alloc);
    al_index_init(&flows->tag_keys, &node->alloc);
    al_buf_init(&flows->prepared_runs, &node->alloc);
}

static void free_workflow(struct al_node *node, struct ali_workflow *workflow)
{
    al_alloc_free(&node->alloc, workflow->d.blocks,
                  workflow->d.block_cap * sizeof(*workflow->d.blocks));
    al_alloc_free(&node->alloc, workflow->d.name,
                  (size_t)workflow->d.space_size + workflow->d.name_size);
}

void ali_workflows_deinit(struct al_node *node)
{
    struct ali_workflows *flows = &node->flows;

    for (ali_ref ref = 0; ref < flows->list.end; ref++)
        if (al_pool_has(&flows->list, ref))
            free_workflow(node, ali_workflow_at(node, ref));
    for (ali_ref ref = 0; ref < flows->numberings.end; ref++)
        if (al_pool_has(&flows->numberings, ref))
            al_buf_deinit(&numbering_at(node, ref)->d.runs);
    al_pool_deinit(&flows->list);
    al_pool_deinit(&flows->numberings);
    al_pool_deinit(&flows->tags);
    al_index_deinit(&flows->ids);
    al_index_deinit(&flows->names);
    al_index_deinit(&flows->tag_keys);
    al_buf_deinit(&flows->prepared_runs);
    al_alloc_free(&node->alloc, flows->prepared_name, flows->prepared_size);
}

/* ---- finding ----------------------------------------------------------------------------- */

struct wanted {
    const struct al_node *node;
    struct al_str space, name;
    uint64_t key;
    ali_ref stream;
};

static bool id_is(const void *ctx, uint32_t ref)
{
    const struct wanted *want = ctx;

    return ali_workflow_at(want->node, ref)->d.id == want->key;
}

ali_ref ali_find_workflow(const struct al_node *node, uint64_t id)
{
    struct wanted want = {.node = node, .key = id};

    return al_index_find(&node->flows.ids, ali_hash_number(id), id_is, &want);
}

static bool name_is(const void *ctx, uint32_t ref)
{
    const struct wanted *want = ctx;
    const struct ali_workflow *workflow = ali_workflow_at(want->node, ref);

    return al_str_eq(al_str_of(workflow->d.name, workflow->d.space_size), want->space) &&
           al_str_eq(al_str_of(workflow->d.name + workflow->d.space_size, workflow->d.name_size),
                     want->name);
}

static uint64_t hash_names(const struct al_node *node, struct al_str space, struct al_str name)
{
    return ali_hash_pair(ali_hash_name(node, space), ali_hash_name(node, name));
}

ali_ref ali_find_workflow_name(const struct al_node *node, struct al_str space, struct al_str name)
{
    struct wanted want = {.node = node, .space = space, .name = name};

    return al_index_find(&node->flows.names, hash_names(node, space, name), name_is, &want);
}

static bool tag_is(const void *ctx, uint32_t ref)
{
    const struct wanted *want = ctx;
    const struct ali_number_tag *tag = tag_at(want->node, ref);

    return tag->d.stream == want->stream && tag->d.key == want->key;
}

static ali_ref find_tag(const struct al_node *node, ali_ref stream, uint64_t key)
{
    struct wanted want = {.node = node, .stream = stream, .key = key};

    return node->flows.tags.count == 0
               ? AL_REF_NONE
               : al_index_find(&node->flows.tag_keys, ali_hash_pair(stream, key), tag_is, &want);
}

/* ---- the runs of a stream ---------------------------------------------------------------- */

struct ali_number_run *ali_numbering_runs(const struct ali_numbering *numbering,
                                          uint32_t *ret_count)
{
    *ret_count = (uint32_t)(numbering->d.runs.size / RUN) - numbering->d.first;
    if (!*ret_count)
        return NULL;
    return (struct ali_number_run *)(void *)numbering->d.runs.data + numbering->d.first;
}

/* The run that this sequence lies in, NULL. */
static struct ali_number_run *find_run(const struct ali_numbering *numbering, uint64_t seq)
{
    uint32_t low = 0, high;
    struct ali_number_run *runs = ali_numbering_runs(numbering, &high);

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (runs[middle].seq + runs[middle].count <= seq)
            low = middle + 1;
        else
            high = middle;
    }
    return low < (uint32_t)(numbering->d.runs.size / RUN) - numbering->d.first &&
                   runs[low].seq <= seq
               ? &runs[low]
               : NULL;
}

/* Room for one more run, in the stream's numbering or for one to be made. */
static int reserve_run(struct al_node *node, ali_ref stream_ref)
{
    const struct ali_stream *stream = ali_stream_at(node, stream_ref);
    struct ali_numbering *numbering;
    int r;

    if (stream->d.numbering == AL_REF_NONE) {
        r = al_pool_reserve(&node->flows.numberings, 1);
        return r < 0 ? r : al_buf_reserve(&node->flows.prepared_runs, RUN);
    }
    numbering = numbering_at(node, stream->d.numbering);
    if (numbering->d.first && numbering->d.first * RUN >= numbering->d.runs.size / 2) {
        al_buf_drop(&numbering->d.runs, numbering->d.first * RUN);
        numbering->d.first = 0;
    }
    return al_buf_reserve(&numbering->d.runs, RUN);
}

static void push_run(struct al_node *node, ali_ref stream_ref, struct ali_number_run run)
{
    struct ali_stream *stream = ali_stream_at(node, stream_ref);
    struct ali_numbering *numbering;
    struct ali_number_run *last;
    uint32_t count;

    if (stream->d.numbering == AL_REF_NONE) {
        stream->d.numbering = al_pool_take(&node->flows.numberings);
        numbering = numbering_at(node, stream->d.numbering);
        ali_fresh(node, &numbering->object);
        numbering->d.stream = stream_ref;
        numbering->d.runs = node->flows.prepared_runs;
        al_buf_init(&node->flows.prepared_runs, &node->alloc);
    }
    numbering = numbering_at(node, stream->d.numbering);
    ali_touch(node, ALI_PART_NUMBERING, stream->d.numbering, &numbering->object);
    last = ali_numbering_runs(numbering, &count);
    if (count)
        last += count - 1;
    if (count && last->workflow == run.workflow && last->seq + last->count == run.seq &&
        last->number + last->count == run.number) {
        last->count++;
        return;
    }
    (void)al_buf_put(&numbering->d.runs, &run, RUN);
}

void ali_numbering_drop(struct al_node *node, ali_ref stream_ref)
{
    const struct ali_stream *stream = ali_stream_at(node, stream_ref);
    struct ali_numbering *numbering = numbering_at(node, stream->d.numbering);
    uint64_t first_seq = stream->d.runs.first_seq;
    uint32_t count;
    struct ali_number_run *run = ali_numbering_runs(numbering, &count);

    if (!count || run->seq >= first_seq)
        return;
    ali_touch(node, ALI_PART_NUMBERING, stream->d.numbering, &numbering->object);
    while (count && run->seq + run->count <= first_seq) {
        numbering->d.first++;
        run++;
        count--;
    }
    if (count && run->seq < first_seq) {
        run->number += (uint32_t)(first_seq - run->seq);
        run->count -= (uint32_t)(first_seq - run->seq);
        run->seq = first_seq;
    }
    if (!count) {
        al_buf_clear(&numbering->d.runs);
        numbering->d.first = 0;
    }
}

uint32_t ali_number_of(const struct al_node *node, ali_ref stream_ref, uint64_t seq)
{
    const struct ali_stream *stream = ali_stream_at(node, stream_ref);
    const struct ali_number_run *run = NULL;

    if (stream->d.numbering != AL_REF_NONE)
        run = find_run(numbering_at(node, stream->d.numbering), seq);
    return run ? run->number + (uint32_t)(seq - run->seq) : 0;
}

uint32_t ali_number_of_delayed(const struct al_node *node, uint64_t delayed)
{
    ali_ref tag = find_tag(node, AL_REF_NONE, delayed);

    return tag == AL_REF_NONE ? 0 : tag_at(node, tag)->d.number;
}

/* ---- ends -------------------------------------------------------------------------------- */

static void set_state(struct al_node *node, uint64_t id, uint32_t number, unsigned state)
{
    ali_ref ref = ali_find_workflow(node, id);
    struct ali_workflow *workflow;

    if (ref == AL_REF_NONE)
        return; /* forgotten meanwhile */
    workflow = ali_workflow_at(node, ref);
    ali_touch(node, ALI_PART_WORKFLOW, ref, &workflow->object);
    ali_number_set(node, workflow, number, state);
}

static unsigned number_state(const struct al_node *node, uint8_t state)
{
    switch (state) {
    case AL_STATE_FAILED:
        return ALI_NUMBER_FAILED;
    case AL_STATE_DEAD:
        return AL_PLANT(node, WORKFLOW_DEAD_DONE) ? ALI_NUMBER_PROCESSED : ALI_NUMBER_DEAD;
    case AL_STATE_EXPIRED:
        return ALI_NUMBER_EXPIRED;
    case AL_STATE_CANCELLED:
        return ALI_NUMBER_CANCELLED;
    default:
        (void)node;
        return ALI_NUMBER_PROCESSED;
    }
}

void ali_number_tag_add(struct al_node *node, ali_ref stream, uint64_t key, uint64_t workflow,
                        uint32_t number)
{
    ali_ref ref = al_pool_take(&node->flows.tags);
    struct ali_number_tag *tag = tag_at(node, ref);

    ali_fresh(node, &tag->object);
    tag->d.stream = stream;
    tag->d.key = key;
    tag->d.workflow = workflow;
    tag->d.number = number;
    al_index_add(&node->flows.tag_keys, ali_hash_pair(stream, key), ref);
}

uint32_t ali_number_end(struct al_node *node, ali_ref stream_ref, uint64_t seq, uint8_t state,
                        uint64_t wall_ms)
{
    const struct ali_stream *stream = ali_stream_at(node, stream_ref);
    const struct ali_number_run *run;
    uint32_t number;
    ali_ref ref;

    if (stream->d.numbering == AL_REF_NONE)
        return 0;
    run = find_run(numbering_at(node, stream->d.numbering), seq);
    if (!run)
        return 0;
    number = run->number + (uint32_t)(seq - run->seq);
    set_state(node, run->workflow, number, number_state(node, state));
    ref = ali_find_workflow(node, run->workflow);
    if (ref != AL_REF_NONE)
        ali_workflow_at(node, ref)->d.used_ms = wall_ms;
    if (state >= AL_STATE_FAILED && state <= AL_STATE_EXPIRED)
        ali_number_tag_add(node, stream_ref, seq, run->workflow, number);
    return number;
}

/* ---- messages that are in no stream ------------------------------------------------------ */

static int reserve_tag(struct al_node *node)
{
    int r = al_pool_reserve(&node->flows.tags, 1);

    return r < 0 ? r : al_index_reserve(&node->flows.tag_keys, 1);
}

int ali_number_tag_reserve(struct al_node *node, ali_ref stream)
{
    return ali_stream_at(node, stream)->d.numbering == AL_REF_NONE ? 0 : reserve_tag(node);
}

int ali_number_move_reserve(struct al_node *node, ali_ref stream, ali_ref tag_stream, uint64_t key)
{
    return find_tag(node, tag_stream, key) == AL_REF_NONE ? 0 : reserve_run(node, stream);
}

static struct ali_number_tag take_tag(struct al_node *node, ali_ref ref)
{
    struct ali_number_tag *tag = tag_at(node, ref), old = *tag;

    ali_touch(node, ALI_PART_NUMBER_TAG, ref, &tag->object);
    al_index_remove(&node->flows.tag_keys, ali_hash_pair(tag->d.stream, tag->d.key), ref);
    al_pool_put(&node->flows.tags, ref);
    return old;
}

void ali_number_move(struct al_node *node, ali_ref stream, uint64_t seq, ali_ref tag_stream,
                     uint64_t key)
{
    ali_ref ref = find_tag(node, tag_stream, key);
    struct ali_number_tag tag;

    if (ref == AL_REF_NONE)
        return;
    tag = take_tag(node, ref);
    if (ali_find_workflow(node, tag.d.workflow) == AL_REF_NONE)
        return;
    push_run(node, stream,
             (struct ali_number_run){
                 .seq = seq, .workflow = tag.d.workflow, .number = tag.d.number, .count = 1});
    set_state(node, tag.d.workflow, tag.d.number, ALI_NUMBER_PENDING);
}

void ali_number_tag_drop(struct al_node *node, ali_ref stream, uint64_t key)
{
    ali_ref ref = find_tag(node, stream, key);
    struct ali_number_tag tag;

    if (ref == AL_REF_NONE)
        return;
    tag = take_tag(node, ref);
    if (stream == AL_REF_NONE) /* a dead letter has ended before */
        set_state(node, tag.d.workflow, tag.d.number, ALI_NUMBER_CANCELLED);
}

void ali_numbering_remove(struct al_node *node, ali_ref stream_ref)
{
    struct ali_stream *stream = ali_stream_at(node, stream_ref);
    struct ali_numbering *numbering;
    struct ali_number_run *run;
    uint32_t count;

    if (stream->d.numbering == AL_REF_NONE)
        return;
    numbering = numbering_at(node, stream->d.numbering);
    ali_touch(node, ALI_PART_NUMBERING, stream->d.numbering, &numbering->object);
    for (run = ali_numbering_runs(numbering, &count); count; run++, count--) {
        ali_ref ref = ali_find_workflow(node, run->workflow);

        for (uint32_t i = 0; ref != AL_REF_NONE && i < run->count; i++)
            if (ali_number_get(ali_workflow_at(node, ref), run->number + i) == ALI_NUMBER_PENDING)
                set_state(node, run->workflow, run->number + i, ALI_NUMBER_CANCELLED);
    }
    al_buf_deinit(&numbering->d.runs);
    al_pool_put(&node->flows.numberings, stream->d.numbering);
    stream->d.numbering = AL_REF_NONE;
}

/* ---- records ----------------------------------------------------------------------------- */

static struct ali_rec_publish plain(const struct ali_rec_numbered *r)
{
    return (struct ali_rec_publish){ALI_NUMBERED_AS_PUBLISH(r)};
}

int ali_prepare_numbered(struct al_node *node, const struct ali_rec_numbered *r)
{
    struct ali_rec_publish publish = plain(r);
    ali_ref ref = ali_find_workflow(node, r->workflow);
    int e = ali_prepare_publish(node, &publish);

    if (e < 0)
        return e;
    if (ref == AL_REF_NONE || r->number != (uint64_t)ali_workflow_at(node, ref)->d.allocated + 1 ||
        r->number >= AL_WORKFLOW_NUMBERS_MAX)
        return -AL_E_DAMAGED;
    e = ali_numbers_reserve(node, ali_workflow_at(node, ref));
    if (e == 0)
        e = r->seq ? reserve_run(node, ali_find_stream(node, r->stream)) : reserve_tag(node);
    return e;
}

void ali_apply_numbered(struct al_node *node, uint64_t lsn, const struct ali_rec_numbered *r)
{
    struct ali_rec_publish publish = plain(r);
    ali_ref ref = ali_find_workflow(node, r->workflow);
    struct ali_workflow *workflow = ali_workflow_at(node, ref);

    ali_apply_publish(node, lsn, &publish);
    ali_touch(node, ALI_PART_WORKFLOW, ref, &workflow->object);
    ali_number_set(node, workflow, (uint32_t)r->number, ALI_NUMBER_PENDING);
    workflow->d.allocated = (uint32_t)r->number;
    workflow->d.used_ms = r->wall_ms;
    node->flows.numbered += !node->v.loading;
    if (!r->seq)
        ali_number_tag_add(node, AL_REF_NONE, lsn, r->workflow, (uint32_t)r->number);
    else
        push_run(
            node, ali_find_stream(node, r->stream),
            (struct ali_number_run){
                .seq = r->seq, .workflow = r->workflow, .number = (uint32_t)r->number, .count = 1});
}

int ali_prepare_workflow(struct al_node *node, const struct ali_rec_workflow *r)
{
    ali_ref ref = ali_find_workflow_name(node, r->space, r->workflow);
    struct ali_workflows *flows = &node->flows;
    int e;

    if (!r->workflow.n || r->space.n > AL_NAME_PART_MAX)
        return -AL_E_DAMAGED;
    if (r->over)
        return ref == AL_REF_NONE || ali_numbers_pend(ali_workflow_at(node, ref)) ? -AL_E_DAMAGED
                                                                                  : 0;
    if (ref != AL_REF_NONE)
        return -AL_E_DAMAGED;
    e = al_pool_reserve(&flows->list, 1);
    if (e == 0)
        e = al_index_reserve(&flows->ids, 1);
    if (e == 0)
        e = al_index_reserve(&flows->names, 1);
    if (e < 0)
        return e;
    al_alloc_free(&node->alloc, flows->prepared_name, flows->prepared_size);
    flows->prepared_size = r->space.n + r->workflow.n;
    flows->prepared_name = al_alloc_new(&node->alloc, flows->prepared_size);
    if (!flows->prepared_name)
        flows->prepared_size = 0;
    return flows->prepared_name ? 0 : -AL_E_NOMEM;
}

static void forget(struct al_node *node, ali_ref ref, const struct ali_rec_workflow *r)
{
    struct ali_workflow *workflow = ali_workflow_at(node, ref);

    ali_touch(node, ALI_PART_WORKFLOW, ref, &workflow->object);
    node->flows.blocks -= workflow->d.block_count;
    node->flows.forgotten += !node->v.loading;
    al_index_remove(&node->flows.ids, ali_hash_number(workflow->d.id), ref);
    al_index_remove(&node->flows.names, hash_names(node, r->space, r->workflow), ref);
    free_workflow(node, workflow);
    al_pool_put(&node->flows.list, ref);
}

void ali_apply_workflow(struct al_node *node, uint64_t lsn, const struct ali_rec_workflow *r)
{
    struct ali_workflows *flows = &node->flows;
    struct ali_workflow *workflow;
    ali_ref ref;

    if (r->over) {
        forget(node, ali_find_workflow_name(node, r->space, r->workflow), r);
        return;
    }
    ref = al_pool_take(&flows->list);
    workflow = ali_workflow_at(node, ref);
    ali_fresh(node, &workflow->object);
    workflow->d.id = lsn;
    workflow->d.used_ms = r->wall_ms;
    workflow->d.space_size = (uint8_t)r->space.n;
    workflow->d.name_size = (uint8_t)r->workflow.n;
    workflow->d.name = flows->prepared_name;
    memcpy(workflow->d.name, r->space.p, r->space.n);
    memcpy(workflow->d.name + r->space.n, r->workflow.p, r->workflow.n);
    flows->prepared_name = NULL;
    flows->prepared_size = 0;
    al_index_add(&flows->ids, ali_hash_number(lsn), ref);
    al_index_add(&flows->names, hash_names(node, r->space, r->workflow), ref);
}
