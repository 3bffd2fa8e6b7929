/* test_client_gaps.c - what was lost between a client and its node. */
#include "base/errors.h"
#include "base/limits.h"
#include "client_peer.h"
#include <stdio.h>
#include <string.h>

/* ---- what the node misses ---------------------------------------------------------------- */

/* Sends n messages "1" … "n" and takes their PUBLISH frames. */
static void send_numbers(struct peer *peer, unsigned n)
{
    char text[16];

    for (unsigned i = 1; i <= n; i++) {
        snprintf(text, sizeof(text), "%u", i);
        assert_int_equal(peer_send(peer, text, NULL, NULL), 0);
    }
    peer_open_channel(peer);
    for (unsigned i = 1; i <= n; i++) {
        snprintf(text, sizeof(text), "%u", i);
        peer_take_publish(peer, i, text);
    }
}

static void test_a_missing_range_is_written_again(void **state)
{
    struct peer peer;

    (void)state;
    peer_init(&peer, NULL);
    peer_connect(&peer);
    send_numbers(&peer, 5);
    FEED(&peer, receipt, .channel = 1, .pseq = 1, .count = 1, .stream = 5, .seq = 1);
    FEED(&peer, gap_nack, .number = 1, .start = 2, .end = 3);
    peer_take_publish(&peer, 2, "2");
    peer_take_publish(&peer, 3, "3");
    assert_silent(&peer);
    assert_int_equal(peer.session->stats.resent, 2);
    FEED(&peer, receipt, .channel = 1, .pseq = 2, .count = 4, .stream = 5, .seq = 2);
    /* One of them was only late: it is answered twice. */
    FEED(&peer, receipt, .channel = 1, .pseq = 3, .count = 1, .stream = 5, .seq = 3,
         .duplicate = 1);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(peer_result(&peer), 0);
    FEED(&peer, gap_nack, .number = 1, .start = 2, .end = 3); /* late: nothing to do */
    FEED(&peer, gap_nack, .number = 77, .start = 2, .end = 3);
    assert_silent(&peer);
    peer_deinit(&peer);
}

static void test_a_closed_gap_ends_the_missing_ones_only(void **state)
{
    struct peer peer;

    (void)state;
    peer_init(&peer, NULL);
    peer_connect(&peer);
    send_numbers(&peer, 3);
    FEED(&peer, refused, .channel = 1, .pseq = 1, .code = AL_E_GAP_CLOSED);
    FEED(&peer, receipt, .channel = 1, .pseq = 2, .count = 2, .stream = 5, .seq = 1);
    assert_int_equal(peer_result(&peer), -AL_E_GAP_CLOSED);
    assert_int_equal(peer_result(&peer), 0);
    assert_int_equal(peer_result(&peer), 0);
    FEED(&peer, refused, .channel = 1, .pseq = 1, .code = AL_E_GAP_CLOSED); /* of a late copy */
    assert_silent(&peer);                                                   /* nothing to resume */
    assert_int_equal(peer_send(&peer, "4", NULL, NULL), 0);
    peer_take_publish(&peer, 4, "4"); /* its number is not used again */
    peer_deinit(&peer);
}

/* A copy that is refused behind a resumed refusal says nothing about the message. */
static void test_refusals_of_copies(void **state)
{
    struct peer peer;

    (void)state;
    peer_init(&peer, &(struct ali_csession_config){.refusals = AL_REFUSAL_RETRY});
    peer_connect(&peer);
    send_numbers(&peer, 2);
    FEED(&peer, gap_nack, .number = 1, .start = 1, .end = 1);
    peer_take_publish(&peer, 1, "1");
    FEED(&peer, refused, .channel = 1, .pseq = 1, .code = AL_E_INBOX_FULL);
    FEED(&peer, refused, .channel = 1, .pseq = 2, .code = AL_E_STREAM_HELD);
    assert_int_equal(peer_sleep(&peer, 60), 0);
    SKIP(&peer, CHANNEL_RESUME);
    peer_take_publish(&peer, 1, "1");
    peer_take_publish(&peer, 2, "2");
    FEED(&peer, refused, .channel = 1, .pseq = 1, .code = AL_E_STREAM_HELD); /* of the copy */
    FEED(&peer, receipt, .channel = 1, .pseq = 1, .count = 2, .stream = 5, .seq = 1);
    assert_int_equal(peer_result(&peer), 0);
    assert_int_equal(peer_result(&peer), 0);
    assert_silent(&peer);
    peer_deinit(&peer);
}

static void test_the_channel_says_the_policy(void **state)
{
    struct peer peer;

    (void)state;
    peer_init(&peer, &(struct ali_csession_config){.gaps = AL_GAP_SKIP});
    peer_connect(&peer);
    assert_int_equal(peer_send(&peer, "1", NULL, NULL), 0);
    {
        TAKE(&peer, PRODUCER_OPEN, producer_open, open);
        FEED(&peer, producer_ready, .request = open.request, .producer = 9, .epoch = 1);
    }
    {
        TAKE(&peer, CHANNEL_OPEN, channel_open, channel);
        assert_int_equal(channel.flags, AL_GAPS_SKIP);
    }
    peer_deinit(&peer);
}

/* ---- what we miss ------------------------------------------------------------------------ */

#define LEASE(seq) (100 + (seq))

/* A delivery of a message that follows the one before it. */
static void come(struct peer *peer, uint64_t seq)
{
    peer_follow(peer, seq, seq - 1, LEASE(seq), "x");
}

static void attached(struct peer *peer)
{
    peer_init(peer, NULL);
    peer_connect(peer);
    peer_attach(peer, NULL, false);
}

static void asked(struct peer *peer, uint64_t start, uint64_t end)
{
    TAKE(peer, GAP_NACK, gap_nack, m);

    assert_int_equal(m.number, 5);
    assert_int_equal(m.start, start);
    assert_int_equal(m.end, end);
}

/* The program gets this one, and acks it. */
static void handled(struct peer *peer, uint64_t seq)
{
    struct ali_delivery *d = peer_next(peer);

    assert_non_null(d);
    assert_int_equal(d->pub.seq, seq);
    assert_int_equal(ali_csession_ack(peer->session, d, NULL, peer->now), 0);
    {
        TAKE(peer, ACK, ack, m);
        assert_int_equal(m.seq, seq);
    }
}

static void test_what_is_behind_a_gap_waits(void **state)
{
    struct peer peer;

    (void)state;
    attached(&peer);
    peer_deliver(&peer, 1, 0, LEASE(1), "x");
    come(&peer, 3);
    asked(&peer, 2, 2);
    come(&peer, 4); /* the same gap: asked for once */
    assert_silent(&peer);
    handled(&peer, 1);
    assert_null(peer_next(&peer));
    come(&peer, 7);
    asked(&peer, 5, 6);
    come(&peer, 2);
    handled(&peer, 2);
    handled(&peer, 3);
    handled(&peer, 4);
    assert_null(peer_next(&peer));
    come(&peer, 6); /* half of the second gap */
    assert_null(peer_next(&peer));
    assert_silent(&peer);
    come(&peer, 5);
    handled(&peer, 5);
    handled(&peer, 6);
    handled(&peer, 7);
    assert_int_equal(peer.session->stats.asked_again, 2);
    assert_int_equal(peer_sleep(&peer, 6000), 0); /* there is no gap any more */
    assert_silent(&peer);
    peer_deinit(&peer);
}

/* The first one is lost: nothing was known of the stream. */
static void test_the_first_one_may_be_missing(void **state)
{
    struct peer peer;

    (void)state;
    attached(&peer);
    peer_follow(&peer, 12, 10, LEASE(12), "x"); /* 11 was dropped long ago */
    asked(&peer, 1, 10);
    assert_null(peer_next(&peer));
    peer_deliver(&peer, 10, 8, LEASE(10), "x"); /* 8 has ended: it does not follow it */
    handled(&peer, 10);
    handled(&peer, 12);
    peer_deinit(&peer);
}

static void test_it_is_asked_for_again_until_the_connection_is_given_up(void **state)
{
    static const unsigned pauses[] = {100, 200, 400, 800, 1600, 1600};
    struct peer peer;

    (void)state;
    attached(&peer);
    peer_deliver(&peer, 1, 0, LEASE(1), "x");
    come(&peer, 3);
    asked(&peer, 2, 2);
    handled(&peer, 1);
    FEED(&peer, acked, .agent = 7, .stream = 5, .seq = 1, .count = 1, .last_seq = 1);
    for (unsigned i = 0; i < sizeof(pauses) / sizeof(pauses[0]); i++) {
        assert_int_equal(peer_sleep(&peer, pauses[i] - 1), 0);
        while (peer_peek(&peer) == AL_MSG_EXTEND)
            SKIP(&peer, EXTEND);
        assert_silent(&peer);
        assert_true(ali_csession_deadline_ns(peer.session) <= peer.now.mono_ns + AL_NS_PER_MS);
        assert_int_equal(peer_sleep(&peer, 1), 0);
        while (peer_peek(&peer) == AL_MSG_EXTEND)
            SKIP(&peer, EXTEND);
        asked(&peer, 2, 2);
    }
    assert_int_equal(peer_sleep(&peer, 299), 0);
    assert_int_equal(peer_sleep(&peer, 1), -AL_E_SEQUENCE_GAP);
    peer_lose(&peer);
    /* The session goes on: everything that is out comes again. */
    peer_connect(&peer);
    peer_attach(&peer, NULL, true);
    peer_deliver(&peer, 2, 1, LEASE(2), "x");
    come(&peer, 3);
    handled(&peer, 2);
    handled(&peer, 3);
    peer_deinit(&peer);
}

/* What was asked for is not out any more: the node says what is first behind it. */
static void test_what_follows_nothing_closes_the_gap(void **state)
{
    struct peer peer;

    (void)state;
    attached(&peer);
    peer_deliver(&peer, 1, 0, LEASE(1), "x");
    come(&peer, 4);
    asked(&peer, 2, 3);
    peer_deliver(&peer, 4, 1, LEASE(4), "x");
    handled(&peer, 1);
    handled(&peer, 4);
    assert_null(peer_next(&peer));
    peer_deinit(&peer);
}

static void test_a_recall_ends_the_gap(void **state)
{
    struct peer peer;

    (void)state;
    attached(&peer);
    peer_deliver(&peer, 1, 0, LEASE(1), "x");
    handled(&peer, 1);
    come(&peer, 3);
    asked(&peer, 2, 2);
    FEED(&peer, recall, .agent = 7, .stream = 5, .seq = 2, .code = AL_E_CANCELLED);
    assert_null(peer_next(&peer));
    assert_int_equal(peer_sleep(&peer, 6000), 0);
    assert_silent(&peer);
    /* They come again, and the first one is lost again. */
    peer_follow(&peer, 3, 2, LEASE(20), "x");
    asked(&peer, 2, 2);
    peer_deliver(&peer, 2, 1, LEASE(19), "x");
    handled(&peer, 2);
    handled(&peer, 3);
    peer_deinit(&peer);
}

static void test_a_refused_question_recalls_everything(void **state)
{
    struct peer peer;

    (void)state;
    attached(&peer);
    come(&peer, 3);
    asked(&peer, 1, 2);
    FEED(&peer, error, .about = AL_MSG_GAP_NACK, .request = 5, .code = AL_E_NOT_ATTACHED);
    assert_null(peer_next(&peer));
    assert_int_equal(peer_sleep(&peer, 6000), 0);
    assert_silent(&peer);
    peer_deinit(&peer);
}

static void test_a_resumed_session_still_knows_what_is_missing(void **state)
{
    struct peer peer;

    (void)state;
    attached(&peer);
    peer_deliver(&peer, 1, 0, LEASE(1), "x");
    come(&peer, 3);
    asked(&peer, 2, 2);
    peer_lose(&peer);
    peer_connect(&peer);
    peer_attach(&peer, NULL, true);
    come(&peer, 3); /* 1 and 2 were lost this time */
    asked(&peer, 2, 2);
    come(&peer, 2);
    handled(&peer, 1);
    handled(&peer, 2);
    handled(&peer, 3);
    peer_deinit(&peer);
}

/* After a NACK what is on its way is void, but not what was made later. */
static void test_what_a_nacked_message_was_lost_before_is_asked_for(void **state)
{
    struct ali_delivery *d;
    struct peer peer;

    (void)state;
    attached(&peer);
    peer_deliver(&peer, 1, 0, LEASE(1), "x");
    d = peer_next(&peer);
    assert_int_equal(ali_csession_nack(peer.session, d, 0, NULL, peer.now), 0);
    SKIP(&peer, NACK);
    come(&peer, 2); /* 1 came again before it, and was lost */
    assert_silent(&peer);
    assert_null(peer_next(&peer));
    assert_int_equal(peer_sleep(&peer, 100), 0);
    asked(&peer, 1, 2);
    peer_deliver(&peer, 1, 0, LEASE(50), "x");
    peer_follow(&peer, 2, 1, LEASE(51), "x");
    handled(&peer, 1);
    handled(&peer, 2);
    assert_int_equal(peer_sleep(&peer, 6000), 0);
    /* And when it was on its way, RECALL comes, and nothing is asked for. */
    peer_deliver(&peer, 3, 2, LEASE(60), "x");
    d = peer_next(&peer);
    assert_int_equal(ali_csession_nack(peer.session, d, 0, NULL, peer.now), 0);
    SKIP(&peer, NACK);
    peer_follow(&peer, 4, 3, LEASE(61), "x");
    FEED(&peer, recall, .agent = 7, .stream = 5, .seq = 4, .code = AL_E_CANCELLED);
    assert_int_equal(peer_sleep(&peer, 6000), 0);
    assert_silent(&peer);
    peer_deinit(&peer);
}

static void test_copies_are_dropped(void **state)
{
    struct ali_delivery *d;
    struct peer peer;

    (void)state;
    attached(&peer);
    peer_deliver(&peer, 1, 0, LEASE(1), "x");
    peer_deliver(&peer, 1, 0, LEASE(1), "x"); /* queued */
    d = peer_next(&peer);
    peer_deliver(&peer, 1, 0, LEASE(1), "x"); /* with the program */
    assert_null(peer_next(&peer));
    assert_int_equal(ali_csession_ack(peer.session, d, NULL, peer.now), 0);
    SKIP(&peer, ACK);
    peer_deliver(&peer, 1, 0, LEASE(1), "x"); /* acked */
    assert_null(peer_next(&peer));
    FEED(&peer, acked, .agent = 7, .stream = 5, .seq = 1, .count = 1, .last_seq = 1);
    assert_null(ali_rstream_find(peer.session, 5));
    peer_deliver(&peer, 1, 0, LEASE(1), "x"); /* ended, and the stream with it */
    assert_null(peer_next(&peer));
    assert_silent(&peer);
    assert_int_equal(peer.session->stats.repeated, 3);
    /* A later attempt is none. */
    peer_deliver(&peer, 1, 0, LEASE(9), "x");
    assert_non_null(peer_next(&peer));
    peer_deliver(&peer, 1, 0, LEASE(8), "x"); /* of an attempt before it */
    assert_int_equal(ali_rstream_find(peer.session, 5)->head->lease, LEASE(9));
    peer_deinit(&peer);
}

/* Another node, perhaps, counts its leases from the beginning. */
static void test_no_copy_gets_from_one_connection_into_another(void **state)
{
    struct peer peer;

    (void)state;
    attached(&peer);
    peer_deliver(&peer, 1, 0, LEASE(1), "x");
    handled(&peer, 1);
    FEED(&peer, acked, .agent = 7, .stream = 5, .seq = 1, .count = 1, .last_seq = 1);
    peer_lose(&peer);
    peer_connect(&peer);
    peer_attach(&peer, NULL, false);
    peer_deliver(&peer, 1, 0, 1, "x");
    handled(&peer, 1);
    peer_deinit(&peer);
}

static void test_volatile_ones_are_no_gap(void **state)
{
    struct ali_delivery *d;
    struct peer peer;

    (void)state;
    attached(&peer);
    peer_deliver(&peer, 1, 0, LEASE(1), "x");
    come(&peer, 3);
    asked(&peer, 2, 2);
    peer_deliver(&peer, 0, 0, 0, "v");
    come(&peer, 2); /* goes in before the one that waits, wherever the volatile one stands */
    handled(&peer, 1);
    handled(&peer, 2);
    handled(&peer, 3);
    d = peer_next(&peer);
    assert_non_null(d);
    assert_int_equal(d->pub.seq, 0);
    peer_deinit(&peer);
}

/* ---- any order at all -------------------------------------------------------------------- */

#define MESSAGES   60u
#define ON_ITS_WAY 16u

/* A node with one stream, and a link that loses, doubles and delays what it delivers. */
struct lossy_node {
    struct peer peer;
    struct al_test_random *random;
    uint64_t next, acked;      /* next one to be pushed; up to here they are acked */
    uint64_t late[ON_ITS_WAY]; /* sequences whose DELIVER is delayed, 0 */
    uint64_t late_after[ON_ITS_WAY];
};

static void arrive(struct lossy_node *node, uint64_t seq, uint64_t after)
{
    if (after)
        peer_follow(&node->peer, seq, after, LEASE(seq), "x");
    else
        peer_deliver(&node->peer, seq, seq - 1, LEASE(seq), "x");
}

static void give_out(struct lossy_node *node, uint64_t seq)
{
    uint64_t after = seq - 1 > node->acked ? seq - 1 : 0;
    unsigned fate = (unsigned)al_test_below(node->random, 10), place;

    if (fate == 0)
        return; /* lost */
    place = (unsigned)al_test_below(node->random, ON_ITS_WAY);
    if (fate <= 3 && !node->late[place]) { /* delayed, or doubled */
        node->late[place] = seq;
        node->late_after[place] = after;
        if (fate < 3)
            return;
    }
    arrive(node, seq, after);
}

/* What the session has written. */
static void answer(struct lossy_node *node)
{
    unsigned type;

    while ((type = peer_peek(&node->peer))) {
        if (type == AL_MSG_ACK) {
            TAKE(&node->peer, ACK, ack, m);
            if (m.seq <= node->acked) /* said again on a new connection */
                continue;
            assert_int_equal(m.seq, node->acked + 1);
            node->acked++;
            FEED(&node->peer, acked, .agent = 7, .stream = 5, .seq = m.seq, .count = 1,
                 .last_seq = m.seq);
        } else if (type == AL_MSG_GAP_NACK) {
            TAKE(&node->peer, GAP_NACK, gap_nack, m);
            assert_true(m.start >= 1 && m.start <= m.end && m.end < node->next);
            for (uint64_t seq = m.start; seq < node->next && (seq <= m.end || m.end <= node->acked);
                 seq++) {
                if (seq > node->acked)
                    give_out(node, seq);
                if (seq > node->acked && seq > m.end)
                    break;
            }
        } else {
            (void)peer_take(&node->peer, type);
        }
    }
}

/* Where the newest ones were lost nothing shows it, but everything comes again on a new one. */
static void reconnect(struct lossy_node *node)
{
    peer_lose(&node->peer);
    memset(node->late, 0, sizeof(node->late));
    peer_connect(&node->peer);
    peer_attach(&node->peer, NULL, true);
    for (uint64_t seq = node->acked + 1; seq < node->next; seq++)
        give_out(node, seq);
}

static void go(struct lossy_node *node)
{
    unsigned place = (unsigned)al_test_below(node->random, ON_ITS_WAY);
    struct ali_delivery *d;
    uint64_t late = node->late[place];

    if (node->next <= MESSAGES && node->next < node->acked + ON_ITS_WAY)
        give_out(node, node->next++);
    node->late[place] = 0;
    if (late)
        arrive(node, late, node->late_after[place]);
    d = al_test_below(node->random, 2) ? peer_next(&node->peer) : NULL;
    if (d) {
        assert_int_equal(d->pub.seq, node->acked + 1); /* each one once, in order */
        assert_int_equal(ali_csession_ack(node->peer.session, d, NULL, node->peer.now), 0);
    }
    answer(node);
}

static void test_whatever_the_link_does_the_program_sees_each_once_in_order(void **state)
{
    struct al_test_random random = al_test_random_new("lossy link");

    (void)state;
    for (unsigned round = 0; round < 300; round++) {
        struct lossy_node node = {.random = &random, .next = 1};
        unsigned idle = 0;

        attached(&node.peer);
        for (unsigned step = 0; node.acked < MESSAGES; step++) {
            uint64_t acked = node.acked;

            assert_true(step < 20000);
            go(&node);
            assert_int_equal(peer_sleep(&node.peer, 5), 0);
            answer(&node);
            idle = node.acked == acked ? idle + 1 : 0;
            if (idle > 500) {
                reconnect(&node);
                idle = 0;
            }
        }
        peer_deinit(&node.peer);
    }
}

/* ---- what was given up ------------------------------------------------------------------- */

static void test_the_program_is_told_what_is_missing(void **state)
{
    struct al_msg_envelope envelope = {.timestamp_ms = 1, .message_id = {{1}}};
    struct al_msg_deliver m = {.agent = 7,
                               .stream = 5,
                               .seq = 1,
                               .lease = 101,
                               .lease_ms = 5000,
                               .attempt = 1,
                               .flags = AL_DELIVER_GAP,
                               .from = al_str_c("a")};
    static const uint8_t count[2] = {3, 0};
    struct ali_delivery *d;
    struct peer peer;
    uint8_t body[200];

    (void)state;
    peer_init(&peer, NULL);
    peer_connect(&peer);
    peer_attach(&peer, NULL, false);
    al_encode_envelope(body, &envelope);
    m.envelope = al_str_of(body, (uint32_t)al_size_envelope(&envelope));
    assert_int_equal(al_put_deliver(&peer.in, &m), 0);
    assert_int_equal(al_ext_put(&peer.in, AL_DELIVER_EXT_GAP, al_str_of(count, 2)), 0);
    al_put32(peer.in.data, (uint32_t)(peer.in.size - AL_WIRE_HEADER_SIZE));
    peer_feed(&peer);
    assert_int_equal(peer.error, 0);
    d = peer_next(&peer);
    assert_non_null(d);
    assert_int_equal(d->pub.missing, 3);
    peer_deinit(&peer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_missing_range_is_written_again),
        cmocka_unit_test(test_a_closed_gap_ends_the_missing_ones_only),
        cmocka_unit_test(test_refusals_of_copies),
        cmocka_unit_test(test_the_channel_says_the_policy),
        cmocka_unit_test(test_what_is_behind_a_gap_waits),
        cmocka_unit_test(test_the_first_one_may_be_missing),
        cmocka_unit_test(test_it_is_asked_for_again_until_the_connection_is_given_up),
        cmocka_unit_test(test_what_follows_nothing_closes_the_gap),
        cmocka_unit_test(test_a_recall_ends_the_gap),
        cmocka_unit_test(test_a_refused_question_recalls_everything),
        cmocka_unit_test(test_a_resumed_session_still_knows_what_is_missing),
        cmocka_unit_test(test_what_a_nacked_message_was_lost_before_is_asked_for),
        cmocka_unit_test(test_copies_are_dropped),
        cmocka_unit_test(test_no_copy_gets_from_one_connection_into_another),
        cmocka_unit_test(test_volatile_ones_are_no_gap),
        cmocka_unit_test(test_whatever_the_link_does_the_program_sees_each_once_in_order),
        cmocka_unit_test(test_the_program_is_told_what_is_missing),
    };

    return cmocka_run_group_tests_name("client_gaps", tests, NULL, NULL);
}
