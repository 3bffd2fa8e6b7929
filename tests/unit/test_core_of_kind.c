/* test_core_of_kind.c - messages with the priority of their kind: another stream, one numbering. */
#include "core/records.h"
#include "core_driver.h"
#include "support.h"
#include <string.h>

static struct al_kind_policy configured[1];

static void configure(struct al_node_config *config)
{
    configured[0] = (struct al_kind_policy){.kind = al_str_c("slow"),
                                            .priority = 2,
                                            .policy = config->policy,
                                            .breaker = config->breaker};
    config->kinds = configured;
    config->kind_count = 1;
}

/* Channel 1 of connection 0, from "a" to `to`; `again`: its producer is there already. */
static void open_channel(struct driver *d, uint8_t flags, const char *to, bool again)
{
    struct al_msg_producer_open producer = {
        .request = 1, .producer = again ? d->producer[0] : 0, .epoch = again ? 1 : 0};
    struct al_msg_channel_open channel = {.channel = 1,
                                          .first_pseq = 1,
                                          .priority = AL_PRIORITY_DEFAULT,
                                          .flags = flags,
                                          .from = al_str_c("a"),
                                          .to = al_str_c(to)};

    assert_int_equal(al_put_producer_open(&d->in, &producer), 0);
    driver_send(d, 0);
    channel.producer = d->producer[0];
    assert_int_equal(al_put_channel_open(&d->in, &channel), 0);
    driver_send(d, 0);
    driver_forget(d);
}

static void set_kind(struct driver *d, const char *kind, uint8_t priority)
{
    struct al_msg_kind_set m = {.request = 1,
                                .priority = priority,
                                .ack_timeout_ms = 5000,
                                .retry_base_ms = 100,
                                .retry_factor = 2,
                                .retry_cap_ms = 1600,
                                .retry_max = 3,
                                .breaker_samples = 10,
                                .call_timeout_ms = 5000,
                                .breaker_open_ms = 30000,
                                .kind = al_str_c(kind)};

    driver_forget(d);
    assert_int_equal(al_put_kind_set(&d->in, &m), 0);
    driver_send(d, 0);
    driver_expect(d, "0: DONE OK 1\n");
}

static void begin(struct driver *d, uint8_t flags)
{
    driver_init(d, configure);
    d->mute_health = true;
    driver_open(d, 0, 1000, 1);
    driver_open(d, 1, 1000, 2);
    driver_attach(d, 1, "b", 0);
    open_channel(d, flags, "b", false);
    set_kind(d, "urgent", 9);
}

static void end(struct driver *d)
{
    driver_check_replay(d);
    driver_snapshot_begin(d);
    while (driver_snapshot_step(d, 64)) {
    }
    driver_check_snapshot(d);
    driver_deinit(d);
}

static void publish(struct driver *d, uint64_t pseq, const char *kind)
{
    driver_put_publish(
        d, &(struct driver_message){
               .pseq = pseq, .text = "x", .kind = kind, .flags = kind ? AL_PUBLISH_OF_KIND : 0});
    driver_send(d, 0);
}

/* Asserts the priority and the flags with which the journal opens the stream. */
static void check_stream(const struct driver *d, uint32_t number, uint8_t priority, uint8_t flags)
{
    struct ali_rec_stream_open r;

    for (size_t i = 0; i < d->record_count; i++) {
        const struct journal_record *record = &d->journal[i];

        if (record->type != ALI_REC_STREAM_OPEN)
            continue;
        assert_int_equal(ali_decode_rec_stream_open(al_str_of(record->payload, record->size), &r),
                         0);
        if (r.stream != number)
            continue;
        assert_int_equal(r.priority, priority);
        assert_int_equal(r.flags, flags);
        return;
    }
    fail_msg("there is no stream %u", number);
}

static void test_a_message_goes_where_its_kind_belongs(void **state)
{
    struct driver d;

    (void)state;
    begin(&d, 0);
    publish(&d, 1, NULL);
    publish(&d, 2, "urgent");
    publish(&d, 3, "slow"); /* by the configuration */
    publish(&d, 4, "other");
    publish(&d, 5, "urgent");
    driver_expect(&d, "0: RECEIPT 1 x1 -> 1:1\n0: RECEIPT 2 x1 -> 2:1\n0: RECEIPT 3 x1 -> 3:1\n"
                      "0: RECEIPT 4 x1 -> 1:2\n0: RECEIPT 5 x1 -> 2:2\n");
    check_stream(&d, 1, AL_PRIORITY_DEFAULT, 0);
    check_stream(&d, 2, 9, 0);
    check_stream(&d, 3, 2, 0);
    set_kind(&d, "urgent", 2);
    publish(&d, 6, "urgent");
    set_kind(&d, "urgent", AL_PRIORITY_NONE);
    publish(&d, 7, "urgent");
    set_kind(&d, "urgent", AL_PRIORITY_DEFAULT);
    publish(&d, 8, "urgent");
    driver_forget(&d);
    publish(&d, 9, NULL);
    driver_expect(&d, "0: RECEIPT 9 x1 -> 1:5\n");
    end(&d);
}

/* What was taken is known by its number, wherever it went, also after a restart. */
static void test_retransmissions_are_recognised(void **state)
{
    struct driver d;

    (void)state;
    begin(&d, 0);
    publish(&d, 1, NULL);
    publish(&d, 2, "urgent");
    publish(&d, 3, "urgent");
    publish(&d, 4, NULL);
    driver_snapshot_begin(&d);
    while (driver_snapshot_step(&d, 64)) {
    }
    set_kind(&d, "urgent", 7);
    for (unsigned i = 0; i < 3; i++) {
        driver_forget(&d);
        publish(&d, 2, "urgent");
        publish(&d, 3, "urgent");
        driver_expect(&d, "0: RECEIPT 2 x1 -> 2:1 duplicate\n0: RECEIPT 3 x1 -> 2:2 duplicate\n");
        publish(&d, 4, NULL);
        publish(&d, 1, NULL);
        driver_expect(&d, "0: RECEIPT 4 x1 -> 1:2 duplicate\n0: RECEIPT 1 x1 -> 1:1 duplicate\n");
        driver_restart(&d, i == 1);
        driver_open(&d, 0, 1000, 1);
        open_channel(&d, 0, "b", true);
    }
    publish(&d, 5, "urgent");
    check_stream(&d, 3, 7, 0);
    driver_expect(&d, "0: RECEIPT 5 x1 -> 3:1\n");
    end(&d);
}

/* Numbers of an explicit channel of that priority are its own. */
static void test_both_ways_into_one_stream(void **state)
{
    struct al_msg_channel_open channel = {
        .channel = 2, .first_pseq = 1, .priority = 9, .from = al_str_c("a"), .to = al_str_c("b")};
    struct al_msg_publish m = {.channel = 2, .pseq = 1};
    struct al_msg_envelope envelope = {.message_id = {{1, 2}}, .payload = al_str_c("y")};
    uint8_t bytes[256];
    struct driver d;

    (void)state;
    begin(&d, 0);
    publish(&d, 1, "urgent");
    channel.producer = d.producer[0];
    m.envelope = al_str_of(bytes, (uint32_t)(al_encode_envelope(bytes, &envelope) - bytes));
    assert_int_equal(al_put_channel_open(&d.in, &channel), 0);
    assert_int_equal(al_put_publish(&d.in, &m), 0);
    driver_send(&d, 0);
    publish(&d, 2, "urgent");
    driver_expect(&d, "0: RECEIPT 1 x1 -> 2:1\n0: CHANNEL_READY stream 2 last 0\n"
                      "0: RECEIPT 1 x1 -> 2:2\n0: RECEIPT 2 x1 -> 2:3\n");
    end(&d);
}

static void test_unordered_messages_have_lanes_of_that_priority(void **state)
{
    struct driver d;

    (void)state;
    begin(&d, AL_CHANNEL_UNORDERED | AL_GAPS_WAIT);
    publish(&d, 1, "urgent");
    publish(&d, 2, NULL);
    publish(&d, 1, "urgent");
    driver_expect(&d, "0: RECEIPT 1 x1 -> 3:1\n0: RECEIPT 2 x1 -> 4:1\n"
                      "0: RECEIPT 1 x1 -> 3:1 duplicate\n");
    check_stream(&d, 1, AL_PRIORITY_DEFAULT, ALI_STREAM_UNORDERED);
    check_stream(&d, 2, 9, ALI_STREAM_UNORDERED);
    check_stream(&d, 3, 9, ALI_STREAM_LANE);
    check_stream(&d, 4, AL_PRIORITY_DEFAULT, ALI_STREAM_LANE);
    end(&d);
}

static void test_only_where_gaps_are_waited_for(void **state)
{
    struct driver d;

    (void)state;
    begin(&d, AL_GAPS_SKIP);
    publish(&d, 1, NULL);
    publish(&d, 2, "urgent");
    driver_expect(&d, "0: RECEIPT 1 x1 -> 1:1\n0: REFUSED 2 UNSUPPORTED\n");
    end(&d);
}

static void reopen(struct driver *d, uint8_t flags)
{
    driver_close(d, 0);
    driver_open(d, 0, 1000, 1);
    open_channel(d, flags, "b", true);
}

/* So many gaps that the oldest run together: what lies between them was taken all the same. */
static void test_between_given_up_numbers_it_is_found(void **state)
{
    struct driver d;

    (void)state;
    begin(&d, AL_GAPS_SKIP);
    publish(&d, 2, NULL); /* 1 never comes */
    driver_tick(&d, AL_GAP_TIMEOUT_MS + 5);
    reopen(&d, AL_GAPS_WAIT);
    publish(&d, 3, "urgent");
    reopen(&d, AL_GAPS_SKIP);
    for (uint64_t pseq = 5; pseq < 5 + 2 * 256; pseq += 2) { /* 4, 6, … neither */
        publish(&d, pseq, NULL);
        driver_tick(&d, AL_GAP_TIMEOUT_MS + 5);
    }
    driver_forget(&d);
    publish(&d, 3, "urgent");
    publish(&d, 4, NULL);
    driver_expect(&d, "0: RECEIPT 3 x1 -> 2:1 duplicate\n0: REFUSED 4 GAP_CLOSED\n");
    end(&d);
}

static void test_a_group_has_one_order(void **state)
{
    struct al_msg_group_add add = {.request = 1, .group = al_str_c("group:g")};
    struct al_msg_group_join join = {
        .request = 2, .group = al_str_c("group:g"), .agent = al_str_c("a")};
    struct driver d;

    (void)state;
    begin(&d, 0);
    assert_int_equal(al_put_group_add(&d.in, &add), 0);
    assert_int_equal(al_put_group_join(&d.in, &join), 0);
    driver_send(&d, 0);
    driver_close(&d, 0);
    driver_open(&d, 0, 1000, 1);
    open_channel(&d, AL_GAPS_WAIT, "group:g", true);
    publish(&d, 1, NULL);
    publish(&d, 2, "urgent");
    driver_expect(&d, "0: RECEIPT 1 x1 -> 3:2\n0: RECEIPT 2 x1 -> 3:3\n");
    end(&d);
}

static void test_scheduled_and_keyed_messages_name_their_real_stream(void **state)
{
    struct driver_message later = {.pseq = 1,
                                   .text = "x",
                                   .kind = "urgent",
                                   .key = "k",
                                   .flags = AL_PUBLISH_OF_KIND,
                                   .due_ms = 0};
    struct driver d;

    (void)state;
    begin(&d, 0);
    later.due_ms = d.now.wall_ms + 1000;
    driver_put_publish(&d, &later);
    driver_send(&d, 0);
    driver_expect(&d, "0: RECEIPT 1 x1 -> 2:0\n");
    set_kind(&d, "urgent", 1); /* it stays where it was admitted */
    driver_tick(&d, 1100);
    later.pseq = 2;
    later.id = 77;
    driver_put_publish(&d, &later);
    driver_send(&d, 0);
    driver_expect(&d, "0: RECEIPT 2 x1 -> 2:1 duplicate\n");
    end(&d);
}

static void test_volatile_messages_go_there_too(void **state)
{
    struct driver d;

    (void)state;
    begin(&d, 0);
    driver_attach(&d, 1, "b", 5);
    driver_forget(&d);
    driver_put_publish(&d,
                       &(struct driver_message){.text = "x",
                                                .id = 5,
                                                .kind = "urgent",
                                                .flags = AL_PUBLISH_VOLATILE | AL_PUBLISH_OF_KIND});
    driver_send(&d, 0);
    driver_expect(&d, "1: DELIVER 2:0 after 0 attempt 1 'x'\n");
    check_stream(&d, 2, 9, 0);
    end(&d);
}

/* The marks of a producer outlive the quiet of the stream that has nothing but them. */
static void test_the_numbers_are_not_forgotten_in_use(void **state)
{
    struct driver d;

    (void)state;
    begin(&d, 0);
    publish(&d, 1, "urgent");
    for (unsigned hour = 0; hour < 30; hour++) {
        driver_tick(&d, 3600u * 1000);
        publish(&d, 2 + hour, "urgent");
    }
    driver_close(&d, 0);
    for (unsigned minute = 0; minute < 60; minute++)
        driver_tick(&d, 60000);
    driver_open(&d, 0, 1000, 1);
    driver_forget(&d);
    open_channel(&d, 0, "b", true);
    publish(&d, 31, "urgent");
    driver_expect(&d, "0: RECEIPT 31 x1 -> 2:31 duplicate\n");
    end(&d);
}

static void put_envelope(uint8_t bytes[256], struct al_str *ret_envelope, uint8_t id)
{
    struct al_msg_envelope envelope = {
        .message_id = {{9, id}}, .kind = al_str_c("urgent"), .payload = al_str_c("x")};

    *ret_envelope = al_str_of(bytes, (uint32_t)(al_encode_envelope(bytes, &envelope) - bytes));
}

static void test_a_schedule_asks_at_each_firing(void **state)
{
    struct al_msg_schedule_set m = {.request = 1,
                                    .priority = AL_PRIORITY_NONE,
                                    .name = al_str_c("t"),
                                    .from = al_str_c("a"),
                                    .to = al_str_c("b"),
                                    .text = al_str_c("@every 10s")};
    uint8_t bytes[256];
    struct driver d;

    (void)state;
    begin(&d, 0);
    put_envelope(bytes, &m.envelope, 0);
    assert_int_equal(al_put_schedule_set(&d.in, &m), 0);
    driver_send(&d, 0);
    driver_attach(&d, 1, "b", 5);
    driver_forget(&d);
    driver_tick(&d, 10100);
    driver_expect(&d, "1: DELIVER 2:1 after 0 attempt 1 'x'\n");
    driver_ack(&d, 1, 2, 1);
    set_kind(&d, "urgent", 0);
    driver_tick(&d, 10100);
    driver_expect(&d, "1: DELIVER 3:1 after 0 attempt 1 'x'\n");
    check_stream(&d, 2, 9, 0);
    check_stream(&d, 3, 0, 0);
    m.priority = AL_PRIORITY_COUNT;
    assert_int_equal(al_put_schedule_set(&d.in, &m), 0);
    driver_send(&d, 0);
    driver_expect(&d, "0: DONE INVALID 0\n");
    driver_snapshot_begin(&d);
    while (driver_snapshot_step(&d, 64)) {
    }
    driver_restart(&d, true); /* it is still one of its kind */
    driver_tick(&d, 10100);
    driver_open(&d, 0, 1000, 1);
    open_channel(&d, 0, "b", true);
    publish(&d, 1, "urgent");
    driver_expect(&d, "0: RECEIPT 1 x1 -> 3:3\n");
    end(&d);
}

static void test_a_commit_asks_when_it_is_taken(void **state)
{
    struct al_msg_commit commit = {.request = 1, .epoch = 1, .cseq = 1, .agent = al_str_c("a")};
    struct al_msg_commit_send send = {.priority = AL_PRIORITY_NONE, .to = al_str_c("b")};
    uint8_t bytes[256], body[512];
    struct driver d;

    (void)state;
    begin(&d, 0);
    put_envelope(bytes, &send.envelope, 1);
    commit.producer = d.producer[0];
    commit.sends.p = body;
    commit.sends.n = (uint32_t)(al_encode_commit_send(body + 4, &send) - body);
    al_put32(body, commit.sends.n - 4);
    assert_int_equal(al_put_commit(&d.in, &commit), 0);
    driver_send(&d, 0);
    driver_expect(&d, "0: COMMITTED\n");
    check_stream(&d, 2, 9, 0);
    publish(&d, 1, "urgent");
    driver_expect(&d, "0: RECEIPT 1 x1 -> 2:2\n");
    end(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_message_goes_where_its_kind_belongs),
        cmocka_unit_test(test_retransmissions_are_recognised),
        cmocka_unit_test(test_both_ways_into_one_stream),
        cmocka_unit_test(test_unordered_messages_have_lanes_of_that_priority),
        cmocka_unit_test(test_only_where_gaps_are_waited_for),
        cmocka_unit_test(test_between_given_up_numbers_it_is_found),
        cmocka_unit_test(test_a_group_has_one_order),
        cmocka_unit_test(test_scheduled_and_keyed_messages_name_their_real_stream),
        cmocka_unit_test(test_volatile_messages_go_there_too),
        cmocka_unit_test(test_the_numbers_are_not_forgotten_in_use),
        cmocka_unit_test(test_a_schedule_asks_at_each_firing),
        cmocka_unit_test(test_a_commit_asks_when_it_is_taken),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
