/* test_client_inbox.c - what the node has given out: order, leases, acks, reconnects. */
#include "base/errors.h"
#include "base/limits.h"
#include "client_peer.h"
#include <string.h>

#define ASSERT_TEXT(delivery, text) check_text((delivery), (text), __FILE__, __LINE__)

static void check_text(const struct ali_delivery *d, const char *text, const char *file, int line)
{
    _assert_true(d != NULL, text, file, line);
    if (!d)
        return; /* not reached; the analyzer does not know */
    _assert_int_equal(d->pub.message.payload_size, strlen(text), file, line);
    _assert_memory_equal(d->pub.message.payload, text, strlen(text), file, line);
}

static void begin(struct peer *peer, const struct al_attach_options *options)
{
    peer_init(peer, NULL);
    peer_connect(peer);
    peer_attach(peer, options, false);
}

static int ack(struct peer *peer, struct ali_delivery *delivery)
{
    return ali_csession_ack(peer->session, delivery, NULL, peer->now);
}

/* Takes ACK and checks what it is about. */
static void take_ack(struct peer *peer, uint64_t seq, uint64_t lease)
{
    TAKE(peer, ACK, ack, m);
    assert_int_equal(m.agent, 7);
    assert_int_equal(m.stream, 5);
    assert_int_equal(m.seq, seq);
    assert_int_equal(m.lease, lease);
    assert_int_equal(m.status, AL_STATUS_SUCCESS);
}

/* ---- order ------------------------------------------------------------------------------- */

static void test_one_at_a_time(void **state)
{
    struct ali_delivery *d;
    struct peer peer;

    (void)state;
    begin(&peer, NULL);
    peer_deliver(&peer, 1, 0, 101, "1");
    peer_deliver(&peer, 2, 1, 102, "2");
    d = peer_next(&peer);
    ASSERT_TEXT(d, "1");
    assert_string_equal(d->pub.message.to, "b");
    assert_string_equal(d->pub.message.from, "a");
    assert_null(peer_next(&peer));
    assert_int_equal(ack(&peer, d), 0);
    take_ack(&peer, 1, 101);
    d = peer_next(&peer);
    ASSERT_TEXT(d, "2");
    assert_int_equal(peer.session->unconfirmed, 1);
    FEED(&peer, acked, .agent = 7, .stream = 5, .seq = 1, .count = 1, .last_seq = 1);
    assert_int_equal(peer.session->unconfirmed, 0);
    assert_int_equal(ack(&peer, d), 0);
    FEED(&peer, acked, .agent = 7, .stream = 5, .seq = 2, .count = 1, .last_seq = 2);
    assert_int_equal(peer.session->rstream_pool.count, 0); /* an idle stream costs nothing */
    peer_deinit(&peer);
}

static void test_pipelined(void **state)
{
    struct al_attach_options options = {.pipelined = true};
    struct ali_delivery *first, *second;
    struct peer peer;

    (void)state;
    begin(&peer, &options);
    peer_deliver(&peer, 1, 0, 101, "1");
    peer_deliver(&peer, 2, 1, 102, "2");
    first = peer_next(&peer);
    second = peer_next(&peer);
    ASSERT_TEXT(second, "2");
    assert_int_equal(ack(&peer, second), -AL_E_OUT_OF_ORDER);
    assert_int_equal(ali_csession_nack(peer.session, second, 0, NULL, peer.now),
                     -AL_E_OUT_OF_ORDER);
    assert_int_equal(ack(&peer, first), 0);
    assert_int_equal(ack(&peer, second), 0);
    take_ack(&peer, 1, 101);
    take_ack(&peer, 2, 102);
    peer_deinit(&peer);
}

/* More than the credit is a broken node. */
static void test_credit(void **state)
{
    struct al_attach_options options = {.credit = 1};
    struct al_msg_deliver m = {.agent = 7, .stream = 5, .seq = 2, .lease = 2};
    struct peer peer;

    (void)state;
    begin(&peer, &options);
    peer_deliver(&peer, 1, 0, 101, "1");
    assert_int_equal(al_put_deliver(&peer.in, &m), 0);
    peer_feed(&peer);
    assert_int_equal(peer.error, -AL_E_PROTOCOL);
    peer_deinit(&peer);
}

/* The credit changes while messages given out under the larger one are on their way. */
static void test_credit_changes(void **state)
{
    struct al_attach_options options = {.credit = 2, .credit_bytes = 5000};
    struct peer peer;

    (void)state;
    begin(&peer, &options);
    peer_deliver(&peer, 1, 0, 101, "1");
    assert_int_equal(ali_csession_credit(peer.session, "b", 1, 0), 0);
    {
        TAKE(&peer, CREDIT, credit, m);
        assert_int_equal(m.agent, 7);
        assert_int_equal(m.credit, 1);
        assert_int_equal(m.credit_bytes, 5000);
    }
    peer_deliver(&peer, 2, 1, 102, "2"); /* crossed with CREDIT */
    peer_lose(&peer);
    assert_int_equal(ali_csession_credit(peer.session, "b", 0, 6000), 0);
    peer_connect(&peer);
    {
        TAKE(&peer, ATTACH, attach, m); /* still paused */
        assert_int_equal(m.credit, 0);
        assert_int_equal(m.credit_bytes, 6000);
    }
    assert_int_equal(ali_csession_credit(peer.session, "b", AL_CREDIT_MAX + 1, 0), -AL_E_INVALID);
    assert_int_equal(ali_csession_credit(peer.session, "b", 1, AL_CREDIT_BYTES_MAX + 1),
                     -AL_E_INVALID);
    assert_int_equal(ali_csession_credit(peer.session, "c", 1, 0), -AL_E_NOT_ATTACHED);
    peer_deinit(&peer);
}

/* ---- nacks and recalls ------------------------------------------------------------------- */

static void test_nack(void **state)
{
    struct ali_delivery *d;
    struct peer peer;

    (void)state;
    begin(&peer, NULL);
    peer_deliver(&peer, 1, 0, 101, "1");
    peer_deliver(&peer, 2, 1, 102, "2");
    d = peer_next(&peer);
    assert_int_equal(ali_csession_nack(peer.session, d, 30, "why", peer.now), 0);
    {
        TAKE(&peer, NACK, nack, m);
        assert_int_equal(m.seq, 1);
        assert_int_equal(m.lease, 101);
        assert_int_equal(m.retry_after_ms, 30);
    }
    assert_null(peer_next(&peer));       /* 2 must not overtake 1 … */
    peer_deliver(&peer, 3, 2, 103, "3"); /* … nor 3, which was on its way */
    assert_null(peer_next(&peer));
    FEED(&peer, recall, .agent = 7, .stream = 5, .seq = 2, .code = AL_E_CANCELLED);
    assert_null(peer_next(&peer));
    peer_deliver(&peer, 1, 0, 104, "1");
    peer_deliver(&peer, 2, 1, 105, "2");
    d = peer_next(&peer);
    ASSERT_TEXT(d, "1");
    assert_int_equal(d->lease, 104);
    assert_int_equal(ack(&peer, d), 0);
    ASSERT_TEXT(peer_next(&peer), "2");
    peer_deinit(&peer);
}

/* The node had nothing out behind the nacked message: no RECALL comes. */
static void test_nack_without_recall(void **state)
{
    struct ali_delivery *d;
    struct peer peer;

    (void)state;
    begin(&peer, NULL);
    peer_deliver(&peer, 4, 3, 101, "4");
    d = peer_next(&peer);
    assert_int_equal(ali_csession_nack(peer.session, d, 0, NULL, peer.now), 0);
    peer_deliver(&peer, 5, 4, 102, "5"); /* crossed with the NACK: void */
    assert_null(peer_next(&peer));
    peer_deliver(&peer, 5, 3, 103, "5"); /* 4 was dropped: made after the NACK */
    d = peer_next(&peer);
    ASSERT_TEXT(d, "5");
    assert_int_equal(ali_csession_nack(peer.session, d, 0, NULL, peer.now), 0);
    FEED(&peer, acked, .agent = 7, .stream = 5, .seq = 5, .count = 1, .last_seq = 5);
    peer_deliver(&peer, 6, 5, 104, "6"); /* the answer to the NACK has come before */
    ASSERT_TEXT(peer_next(&peer), "6");
    peer_deinit(&peer);
}

static void test_recall(void **state)
{
    struct ali_delivery *d;
    struct ali_notice *notice;
    struct peer peer;

    (void)state;
    begin(&peer, NULL);
    ali_notice_free(peer.session, ali_csession_take_notice(peer.session)); /* connected */
    peer_deliver(&peer, 1, 0, 101, "1");
    peer_deliver(&peer, 2, 1, 102, "2");
    d = peer_next(&peer);
    FEED(&peer, recall, .agent = 7, .stream = 5, .seq = 1, .code = AL_E_TIMEOUT);
    assert_true(d->lost);
    notice = ali_csession_take_notice(peer.session);
    assert_non_null(notice);
    assert_int_equal(notice->notice.type, AL_NOTICE_LEASE_LOST);
    assert_int_equal(notice->notice.seq, 1);
    assert_string_equal(notice->notice.agent, "b");
    ali_notice_free(peer.session, notice);
    assert_null(peer_next(&peer));       /* 2 is void, and 1 is being worked on */
    peer_deliver(&peer, 1, 0, 103, "1"); /* 1 again: the program goes on with a new lease */
    assert_false(d->lost);
    assert_int_equal(d->lease, 103);
    assert_null(peer_next(&peer));
    assert_int_equal(ack(&peer, d), 0);
    take_ack(&peer, 1, 103);
    peer_deinit(&peer);
}

/* The program finishes after the recall and before the message is given out again. */
static void test_ack_after_recall(void **state)
{
    struct ali_delivery *d;
    struct peer peer;

    (void)state;
    begin(&peer, NULL);
    peer_deliver(&peer, 1, 0, 101, "1");
    d = peer_next(&peer);
    FEED(&peer, recall, .agent = 7, .stream = 5, .seq = 1, .code = AL_E_TIMEOUT);
    assert_int_equal(ack(&peer, d), 0);
    assert_silent(&peer); /* its lease is void */
    assert_int_equal(peer.session->unconfirmed, 1);
    peer_deliver(&peer, 1, 0, 102, "1");
    take_ack(&peer, 1, 102);
    assert_null(peer_next(&peer)); /* the program does not see it again */
    assert_int_equal(peer.session->stats.suppressed, 1);
    FEED(&peer, acked, .agent = 7, .stream = 5, .seq = 1, .count = 1, .last_seq = 1);
    assert_int_equal(peer.session->unconfirmed, 0);
    peer_deinit(&peer);
}

/* It never comes again: the record tells that it has ended otherwise, or time does. */
static void test_ack_forgotten(void **state)
{
    struct ali_delivery *d;
    struct peer peer;

    (void)state;
    begin(&peer, NULL);
    peer_deliver(&peer, 1, 0, 101, "1");
    d = peer_next(&peer);
    assert_int_equal(ack(&peer, d), 0);
    take_ack(&peer, 1, 101);
    FEED(&peer, settle_refused, .agent = 7, .stream = 5, .seq = 1, .lease = 101,
         .code = AL_E_LEASE_LOST);
    {
        TAKE(&peer, RECORD_GET, record_get, get);
        assert_int_equal(get.stream, 5);
        assert_int_equal(get.seq, 1);
        FEED(&peer, record, .request = get.request, .stream = 5, .seq = 1,
             .state = AL_STATE_DELIVERED);
    }
    assert_int_equal(peer.session->unconfirmed, 0); /* only its confirmation was lost */
    peer_deliver(&peer, 2, 1, 102, "2");
    d = peer_next(&peer);
    assert_int_equal(ack(&peer, d), 0);
    take_ack(&peer, 2, 102);
    FEED(&peer, settle_refused, .agent = 7, .stream = 5, .seq = 2, .lease = 102,
         .code = AL_E_LEASE_LOST);
    {
        TAKE(&peer, RECORD_GET, record_get, get);
        FEED(&peer, record, .request = get.request, .stream = 5, .seq = 2,
             .state = AL_STATE_DELAYED);
    }
    assert_int_equal(peer.session->unconfirmed, 1);
    assert_true(ali_csession_deadline_ns(peer.session) <= peer.now.mono_ns + 600 * AL_NS_PER_SEC);
    peer.session->last_rx_ns = peer.now.mono_ns + 600 * AL_NS_PER_SEC; /* not about silence */
    assert_int_equal(peer_sleep(&peer, 600 * 1000), 0);
    assert_int_equal(peer.session->unconfirmed, 0);
    assert_int_equal(peer.session->waiting, 0);
    peer_deinit(&peer);
}

/* ---- leases ------------------------------------------------------------------------------ */

static void test_renewal(void **state)
{
    struct ali_delivery *d;
    struct peer peer;

    (void)state;
    begin(&peer, NULL);
    peer_deliver(&peer, 1, 0, 101, "1");
    peer_deliver(&peer, 2, 1, 102, "2");
    d = peer_next(&peer);
    assert_int_equal(peer_sleep(&peer, 0), 0);
    assert_int_equal(ali_csession_deadline_ns(peer.session),
                     peer.now.mono_ns + 300 * AL_NS_PER_MS); /* a third of 900 */
    assert_int_equal(peer_sleep(&peer, 299), 0);
    assert_silent(&peer);
    assert_int_equal(peer_sleep(&peer, 1), 0);
    {
        TAKE(&peer, EXTEND, extend, m);
        assert_int_equal(m.seq, 1);
        assert_int_equal(m.lease, 101);
        assert_int_equal(m.lease_ms, 900);
    }
    assert_silent(&peer); /* only the head's clock runs */
    assert_int_equal(peer_sleep(&peer, 200), 0);
    assert_int_equal(ack(&peer, d), 0); /* now 2 is the head: its clock begins */
    take_ack(&peer, 1, 101);
    assert_int_equal(peer_sleep(&peer, 200), 0);
    assert_silent(&peer);
    assert_int_equal(peer_sleep(&peer, 100), 0);
    {
        TAKE(&peer, EXTEND, extend, m);
        assert_int_equal(m.seq, 2); /* also while it is queued */
    }
    peer_deinit(&peer);
}

static void test_cap(void **state)
{
    struct ali_csession_config config = {.lease_cap_ms = 1000};
    struct ali_delivery *d;
    unsigned extends = 0, i;
    struct peer peer;

    (void)state;
    peer_init(&peer, &config);
    peer_connect(&peer);
    peer_attach(&peer, NULL, false);
    peer_deliver(&peer, 1, 0, 101, "1");
    d = peer_next(&peer);
    for (i = 0; i < 40; i++) {
        assert_int_equal(peer_sleep(&peer, 50), 0);
        while (peer_peek(&peer)) {
            SKIP(&peer, EXTEND);
            extends++;
        }
    }
    assert_int_equal(extends, 3); /* at 300, 600, 900 */
    assert_int_equal(ali_csession_extend(peer.session, d, 400, 7, peer.now), 0);
    {
        TAKE(&peer, EXTEND, extend, m);
        assert_int_equal(m.lease_ms, 400);
        assert_int_equal(m.retrying, 7);
    }
    assert_int_equal(peer_sleep(&peer, 140), 0); /* the cap counts from there */
    SKIP(&peer, EXTEND);
    peer_deinit(&peer);
}

static void test_extend_refused(void **state)
{
    struct ali_delivery *d;
    struct peer peer;

    (void)state;
    begin(&peer, NULL);
    peer_deliver(&peer, 1, 0, 101, "1");
    d = peer_next(&peer);
    assert_int_equal(peer_sleep(&peer, 300), 0);
    SKIP(&peer, EXTEND);
    FEED(&peer, settle_refused, .agent = 7, .stream = 5, .seq = 1, .lease = 101,
         .code = AL_E_LEASE_LOST);
    assert_true(d->lost);
    assert_int_equal(peer_sleep(&peer, 300), 0);
    assert_silent(&peer);
    peer_deinit(&peer);
}

static void test_drop(void **state)
{
    struct ali_delivery *d;
    struct peer peer;

    (void)state;
    begin(&peer, NULL);
    peer_deliver(&peer, 1, 0, 101, "1");
    peer_deliver(&peer, 2, 1, 102, "2");
    ali_csession_drop(peer.session, peer_next(&peer));
    assert_null(peer_next(&peer)); /* 2 waits for 1 */
    assert_int_equal(peer_sleep(&peer, 300), 0);
    assert_silent(&peer); /* not renewed */
    FEED(&peer, recall, .agent = 7, .stream = 5, .seq = 1, .code = AL_E_TIMEOUT);
    peer_deliver(&peer, 1, 0, 103, "1");
    d = peer_next(&peer);
    ASSERT_TEXT(d, "1");
    assert_int_equal(ack(&peer, d), 0);
    peer_deinit(&peer);
}

/* ---- reconnects -------------------------------------------------------------------------- */

/* The node still has the session: what is queued and held stays, unconfirmed acks are repeated. */
static void test_resumed(void **state)
{
    struct ali_delivery *d;
    struct peer peer;

    (void)state;
    begin(&peer, NULL);
    peer_deliver(&peer, 1, 0, 101, "1");
    peer_deliver(&peer, 2, 1, 102, "2");
    peer_deliver(&peer, 3, 2, 103, "3");
    assert_int_equal(ack(&peer, peer_next(&peer)), 0);
    take_ack(&peer, 1, 101);
    d = peer_next(&peer);
    peer_lose(&peer);
    assert_int_equal(ack(&peer, d), 0); /* while there is no connection */
    assert_null(peer_next(&peer));      /* who knows whose 3 is now */
    peer_connect(&peer);
    peer_attach(&peer, NULL, true);
    take_ack(&peer, 1, 101);
    take_ack(&peer, 2, 102);
    peer_deliver(&peer, 2, 1, 102, "2"); /* sent again by the node: our ack is on its way */
    peer_deliver(&peer, 3, 2, 103, "3");
    assert_silent(&peer);
    d = peer_next(&peer);
    ASSERT_TEXT(d, "3");
    FEED(&peer, acked, .agent = 7, .stream = 5, .seq = 1, .count = 2, .last_seq = 2);
    assert_int_equal(peer.session->unconfirmed, 0);
    assert_int_equal(ack(&peer, d), 0);
    peer_deinit(&peer);
}

/* As much is queued as the credit allows, and the node says all of it once more. */
static void test_resumed_with_a_full_queue(void **state)
{
    struct al_attach_options options = {.credit = 2};
    struct peer peer;

    (void)state;
    begin(&peer, &options);
    peer_deliver(&peer, 1, 0, 101, "1");
    peer_deliver(&peer, 2, 1, 102, "2");
    peer_lose(&peer);
    peer_connect(&peer);
    peer_attach(&peer, NULL, true);
    peer_deliver(&peer, 1, 0, 101, "1");
    peer_deliver(&peer, 2, 1, 102, "2");
    ASSERT_TEXT(peer_next(&peer), "1");
    peer_deinit(&peer);
}

/* Takes NACK and checks that it is the one of message 1. */
static void take_nack(struct peer *peer)
{
    TAKE(peer, NACK, nack, m);
    assert_int_equal(m.agent, 7);
    assert_int_equal(m.seq, 1);
    assert_int_equal(m.lease, 101);
    assert_int_equal(m.retry_after_ms, 5000);
    assert_memory_equal(m.reason.p, "later", 5);
}

/* A nack that is lost with its connection is said again: the pause that it asks for holds. */
static void test_nack_resumed(void **state)
{
    struct ali_delivery *d;
    struct peer peer;

    (void)state;
    for (int down = 0; down < 2; down++) { /* given while there is a connection, and while not */
        begin(&peer, NULL);
        peer_deliver(&peer, 1, 0, 101, "1");
        peer_deliver(&peer, 2, 1, 102, "2");
        d = peer_next(&peer);
        if (down)
            peer_lose(&peer);
        assert_int_equal(ali_csession_nack(peer.session, d, 5000, "later", peer.now), 0);
        if (!down) {
            take_nack(&peer);
            peer_lose(&peer);
        }
        assert_null(peer_next(&peer));
        peer_connect(&peer);
        peer_attach(&peer, NULL, true);
        take_nack(&peer);
        peer_deliver(&peer, 1, 0, 101, "1"); /* made before the node has read it */
        peer_deliver(&peer, 2, 1, 102, "2");
        assert_null(peer_next(&peer));
        FEED(&peer, recall, .agent = 7, .stream = 5, .seq = 2, .code = AL_E_CANCELLED);
        assert_null(peer_next(&peer));
        peer_deliver(&peer, 1, 0, 201, "1");
        ASSERT_TEXT(peer_next(&peer), "1");
        assert_silent(&peer);
        peer_deinit(&peer);
    }
}

/* The node had read it before the connection was lost, or has forgotten the session. */
static void test_nack_not_needed(void **state)
{
    struct peer peer;

    (void)state;
    begin(&peer, NULL);
    peer_deliver(&peer, 1, 0, 101, "1");
    assert_int_equal(ali_csession_nack(peer.session, peer_next(&peer), 5000, "later", peer.now), 0);
    take_nack(&peer);
    peer_lose(&peer);
    peer_connect(&peer);
    peer_attach(&peer, NULL, true);
    take_nack(&peer);
    FEED(&peer, settle_refused, .agent = 7, .stream = 5, .seq = 1, .lease = 101,
         .code = AL_E_LEASE_LOST);
    peer_deliver(&peer, 1, 0, 201, "1");
    {
        struct ali_delivery *d = peer_next(&peer);

        ASSERT_TEXT(d, "1");
        assert_int_equal(ali_csession_nack(peer.session, d, 0, NULL, peer.now), 0);
    }
    SKIP(&peer, NACK);
    peer_lose(&peer);
    peer_connect(&peer);
    peer_attach(&peer, NULL, false);
    assert_silent(&peer);
    peer_deliver(&peer, 1, 0, 301, "1");
    ASSERT_TEXT(peer_next(&peer), "1");
    peer_deinit(&peer);
}

/* The node has forgotten the session: leases are void, messages come again with new ones. */
static void test_not_resumed(void **state)
{
    struct ali_delivery *done, *held;
    struct al_attach_options options = {.pipelined = true};
    struct peer peer;

    (void)state;
    begin(&peer, &options);
    peer_deliver(&peer, 1, 0, 101, "1");
    peer_deliver(&peer, 2, 1, 102, "2");
    peer_deliver(&peer, 3, 2, 103, "3");
    done = peer_next(&peer);
    assert_int_equal(ack(&peer, done), 0);
    held = peer_next(&peer);
    peer_lose(&peer);
    peer_connect(&peer);
    peer_attach(&peer, NULL, false);
    take_ack(&peer, 1, 101); /* the node may have it already: it will say so */
    assert_true(held->lost);
    assert_null(peer_next(&peer)); /* 3 will come again */
    peer_deliver(&peer, 1, 0, 201, "1");
    take_ack(&peer, 1, 201); /* answered without the program */
    FEED(&peer, settle_refused, .agent = 7, .stream = 5, .seq = 1, .lease = 101,
         .code = AL_E_LEASE_LOST); /* about the first of the two */
    assert_silent(&peer);
    FEED(&peer, acked, .agent = 7, .stream = 5, .seq = 1, .count = 1, .last_seq = 1);
    peer_deliver(&peer, 2, 1, 202, "2");
    assert_false(held->lost);
    peer_deliver(&peer, 3, 2, 203, "3");
    ASSERT_TEXT(peer_next(&peer), "3");
    assert_int_equal(ack(&peer, held), 0);
    take_ack(&peer, 2, 202);
    peer_deinit(&peer);
}

static void test_fenced(void **state)
{
    struct ali_delivery *d;
    struct ali_notice *notice;
    struct peer peer;

    (void)state;
    begin(&peer, NULL);
    ali_notice_free(peer.session, ali_csession_take_notice(peer.session));
    peer_deliver(&peer, 1, 0, 101, "1");
    peer_deliver(&peer, 2, 1, 102, "2");
    d = peer_next(&peer);
    FEED(&peer, detached, .agent = 7, .code = AL_E_FENCED, .detail = al_str_c("taken over"));
    notice = ali_csession_take_notice(peer.session);
    assert_non_null(notice);
    assert_int_equal(notice->notice.type, AL_NOTICE_DETACHED);
    assert_int_equal(notice->notice.error, -AL_E_FENCED);
    assert_string_equal(notice->notice.detail, "taken over");
    ali_notice_free(peer.session, notice);
    assert_int_equal(ack(&peer, d), -AL_E_FENCED);
    ali_csession_drop(peer.session, d);
    assert_null(peer_next(&peer));
    peer_lose(&peer);
    peer_connect(&peer);
    assert_silent(&peer); /* no fight over it */
    peer_deinit(&peer);
}

/* Taking over is said once; after a reconnect the client only asks. */
static void test_takeover_once(void **state)
{
    struct al_attach_options options = {.takeover = true};
    struct ali_attach *attach;
    struct peer peer;

    (void)state;
    peer_init(&peer, NULL);
    peer_connect(&peer);
    assert_int_equal(ali_csession_attach(peer.session, "b", &options, true, &attach), 0);
    {
        TAKE(&peer, ATTACH, attach, m);
        assert_int_equal(m.flags, AL_ATTACH_TAKEOVER);
        FEED(&peer, attached, .request = m.request, .agent = 7);
    }
    peer_lose(&peer);
    peer_connect(&peer);
    {
        TAKE(&peer, ATTACH, attach, m);
        assert_int_equal(m.flags, 0);
        FEED(&peer, error, .request = m.request, .code = AL_E_FENCED, .about = AL_MSG_ATTACH);
    }
    assert_int_equal(attach->state, ALI_ATTACH_ENDED);
    assert_int_equal(attach->error, -AL_E_FENCED);
    peer_deinit(&peer);
}

/* The node says that there is another receiver. */
static void refuse_attach(struct peer *peer)
{
    TAKE(peer, ATTACH, attach, m);
    FEED(peer, error, .request = m.request, .code = AL_E_ALREADY_ATTACHED, .about = AL_MSG_ATTACH);
}

/* One that has just been killed may be there for a moment still: the library asks again. */
static void test_another_is_on_its_way_out(void **state)
{
    struct ali_attach *attach;
    struct peer peer;

    (void)state;
    peer_init(&peer, NULL);
    peer_connect(&peer);
    assert_int_equal(ali_csession_attach(peer.session, "b", NULL, true, &attach), 0);
    refuse_attach(&peer);
    assert_int_equal(attach->state, ALI_ATTACH_WANTED);
    assert_int_equal(attach->error, -AL_E_ALREADY_ATTACHED); /* if the caller's time were over */
    peer_sleep(&peer, 40);
    assert_silent(&peer);
    peer_sleep(&peer, 10);
    {
        TAKE(&peer, ATTACH, attach, m);
        FEED(&peer, attached, .request = m.request, .agent = 7);
    }
    assert_int_equal(attach->state, ALI_ATTACH_DONE);
    peer_deinit(&peer);
}

/* One that stays is an error after a second, and so it is behind each connection. */
static void test_another_stays(void **state)
{
    struct ali_attach *attach;
    unsigned asked = 1;
    struct peer peer;

    (void)state;
    peer_init(&peer, NULL);
    peer_connect(&peer);
    assert_int_equal(ali_csession_attach(peer.session, "b", NULL, true, &attach), 0);
    refuse_attach(&peer);
    peer_lose(&peer);
    assert_int_equal(attach->error, 0);
    peer_sleep(&peer, 5000);
    peer_connect(&peer);
    for (refuse_attach(&peer); attach->state == ALI_ATTACH_WANTED; refuse_attach(&peer), asked++)
        peer_sleep(&peer, 50);
    assert_int_equal(asked, 21);
    assert_int_equal(attach->state, ALI_ATTACH_ENDED);
    assert_int_equal(attach->error, -AL_E_ALREADY_ATTACHED);
    peer_deinit(&peer);
}

static void test_detach(void **state)
{
    struct ali_delivery *d;
    struct peer peer;

    (void)state;
    begin(&peer, NULL);
    peer_deliver(&peer, 1, 0, 101, "1");
    d = peer_next(&peer);
    assert_int_equal(ali_csession_detach(peer.session, "b", true), 0);
    {
        TAKE(&peer, DETACH, detach, m);
        assert_int_equal(m.agent, 7);
        assert_int_equal(m.flags, AL_KEEP_LEASES);
    }
    ASSERT_TEXT(d, "1"); /* still valid memory */
    assert_int_equal(ack(&peer, d), -AL_E_NOT_ATTACHED);
    peer_deliver(&peer, 2, 1, 102, "2"); /* was on its way */
    FEED(&peer, detached, .agent = 7);
    assert_null(peer_next(&peer));
    assert_int_equal(ali_csession_detach(peer.session, "b", true), -AL_E_NOT_ATTACHED);
    peer_deinit(&peer); /* frees d as well */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_at_a_time),
        cmocka_unit_test(test_pipelined),
        cmocka_unit_test(test_credit),
        cmocka_unit_test(test_credit_changes),
        cmocka_unit_test(test_nack),
        cmocka_unit_test(test_nack_without_recall),
        cmocka_unit_test(test_recall),
        cmocka_unit_test(test_ack_after_recall),
        cmocka_unit_test(test_ack_forgotten),
        cmocka_unit_test(test_renewal),
        cmocka_unit_test(test_cap),
        cmocka_unit_test(test_extend_refused),
        cmocka_unit_test(test_drop),
        cmocka_unit_test(test_resumed),
        cmocka_unit_test(test_resumed_with_a_full_queue),
        cmocka_unit_test(test_nack_resumed),
        cmocka_unit_test(test_nack_not_needed),
        cmocka_unit_test(test_not_resumed),
        cmocka_unit_test(test_fenced),
        cmocka_unit_test(test_takeover_once),
        cmocka_unit_test(test_another_is_on_its_way_out),
        cmocka_unit_test(test_another_stays),
        cmocka_unit_test(test_detach),
    };

    return cmocka_run_group_tests_name("client_inbox", tests, NULL, NULL);
}
