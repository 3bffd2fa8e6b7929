/* test_client_link.c - the client's connection itself: silence, and whatever a node may say. */
#include "base/errors.h"
#include "client_peer.h"

static void test_silence(void **state)
{
    struct peer peer;

    (void)state;
    peer_init(&peer, NULL);
    peer_connect(&peer);
    assert_int_equal(peer_sleep(&peer, 9999), 0);
    assert_silent(&peer);
    assert_int_equal(peer_sleep(&peer, 1), 0);
    {
        TAKE(&peer, PING, ping, ping);
        assert_int_equal(peer_sleep(&peer, 4000), 0);
        FEED(&peer, pong, .token = ping.token);
    }
    assert_int_equal(peer_sleep(&peer, 9999), 0);
    assert_silent(&peer);
    assert_int_equal(peer_sleep(&peer, 1), 0);
    SKIP(&peer, PING);
    assert_int_equal(peer_sleep(&peer, 4999), 0);
    assert_int_equal(peer_sleep(&peer, 1), -AL_E_TIMEOUT);
    FEED(&peer, ping, .token = 77);
    {
        TAKE(&peer, PONG, pong, pong);
        assert_int_equal(pong.token, 77);
    }
    peer_deinit(&peer);
}

static void test_bad_frames(void **state)
{
    struct al_msg_hello hello = {.magic = 1};
    struct al_msg_pong pong = {.token = 1};
    struct peer peer;

    (void)state;
    peer_init(&peer, NULL);
    assert_int_equal(ali_csession_connected(peer.session, peer.now), 0);
    assert_int_equal(al_put_pong(&peer.in, &pong), 0);
    peer_feed(&peer); /* before WELCOME */
    assert_int_equal(peer.error, -AL_E_PROTOCOL);
    peer_lose(&peer);
    peer_connect(&peer);
    assert_int_equal(al_put_hello(&peer.in, &hello), 0);
    peer_feed(&peer); /* a frame of our side */
    assert_int_equal(peer.error, -AL_E_PROTOCOL);
    al_buf_clear(&peer.in);
    assert_int_equal(al_buf_put(&peer.in, "\xff\xff\xff\xff\x04\0\0\0", 8), 0);
    peer_feed(&peer);
    assert_int_equal(peer.error, -AL_E_TOO_LARGE);
    peer_deinit(&peer);
}

/* Whatever a node says, frame by frame and cut anywhere: the session survives it. */
static void test_noise(void **state)
{
    struct al_test_random random = al_test_random_new("client noise");
    unsigned round, i;

    (void)state;
    for (round = 0; round < 300; round++) {
        struct peer peer;

        peer_init(&peer, NULL);
        peer_connect(&peer);
        peer_attach(&peer, NULL, false);
        assert_int_equal(peer_send(&peer, "x", NULL, NULL), 0);
        peer_open_channel(&peer);
        for (i = 0; i < 50; i++) {
            uint8_t frame[8 + 128];
            uint32_t size = (uint32_t)al_test_below(&random, 128), j;
            struct ali_delivery *d;

            al_put32(frame, size);
            al_put32(frame + 4, (uint32_t)al_test_below(&random, 0x60));
            for (j = 0; j < size; j++) /* small numbers: they hit what exists */
                frame[8 + j] = (uint8_t)(al_test_below(&random, 4) ? 0 : al_test_below(&random, 9));
            assert_int_equal(al_buf_put(&peer.in, frame, 8 + size), 0);
            peer_feed(&peer);
            d = peer_next(&peer);
            if (d && al_test_below(&random, 2))
                (void)ali_csession_ack(peer.session, d, NULL, peer.now);
            else if (d)
                (void)ali_csession_nack(peer.session, d, 0, NULL, peer.now);
            if (peer.error < 0) {
                peer_lose(&peer);
                assert_int_equal(ali_csession_connected(peer.session, peer.now), 0);
                FEED(&peer, welcome, .version = 1, .payload_max = 1000, .publish_window = 10,
                     .credit_max = 10);
            }
            (void)peer_sleep(&peer, al_test_below(&random, 3000));
        }
        peer_deinit(&peer);
    }
}
int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_silence),
        cmocka_unit_test(test_bad_frames),
        cmocka_unit_test(test_noise),
    };

    return cmocka_run_group_tests_name("client_link", tests, NULL, NULL);
}
