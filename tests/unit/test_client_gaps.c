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
        cmocka_unit_test(test_the_program_is_told_what_is_missing),
    };

    return cmocka_run_group_tests_name("client_gaps", tests, NULL, NULL);
}
