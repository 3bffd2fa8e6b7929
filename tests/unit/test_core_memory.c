/* test_core_memory.c - what idle groups and streams cost in memory: a bound for each, and linear.
 */
#include "base/errors.h"
#include "core/node.h"
#include "core/records.h"
#include "support.h"
#include <stdio.h>

/* Bytes of state for each idle one, tables and names included. */
#define STREAM_BYTES_MAX 460u
#define GROUP_BYTES_MAX  520u

struct fold {
    struct al_test_alloc alloc;
    struct al_node *node;
    struct al_buf payload;
    uint64_t lsn;
    uint32_t next_agent;
};

static void begin(struct fold *f)
{
    struct al_node_config config;

    al_test_alloc_init(&f->alloc);
    al_node_config_init(&config, &f->alloc.alloc);
    config.name = al_str_c("test");
    assert_int_equal(al_node_new(&config, &f->node), 0);
    al_buf_init(&f->payload, &f->alloc.alloc);
    f->lsn = 0;
    f->next_agent = 1;
}

static void end(struct fold *f)
{
    al_buf_deinit(&f->payload);
    al_node_free(f->node);
    assert_int_equal(f->alloc.live_bytes, 0);
}

/* The record in f->payload, as recovery would give it. */
static void replay(struct fold *f, uint16_t type)
{
    struct al_record_view view = {++f->lsn, type, al_str_of(f->payload.data, f->payload.size)};

    assert_int_equal(al_node_replay(f->node, &view), 0);
    al_buf_clear(&f->payload);
}

static void add_agent(struct fold *f, const char *name)
{
    struct ali_rec_agent_add r = {.agent = f->next_agent++, .name = al_str_c(name)};

    assert_int_equal(al_buf_reserve(&f->payload, ali_size_rec_agent_add(&r)), 0);
    f->payload.size = (size_t)(ali_encode_rec_agent_add(f->payload.data, &r) - f->payload.data);
    replay(f, ALI_REC_AGENT_ADD);
}

static void add_group(struct fold *f, uint32_t number)
{
    char name[32];
    struct ali_rec_group_add r = {.group = f->next_agent++, .keep_ms = 1000};

    snprintf(name, sizeof(name), "group:team-%u", (unsigned)number);
    r.name = al_str_c(name);
    assert_int_equal(al_buf_reserve(&f->payload, ali_size_rec_group_add(&r)), 0);
    f->payload.size = (size_t)(ali_encode_rec_group_add(f->payload.data, &r) - f->payload.data);
    replay(f, ALI_REC_GROUP_ADD);
}

/* From agent 1 to agent 2, each under a label of its own. */
static void open_stream(struct fold *f, uint32_t number)
{
    char label[32];
    struct ali_rec_stream_open r = {.stream = number, .from = 1, .to = 2, .priority = 4};

    snprintf(label, sizeof(label), "label-%u", (unsigned)number);
    r.label = al_str_c(label);
    assert_int_equal(al_buf_reserve(&f->payload, ali_size_rec_stream_open(&r)), 0);
    f->payload.size = (size_t)(ali_encode_rec_stream_open(f->payload.data, &r) - f->payload.data);
    replay(f, ALI_REC_STREAM_OPEN);
}

/* Bytes of `count` of them, without what the node has before. */
static size_t measure(void (*add)(struct fold *f, uint32_t number), uint32_t count)
{
    struct fold f;
    size_t before, bytes;

    begin(&f);
    add_agent(&f, "a");
    add_agent(&f, "b");
    add(&f, 1);
    before = f.alloc.live_bytes;
    for (uint32_t i = 2; i <= count; i++)
        add(&f, i);
    bytes = f.alloc.live_bytes - before;
    end(&f);
    return bytes;
}

/* Tables double: just behind a doubling is the worst case, so 2^n and a few more are measured. */
static void check(const char *what, void (*add)(struct fold *f, uint32_t number), uint32_t count,
                  size_t bytes_max)
{
    size_t tenth = measure(add, count / 10), all = measure(add, count);

    printf("# %u idle %s: %zu bytes each\n", (unsigned)count, what, all / count);
    assert_true(all / count <= bytes_max);
    assert_true(all <= tenth * 12); /* linear, but for the doubling of tables */
}

static void test_an_idle_stream_is_small_and_a_hundred_thousand_cost_as_much_each(void **state)
{
    (void)state;
    check("streams", open_stream, 100000, STREAM_BYTES_MAX);
}

static void test_an_idle_group_is_small_and_ten_thousand_cost_as_much_each(void **state)
{
    (void)state;
    check("groups", add_group, 10000, GROUP_BYTES_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_idle_stream_is_small_and_a_hundred_thousand_cost_as_much_each),
        cmocka_unit_test(test_an_idle_group_is_small_and_ten_thousand_cost_as_much_each),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
