/* workflow.h - numbers of messages with a workflow id: the state, and what the room calls.
 *
 * A workflow is a namespace of senders and a workflow id; its messages to agents are numbered
 * 1, 2, 3, … as they are admitted. What becomes of a number is kept as bits in blocks: a block is
 * there only while one of its numbers has not been processed, so that a workflow in which all went
 * well is an entry and a name. The message of a number is found from its place:
 *
 *   numbering    of a stream: (sequence → workflow, number) of its pending messages, as runs
 *   number tag   the same of a message that is in no stream: scheduled, or a dead letter
 *
 * Both name the workflow by the LSN of the record that began it, which is never used again: what
 * refers to a workflow that was forgotten finds nothing. */
#ifndef AL_CORE_WORKFLOW_H
#define AL_CORE_WORKFLOW_H

#include "base/bytes.h"
#include "base/pool.h"
#include "core/object.h"
#include "core/records.h"

/* What has become of a number; also in WORKFLOW_RANGE. */
enum {
    ALI_NUMBER_PROCESSED,
    ALI_NUMBER_PENDING,
    ALI_NUMBER_FAILED,
    ALI_NUMBER_DEAD,
    ALI_NUMBER_EXPIRED,
    ALI_NUMBER_CANCELLED,
    ALI_NUMBER_STATES
};

/* States of the numbers from base × 128 on: of each a bit in every plane. */
#define ALI_BLOCK_NUMBERS 128u
#define ALI_BLOCK_PLANES  3u
struct ali_number_block {
    uint32_t base;
    uint64_t planes[ALI_BLOCK_PLANES][ALI_BLOCK_NUMBERS / 64];
};

/* The fields that PUBLISH and NUMBERED have in common, as initializers of the other one. */
#define ALI_NUMBERED_AS_PUBLISH(r)                                                        \
    .stream = (r)->stream, .seq = (r)->seq, .producer = (r)->producer, .pseq = (r)->pseq, \
    .flags = (r)->flags, .wall_ms = (r)->wall_ms, .expire_ms = (r)->expire_ms,            \
    .due_ms = (r)->due_ms, .dedup_evict = (r)->dedup_evict, .envelope = (r)->envelope,    \
    .ext = (r)->ext

struct ali_workflow {
    struct ali_object object;
    struct {
        uint32_t taken_ms; /* mono, low bits: a message is about to be admitted */
    } v;
    struct {
        uint64_t id;                     /* LSN of the record that began it */
        uint64_t used_ms;                /* wall clock of the last admission or end */
        struct ali_number_block *blocks; /* by base */
        char *name;                      /* namespace, behind it the id; allocated */
        uint32_t allocated;              /* numbers given out */
        uint32_t block_count, block_cap;
        uint8_t space_size, name_size;
    } d;
};

struct ali_number_run {
    uint64_t seq, workflow;
    uint32_t number, count; /* number + i stands at seq + i */
};

struct ali_numbering {
    struct ali_object object;
    struct {
        ali_ref stream;
        uint32_t first;     /* runs at the beginning that are over */
        struct al_buf runs; /* struct ali_number_run, by sequence */
    } d;
};

/* A message in no stream: stream AL_REF_NONE and the number of a scheduled message, or the place of
 * a dead letter. */
struct ali_number_tag {
    struct ali_object object;
    struct {
        ali_ref stream;
        uint32_t number;
        uint64_t key, workflow;
    } d;
};

/* Part of struct al_node. */
struct ali_workflows {
    struct al_pool list, numberings, tags;
    struct al_index ids, names, tag_keys;
    struct al_buf prepared_runs; /* for a stream without a numbering */
    char *prepared_name;         /* between prepare and apply of WORKFLOW */
    uint32_t prepared_size;
    uint64_t blocks;              /* of all workflows */
    ali_ref hand;                 /* where the next search for one to forget begins */
    uint64_t numbered, forgotten; /* counters since this start */
};

struct al_node;
struct ali_ended;

/* The workflow at a reference in use. */
struct ali_workflow *ali_workflow_at(const struct al_node *node, ali_ref ref);
/* The workflow of that number, AL_REF_NONE. */
ali_ref ali_find_workflow(const struct al_node *node, uint64_t id);
/* The workflow of that name, AL_REF_NONE. */
ali_ref ali_find_workflow_name(const struct al_node *node, struct al_str space, struct al_str name);
/* Makes and frees the tables. */
void ali_workflows_init(struct al_node *node);
void ali_workflows_deinit(struct al_node *node);

/* ---- numbers.c: what has become of the numbers of one workflow --------------------------- */

/* The state of a number by its place in the block. */
unsigned ali_block_state(const struct ali_number_block *block, uint32_t bit);
/* Room for the block of the next number. 0 or -AL_E_NOMEM. */
int ali_numbers_reserve(struct al_node *node, struct ali_workflow *workflow);
/* True if the next number needs a block that is not there. */
bool ali_numbers_grow(const struct ali_workflow *workflow);
/* The state of a number that was given out. */
unsigned ali_number_get(const struct ali_workflow *workflow, uint32_t number);
/* Changes it; room for its block must be there. */
void ali_number_set(struct al_node *node, struct ali_workflow *workflow, uint32_t number,
                    unsigned state);
/* True if one of its numbers is PENDING. */
bool ali_numbers_pend(const struct ali_workflow *workflow);
/* How many numbers are in each state. */
void ali_numbers_count(const struct ali_workflow *workflow, uint64_t counts[ALI_NUMBER_STATES]);
/* The next stretch of numbers in one state other than PROCESSED, from *first on; false if there is
 * none. *ret_last is its last number. */
bool ali_numbers_next(const struct ali_workflow *workflow, uint64_t *first, uint64_t *ret_last,
                      unsigned *ret_state);

/* ---- workflow.c: the fold ---------------------------------------------------------------- */

/* The message at this place is about to end in this state of a delivery record: so does its number.
 * Returns it, 0: it has none. To be called while the message is still in its stream. */
uint32_t ali_number_end(struct al_node *node, ali_ref stream, uint64_t seq, uint8_t state,
                        uint64_t wall_ms);
/* The stream's messages before its head are gone. */
void ali_numbering_drop(struct al_node *node, ali_ref stream);
/* The number of the message at this place, 0: it has none, or it is not known any more. */
uint32_t ali_number_of(const struct al_node *node, ali_ref stream, uint64_t seq);
/* Likewise of a scheduled message. */
uint32_t ali_number_of_delayed(const struct al_node *node, uint64_t delayed);
/* Memory for the death of a message of this stream: its tag. 0 or -AL_E_NOMEM. */
int ali_number_tag_reserve(struct al_node *node, ali_ref stream);
/* Memory for a tagged message that gets a place in the stream. 0 or -AL_E_NOMEM. */
int ali_number_move_reserve(struct al_node *node, ali_ref stream, ali_ref tag_stream, uint64_t key);
/* The tagged message stands in the stream at seq from here on, and is pending. */
void ali_number_move(struct al_node *node, ali_ref stream, uint64_t seq, ali_ref tag_stream,
                     uint64_t key);
/* Adds a tag, for which there is room: number of a scheduled message (stream AL_REF_NONE), or
 * sequence of a dead letter. */
void ali_number_tag_add(struct al_node *node, ali_ref stream, uint64_t key, uint64_t workflow,
                        uint32_t number);
/* A scheduled message (stream AL_REF_NONE) or a dead letter goes for good. */
void ali_number_tag_drop(struct al_node *node, ali_ref stream, uint64_t key);
/* The runs of a stream that are not over, *ret_count of them; NULL: none. */
struct ali_number_run *ali_numbering_runs(const struct ali_numbering *numbering,
                                          uint32_t *ret_count);
/* The stream goes: what was pending counts as cancelled. */
void ali_numbering_remove(struct al_node *node, ali_ref stream);

/* ---- workflow_items.c: snapshots --------------------------------------------------------- */

/* Items, and back: 0, -AL_E_NOMEM, -AL_E_DAMAGED. */
struct ali_item_workflow;
struct ali_item_numbering;
struct ali_item_number_tag;
struct ali_item_ended;
int ali_workflow_put(const struct al_node *node, const struct ali_workflow *workflow,
                     struct al_buf *out);
int ali_workflow_load(struct al_node *node, const struct ali_item_workflow *item);
int ali_numbering_put(const struct al_node *node, const struct ali_numbering *numbering,
                      struct al_buf *out);
int ali_numbering_load(struct al_node *node, const struct ali_item_numbering *item);
int ali_number_tag_put(const struct al_node *node, const struct ali_number_tag *tag,
                       struct al_buf *out);
int ali_number_tag_load(struct al_node *node, const struct ali_item_number_tag *item);
/* A finished delivery with a number has it behind the item's fields. */
int ali_ended_put(const struct ali_ended *ended, const struct ali_item_ended *item,
                  struct al_buf *out);
int ali_ended_load(struct al_node *node, struct al_str body);

/* ---- workflow_live.c: what live traffic does with it ------------------------------------- */

/* Before a message with this envelope is admitted from that agent: finds its workflow, begins it if
 * it is new. *ret_workflow is 0 if the message gets no number. 0, -AL_E_TOO_LARGE,
 * -AL_E_WORKFLOW_FULL, -AL_E_NOMEM. */
struct al_msg_envelope;
int ali_workflow_get(struct al_node *node, ali_ref from, const struct al_msg_envelope *envelope,
                     uint64_t *ret_workflow);
/* Records an admission, with the next number of the workflow if that is not 0. 0, -AL_E_NOMEM. */
int ali_commit_publish(struct al_node *node, const struct ali_rec_publish *record,
                       uint64_t workflow);
/* Forgets the workflow if it was not used for long. 0 or -AL_E_NOMEM. */
int ali_workflow_sweep(struct al_node *node, ali_ref ref);

#endif
