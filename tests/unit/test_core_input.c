/* test_core_input.c - bad input gets a clear error and costs nothing; so does a lack of memory. */
#include "base/errors.h"
#include "core_driver.h"
#include "support.h"

static void begin(struct driver *d)
{
    driver_init(d, NULL);
    driver_open(d, 0, 1000, 1);
    driver_open(d, 1, 1000, 2);
    driver_attach(d, 1, "b", 10);
    driver_channel(d, 0, "a", "b");
    driver_forget(d);
}

/* The other connection still works and nothing but `records` more stands in the journal. */
static void end(struct driver *d)
{
    driver_attach(d, 1, "c", 1);
    driver_expect(d, "1: ATTACHED\n");
    driver_check_replay(d);
    driver_deinit(d);
}

static void test_first_frame_must_be_hello(void **state)
{
    struct al_msg_ping ping = {1};
    struct driver d;

    (void)state;
    driver_init(&d, NULL);
    driver_open(&d, 1, 1000, 2);
    driver_open(&d, 0, 1000, 1);
    driver_close(&d, 0);
    driver_send_raw(&d, 0, "x", 1); /* a closed connection says nothing */
    driver_expect(&d, "");
    {
        struct al_event event = {.type = AL_EVENT_OPEN, .conn = 0, .uid = 1000, .now = d.now};

        assert_int_equal(al_node_step(d.node, &event, &d.effects), 0);
    }
    assert_int_equal(al_put_ping(&d.in, &ping), 0);
    driver_send(&d, 0);
    driver_expect(&d, "0: ERROR PROTOCOL about PING fatal\n0: closed\n");
    end(&d);
}

static void test_bad_headers(void **state)
{
    static const struct {
        uint8_t bytes[8];
        const char *expected;
    } cases[] = {
        {{0, 0, 0, 0, 0x7f, 0, 0, 0}, "0: ERROR PROTOCOL about ? fatal\n0: closed\n"},
        {{0, 0, 0, 0, 3, 9, 0, 0}, "0: ERROR PROTOCOL about PING fatal\n0: closed\n"},
        {{0, 0, 0, 0, 3, 0, 1, 0}, "0: ERROR PROTOCOL about PING fatal\n0: closed\n"},
        {{0xff, 0xff, 0xff, 0xff, 22, 0, 0, 0},
         "0: ERROR TOO_LARGE about PUBLISH fatal\n0: closed\n"},
        {{2, 0, 0, 0, 4, 0, 0, 0}, ""}, /* a frame that is not whole yet */
        {{0, 0, 0, 0, 0x17, 0, 0, 0}, "0: ERROR PROTOCOL about RECEIPT fatal\n0: closed\n"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct driver d;

        begin(&d);
        driver_send_raw(&d, 0, cases[i].bytes, 8);
        driver_expect(&d, cases[i].expected);
        end(&d);
    }
}

static void test_cut_bodies(void **state)
{
    struct al_msg_attach attach = {.request = 1, .credit = 1, .agent = al_str_c("x")};
    struct driver d;

    (void)state;
    for (uint32_t cut = 1; cut < 15; cut++) {
        begin(&d);
        assert_int_equal(al_put_attach(&d.in, &attach), 0);
        d.in.size -= cut;
        al_put32(d.in.data, (uint32_t)(d.in.size - AL_WIRE_HEADER_SIZE));
        driver_send(&d, 0);
        driver_expect(&d, "0: ERROR PROTOCOL about ATTACH fatal\n0: closed\n");
        end(&d);
    }
}

static void test_channels_are_checked(void **state)
{
    struct al_msg_channel_open open;
    struct driver d;

    (void)state;
    begin(&d);
    open = (struct al_msg_channel_open){.channel = 2,
                                        .producer = d.producer[0],
                                        .first_pseq = 1,
                                        .from = al_str_c("a"),
                                        .to = al_str_c("nobody")};
    assert_int_equal(al_put_channel_open(&d.in, &open), 0);
    open.to = al_str_c("B!");
    assert_int_equal(al_put_channel_open(&d.in, &open), 0);
    open.to = al_str_c("b");
    open.priority = 10;
    assert_int_equal(al_put_channel_open(&d.in, &open), 0);
    open.priority = 0;
    open.channel = 0;
    assert_int_equal(al_put_channel_open(&d.in, &open), 0);
    open.channel = 1;
    assert_int_equal(al_put_channel_open(&d.in, &open), 0);
    open.channel = 3;
    open.producer = 99;
    assert_int_equal(al_put_channel_open(&d.in, &open), 0);
    driver_send(&d, 0);
    driver_expect(&d, "0: ERROR UNKNOWN_AGENT about CHANNEL_OPEN\n"
                      "0: ERROR BAD_NAME about CHANNEL_OPEN\n"
                      "0: ERROR INVALID about CHANNEL_OPEN\n"
                      "0: ERROR LIMIT about CHANNEL_OPEN\n"
                      "0: ERROR EXISTS about CHANNEL_OPEN\n"
                      "0: ERROR PRODUCER_RETIRED about CHANNEL_OPEN\n");
    end(&d);
}

static void test_names_belong_to_users(void **state)
{
    struct driver d;

    (void)state;
    begin(&d);
    driver_open(&d, 2, 2000, 7);
    driver_attach(&d, 2, "b", 1);
    driver_expect(&d, "2: ERROR NOT_OWNER about ATTACH\n");
    driver_channel(&d, 2, "a", "b"); /* sending under somebody else's name */
    driver_expect(&d, "2: PRODUCER_READY 2\n2: ERROR NOT_OWNER about CHANNEL_OPEN\n");
    driver_channel(&d, 2, "mine", "b"); /* sending to somebody else's agent is what it is for */
    driver_expect(&d, "2: PRODUCER_READY 3\n2: CHANNEL_READY stream 2 last 0\n");
    end(&d);
}

static void put_settle(struct driver *d, uint32_t agent, uint32_t stream, uint64_t seq)
{
    struct al_msg_ack ack = {
        .agent = agent, .stream = stream, .seq = seq, .status = AL_STATUS_SUCCESS};

    assert_int_equal(al_put_ack(&d->in, &ack), 0);
}

static void test_acks_of_nothing(void **state)
{
    struct driver d;

    (void)state;
    begin(&d);
    driver_publish(&d, 0, 1, 1);
    driver_forget(&d);
    put_settle(&d, 99, 1, 1);
    put_settle(&d, d.agent[1], 99, 1);
    put_settle(&d, d.agent[1], 1, 7);
    put_settle(&d, d.agent[1], 1, 1); /* lease 0 */
    driver_send(&d, 1);
    driver_expect(&d, "1: SETTLE_REFUSED 1:1 NOT_ATTACHED\n"
                      "1: SETTLE_REFUSED 99:1 NOT_FOUND\n"
                      "1: SETTLE_REFUSED 1:7 LEASE_LOST\n"
                      "1: SETTLE_REFUSED 1:1 LEASE_LOST\n");
    end(&d);
}

static void test_full_inbox_and_disk(void **state)
{
    struct al_msg_channel_resume resume = {.channel = 1, .first_pseq = 3};
    struct al_event full;
    struct driver d;

    (void)state;
    begin(&d);
    d.config.inbox_max = 2;
    driver_restart(&d, false);
    driver_open(&d, 0, 1000, 1);
    driver_channel(&d, 0, "a", "b");
    driver_forget(&d);
    driver_publish(&d, 0, 1, 3);
    driver_expect(&d, "0: RECEIPT 1 x2 -> 1:1\n0: REFUSED 3 INBOX_FULL\n");
    full = (struct al_event){.type = AL_EVENT_DISK, .disk_full = true, .now = d.now};
    assert_int_equal(al_node_step(d.node, &full, &d.effects), 0);
    driver_open(&d, 1, 1000, 2);
    driver_attach(&d, 1, "b", 10);
    driver_ack(&d, 1, 1, 1); /* acks are taken while the disk is full */
    driver_forget(&d);
    assert_int_equal(al_put_channel_resume(&d.in, &resume), 0);
    driver_publish(&d, 0, 3, 3);
    driver_expect(&d, "0: CHANNEL_READY stream 1 last 2\n0: REFUSED 3 DISK_FULL\n");
    driver_attach(&d, 1, "new", 1); /* nothing new comes to be: the room is for acks */
    driver_expect(&d, "1: ERROR DISK_FULL about ATTACH\n");
    full.disk_full = false;
    assert_int_equal(al_node_step(d.node, &full, &d.effects), 0);
    end(&d);
}

/* ---- memory ------------------------------------------------------------------------------ */

static void put_script(struct al_buf *script)
{
    struct al_msg_hello hello = {.magic = AL_WIRE_MAGIC, .version_min = 1, .version_max = 1};
    struct al_msg_attach attach = {
        .request = 1, .credit = 2, .credit_bytes = 1000, .agent = al_str_c("b")};
    struct al_msg_producer_open producer = {.request = 1};
    struct al_msg_channel_open channel = {.channel = 1,
                                          .producer = 1,
                                          .first_pseq = 1,
                                          .from = al_str_c("a"),
                                          .to = al_str_c("b"),
                                          .label = al_str_c("l")};
    struct al_msg_nack nack = {
        .agent = 1, .stream = 1, .seq = 1, .lease = 1ull << 40 | 1, .reason = al_str_c("no")};

    assert_int_equal(al_put_hello(script, &hello), 0);
    assert_int_equal(al_put_attach(script, &attach), 0);
    assert_int_equal(al_put_producer_open(script, &producer), 0);
    assert_int_equal(al_put_channel_open(script, &channel), 0);
    for (uint64_t pseq = 1; pseq <= 8; pseq++) {
        struct al_msg_envelope envelope = {.message_id.b[0] = (uint8_t)pseq,
                                           .key = al_str_c(pseq == 2 ? "k" : ""),
                                           .payload = al_str_c("payload")};
        struct al_msg_publish publish = {.channel = 1,
                                         .pseq = pseq,
                                         .ttl_ms = pseq == 3 ? 100 : 0,
                                         .due_ms = pseq == 4 ? 1700000001000ull : 0};
        uint8_t body[128];

        publish.envelope = al_str_of(body, (size_t)(al_encode_envelope(body, &envelope) - body));
        assert_int_equal(al_put_publish(script, &publish), 0);
    }
    assert_int_equal(al_put_nack(script, &nack), 0);
}

/* Runs the script on a node whose memory runs out at call `fail_at`; true if nothing failed. */
static bool run_short_of_memory(struct al_str script, uint64_t fail_at)
{
    struct al_test_alloc memory;
    struct al_node_config config;
    struct al_node *node = NULL;
    struct al_effects effects;
    struct al_event event = {.now = {AL_NS_PER_SEC, 1700000000000ull}, .uid = 1000};
    int r;

    al_test_alloc_init(&memory);
    memory.fail_at = fail_at;
    al_effects_init(&effects, &memory.alloc);
    al_node_config_init(&config, &memory.alloc);
    r = al_node_new(&config, &node);
    if (r == 0)
        r = al_node_start(node, event.now, &effects);
    event.type = AL_EVENT_OPEN;
    if (r == 0)
        r = al_node_step(node, &event, &effects);
    event.type = AL_EVENT_BYTES;
    event.data = script;
    if (r == 0)
        r = al_node_step(node, &event, &effects);
    event = (struct al_event){.type = AL_EVENT_TICK, .now = event.now};
    event.now.mono_ns += 2 * AL_NS_PER_SEC;
    event.now.wall_ms += 2000;
    if (r == 0)
        r = al_node_step(node, &event, &effects);
    assert_true(r == 0 || r == -AL_E_NOMEM);
    al_node_free(node);
    al_effects_deinit(&effects);
    assert_int_equal(memory.live_count, 0);
    assert_int_equal(memory.live_bytes, 0);
    return memory.calls < fail_at;
}

static void test_every_allocation_can_fail(void **state)
{
    struct al_test_alloc memory;
    struct al_buf script;
    uint64_t fail_at = 1;

    (void)state;
    al_test_alloc_init(&memory);
    al_buf_init(&script, &memory.alloc);
    put_script(&script);
    while (!run_short_of_memory(al_str_of(script.data, script.size), fail_at))
        fail_at++;
    assert_true(fail_at > 30); /* the script does need memory */
    al_buf_deinit(&script);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_frame_must_be_hello),
        cmocka_unit_test(test_bad_headers),
        cmocka_unit_test(test_cut_bodies),
        cmocka_unit_test(test_channels_are_checked),
        cmocka_unit_test(test_names_belong_to_users),
        cmocka_unit_test(test_acks_of_nothing),
        cmocka_unit_test(test_full_inbox_and_disk),
        cmocka_unit_test(test_every_allocation_can_fail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
