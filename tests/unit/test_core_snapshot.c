/* test_core_snapshot.c - the fold: whatever happens while a snapshot is taken, snapshot and tail
 * give the state that the whole journal gives, and that the node has. */
#include "base/errors.h"
#include "core_driver.h"
#include "support.h"
#include <stdio.h>

#define ROUNDS 12
#define STEPS  400

static void small(struct al_node_config *config)
{
    config->records_max = 40;
    config->dedup_max = 32;
    config->policy.retry_max = 2;
    config->policy.ack_timeout_ms = 300;
    config->dlq_max = 500;
}

/* What the test knows of the world it stirs. */
struct world {
    struct driver d;
    struct al_test_random random;
    uint64_t pseq;
};

static void join(struct world *w)
{
    driver_open(&w->d, 0, 1000, 1);
    driver_open(&w->d, 1, 1000, 2);
    driver_attach(&w->d, 1, "b", 4);
    driver_channel(&w->d, 0, "a", "b");
    driver_forget(&w->d);
    w->pseq = 0;
}

static void publish(struct world *w)
{
    char text[100], key[4] = {0};
    struct driver_message message = {.pseq = ++w->pseq, .text = text};
    unsigned sort = (unsigned)al_test_below(&w->random, 8);
    unsigned size = (unsigned)al_test_below(&w->random, sizeof(text) - 1);

    memset(text, 'x', size);
    text[size] = '\0';
    message.id = (uint8_t)(1 + al_test_below(&w->random, 255));
    if (sort == 1)
        message.ttl_ms = 1 + al_test_below(&w->random, 500);
    if (sort == 2)
        message.due_ms = w->d.now.wall_ms + 1 + al_test_below(&w->random, 500);
    if (sort == 3) {
        key[0] = (char)('a' + al_test_below(&w->random, 26));
        message.key = key;
    }
    message.flags = (uint16_t)al_test_below(&w->random, 2);
    driver_put_publish(&w->d, &message);
    driver_send(&w->d, 0);
}

static void resume(struct world *w)
{
    struct al_msg_channel_resume frame = {.channel = 1, .first_pseq = w->pseq + 1};

    assert_int_equal(al_put_channel_resume(&w->d.in, &frame), 0);
    driver_send(&w->d, 0);
}

/* Settles the message with the newest known lease of a small sequence, in some way. */
static void settle(struct world *w)
{
    uint64_t slot = al_test_below(&w->random, 16);
    uint8_t status = (uint8_t)(1 + al_test_below(&w->random, 3));

    for (uint64_t seq = slot; seq < slot + 400; seq += 16) {
        struct al_msg_ack ack = {.agent = w->d.agent[1],
                                 .stream = 1,
                                 .seq = seq,
                                 .lease = w->d.lease[1][slot],
                                 .status = status,
                                 .flags = (uint8_t)al_test_below(&w->random, 2),
                                 .response = al_str_c(status == 2 ? "partly" : "")};

        if (seq && al_test_below(&w->random, 3) == 0)
            driver_nack(&w->d, 1, 1, seq, "again");
        else if (seq && al_put_ack(&w->d.in, &ack) == 0)
            driver_send(&w->d, 1);
    }
}

static void redrive_or_purge(struct world *w)
{
    struct al_msg_dlq_redrive redrive = {.request = 1, .agent = al_str_c("b")};
    struct al_msg_dlq_purge purge = {.request = 1, .agent = al_str_c("b")};
    int r = al_test_below(&w->random, 3) ? al_put_dlq_redrive(&w->d.in, &redrive)
                                         : al_put_dlq_purge(&w->d.in, &purge);

    assert_int_equal(r, 0);
    driver_send(&w->d, 0);
}

static void rejoin(struct world *w)
{
    struct al_msg_goodbye goodbye = {0};

    if (al_test_below(&w->random, 2)) {
        assert_int_equal(al_put_goodbye(&w->d.in, &goodbye), 0);
        driver_send(&w->d, 0);
    }
    driver_close(&w->d, 0);
    driver_close(&w->d, 1);
    driver_tick(&w->d, 1500);
    join(w);
}

static void stir(struct world *w)
{
    unsigned what = (unsigned)al_test_below(&w->random, 40);

    if (what < 16)
        publish(w);
    else if (what < 28)
        settle(w);
    else if (what < 34)
        driver_tick(&w->d, al_test_below(&w->random, 400));
    else if (what < 37)
        resume(w);
    else if (what < 39)
        redrive_or_purge(w);
    else
        rejoin(w);
    driver_forget(&w->d);
}

static void test_snapshot_beside_the_work(void **state)
{
    struct world w = {.random = al_test_random_new("snapshot beside the work")};

    (void)state;
    driver_init(&w.d, small);
    join(&w);
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < 100; i++)
            stir(&w);
        driver_snapshot_begin(&w.d);
        for (int i = 0; i < STEPS; i++) {
            stir(&w);
            if (!driver_snapshot_step(&w.d, 1 + al_test_below(&w.random, 200)))
                break;
        }
        while (al_node_snapshot_begin(w.d.node, &(uint64_t){0}) == -AL_E_BUSY)
            (void)driver_snapshot_step(&w.d, 1000);
        al_node_snapshot_abort(w.d.node); /* the begin that ended the loop */
        driver_check_replay(&w.d);
        driver_check_snapshot(&w.d);
        if (round % 3 == 2) {
            driver_restart(&w.d, true);
            join(&w);
        }
    }
    driver_deinit(&w.d);
}

static void test_carrying_moves_everything_that_matters(void **state)
{
    struct world w = {.random = al_test_random_new("carrying")};

    (void)state;
    driver_init(&w.d, small);
    join(&w);
    for (int round = 0; round < 3; round++) {
        uint64_t bucket_end = w.d.record_count | 4095;

        /* Counters stand for buckets: fill this one before looking. */
        while (w.d.record_count < bucket_end)
            stir(&w);
        driver_carry(&w.d, 1, bucket_end);
        assert_int_equal(al_node_live_count(w.d.node, 1, bucket_end), 0);
        driver_check_replay(&w.d);
        driver_forget(&w.d);
    }
    driver_deinit(&w.d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_snapshot_beside_the_work),
        cmocka_unit_test(test_carrying_moves_everything_that_matters),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
