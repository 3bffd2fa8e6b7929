/* test_core_workflow.c - numbers of messages with a workflow id. */
#include "core_driver.h"
#include "support.h"
#include <stdio.h>
#include <stdlib.h>

static void tune(struct al_node_config *config)
{
    config->policy.retry_max = 0;
    config->breaker.percent = 0;
    config->workflows_max = 3;
    config->workflow_ttl_ms = 600000;
}

/* Connection 1 receives as "b"; connection 0 sends to it on channel 1 as "a". */
static void connect(struct driver *d)
{
    driver_open(d, 0, 1000, 1);
    driver_channel(d, 0, "a", "b");
    driver_open(d, 1, 1000, 2);
    driver_attach(d, 1, "b", 10);
    driver_forget(d);
}

static void two_blocks(struct al_node_config *config)
{
    tune(config);
    config->workflow_blocks = 2;
}

static void begin_with(struct driver *d, void (*how)(struct al_node_config *config))
{
    driver_init(d, how);
    driver_open(d, 1, 1000, 2);
    driver_attach(d, 1, "b", 10);
    driver_open(d, 0, 1000, 1);
    driver_channel(d, 0, "a", "b");
    d->mute_health = true;
    driver_forget(d);
}

static void begin(struct driver *d)
{
    begin_with(d, tune);
}

static void end(struct driver *d)
{
    driver_snapshot_begin(d);
    while (driver_snapshot_step(d, 64))
        continue;
    driver_check_replay(d);
    driver_check_snapshot(d);
    driver_deinit(d);
}

static void publish(struct driver *d, struct driver_message m)
{
    m.text = m.text ? m.text : "x";
    driver_put_publish(d, &m);
    driver_send(d, 0);
}

static void resume(struct driver *d, uint64_t pseq)
{
    struct al_msg_channel_resume m = {.channel = 1, .first_pseq = pseq};

    assert_int_equal(al_put_channel_resume(&d->in, &m), 0);
    driver_send(d, 0);
}

static void get(struct driver *d, const char *space, const char *workflow, uint64_t first,
                uint32_t limit)
{
    struct al_msg_workflow_get m = {.request = 1,
                                    .limit = limit,
                                    .first = first,
                                    .space = al_str_c(space),
                                    .workflow = al_str_c(workflow)};

    assert_int_equal(al_put_workflow_get(&d->in, &m), 0);
    driver_send(d, 1);
}

static void list(struct driver *d, const char *space, uint64_t after, uint32_t limit)
{
    struct al_msg_workflow_list m = {
        .request = 1, .limit = limit, .after = after, .space = al_str_c(space)};

    assert_int_equal(al_put_workflow_list(&d->in, &m), 0);
    driver_send(d, 1);
}

static void record(struct driver *d, uint64_t seq)
{
    struct al_msg_record_get m = {.request = 1, .stream = 1, .seq = seq};

    assert_int_equal(al_put_record_get(&d->in, &m), 0);
    driver_send(d, 1);
}

static void settle_failed(struct driver *d, uint64_t seq)
{
    struct al_msg_ack ack = {.agent = d->agent[1],
                             .stream = 1,
                             .seq = seq,
                             .lease = d->lease[1][seq & 15],
                             .status = AL_STATUS_FAILED};

    assert_int_equal(al_put_ack(&d->in, &ack), 0);
    driver_send(d, 1);
}

/* Sends the dead letter with that producer sequence again, or deletes it. */
static void redrive(struct driver *d, uint64_t pseq, bool purge)
{
    struct al_id id = {.b = {(uint8_t)pseq, (uint8_t)(pseq >> 8), [15] = 1}};
    struct al_msg_dlq_redrive again = {.request = 1, .agent = al_str_c("b"), .message_id = id};
    struct al_msg_dlq_purge gone = {.request = 1, .agent = al_str_c("b"), .message_id = id};

    if (purge)
        assert_int_equal(al_put_dlq_purge(&d->in, &gone), 0);
    else
        assert_int_equal(al_put_dlq_redrive(&d->in, &again), 0);
    driver_send(d, 1);
}

static void test_numbers_are_dense_and_come_with_the_message(void **state)
{
    struct driver d;

    (void)state;
    begin(&d);
    publish(&d, (struct driver_message){.pseq = 1, .workflow = "w"});
    publish(&d, (struct driver_message){.pseq = 2});
    publish(&d, (struct driver_message){.pseq = 3, .workflow = "w"});
    publish(&d, (struct driver_message){.pseq = 4, .workflow = "other"});
    publish(&d, (struct driver_message){.pseq = 4, .workflow = "w"}); /* again: not numbered */
    driver_expect(&d, "1: DELIVER 1:1 after 0 attempt 1 'x' #1\n0: RECEIPT 1 x1 -> 1:1\n"
                      "1: DELIVER 1:2 after 1 attempt 1 'x'\n0: RECEIPT 2 x1 -> 1:2\n"
                      "1: DELIVER 1:3 after 2 attempt 1 'x' #2\n0: RECEIPT 3 x1 -> 1:3\n"
                      "1: DELIVER 1:4 after 3 attempt 1 'x' #1\n0: RECEIPT 4 x1 -> 1:4\n"
                      "0: RECEIPT 4 x1 -> 1:4 duplicate\n");
    get(&d, "", "w", 0, 0);
    get(&d, "default", "none", 0, 0);
    driver_expect(&d, "1: WORKFLOW default/w 2: 0 ok, 2 0 0 0 0\n1: RANGE 1-2 state 1\n"
                      "1: DONE OK 1\n1: DONE NOT_FOUND 0\n");
    driver_ack(&d, 1, 1, 1);
    driver_ack(&d, 1, 1, 2);
    driver_forget(&d);
    get(&d, "", "w", 0, 0);
    record(&d, 1);
    record(&d, 2);
    record(&d, 3);
    driver_expect(&d, "1: WORKFLOW default/w 2: 1 ok, 1 0 0 0 0\n1: RANGE 2-2 state 1\n"
                      "1: DONE OK 1\n1: RECORD 1:1 state 4 attempts 1 '' #1\n"
                      "1: RECORD 1:2 state 4 attempts 1 ''\n"
                      "1: RECORD 1:3 state 2 attempts 1 '' #2\n");
    driver_restart(&d, false);
    connect(&d);
    publish(&d, (struct driver_message){.pseq = 1, .id = 9, .workflow = "w"});
    driver_forget(&d);
    get(&d, "", "w", 0, 0);
    driver_expect(&d, "1: WORKFLOW default/w 3: 1 ok, 2 0 0 0 0\n1: RANGE 2-3 state 1\n"
                      "1: DONE OK 1\n");
    end(&d);
}

static void test_what_ends_otherwise_says_how(void **state)
{
    struct driver d;

    (void)state;
    begin(&d);
    for (uint64_t pseq = 1; pseq <= 5; pseq++)
        publish(&d, (struct driver_message){.pseq = pseq, .workflow = "w"});
    settle_failed(&d, 1);
    driver_nack(&d, 1, 1, 2, "no");
    driver_forget(&d);
    get(&d, "", "w", 0, 0);
    driver_expect(&d, "1: WORKFLOW default/w 5: 0 ok, 3 1 1 0 0\n1: RANGE 1-1 state 2\n"
                      "1: RANGE 2-2 state 3\n1: RANGE 3-5 state 1\n1: DONE OK 3\n");
    get(&d, "", "w", 0, 1);
    get(&d, "", "w", 2, 1);
    get(&d, "", "w", 4, 1);
    get(&d, "", "w", 6, 1);
    driver_expect(&d, "1: WORKFLOW default/w 5: 0 ok, 3 1 1 0 0\n1: RANGE 1-1 state 2\n"
                      "1: DONE OK 1\n"
                      "1: WORKFLOW default/w 5: 0 ok, 3 1 1 0 0\n1: RANGE 2-2 state 3\n"
                      "1: DONE OK 1\n"
                      "1: WORKFLOW default/w 5: 0 ok, 3 1 1 0 0\n1: RANGE 4-5 state 1\n"
                      "1: DONE OK 1\n"
                      "1: WORKFLOW default/w 5: 0 ok, 3 1 1 0 0\n1: DONE OK 0\n");
    redrive(&d, 2, false); /* comes again with its number, behind the others */
    redrive(&d, 1, true);  /* stays what it was */
    driver_forget(&d);
    for (uint64_t seq = 3; seq <= 5; seq++)
        driver_ack(&d, 1, 1, seq);
    driver_expect(&d, "1: ACKED 1:3-3 x1\n1: ACKED 1:4-4 x1\n1: ACKED 1:5-5 x1\n");
    get(&d, "", "w", 0, 0);
    record(&d, 6);
    driver_expect(&d, "1: WORKFLOW default/w 5: 3 ok, 1 1 0 0 0\n1: RANGE 1-1 state 2\n"
                      "1: RANGE 2-2 state 1\n1: DONE OK 2\n"
                      "1: RECORD 1:6 state 2 attempts 1 '' #2\n");
    driver_ack(&d, 1, 1, 6);
    driver_forget(&d);
    get(&d, "", "w", 0, 0);
    driver_expect(&d, "1: WORKFLOW default/w 5: 4 ok, 0 1 0 0 0\n1: RANGE 1-1 state 2\n"
                      "1: DONE OK 1\n");
    end(&d);
}

static void test_scheduled_expired_and_cancelled_ones(void **state)
{
    struct driver d;
    struct al_msg_cancel cancel = {.request = 1, .stream = 1};

    (void)state;
    begin(&d);
    driver_close(&d, 1);
    driver_tick(&d, 2000);
    publish(&d, (struct driver_message){.pseq = 1});
    publish(&d, (struct driver_message){
                    .pseq = 2, .due_ms = d.now.wall_ms + 100, .workflow = "w", .text = "due"});
    driver_tick(&d, 200);
    publish(&d, (struct driver_message){.pseq = 3, .ttl_ms = 50, .workflow = "w"});
    publish(&d, (struct driver_message){.pseq = 4, .workflow = "w"});
    publish(&d, (struct driver_message){
                    .pseq = 5, .id = 77, .due_ms = d.now.wall_ms + 900000, .workflow = "w"});
    driver_tick(&d, 100);
    cancel.seq = 4;
    assert_int_equal(al_put_cancel(&d.in, &cancel), 0);
    driver_send(&d, 0);
    driver_open(&d, 1, 1000, 3);
    driver_forget(&d);
    get(&d, "", "w", 0, 0);
    driver_expect(&d, "1: WORKFLOW default/w 4: 0 ok, 2 0 0 1 1\n1: RANGE 1-1 state 1\n"
                      "1: RANGE 2-2 state 4\n1: RANGE 3-3 state 5\n1: RANGE 4-4 state 1\n"
                      "1: DONE OK 4\n");
    driver_attach(&d, 1, "b", 10);
    driver_expect(&d, "1: ATTACHED\n1: DELIVER 1:1 after 0 attempt 1 'x'\n"
                      "1: DELIVER 1:2 after 1 attempt 1 'due' #1\n");
    driver_carry(&d, 1, d.record_count); /* the number is not in the record that is carried */
    driver_forget(&d);
    driver_ack(&d, 1, 1, 1);
    driver_ack(&d, 1, 1, 2);
    driver_forget(&d);
    get(&d, "", "w", 0, 0);
    driver_expect(&d, "1: WORKFLOW default/w 4: 1 ok, 1 0 0 1 1\n1: RANGE 2-2 state 4\n"
                      "1: RANGE 3-3 state 5\n1: RANGE 4-4 state 1\n1: DONE OK 3\n");
    end(&d);
}

static void test_a_removed_agent_takes_its_numbers_along(void **state)
{
    struct al_msg_agent_remove m = {.request = 1, .flags = 1, .name = al_str_c("b")};
    struct driver d;

    (void)state;
    begin(&d);
    publish(&d, (struct driver_message){.pseq = 1, .workflow = "w"});
    publish(&d,
            (struct driver_message){.pseq = 2, .due_ms = d.now.wall_ms + 90000, .workflow = "w"});
    publish(&d, (struct driver_message){.pseq = 3, .workflow = "w"});
    settle_failed(&d, 1);
    driver_close(&d, 1);
    driver_tick(&d, 2000); /* the only attempt of the one that was out */
    publish(&d, (struct driver_message){.pseq = 4, .workflow = "w"});
    driver_close(&d, 0);
    driver_open(&d, 1, 1000, 3);
    assert_int_equal(al_put_agent_remove(&d.in, &m), 0);
    driver_send(&d, 1);
    driver_expect(&d, "1: DONE OK 1\n");
    get(&d, "", "w", 0, 0);
    driver_expect(&d, "1: WORKFLOW default/w 4: 0 ok, 0 1 1 0 2\n1: RANGE 1-1 state 2\n"
                      "1: RANGE 2-2 state 5\n1: RANGE 3-3 state 3\n1: RANGE 4-4 state 5\n"
                      "1: DONE OK 4\n");
    end(&d);
}

/* By a rule of root's: the namespaces differ. */
static void let_pass(struct driver *d, uint32_t conn, const char *from, const char *to)
{
    struct al_msg_acl_set m = {
        .request = 1, .effect = 1, .actions = 1, .subject = al_str_c(from), .object = al_str_c(to)};

    driver_open(d, conn + 1, 0, 9);
    assert_int_equal(al_put_acl_set(&d->in, &m), 0);
    driver_send(d, conn + 1);
    driver_forget(d);
}

static void test_the_namespace_is_the_senders(void **state)
{
    struct driver d;

    (void)state;
    begin(&d);
    driver_open(&d, 2, 1000, 4);
    let_pass(&d, 2, "team/a", "b");
    driver_channel(&d, 2, "team/a", "b");
    driver_put_publish(&d,
                       &(struct driver_message){.pseq = 1, .id = 50, .text = "x", .workflow = "w"});
    driver_send(&d, 2);
    publish(&d, (struct driver_message){.pseq = 1, .workflow = "w"});
    driver_forget(&d);
    list(&d, "", 0, 0);
    list(&d, "team", 0, 0);
    list(&d, "", 0, 1);
    driver_expect(&d, "1: WORKFLOW team/w 1: 0 ok, 1 0 0 0 0\n"
                      "1: WORKFLOW default/w 1: 0 ok, 1 0 0 0 0\n1: DONE OK 2\n"
                      "1: WORKFLOW team/w 1: 0 ok, 1 0 0 0 0\n1: DONE OK 1\n"
                      "1: WORKFLOW team/w 1: 0 ok, 1 0 0 0 0\n1: DONE OK 1\n");
    end(&d);
}

static void test_the_one_used_longest_ago_is_forgotten(void **state)
{
    struct driver d;

    (void)state;
    begin(&d); /* three may be kept */
    publish(&d, (struct driver_message){.pseq = 1, .workflow = "one"});
    driver_tick(&d, 10);
    publish(&d, (struct driver_message){.pseq = 2, .workflow = "two"});
    driver_tick(&d, 10);
    publish(&d, (struct driver_message){.pseq = 3, .workflow = "three"});
    driver_tick(&d, 10);
    driver_ack(&d, 1, 1, 1);
    driver_tick(&d, 10);
    driver_ack(&d, 1, 1, 2);
    driver_tick(&d, 10);
    publish(&d, (struct driver_message){.pseq = 4, .workflow = "four"});
    driver_forget(&d);
    list(&d, "", 0, 0);
    driver_expect(&d, "1: WORKFLOW default/two 1: 1 ok, 0 0 0 0 0\n"
                      "1: WORKFLOW default/three 1: 0 ok, 1 0 0 0 0\n"
                      "1: WORKFLOW default/four 1: 0 ok, 1 0 0 0 0\n1: DONE OK 3\n");
    publish(&d, (struct driver_message){.pseq = 5, .workflow = "five"});
    publish(&d, (struct driver_message){.pseq = 6, .workflow = "six"});
    driver_expect(&d, "1: DELIVER 1:5 after 4 attempt 1 'x' #1\n0: RECEIPT 5 x1 -> 1:5\n"
                      "0: REFUSED 6 WORKFLOW_FULL\n");
    end(&d);
}

/* Memory is for so many blocks of 128 numbers that are not all processed; a processed one goes. */
static void test_numbers_are_bounded_in_blocks(void **state)
{
    struct driver d;

    (void)state;
    begin_with(&d, two_blocks);
    for (uint64_t i = 1; i <= 128; i++)
        publish(&d, (struct driver_message){.pseq = i, .workflow = "one"});
    publish(&d, (struct driver_message){.pseq = 129, .workflow = "one"}); /* the second block */
    publish(&d, (struct driver_message){.pseq = 130, .workflow = "one"});
    driver_forget(&d);
    publish(&d, (struct driver_message){.pseq = 131, .workflow = "two"}); /* the third */
    driver_expect(&d, "0: REFUSED 131 WORKFLOW_FULL\n");
    driver_forget(&d);
    for (uint64_t i = 1; i <= 128; i++)
        driver_ack(&d, 1, 1, i);
    driver_forget(&d);
    resume(&d, 131);
    publish(&d, (struct driver_message){.pseq = 131, .workflow = "two"});
    driver_expect(&d, "0: CHANNEL_READY stream 1 last 130\n"
                      "1: DELIVER 1:131 after 130 attempt 1 'x' #1\n0: RECEIPT 131 x1 -> 1:131\n");
    end(&d);
}

static void test_what_is_not_used_is_forgotten_in_time(void **state)
{
    struct driver d;

    (void)state;
    begin(&d);
    publish(&d, (struct driver_message){.pseq = 1, .workflow = "one"});
    settle_failed(&d, 1);
    driver_close(&d, 1);
    driver_tick(&d, 2000);
    publish(&d, (struct driver_message){.pseq = 2, .workflow = "two"});
    driver_tick(&d, 700000);
    driver_open(&d, 1, 1000, 3);
    driver_forget(&d);
    list(&d, "", 0, 0); /* nothing of "one" is pending */
    driver_expect(&d, "1: WORKFLOW default/two 1: 0 ok, 1 0 0 0 0\n1: DONE OK 1\n");
    redrive(&d, 1, false);
    driver_attach(&d, 1, "b", 10);
    driver_expect(&d, "1: DONE OK 1\n1: ATTACHED\n"
                      "1: DELIVER 1:2 after 0 attempt 1 redelivered 'x' #1\n"
                      "1: DELIVER 1:3 after 2 attempt 1 redelivered 'x'\n");
    end(&d);
}

static void test_an_id_that_is_too_long_is_refused(void **state)
{
    struct driver d;
    char id[257];

    (void)state;
    begin(&d);
    memset(id, 'x', 256);
    id[256] = '\0';
    publish(&d, (struct driver_message){.pseq = 1, .workflow = id});
    driver_expect(&d, "0: REFUSED 1 TOO_LARGE\n");
    end(&d);
}

/* ---- against a model --------------------------------------------------------------------- */

#define FLOWS   3u
#define NUMBERS 2000u
struct model {
    uint8_t states[FLOWS][NUMBERS]; /* of each number: 0 processed, … */
    uint32_t allocated[FLOWS];
    struct {
        uint64_t seq, pseq;
        uint32_t flow, number;
    } queue[NUMBERS * FLOWS], dead[NUMBERS * FLOWS];
    uint32_t first, count, dead_count;
    uint64_t pseq, next_seq;
};

static void model_publish(struct driver *d, struct model *m, uint32_t flow)
{
    char name[8];

    snprintf(name, sizeof(name), "w%u", flow);
    publish(d, (struct driver_message){.pseq = ++m->pseq, .workflow = name});
    m->queue[m->count].pseq = m->pseq;
    m->states[flow][++m->allocated[flow]] = 1;
    m->queue[m->count].seq = m->next_seq++;
    m->queue[m->count].flow = flow;
    m->queue[m->count++].number = m->allocated[flow];
}

static void model_end(struct driver *d, struct model *m, unsigned how)
{
    uint64_t seq = m->queue[m->first].seq;

    if (how == 0)
        driver_ack(d, 1, 1, seq);
    else if (how == 2)
        settle_failed(d, seq);
    else
        driver_nack(d, 1, 1, seq, "no");
    m->states[m->queue[m->first].flow][m->queue[m->first].number] = (uint8_t)how;
    if (how)
        m->dead[m->dead_count++] = m->queue[m->first];
    m->first++;
}

static void model_redrive(struct driver *d, struct model *m, uint32_t which, bool purge)
{
    redrive(d, m->dead[which].pseq, purge);
    if (!purge) {
        m->states[m->dead[which].flow][m->dead[which].number] = 1;
        m->queue[m->count] = m->dead[which];
        m->queue[m->count++].seq = m->next_seq++;
    }
    m->dead[which] = m->dead[--m->dead_count];
}

static void model_check(struct driver *d, const struct model *m, uint32_t flow)
{
    uint32_t counts[6] = {0}, ranges = 0, first = 1;
    static char text[100000];
    char name[8];
    size_t n = 0, ranges_at;

    snprintf(name, sizeof(name), "w%u", flow);
    driver_forget(d);
    if (!m->allocated[flow])
        return;
    for (uint32_t i = 1; i <= m->allocated[flow]; i++)
        counts[m->states[flow][i]]++;
    n += (size_t)snprintf(
        text + n, sizeof(text) - n, "1: WORKFLOW default/%s %u: %u ok, %u %u %u %u %u\n", name,
        m->allocated[flow], counts[0], counts[1], counts[2], counts[3], counts[4], counts[5]);
    ranges_at = n;
    for (uint32_t i = 1; i <= m->allocated[flow]; i++) {
        if (i < m->allocated[flow] && m->states[flow][i + 1] == m->states[flow][i])
            continue;
        if (m->states[flow][i] && ranges < AL_WORKFLOW_ROWS_MAX) {
            n += (size_t)snprintf(text + n, sizeof(text) - n, "1: RANGE %u-%u state %u\n", first, i,
                                  m->states[flow][i]);
            ranges++;
        }
        first = i + 1;
    }
    assert_true(ranges_at <= n);
    snprintf(text + n, sizeof(text) - n, "1: DONE OK %u\n", ranges);
    get(d, "", name, 0, 0);
    driver_expect(d, text);
}

static void test_the_states_of_numbers_are_those_of_a_model(void **state)
{
    struct al_test_random random = al_test_random_new("numbers");
    static struct model m;
    struct driver d;

    (void)state;
    memset(&m, 0, sizeof(m));
    m.next_seq = 1;
    begin(&d);
    for (unsigned i = 0; i < 1500; i++) {
        unsigned what = (unsigned)al_test_below(&random, 100);

        if (what < 50 && m.count - m.first < 9)
            model_publish(&d, &m, (uint32_t)al_test_below(&random, FLOWS));
        else if (what < 90 && m.first < m.count)
            model_end(&d, &m, what < 74 ? 0 : what < 82 ? 2 : 3);
        else if (what < 97 && m.dead_count)
            model_redrive(&d, &m, (uint32_t)al_test_below(&random, m.dead_count), what >= 95);
        if (i % 50 == 0)
            model_check(&d, &m, (uint32_t)al_test_below(&random, FLOWS));
        if (i == 700) {
            driver_snapshot_begin(&d);
        } else if (i > 700 && i < 1100 && d.snapshot_open) {
            d.snapshot_open = driver_snapshot_step(&d, 100);
        }
        if (i == 700)
            d.snapshot_open = true;
    }
    for (uint32_t flow = 0; flow < FLOWS; flow++)
        model_check(&d, &m, flow);
    while (d.snapshot_open)
        d.snapshot_open = driver_snapshot_step(&d, 100);
    driver_check_snapshot(&d);
    end(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers_are_dense_and_come_with_the_message),
        cmocka_unit_test(test_what_ends_otherwise_says_how),
        cmocka_unit_test(test_scheduled_expired_and_cancelled_ones),
        cmocka_unit_test(test_a_removed_agent_takes_its_numbers_along),
        cmocka_unit_test(test_the_namespace_is_the_senders),
        cmocka_unit_test(test_the_one_used_longest_ago_is_forgotten),
        cmocka_unit_test(test_numbers_are_bounded_in_blocks),
        cmocka_unit_test(test_what_is_not_used_is_forgotten_in_time),
        cmocka_unit_test(test_an_id_that_is_too_long_is_refused),
        cmocka_unit_test(test_the_states_of_numbers_are_those_of_a_model),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
