/* test_core_fairness.c - who gets the credit, and who gets what another session has kept. */
#include "base/errors.h"
#include "core/state.h"
#include "core_driver.h"
#include "support.h"

/* 0 sends a->b on stream 1, 2 sends x->b on stream 2; backlog for both; nobody attached */
static void two(struct driver *d)
{
    struct al_msg_agent_add add = {.request = 1, .name = al_str_c("b")};
    driver_init(d, NULL);
    driver_open(d, 0, 1000, 1);
    driver_open(d, 1, 1000, 2);
    driver_open(d, 2, 1000, 3);
    assert_int_equal(al_put_agent_add(&d->in, &add), 0);
    driver_send(d, 0);
    driver_channel(d, 0, "a", "b");
    driver_channel(d, 2, "x", "b");
    driver_forget(d);
}

/* credit 1: stream A is read back; the read finds nothing, because A's message expired; B is never
 * pumped */
static void lost_wakeup(void **state)
{
    struct driver d;
    (void)state;
    two(&d);
    driver_put_publish(&d, &(struct driver_message){.pseq = 1, .text = "a1", .ttl_ms = 300});
    driver_send(&d, 0);
    driver_put_publish(&d, &(struct driver_message){.pseq = 1, .id = 9, .text = "b1"});
    driver_send(&d, 2);
    d.hold_reads = true;
    driver_attach(&d, 1, "b", 1);
    driver_tick(&d, 400); /* a1 expires while it is read */
    driver_forget(&d);
    d.hold_reads = false;
    driver_answer_reads(&d);
    driver_tick(&d, 100);
    driver_expect(&d, "1: DELIVER 2:1 after 0 attempt 1 'b1'\n");
    driver_deinit(&d);
}

/* credit 1, B keeps publishing one message per ack: A (older, same priority) never gets its turn */
static void starvation(void **state)
{
    struct driver d;
    bool served = false;
    (void)state;
    two(&d);
    driver_publish(&d, 0, 1, 3); /* backlog of A */
    driver_forget(&d);
    d.hold_reads = true;
    driver_attach(&d, 1, "b", 1);
    for (uint64_t i = 1; i <= 200; i++) {
        /* the message of B comes while A is being read */
        driver_put_publish(&d, &(struct driver_message){.pseq = i, .text = "b"});
        driver_send(&d, 2);
        driver_answer_reads(&d);
        driver_ack(&d, 1, 2, i);
        driver_tick(&d, 100);
        served |= ali_stream_at(d.node, 0)->v.flow->next.seq > 1;
        driver_forget(&d);
    }
    assert_true(served); /* 20 s later A was served */
    driver_deinit(&d);
}

/* volatile messages likewise starve durable ones */
static void starvation_by_volatile(void **state)
{
    struct driver d;
    (void)state;
    two(&d);
    driver_publish(&d, 0, 1, 3);
    driver_forget(&d);
    d.hold_reads = true;
    driver_attach(&d, 1, "b", 1);
    for (uint64_t i = 1; i <= 200; i++) {
        driver_put_publish(&d, &(struct driver_message){
                                   .pseq = 1, .id = 9, .text = "v", .flags = AL_PUBLISH_VOLATILE});
        driver_send(&d, 2);
        driver_answer_reads(&d);
        driver_ack(&d, 1, 2, 0);
        driver_tick(&d, 100);
    }
    assert_true(ali_stream_at(d.node, 0)->v.flow->next.seq > 1);
    driver_deinit(&d);
}

/* A resumed, its resend is being read; A leaves with kept leases; B attaches: gets A's messages
 * under A's leases */
static void kept_leases_go_to_another(void **state)
{
    struct al_msg_detach detach;
    struct driver d;
    (void)state;
    two(&d);
    driver_attach(&d, 1, "b", 10);
    driver_publish(&d, 0, 1, 2);
    driver_close(&d, 1);
    d.hold_reads = true;
    driver_open(&d, 3, 1000, 2);
    driver_attach(&d, 3, "b", 10); /* resumed, READ_AGAIN outstanding */
    detach = (struct al_msg_detach){.agent = d.agent[3], .flags = AL_KEEP_LEASES};
    assert_int_equal(al_put_detach(&d.in, &detach), 0);
    driver_send(&d, 3);
    driver_open(&d, 4, 1000, 7);
    driver_attach(&d, 4, "b", 10);
    driver_expect(&d, "4: ATTACHED\n");
    d.hold_reads = false;
    driver_answer_reads(&d);
    driver_expect(&d, ""); /* the leases are another session's */
    driver_deinit(&d);
}

/* scheduled, delivered, FAILED, redriven: comes without the mark */
static void unmarked(void **state)
{
    struct al_msg_dlq_redrive redrive = {.request = 1, .agent = al_str_c("b")};
    struct al_msg_ack ack;
    struct driver d;
    (void)state;
    two(&d);
    driver_attach(&d, 1, "b", 10);
    driver_put_publish(
        &d, &(struct driver_message){.pseq = 1, .text = "s", .due_ms = d.now.wall_ms + 100});
    driver_send(&d, 0);
    driver_forget(&d);
    driver_tick(&d, 200);
    driver_expect(&d, "1: DELIVER 1:1 after 0 attempt 1 's'\n");
    ack = (struct al_msg_ack){.agent = d.agent[1],
                              .stream = 1,
                              .seq = 1,
                              .lease = d.lease[1][1],
                              .status = AL_STATUS_FAILED};
    assert_int_equal(al_put_ack(&d.in, &ack), 0);
    driver_send(&d, 1);
    driver_forget(&d);
    assert_int_equal(al_put_dlq_redrive(&d.in, &redrive), 0);
    driver_send(&d, 1);
    driver_expect(&d, "1: DONE OK 1\n1: DELIVER 1:2 after 0 attempt 1 redelivered 's'\n");
    driver_deinit(&d);
}

/* three scheduled for the same moment, one stream, one sender */
static void same_due(void **state)
{
    struct driver d;
    (void)state;
    two(&d);
    driver_attach(&d, 1, "b", 10);
    for (uint64_t i = 1; i <= 3; i++) {
        char text[2] = {(char)('0' + i), 0};
        driver_put_publish(
            &d, &(struct driver_message){.pseq = i, .text = text, .due_ms = d.now.wall_ms + 20});
    }
    driver_send(&d, 0);
    driver_forget(&d);
    driver_tick(&d, 200);
    driver_expect(&d, "1: DELIVER 1:1 after 0 attempt 1 '1'\n1: DELIVER 1:2 after 1 attempt 1 "
                      "'2'\n1: DELIVER 1:3 after 2 attempt 1 '3'\n");
    driver_deinit(&d);
}

/* due one second after the other, the node was down meanwhile */
static void overdue(void **state)
{
    struct driver d;
    (void)state;
    two(&d);
    for (uint64_t i = 1; i <= 3; i++) {
        char text[2] = {(char)('0' + i), 0};
        driver_put_publish(&d, &(struct driver_message){
                                   .pseq = i, .text = text, .due_ms = d.now.wall_ms + 1000 * i});
    }
    driver_send(&d, 0);
    driver_forget(&d);
    d.now.wall_ms += 60000;
    d.now.mono_ns += 60 * AL_NS_PER_SEC;
    driver_restart(&d, false);
    driver_open(&d, 1, 1000, 2);
    driver_attach(&d, 1, "b", 10);
    driver_forget(&d);
    driver_tick(&d, 200);
    driver_expect(&d, "1: DELIVER 1:1 after 0 attempt 1 '1'\n1: DELIVER 1:2 after 1 attempt 1 "
                      "'2'\n1: DELIVER 1:3 after 2 attempt 1 '3'\n");
    driver_deinit(&d);
}

/* a session that left its leases behind long ago blocks the removal of its agent */
static void kept_session_never_ends(void **state)
{
    struct al_msg_detach detach;
    struct al_msg_agent_remove remove = {.request = 1, .name = al_str_c("b")};
    struct driver d;
    (void)state;
    two(&d);
    driver_attach(&d, 1, "b", 1);
    detach = (struct al_msg_detach){.agent = d.agent[1], .flags = AL_KEEP_LEASES};
    assert_int_equal(al_put_detach(&d.in, &detach), 0);
    driver_send(&d, 1);
    driver_close(&d, 0);
    driver_close(&d, 2);
    driver_close(&d, 1);
    driver_tick(&d, 3600000 * 3);
    driver_open(&d, 5, 1000, 9);
    driver_forget(&d);
    assert_int_equal(al_put_agent_remove(&d.in, &remove), 0);
    driver_send(&d, 5);
    driver_expect(&d, "5: DONE OK 1\n");
    driver_deinit(&d);
}

/* cumulative PARTIAL: the earlier ones end with SUCCESS, says the protocol */
static void cumulative_partial(void **state)
{
    struct al_msg_ack ack;
    struct al_msg_record_get get = {.request = 1, .stream = 1, .seq = 1};
    struct driver d;
    (void)state;
    two(&d);
    driver_attach(&d, 1, "b", 5);
    driver_publish(&d, 0, 1, 2);
    ack = (struct al_msg_ack){.agent = d.agent[1],
                              .stream = 1,
                              .seq = 2,
                              .lease = d.lease[1][2],
                              .status = AL_STATUS_PARTIAL,
                              .flags = AL_ACK_CUMULATIVE,
                              .reason = al_str_c("half")};
    assert_int_equal(al_put_ack(&d.in, &ack), 0);
    driver_send(&d, 1);
    driver_forget(&d);
    assert_int_equal(al_put_record_get(&d.in, &get), 0);
    driver_send(&d, 0);
    driver_expect(&d, "0: RECORD 1:1 state 4 attempts 1 ''\n");
    driver_deinit(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lost_wakeup),
        cmocka_unit_test(starvation),
        cmocka_unit_test(starvation_by_volatile),
        cmocka_unit_test(kept_leases_go_to_another),
        cmocka_unit_test(unmarked),
        cmocka_unit_test(same_due),
        cmocka_unit_test(overdue),
        cmocka_unit_test(kept_session_never_ends),
        cmocka_unit_test(cumulative_partial),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
