/* test_client_commit.c - commits under way: numbers, refusals, reconnects, lost leases. */
#include "base/errors.h"
#include "client_peer.h"
#include <string.h>

/* Queues a commit of b with one change, or the ack of a delivery. */
static struct al_commit *queue(struct peer *peer, const char *key, struct ali_delivery *delivery)
{
    struct al_commit *commit;
    uint32_t bad;

    assert_int_equal(ali_commit_new(peer->session, "b", &commit), 0);
    if (delivery)
        assert_int_equal(ali_commit_add_ack(peer->session, commit, delivery, NULL), 0);
    else
        assert_int_equal(ali_commit_add_change(commit, AL_KV_SET, al_str_c(key), al_str_c("v")), 0);
    assert_int_equal(ali_commit_queue(peer->session, commit, peer->now, &bad), 0);
    return commit;
}

/* Takes a COMMIT, checks its number and (key not NULL) its change; returns its request number. */
static uint32_t take(struct peer *peer, uint64_t cseq, const char *key)
{
    struct al_msg_commit_kv change;
    TAKE(peer, COMMIT, commit, m);

    assert_int_equal(m.producer, 9);
    assert_int_equal(m.cseq, cseq);
    if (key) {
        assert_int_equal(al_decode_commit_kv(al_str_of(m.changes.p + 4, m.changes.n - 4), &change),
                         0);
        assert_int_equal(change.key.n, strlen(key));
        assert_memory_equal(change.key.p, key, change.key.n);
    }
    return m.request;
}

/* Takes a COMMIT with one ack; returns the lease that it names. */
static uint64_t take_ack(struct peer *peer, uint64_t cseq, uint32_t *ret_request)
{
    struct al_msg_ack ack;
    TAKE(peer, COMMIT, commit, m);

    assert_int_equal(m.cseq, cseq);
    assert_int_equal(al_decode_ack(al_str_of(m.acks.p + 4, m.acks.n - 4), &ack), 0);
    *ret_request = m.request;
    return ack.lease;
}

static void open_producer(struct peer *peer)
{
    TAKE(peer, PRODUCER_OPEN, producer_open, open);
    FEED(peer, producer_ready, .request = open.request, .producer = open.producer | 9, .epoch = 1);
}

static void answer(struct peer *peer, uint32_t request, unsigned code, unsigned duplicate)
{
    FEED(peer, committed, .request = request, .code = (uint16_t)code, .index = 0,
         .duplicate = (uint8_t)duplicate);
}

static void assert_done(struct peer *peer, struct al_commit *commit)
{
    assert_int_equal(commit->state, ALI_COMMIT_DONE);
    ali_commit_free(peer->session, commit);
}

/* What has no answer is said again under the same numbers; the node may have applied some of it. */
static void test_said_again_under_its_number(void **state)
{
    struct peer peer;
    struct al_commit *a, *b, *c;

    (void)state;
    peer_init(&peer, NULL);
    peer_connect(&peer);
    a = queue(&peer, "a", NULL);
    open_producer(&peer);
    b = queue(&peer, "b", NULL);
    c = queue(&peer, "c", NULL);
    answer(&peer, take(&peer, 1, "a"), 0, 0);
    assert_done(&peer, a);
    (void)take(&peer, 2, "b");
    (void)take(&peer, 3, "c");
    assert_false(ali_commit_withdraw(peer.session, c));
    peer_lose(&peer);
    a = queue(&peer, "d", NULL);
    peer_connect(&peer);
    open_producer(&peer);
    answer(&peer, take(&peer, 2, "b"), 0, 1);
    answer(&peer, take(&peer, 3, "c"), 0, 0);
    assert_true(b->duplicate);
    assert_done(&peer, b);
    assert_done(&peer, c);
    answer(&peer, take(&peer, 4, "d"), 0, 0);
    assert_done(&peer, a);
    assert_silent(&peer);
    peer_deinit(&peer);
}

/* A refused commit has not used its number: those behind it get new ones, in their order. */
static void test_behind_a_refused_one(void **state)
{
    struct peer peer;
    struct al_commit *a, *b, *c;
    uint32_t requests[3];

    (void)state;
    peer_init(&peer, NULL);
    peer_connect(&peer);
    a = queue(&peer, "a", NULL);
    open_producer(&peer);
    b = queue(&peer, "b", NULL);
    c = queue(&peer, "c", NULL);
    requests[0] = take(&peer, 1, "a");
    requests[1] = take(&peer, 2, "b");
    requests[2] = take(&peer, 3, "c");
    answer(&peer, requests[0], AL_E_LIMIT, 0);
    assert_int_equal(a->state, ALI_COMMIT_BUILT);
    assert_int_equal(a->error, -AL_E_LIMIT);
    answer(&peer, requests[1], AL_E_SEQUENCE_GAP, 0);
    assert_silent(&peer); /* until all of the old numbers are answered */
    answer(&peer, requests[2], AL_E_SEQUENCE_GAP, 0);
    answer(&peer, take(&peer, 1, "b"), 0, 0);
    assert_done(&peer, b);
    (void)take(&peer, 2, "c");
    peer_lose(&peer);
    ali_commit_free(peer.session, c); /* goes on without the program */
    ali_commit_free(peer.session, a);
    peer_connect(&peer);
    open_producer(&peer);
    answer(&peer, take(&peer, 2, "c"), 0, 1);
    assert_int_equal(peer.session->commit_count, 0);
    peer_deinit(&peer);
}

/* The node has forgotten the leases: the commit waits for the message, and has its new lease. */
static void test_waits_for_a_lease(void **state)
{
    struct peer peer;
    struct al_commit *commit;
    uint32_t request;

    (void)state;
    peer_init(&peer, NULL);
    peer_connect(&peer);
    peer_attach(&peer, NULL, false);
    peer_deliver(&peer, 1, 0, 100, "x");
    commit = queue(&peer, NULL, peer_next(&peer));
    open_producer(&peer);
    assert_int_equal(take_ack(&peer, 1, &request), 100);
    peer_lose(&peer);
    peer_connect(&peer);
    peer_attach(&peer, NULL, false);
    open_producer(&peer);
    assert_int_equal(take_ack(&peer, 1, &request), 100); /* it may have been applied */
    answer(&peer, request, AL_E_LEASE_LOST, 0);
    assert_int_equal(commit->state, ALI_COMMIT_PARKED);
    assert_silent(&peer);
    peer_deliver(&peer, 1, 0, 200, "x");
    assert_null(peer_next(&peer)); /* the program has it */
    assert_int_equal(take_ack(&peer, 1, &request), 200);
    answer(&peer, request, 0, 0);
    assert_done(&peer, commit);
    assert_null(peer.session->deliveries);
    peer_deinit(&peer);
}

/* The message came again before the refusal: at once with the new lease. */
static void test_has_a_lease_again(void **state)
{
    struct peer peer;
    struct al_commit *commit;
    uint32_t request;

    (void)state;
    peer_init(&peer, NULL);
    peer_connect(&peer);
    peer_attach(&peer, NULL, false);
    peer_deliver(&peer, 1, 0, 100, "x");
    commit = queue(&peer, NULL, peer_next(&peer));
    open_producer(&peer);
    (void)take_ack(&peer, 1, &request);
    peer_deliver(&peer, 1, 0, 101, "x");
    answer(&peer, request, AL_E_LEASE_LOST, 0);
    assert_int_equal(take_ack(&peer, 1, &request), 101);
    answer(&peer, request, AL_E_LEASE_LOST, 0); /* it has that one already: the program's turn */
    assert_int_equal(commit->error, -AL_E_LEASE_LOST);
    assert_int_equal(commit->bad, 0);
    ali_commit_free(peer.session, commit);
    peer_deinit(&peer);
}

/* Parked, and nobody will bring the message: it was not applied. */
static void test_detached_while_it_waits(void **state)
{
    struct peer peer;
    struct al_commit *commit;
    uint32_t request;

    (void)state;
    peer_init(&peer, NULL);
    peer_connect(&peer);
    peer_attach(&peer, NULL, false);
    peer_deliver(&peer, 1, 0, 100, "x");
    commit = queue(&peer, NULL, peer_next(&peer));
    open_producer(&peer);
    (void)take_ack(&peer, 1, &request);
    FEED(&peer, recall, .agent = 7, .stream = 5, .seq = 1, .code = AL_E_TIMEOUT);
    answer(&peer, request, AL_E_LEASE_LOST, 0);
    assert_int_equal(commit->state, ALI_COMMIT_PARKED);
    FEED(&peer, detached, .agent = 7, .code = AL_E_FENCED);
    assert_int_equal(commit->state, ALI_COMMIT_BUILT);
    assert_int_equal(commit->error, -AL_E_LEASE_LOST);
    ali_commit_free(peer.session, commit);
    peer_deinit(&peer);
}

/* The node does not know the producer any more: what was written has an unknown outcome. */
static void test_producer_retired(void **state)
{
    struct peer peer;
    struct al_commit *a, *b;

    (void)state;
    peer_init(&peer, NULL);
    peer_connect(&peer);
    a = queue(&peer, "a", NULL);
    open_producer(&peer);
    (void)take(&peer, 1, "a");
    peer_lose(&peer);
    b = queue(&peer, "b", NULL);
    peer_connect(&peer);
    {
        TAKE(&peer, PRODUCER_OPEN, producer_open, open);
        FEED(&peer, error, .request = open.request, .about = AL_MSG_PRODUCER_OPEN,
             .code = AL_E_PRODUCER_RETIRED);
    }
    assert_int_equal(a->error, -AL_E_UNKNOWN_OUTCOME);
    open_producer(&peer);
    answer(&peer, take(&peer, 1, "b"), 0, 0);
    assert_done(&peer, b);
    ali_commit_free(peer.session, a);
    peer_deinit(&peer);
}

/* ---- asynchronous, several of one stream ------------------------------------------------- */

static void never_called(void *ctx, struct al_commit *commit, int error)
{
    (void)ctx, (void)commit, (void)error;
    fail();
}

/* Messages 1 and 2 of a stream, in two commits that are both under way. */
static void two_of_a_stream(struct peer *peer, struct al_commit *ret_commits[2])
{
    peer_init(peer, NULL);
    peer_connect(peer);
    peer_attach(peer, &(struct al_attach_options){.pipelined = true}, false);
    peer_deliver(peer, 1, 0, 100, "x");
    peer_deliver(peer, 2, 1, 101, "y");
    for (int i = 0; i < 2; i++) {
        ret_commits[i] = queue(peer, NULL, peer_next(peer));
        ret_commits[i]->fn = never_called;
    }
    open_producer(peer);
}

static void assert_due(struct peer *peer, const struct al_commit *want, int error)
{
    struct al_commit *commit = ali_commit_take_due(peer->session);

    assert_ptr_equal(commit, want);
    assert_int_equal(commit->error, error);
    assert_int_equal(commit->state, error ? ALI_COMMIT_BUILT : ALI_COMMIT_DONE);
    ali_commit_free(peer->session, commit);
}

static void test_two_of_a_stream_are_under_way(void **state)
{
    struct peer peer;
    struct al_commit *commits[2];
    uint32_t first, second;

    (void)state;
    two_of_a_stream(&peer, commits);
    assert_int_equal(take_ack(&peer, 1, &first), 100);
    assert_int_equal(take_ack(&peer, 2, &second), 101);
    assert_null(ali_commit_take_due(peer.session));
    answer(&peer, first, 0, 0);
    answer(&peer, second, 0, 0);
    assert_due(&peer, commits[0], 0);
    assert_due(&peer, commits[1], 0);
    assert_null(peer.session->deliveries);
    peer_deinit(&peer);
}

/* What stands behind a refused one in its stream is refused for the order. */
static void test_the_order_of_a_stream_holds(void **state)
{
    struct peer peer;
    struct al_commit *commits[2];
    uint32_t first, second;

    (void)state;
    two_of_a_stream(&peer, commits);
    (void)take_ack(&peer, 1, &first);
    (void)take_ack(&peer, 2, &second);
    answer(&peer, first, AL_E_DISK_FULL, 0);
    answer(&peer, second, AL_E_SEQUENCE_GAP, 0);
    assert_int_equal(take_ack(&peer, 1, &second), 101);
    answer(&peer, second, AL_E_OUT_OF_ORDER, 0);
    assert_due(&peer, commits[0], -AL_E_DISK_FULL);
    assert_due(&peer, commits[1], -AL_E_OUT_OF_ORDER);
    peer_deinit(&peer);
}

/* Both have lost their leases, and the second is said again before the first. */
static void test_one_that_has_overtaken_goes_behind(void **state)
{
    struct peer peer;
    struct al_commit *commits[2];
    uint32_t first, second;

    (void)state;
    two_of_a_stream(&peer, commits);
    (void)take_ack(&peer, 1, &first);
    (void)take_ack(&peer, 2, &second);
    FEED(&peer, recall, .agent = 7, .stream = 5, .seq = 1, .code = AL_E_TIMEOUT);
    answer(&peer, first, AL_E_LEASE_LOST, 0);
    assert_int_equal(commits[0]->state, ALI_COMMIT_PARKED);
    peer_deliver(&peer, 1, 0, 200, "x");
    peer_deliver(&peer, 2, 1, 201, "y");
    assert_silent(&peer); /* the number of the second is not known to be void yet */
    answer(&peer, second, AL_E_SEQUENCE_GAP, 0);
    assert_int_equal(take_ack(&peer, 1, &second), 201);
    assert_int_equal(take_ack(&peer, 2, &first), 200);
    answer(&peer, second, AL_E_OUT_OF_ORDER, 0);
    answer(&peer, first, AL_E_SEQUENCE_GAP, 0);
    assert_int_equal(take_ack(&peer, 1, &first), 200);
    assert_int_equal(take_ack(&peer, 2, &second), 201);
    answer(&peer, first, 0, 0);
    answer(&peer, second, 0, 0);
    assert_due(&peer, commits[0], 0);
    assert_due(&peer, commits[1], 0);
    peer_deinit(&peer);
}

/* One under way, one whose callback is due, one freed meanwhile: all go with the session. */
static void test_the_library_frees_what_it_still_has(void **state)
{
    struct peer peer;
    struct al_commit *commits[2], *third;
    uint32_t first, bad;

    (void)state;
    two_of_a_stream(&peer, commits);
    (void)take_ack(&peer, 1, &first);
    answer(&peer, first, 0, 0);
    third = queue(&peer, "k", NULL);
    third->fn = never_called;
    ali_commit_free(peer.session, third);
    assert_int_equal(ali_commit_queue(peer.session, commits[0], peer.now, &bad), -AL_E_BUSY);
    assert_int_equal(ali_commit_add_change(commits[0], AL_KV_SET, al_str_c("k"), al_str_c("v")),
                     -AL_E_BUSY);
    peer_deinit(&peer); /* which looks for memory that is left */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_said_again_under_its_number),
        cmocka_unit_test(test_behind_a_refused_one),
        cmocka_unit_test(test_waits_for_a_lease),
        cmocka_unit_test(test_has_a_lease_again),
        cmocka_unit_test(test_detached_while_it_waits),
        cmocka_unit_test(test_producer_retired),
        cmocka_unit_test(test_two_of_a_stream_are_under_way),
        cmocka_unit_test(test_the_order_of_a_stream_holds),
        cmocka_unit_test(test_one_that_has_overtaken_goes_behind),
        cmocka_unit_test(test_the_library_frees_what_it_still_has),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
