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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_said_again_under_its_number),
        cmocka_unit_test(test_behind_a_refused_one),
        cmocka_unit_test(test_waits_for_a_lease),
        cmocka_unit_test(test_has_a_lease_again),
        cmocka_unit_test(test_detached_while_it_waits),
        cmocka_unit_test(test_producer_retired),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
