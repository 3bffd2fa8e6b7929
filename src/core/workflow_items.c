/* workflow_items.c - numbers of workflows in snapshots, and back. */
#include "core/internal.h"
#include "core/items.h"
#include "core/workflow.h"

#define RUN        sizeof(struct ali_number_run)
#define BLOCK_SIZE (4u + 8u * ALI_BLOCK_PLANES * ALI_BLOCK_NUMBERS / 64u)
#define NUMBER_TAG 1u /* behind an ENDED item: u32 number in its workflow */

/* ---- workflows --------------------------------------------------------------------------- */

static int put_blocks(const struct ali_workflow *workflow, struct al_buf *out)
{
    if (al_buf_reserve(out, (size_t)workflow->d.block_count * BLOCK_SIZE) < 0)
        return -AL_E_NOMEM;
    for (uint32_t i = 0; i < workflow->d.block_count; i++) {
        const struct ali_number_block *block = &workflow->d.blocks[i];

        al_put32(out->data + out->size, block->base);
        memcpy(out->data + out->size + 4, block->planes, sizeof(block->planes));
        out->size += BLOCK_SIZE;
    }
    return 0;
}

int ali_workflow_put(const struct al_node *node, const struct ali_workflow *workflow,
                     struct al_buf *out)
{
    struct al_buf blocks;
    struct ali_item_workflow item = {
        .workflow = workflow->d.id,
        .allocated = workflow->d.allocated,
        .used_ms = workflow->d.used_ms,
        .space = al_str_of(workflow->d.name, workflow->d.space_size),
        .name = al_str_of(workflow->d.name + workflow->d.space_size, workflow->d.name_size)};
    int r;

    if (AL_PLANT(node, WORKFLOW_RESTARTS) && item.allocated && !workflow->d.block_count)
        item.allocated--;
    al_buf_init(&blocks, &node->alloc);
    r = put_blocks(workflow, &blocks);
    item.blocks = al_str_of(blocks.data, blocks.size);
    if (r == 0)
        r = ali_put_item_workflow(out, &item);
    al_buf_deinit(&blocks);
    return r;
}

/* True if no number of the block is beyond those given out, and every state is one. */
static bool is_sound(const struct ali_number_block *block, uint32_t allocated)
{
    bool any = false;

    for (uint32_t bit = 0; bit < ALI_BLOCK_NUMBERS; bit++) {
        uint64_t number = (uint64_t)block->base * ALI_BLOCK_NUMBERS + bit;
        unsigned state = ali_block_state(block, bit);

        if (state >= ALI_NUMBER_STATES || (state && (number < 1 || number > allocated)))
            return false;
        any |= state != 0;
    }
    return any;
}

static int load_blocks(struct al_node *node, struct ali_workflow *workflow, struct al_str blocks)
{
    uint32_t count = blocks.n / BLOCK_SIZE;

    if (blocks.n % BLOCK_SIZE)
        return -AL_E_DAMAGED;
    if (count) {
        workflow->d.blocks =
            al_alloc_new(&node->alloc, (size_t)count * sizeof(*workflow->d.blocks));
        if (!workflow->d.blocks)
            return -AL_E_NOMEM;
    }
    workflow->d.block_cap = count;
    for (uint32_t i = 0; i < count; i++) {
        struct ali_number_block *block = &workflow->d.blocks[i];
        const uint8_t *in = blocks.p + (size_t)i * BLOCK_SIZE;

        block->base = al_get32(in);
        memcpy(block->planes, in + 4, sizeof(block->planes));
        if ((i && block->base <= block[-1].base) || !is_sound(block, workflow->d.allocated))
            return -AL_E_DAMAGED;
        workflow->d.block_count++;
    }
    node->flows.blocks += count;
    return 0;
}

int ali_workflow_load(struct al_node *node, const struct ali_item_workflow *item)
{
    struct ali_rec_workflow record = {
        .wall_ms = item->used_ms, .space = item->space, .workflow = item->name};
    struct ali_workflow *workflow;
    int r;

    if (item->allocated >= AL_WORKFLOW_NUMBERS_MAX || !item->workflow ||
        item->workflow > node->d.lsn || ali_find_workflow(node, item->workflow) != AL_REF_NONE)
        return -AL_E_DAMAGED;
    r = ali_prepare_workflow(node, &record);
    if (r < 0)
        return r;
    ali_apply_workflow(node, item->workflow, &record);
    workflow = ali_workflow_at(node, ali_find_workflow(node, item->workflow));
    workflow->d.allocated = (uint32_t)item->allocated;
    return load_blocks(node, workflow, item->blocks);
}

/* ---- the messages of streams ------------------------------------------------------------- */

int ali_numbering_put(const struct al_node *node, const struct ali_numbering *numbering,
                      struct al_buf *out)
{
    uint32_t count;
    const struct ali_number_run *run = ali_numbering_runs(numbering, &count);
    struct ali_item_numbering item = {.stream = ali_stream_at(node, numbering->d.stream)->d.id};
    struct al_buf runs;
    int r;

    al_buf_init(&runs, &node->alloc);
    r = al_buf_reserve(&runs, (size_t)count * RUN);
    for (uint32_t i = 0; r == 0 && i < count; i++, run++) {
        al_put64(runs.data + runs.size, run->seq);
        al_put64(runs.data + runs.size + 8, run->workflow);
        al_put32(runs.data + runs.size + 16, run->number);
        al_put32(runs.data + runs.size + 20, run->count);
        runs.size += RUN;
    }
    item.runs = al_str_of(runs.data, runs.size);
    if (r == 0)
        r = ali_put_item_numbering(out, &item);
    al_buf_deinit(&runs);
    return r;
}

static int load_runs(const struct al_node *node, const struct ali_stream *stream,
                     struct ali_numbering *numbering, struct al_str runs)
{
    uint64_t seq = stream->d.runs.first_seq;

    if (runs.n % RUN)
        return -AL_E_DAMAGED;
    for (uint32_t at = 0; at < runs.n; at += RUN) {
        struct ali_number_run run = {.seq = al_get64(runs.p + at),
                                     .workflow = al_get64(runs.p + at + 8),
                                     .number = al_get32(runs.p + at + 16),
                                     .count = al_get32(runs.p + at + 20)};

        if (run.seq < seq || run.seq >= stream->d.runs.next_seq || !run.count ||
            run.count > stream->d.runs.next_seq - run.seq || run.workflow > node->d.lsn ||
            !run.number || run.count > AL_WORKFLOW_NUMBERS_MAX - run.number)
            return -AL_E_DAMAGED;
        if (al_buf_put(&numbering->d.runs, &run, RUN) < 0)
            return -AL_E_NOMEM;
        seq = run.seq + run.count;
    }
    return 0;
}

int ali_numbering_load(struct al_node *node, const struct ali_item_numbering *item)
{
    ali_ref stream = ali_find_stream(node, item->stream), ref;
    struct ali_numbering *numbering;

    if (stream == AL_REF_NONE || ali_stream_at(node, stream)->d.numbering != AL_REF_NONE)
        return -AL_E_DAMAGED;
    if (al_pool_reserve(&node->flows.numberings, 1) < 0)
        return -AL_E_NOMEM;
    ref = al_pool_take(&node->flows.numberings);
    numbering = al_pool_at(&node->flows.numberings, ref);
    ali_fresh(node, &numbering->object);
    numbering->d.stream = stream;
    al_buf_init(&numbering->d.runs, &node->alloc);
    ali_stream_at(node, stream)->d.numbering = ref;
    return load_runs(node, ali_stream_at(node, stream), numbering, item->runs);
}

/* ---- messages in no stream --------------------------------------------------------------- */

int ali_number_tag_put(const struct al_node *node, const struct ali_number_tag *tag,
                       struct al_buf *out)
{
    struct ali_item_number_tag item = {
        .stream = tag->d.stream == AL_REF_NONE ? 0 : ali_stream_at(node, tag->d.stream)->d.id,
        .key = tag->d.key,
        .workflow = tag->d.workflow,
        .number = tag->d.number};

    return ali_put_item_number_tag(out, &item);
}

int ali_number_tag_load(struct al_node *node, const struct ali_item_number_tag *item)
{
    ali_ref stream = item->stream ? ali_find_stream(node, item->stream) : AL_REF_NONE;
    bool found = item->stream ? ali_find_letter(node, item->stream, item->key) != AL_REF_NONE
                              : ali_find_delayed(node, item->key) != AL_REF_NONE;

    if (!found || !item->number || item->number >= AL_WORKFLOW_NUMBERS_MAX)
        return -AL_E_DAMAGED;
    if (al_pool_reserve(&node->flows.tags, 1) < 0 || al_index_reserve(&node->flows.tag_keys, 1) < 0)
        return -AL_E_NOMEM;
    ali_number_tag_add(node, stream, item->key, item->workflow, (uint32_t)item->number);
    return 0;
}

/* ---- finished deliveries ----------------------------------------------------------------- */

int ali_ended_put(const struct ali_ended *ended, const struct ali_item_ended *item,
                  struct al_buf *out)
{
    size_t at = out->size;
    uint8_t number[4];
    int r = ali_put_item_ended(out, item);

    if (r < 0 || !ended->workflow_seq)
        return r;
    al_put32(number, ended->workflow_seq);
    r = al_ext_put(out, NUMBER_TAG, al_str_of(number, sizeof(number)));
    if (r == 0)
        al_put32(out->data + at, (uint32_t)(out->size - at - 4));
    return r;
}

int ali_ended_load(struct al_node *node, struct al_str body)
{
    struct ali_item_ended item;
    struct al_str number;
    size_t fixed = 0;

#define AL_FIXED_U8(name, doc)    fixed += 1;
#define AL_FIXED_U16(name, doc)   fixed += 2;
#define AL_FIXED_U32(name, doc)   fixed += 4;
#define AL_FIXED_U64(name, doc)   fixed += 8;
#define AL_FIXED_OTHER(name, doc) static_assert(0, "a finished delivery has numbers only");
    AL_FIELDS_ITEM_ENDED(AL_FIXED_U8, AL_FIXED_U16, AL_FIXED_U32, AL_FIXED_U64, AL_FIXED_OTHER,
                         AL_FIXED_OTHER, AL_FIXED_OTHER)
    if (!al_ext_find(al_str_of(body.p + fixed, body.n - fixed), NUMBER_TAG, &number))
        return 0;
    if (number.n != 4 || ali_decode_item_ended(body, &item) < 0)
        return -AL_E_DAMAGED;
    ali_find_ended(node, item.stream, item.seq)->workflow_seq = al_get32(number.p);
    return 0;
}
