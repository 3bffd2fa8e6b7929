/* test_core_shared.c - several receivers of one inbox: each stream is with one of them. */
#include "core_driver.h"
#include "support.h"

#define LEFT     4 /* connections of the receivers; 0 to 2 send on the streams 1 to 3 */
#define RIGHT    5
#define THIRD    6
#define LEASE_MS 5000 /* of a message without a kind */

static void attach(struct driver *d, uint32_t conn, uint32_t credit, uint8_t flags)
{
    struct al_msg_attach m = {.request = 1,
                              .flags = flags,
                              .credit = credit,
                              .credit_bytes = 1u << 20,
                              .agent = al_str_c("b")};

    assert_int_equal(al_put_attach(&d->in, &m), 0);
    driver_send(d, conn);
}

static void detach(struct driver *d, uint32_t conn, uint8_t flags)
{
    struct al_msg_detach m = {.agent = d->agent[conn], .flags = flags};

    assert_int_equal(al_put_detach(&d->in, &m), 0);
    driver_send(d, conn);
}

/* Acks what was delivered last of a stream. */
static void ack(struct driver *d, uint32_t conn, uint32_t stream, uint64_t seq)
{
    struct al_msg_ack m = {.agent = d->agent[LEFT],
                           .stream = stream,
                           .seq = seq,
                           .lease = d->stream_lease[stream],
                           .status = AL_STATUS_SUCCESS};

    assert_int_equal(al_put_ack(&d->in, &m), 0);
    driver_send(d, conn);
}

/* Three senders, and two receivers with this credit. */
static void begin(struct driver *d, uint32_t credit)
{
    static const char *const names[] = {"a1", "a2", "a3"};

    driver_init(d, NULL);
    d->mute_health = true;
    driver_open(d, LEFT, 1000, LEFT);
    driver_open(d, RIGHT, 1000, RIGHT);
    driver_open(d, THIRD, 1000, THIRD);
    attach(d, LEFT, credit, AL_ATTACH_SHARED);
    attach(d, RIGHT, credit, AL_ATTACH_SHARED);
    for (uint32_t i = 0; i < 3; i++) {
        driver_open(d, i, 1000, (uint8_t)(i + 1));
        driver_channel(d, i, names[i], "b");
    }
    driver_forget(d);
}

static void end(struct driver *d)
{
    driver_check_replay(d);
    driver_deinit(d);
}

/* Streams go in turn; what follows goes to who has its stream; when that is settled, to anybody. */
static void test_a_stream_stays_with_one(void **state)
{
    struct driver d;

    (void)state;
    begin(&d, 10);
    driver_publish(&d, 0, 1, 1);
    driver_publish(&d, 1, 1, 1);
    driver_expect(&d, "4: DELIVER 1:1 after 0 attempt 1 'm1'\n0: RECEIPT 1 x1 -> 1:1\n"
                      "5: DELIVER 2:1 after 0 attempt 1 'm1'\n1: RECEIPT 1 x1 -> 2:1\n");
    driver_publish(&d, 1, 2, 3);
    driver_expect(&d, "5: DELIVER 2:2 after 1 attempt 1 'm2'\n"
                      "5: DELIVER 2:3 after 2 attempt 1 'm3'\n1: RECEIPT 2 x2 -> 2:2\n");
    ack(&d, LEFT, 1, 1);
    driver_expect(&d, "4: ACKED 1:1-1 x1\n");
    driver_publish(&d, 0, 2, 2); /* right's turn */
    driver_forget(&d);
    driver_publish(&d, 0, 3, 3);
    driver_expect(&d, "4: DELIVER 1:3 after 2 attempt 1 'm3'\n0: RECEIPT 3 x1 -> 1:3\n");
    end(&d);
}

/* No credit, and the stream waits for its receiver, though another one is idle; another stream
 * does not. */
static void test_credit_is_each_ones_own(void **state)
{
    struct driver d;

    (void)state;
    begin(&d, 1);
    driver_publish(&d, 0, 1, 3);
    driver_expect(&d, "4: DELIVER 1:1 after 0 attempt 1 'm1'\n0: RECEIPT 1 x3 -> 1:1\n");
    driver_publish(&d, 1, 1, 1);
    driver_expect(&d, "5: DELIVER 2:1 after 0 attempt 1 'm1'\n1: RECEIPT 1 x1 -> 2:1\n");
    driver_publish(&d, 2, 1, 1);
    driver_expect(&d, "2: RECEIPT 1 x1 -> 3:1\n");
    ack(&d, RIGHT, 2, 1);
    driver_expect(&d, "5: ACKED 2:1-1 x1\n5: DELIVER 3:1 after 0 attempt 1 'm1'\n");
    ack(&d, LEFT, 1, 1);
    driver_expect(&d, "4: ACKED 1:1-1 x1\n4: DELIVER 1:2 after 1 attempt 1 'm2'\n");
    end(&d);
}

static void test_a_backlog_is_divided(void **state)
{
    struct driver d;

    (void)state;
    begin(&d, 2);
    detach(&d, LEFT, 0);
    detach(&d, RIGHT, 0);
    for (uint32_t i = 0; i < 3; i++)
        driver_publish(&d, i, 1, 2);
    driver_forget(&d);
    attach(&d, LEFT, 2, AL_ATTACH_SHARED);
    attach(&d, RIGHT, 2, AL_ATTACH_SHARED);
    driver_expect(&d, "4: ATTACHED\n"
                      "4: DELIVER 1:1 after 0 attempt 1 'm1'\n"
                      "4: DELIVER 1:2 after 1 attempt 1 'm2'\n"
                      "5: ATTACHED\n"
                      "5: DELIVER 2:1 after 0 attempt 1 'm1'\n"
                      "5: DELIVER 2:2 after 1 attempt 1 'm2'\n");
    attach(&d, THIRD, 10, AL_ATTACH_SHARED);
    driver_expect(&d, "6: ATTACHED\n"
                      "6: DELIVER 3:1 after 0 attempt 1 'm1'\n"
                      "6: DELIVER 3:2 after 1 attempt 1 'm2'\n");
    end(&d);
}

/* One that dies: its streams go to the others, at the cost of an attempt of their heads. */
static void test_one_dies(void **state)
{
    struct driver d;

    (void)state;
    begin(&d, 10);
    driver_publish(&d, 0, 1, 2);
    driver_publish(&d, 1, 1, 1);
    driver_forget(&d);
    driver_close(&d, LEFT);
    driver_tick(&d, AL_SESSION_GRACE_MS + 1);
    driver_tick(&d, 200);
    driver_expect(&d, "5: DELIVER 1:1 after 0 attempt 2 redelivered 'm1'\n"
                      "5: DELIVER 1:2 after 1 attempt 1 redelivered 'm2'\n");
    end(&d);
}

static void test_one_comes_back(void **state)
{
    struct driver d;
    uint64_t lease;

    (void)state;
    begin(&d, 10);
    driver_publish(&d, 0, 1, 1);
    driver_forget(&d);
    lease = d.stream_lease[1];
    driver_close(&d, LEFT);
    driver_tick(&d, AL_SESSION_GRACE_MS / 2);
    driver_publish(&d, 0, 2, 2); /* waits for it, though the other one has credit */
    driver_expect(&d, "0: RECEIPT 2 x1 -> 1:2\n");
    driver_open(&d, 7, 1000, LEFT);
    attach(&d, 7, 10, AL_ATTACH_SHARED);
    driver_expect(&d, "7: ATTACHED resumed\n"
                      "7: DELIVER 1:1 after 0 attempt 1 redelivered 'm1'\n"
                      "7: DELIVER 1:2 after 1 attempt 1 'm2'\n");
    assert_true(d.lease[7][1] == lease);
    end(&d);
}

static void test_a_polite_leave(void **state)
{
    struct driver d;

    (void)state;
    begin(&d, 10);
    driver_publish(&d, 0, 1, 2);
    driver_forget(&d);
    detach(&d, LEFT, 0);
    driver_expect(&d, "4: DETACHED OK\n"
                      "5: DELIVER 1:1 after 0 attempt 1 redelivered 'm1'\n"
                      "5: DELIVER 1:2 after 1 attempt 1 redelivered 'm2'\n");
    end(&d);
}

/* Leases that were kept hold their stream up until they end; the others get it then. */
static void test_kept_leases(void **state)
{
    struct driver d;

    (void)state;
    begin(&d, 1);
    driver_publish(&d, 0, 1, 2);
    detach(&d, LEFT, AL_KEEP_LEASES);
    driver_forget(&d);
    driver_publish(&d, 0, 3, 3);
    driver_expect(&d, "0: RECEIPT 3 x1 -> 1:3\n");
    driver_tick(&d, LEASE_MS + 1);
    driver_tick(&d, 200);
    driver_expect(&d, "5: DELIVER 1:1 after 0 attempt 2 redelivered 'm1'\n");
    end(&d);
}

/* An ack counts only from who has the stream. */
static void test_whose_lease(void **state)
{
    struct driver d;

    (void)state;
    begin(&d, 10);
    driver_publish(&d, 0, 1, 1);
    driver_forget(&d);
    ack(&d, RIGHT, 1, 1);
    driver_expect(&d, "5: SETTLE_REFUSED 1:1 LEASE_LOST\n");
    ack(&d, THIRD, 1, 1);
    driver_expect(&d, "6: SETTLE_REFUSED 1:1 NOT_ATTACHED\n");
    ack(&d, LEFT, 1, 1);
    driver_expect(&d, "4: ACKED 1:1-1 x1\n");
    end(&d);
}

/* An inbox is shared, or it is not: who does not ask for it has to take over, and the other way. */
static void test_shared_or_not(void **state)
{
    struct driver d;

    (void)state;
    begin(&d, 10);
    driver_publish(&d, 0, 1, 1);
    driver_forget(&d);
    attach(&d, THIRD, 10, 0);
    driver_expect(&d, "6: ERROR ALREADY_ATTACHED about ATTACH\n");
    attach(&d, THIRD, 10, AL_ATTACH_TAKEOVER);
    driver_expect(&d, "5: DETACHED FENCED\n4: DETACHED FENCED\n6: ATTACHED\n");
    driver_tick(&d, 200);
    driver_expect(&d, "6: DELIVER 1:1 after 0 attempt 2 redelivered 'm1'\n");
    attach(&d, LEFT, 10, AL_ATTACH_SHARED);
    driver_expect(&d, "4: ERROR ALREADY_ATTACHED about ATTACH\n");
    attach(&d, THIRD, 10, AL_ATTACH_SHARED); /* the same program wants to share now */
    driver_expect(&d, "6: ATTACHED\n6: DELIVER 1:1 after 0 attempt 2 redelivered 'm1'\n");
    attach(&d, LEFT, 10, AL_ATTACH_SHARED);
    attach(&d, LEFT, 10, AL_ATTACH_SHARED | AL_ATTACH_TAKEOVER); /* from nobody */
    driver_expect(&d, "4: ATTACHED\n4: ATTACHED resumed\n");
    end(&d);
}

/* What an exclusive receiver has left to run is not overtaken by those that share. */
static void test_after_an_exclusive_one(void **state)
{
    struct driver d;

    (void)state;
    begin(&d, 10);
    detach(&d, LEFT, 0);
    detach(&d, RIGHT, 0);
    attach(&d, THIRD, 10, 0);
    driver_publish(&d, 0, 1, 2);
    detach(&d, THIRD, AL_KEEP_LEASES);
    attach(&d, LEFT, 10, AL_ATTACH_SHARED);
    driver_forget(&d);
    driver_publish(&d, 0, 3, 3);
    driver_expect(&d, "0: RECEIPT 3 x1 -> 1:3\n");
    driver_tick(&d, LEASE_MS + 1);
    driver_tick(&d, 200);
    driver_expect(&d, "4: DELIVER 1:1 after 0 attempt 2 redelivered 'm1'\n"
                      "4: DELIVER 1:2 after 1 attempt 1 redelivered 'm2'\n"
                      "4: DELIVER 1:3 after 2 attempt 1 'm3'\n");
    end(&d);
}

static void test_the_agent_is_removed(void **state)
{
    struct al_msg_agent_remove remove = {.request = 3, .name = al_str_c("b"), .flags = 1};
    struct driver d;

    (void)state;
    begin(&d, 10);
    driver_publish(&d, 0, 1, 1);
    for (uint32_t i = 0; i < 3; i++)
        driver_close(&d, i);
    driver_forget(&d);
    assert_int_equal(al_put_agent_remove(&d.in, &remove), 0);
    driver_send(&d, THIRD);
    driver_expect(&d, "5: DETACHED NOT_FOUND\n4: DETACHED NOT_FOUND\n6: DONE OK 1\n");
    end(&d);
}

/* As many as there may be, and one more. */
static void test_how_many(void **state)
{
    struct driver d;

    (void)state;
    begin(&d, 1);
    for (uint32_t i = 2; i < AL_RECEIVERS_MAX; i++) {
        driver_open(&d, 7, 1000, (uint8_t)(i + 10));
        attach(&d, 7, 1, AL_ATTACH_SHARED);
        driver_close(&d, 7); /* may come back for a while */
    }
    driver_forget(&d);
    attach(&d, THIRD, 1, AL_ATTACH_SHARED);
    driver_expect(&d, "6: ERROR LIMIT about ATTACH\n");
    driver_tick(&d, AL_SESSION_GRACE_MS + 1);
    attach(&d, THIRD, 1, AL_ATTACH_SHARED);
    driver_expect(&d, "6: ATTACHED\n");
    end(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_stream_stays_with_one),
        cmocka_unit_test(test_credit_is_each_ones_own),
        cmocka_unit_test(test_a_backlog_is_divided),
        cmocka_unit_test(test_one_dies),
        cmocka_unit_test(test_one_comes_back),
        cmocka_unit_test(test_a_polite_leave),
        cmocka_unit_test(test_kept_leases),
        cmocka_unit_test(test_whose_lease),
        cmocka_unit_test(test_shared_or_not),
        cmocka_unit_test(test_after_an_exclusive_one),
        cmocka_unit_test(test_the_agent_is_removed),
        cmocka_unit_test(test_how_many),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
