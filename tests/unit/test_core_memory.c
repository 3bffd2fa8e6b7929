/* test_core_memory.c - what idle groups and streams and messages with a time cost in memory: a
 * bound for each, and linear. */
#include "base/errors.h"
#include "core/internal.h"
#include "core_driver.h"
#include "support.h"
#include <stdio.h>

/* Bytes of state for each idle one, tables and names included. */
#define STREAM_BYTES_MAX 220u
#define GROUP_BYTES_MAX  277u

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
    config.records_max = config.dedup_max = 16;
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

/* ---- a group has no inbox ---------------------------------------------------------------- */

/* What recovery says to the record in f->payload. */
static int replay_result(struct fold *f, uint16_t type)
{
    struct al_record_view view = {f->lsn + 1, type, al_str_of(f->payload.data, f->payload.size)};
    int r = al_node_replay(f->node, &view);

    al_buf_clear(&f->payload);
    return r;
}

#define PUT(f, lower, r)                                                                  \
    do {                                                                                  \
        assert_int_equal(al_buf_reserve(&(f)->payload, ali_size_rec_##lower(r)), 0);      \
        (f)->payload.size =                                                               \
            (size_t)(ali_encode_rec_##lower((f)->payload.data, (r)) - (f)->payload.data); \
    } while (0)

static void test_records_that_need_an_inbox_are_damage_where_there_is_none(void **state)
{
    struct al_msg_envelope envelope = {.message_id.b = {1}};
    struct ali_rec_stream_open open = {.stream = 1, .from = 1, .to = 1, .priority = 4};
    struct ali_rec_producer_open producer = {.producer = 1, .epoch = 1};
    struct ali_rec_publish publish = {.stream = 1, .seq = 1, .producer = 1, .pseq = 1};
    struct ali_rec_kv_set set = {.agent = 1, .key = al_str_c("k"), .value = al_str_c("v")};
    struct ali_rec_retain_set keep = {.agent = 1, .keep_count = 1, .keep_bytes = 1};
    uint8_t body[128];
    struct fold f;

    (void)state;
    begin(&f);
    add_agent(&f, "a");
    add_group(&f, 1);
    PUT(&f, producer_open, &producer);
    replay(&f, ALI_REC_PRODUCER_OPEN);
    publish.envelope = al_str_of(body, (size_t)(al_encode_envelope(body, &envelope) - body));
    for (uint32_t to = 1; to <= 2; to++) { /* the agent, the group */
        int want = to == 1 ? 0 : -AL_E_DAMAGED;

        open.stream = publish.stream = publish.pseq = open.to = set.agent = keep.agent = to;
        PUT(&f, stream_open, &open);
        replay(&f, ALI_REC_STREAM_OPEN);
        PUT(&f, publish, &publish);
        assert_int_equal(replay_result(&f, ALI_REC_PUBLISH), want);
        f.lsn += to == 1;
        PUT(&f, kv_set, &set);
        assert_int_equal(replay_result(&f, ALI_REC_KV_SET), want);
        f.lsn += to == 1;
        PUT(&f, retain_set, &keep);
        assert_int_equal(replay_result(&f, ALI_REC_RETAIN_SET), want);
        f.lsn += to == 1;
    }
    end(&f);
}

/* ---- idle objects ------------------------------------------------------------------------ */

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

/* Linear, however tables have grown: a pool's doubles now and then, an index grows by a quarter. */
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

/* ---- messages with a time ---------------------------------------------------------------- */

#define TIMED           40000u
#define TIMED_BYTES_MAX 100u
#define FAR_MS          (1ull << 50) /* later than a mark can say: held as the latest time it can */

static void publish_timed(struct fold *f, uint32_t number, uint64_t expire_ms, uint64_t due_ms)
{
    uint8_t body[64];
    struct al_msg_envelope e = {.message_id.b = {1, (uint8_t)number, (uint8_t)(number >> 8)}};
    struct ali_rec_publish r = {.stream = 1,
                                .seq = due_ms ? 0 : number,
                                .producer = 1,
                                .pseq = number,
                                .wall_ms = 1000,
                                .expire_ms = expire_ms,
                                .due_ms = due_ms};

    r.envelope = al_str_of(body, (size_t)(al_encode_envelope(body, &e) - body));
    PUT(f, publish, &r);
    replay(f, ALI_REC_PUBLISH);
}

/* Behind every growth of a table: so many bytes each at most, with all that is needed for it. */
static void check_timed(const char *what, uint64_t expire_ms, uint64_t due_ms)
{
    struct ali_rec_producer_open producer = {.producer = 1};
    struct fold f;
    size_t before, bytes, most = 0;

    begin(&f);
    add_agent(&f, "a");
    add_agent(&f, "b");
    open_stream(&f, 1);
    PUT(&f, producer_open, &producer);
    replay(&f, ALI_REC_PRODUCER_OPEN);
    before = f.alloc.live_bytes;
    for (uint32_t i = 1; i <= TIMED; i++) {
        publish_timed(&f, i, expire_ms, due_ms);
        bytes = (f.alloc.live_bytes - before) / i;
        if (i > TIMED / 4)
            most = bytes > most ? bytes : most;
    }
    printf("# %u %s messages: %zu bytes each at most\n", TIMED, what, most);
    assert_true(most <= TIMED_BYTES_MAX);
    end(&f);
}

static void test_a_message_that_is_delayed_or_can_expire_is_small(void **state)
{
    (void)state;
    check_timed("expiring", FAR_MS, 0);
    check_timed("delayed", FAR_MS, FAR_MS - 1);
}

/* ---- streams that have worked ------------------------------------------------------------ */

#define WORKED  400u /* streams, */
#define EACH    8u   /* messages in each */
#define TRACK   100u /* bytes: which producer it heard last, its place in a table */
#define WORKING 500u /* bytes that a stream takes at least while messages of it are out */
#define SPARES  (64u << 10)

static void few_records(struct al_node_config *config)
{
    config->records_max = config->dedup_max = 16;
}

static void open_channels(struct driver *d)
{
    for (uint32_t i = 1; i <= WORKED; i++) {
        struct al_msg_channel_open open = {.channel = 1 + i,
                                           .producer = d->producer[0],
                                           .first_pseq = 1,
                                           .priority = 4,
                                           .from = al_str_c("a"),
                                           .to = al_str_c("b")};
        char label[16];

        snprintf(label, sizeof(label), "l%u", (unsigned)i);
        open.label = al_str_c(label);
        assert_int_equal(al_put_channel_open(&d->in, &open), 0);
    }
    driver_send(d, 0);
}

static void publish_everywhere(struct driver *d)
{
    uint8_t body[128];

    for (uint32_t i = 1; i <= WORKED * EACH; i++) {
        struct al_msg_envelope e = {.message_id.b = {1, (uint8_t)i, (uint8_t)(i >> 8)}};
        struct al_msg_publish m = {.channel = 2 + (i - 1) % WORKED, .pseq = 1 + (i - 1) / WORKED};

        m.envelope = al_str_of(body, (size_t)(al_encode_envelope(body, &e) - body));
        assert_int_equal(al_put_publish(&d->in, &m), 0);
    }
    driver_send(d, 0);
}

static void ack_everything(struct driver *d)
{
    for (uint32_t i = 1; i <= WORKED * EACH; i++) {
        struct al_msg_ack m = {.agent = d->agent[1],
                               .stream = 2 + (i - 1) % WORKED,
                               .seq = 1 + (i - 1) / WORKED,
                               .lease = 1ull << 40 | i,
                               .status = AL_STATUS_SUCCESS};

        assert_int_equal(al_put_ack(&d->in, &m), 0);
    }
    driver_send(d, 1);
}

static void test_a_stream_that_has_worked_gives_back_what_that_took(void **state)
{
    uint64_t before, out, after;
    struct driver d;

    (void)state;
    driver_init(&d, few_records);
    driver_open(&d, 0, 1000, 1);
    driver_open(&d, 1, 1000, 2);
    driver_attach(&d, 1, "b", 65536);
    driver_channel(&d, 0, "a", "b");
    open_channels(&d);
    before = d.node->state_bytes;
    publish_everywhere(&d);
    assert_int_equal(d.node->v.leased, WORKED * EACH);
    out = d.node->state_bytes;
    ack_everything(&d);
    assert_int_equal(d.node->v.leased, 0);
    after = d.node->state_bytes;
    print_message("%u streams: %llu bytes more at work, %llu afterwards\n", WORKED,
                  (unsigned long long)(out - before), (unsigned long long)(after - before));
    assert_true(out - before > WORKED * WORKING);
    assert_true(after - before < WORKED * TRACK + SPARES);
    for (ali_ref ref = 0; ref < d.node->streams.end; ref++)
        assert_false(ali_has_flow(ali_stream_at(d.node, ref)));
    driver_deinit(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_idle_stream_is_small_and_a_hundred_thousand_cost_as_much_each),
        cmocka_unit_test(test_an_idle_group_is_small_and_ten_thousand_cost_as_much_each),
        cmocka_unit_test(test_a_message_that_is_delayed_or_can_expire_is_small),
        cmocka_unit_test(test_records_that_need_an_inbox_are_damage_where_there_is_none),
        cmocka_unit_test(test_a_stream_that_has_worked_gives_back_what_that_took),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
