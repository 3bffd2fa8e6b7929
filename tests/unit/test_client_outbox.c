/* test_client_outbox.c - what was sent and has no receipt: answers, refusals, reconnects. */
#include "base/errors.h"
#include "base/limits.h"
#include "client_peer.h"
#include <stdio.h>
#include <string.h>

/* ---- receipts ---------------------------------------------------------------------------- */

static void test_receipts_in_runs(void **state)
{
    struct peer peer;
    struct ali_out *out;
    bool done = false;
    unsigned i;

    (void)state;
    peer_init(&peer, NULL);
    peer_connect(&peer);
    assert_silent(&peer); /* a client that sends nothing costs no producer */
    for (i = 0; i < 3; i++)
        assert_int_equal(peer_send(&peer, "x", NULL, NULL), 0);
    assert_int_equal(peer_send(&peer, "last", &done, &out), 0);
    peer_open_channel(&peer);
    for (i = 1; i <= 3; i++)
        peer_take_publish(&peer, i, "x");
    peer_take_publish(&peer, 4, "last");
    FEED(&peer, receipt, .channel = 1, .pseq = 1, .count = 2, .stream = 5, .seq = 10,
         .durability = 1);
    assert_int_equal(peer_result(&peer), 0);
    assert_int_equal(peer_result(&peer), 0);
    assert_null(ali_csession_take_result(peer.session));
    FEED(&peer, receipt, .channel = 1, .pseq = 3, .count = 2, .stream = 5, .seq = 12,
         .durability = 1, .duplicate = 1);
    assert_true(done);
    assert_int_equal(out->seq, 13);
    assert_int_equal(out->stream, 5);
    assert_true(out->duplicate);
    ali_out_free(peer.session, out);
    assert_int_equal(peer_result(&peer), 0);
    assert_int_equal(peer.session->unreceipted, 0);
    assert_int_equal(peer.session->outbox_bytes, 0);
    peer_deinit(&peer);
}

/* A node that confirms what was never sent is not believed. */
static void test_receipt_for_nothing(void **state)
{
    struct peer peer;
    struct al_msg_receipt receipt = {.channel = 1, .pseq = 1, .count = 1, .stream = 5, .seq = 1};

    (void)state;
    peer_init(&peer, NULL);
    peer_connect(&peer);
    assert_int_equal(peer_send(&peer, "x", NULL, NULL), 0);
    assert_int_equal(al_put_receipt(&peer.in, &receipt), 0);
    peer_feed(&peer); /* the channel is not even open */
    assert_int_equal(peer.error, -AL_E_PROTOCOL);
    assert_null(peer.session->results);
    peer_deinit(&peer);
}

static void test_reconnect(void **state)
{
    struct peer peer;

    (void)state;
    peer_init(&peer, NULL);
    peer_connect(&peer);
    assert_int_equal(peer_send(&peer, "1", NULL, NULL), 0);
    assert_int_equal(peer_send(&peer, "2", NULL, NULL), 0);
    peer_open_channel(&peer);
    peer_take_publish(&peer, 1, "1");
    FEED(&peer, receipt, .channel = 1, .pseq = 1, .count = 1, .stream = 5, .seq = 1);
    peer_lose(&peer);
    assert_int_equal(peer_send(&peer, "3", NULL, NULL), 0); /* queued while there is none */
    peer_connect(&peer);
    {
        TAKE(&peer, PRODUCER_OPEN, producer_open, open);
        assert_int_equal(open.producer, 9);
        assert_int_equal(open.epoch, 1);
        FEED(&peer, producer_ready, .request = open.request, .producer = 9, .epoch = 1);
    }
    {
        TAKE(&peer, CHANNEL_OPEN, channel_open, channel);
        assert_int_equal(channel.first_pseq, 2); /* not 1: that one has its receipt */
    }
    FEED(&peer, channel_ready, .channel = 1, .stream = 5, .last_pseq = 2);
    peer_take_publish(&peer, 2, "2");
    peer_take_publish(&peer, 3, "3");
    FEED(&peer, receipt, .channel = 1, .pseq = 2, .count = 1, .stream = 5, .seq = 2,
         .duplicate = 1);
    FEED(&peer, receipt, .channel = 1, .pseq = 3, .count = 1, .stream = 5, .seq = 3);
    assert_int_equal(peer_result(&peer), 0);
    assert_int_equal(peer_result(&peer), 0);
    assert_int_equal(peer_result(&peer), 0);
    assert_int_equal(peer.session->stats.resent, 1);
    assert_silent(&peer);
    peer_deinit(&peer);
}

/* ---- refusals ---------------------------------------------------------------------------- */

/* Sends n messages "1" … "n" and takes their PUBLISH frames. */
static void send_numbers(struct peer *peer, unsigned n)
{
    char text[16];
    unsigned i;

    for (i = 1; i <= n; i++) {
        snprintf(text, sizeof(text), "%u", i);
        assert_int_equal(peer_send(peer, text, NULL, NULL), 0);
    }
    peer_open_channel(peer);
    for (i = 1; i <= n; i++) {
        snprintf(text, sizeof(text), "%u", i);
        peer_take_publish(peer, i, text);
    }
}

/* One is refused for good: those behind it are written again, under its number. */
static void test_refused_for_good(void **state)
{
    struct peer peer;

    (void)state;
    peer_init(&peer, NULL);
    peer_connect(&peer);
    send_numbers(&peer, 4);
    FEED(&peer, receipt, .channel = 1, .pseq = 1, .count = 1, .stream = 5, .seq = 1);
    FEED(&peer, refused, .channel = 1, .pseq = 2, .code = AL_E_KEY_CONFLICT);
    FEED(&peer, refused, .channel = 1, .pseq = 3, .code = AL_E_STREAM_HELD);
    assert_silent(&peer); /* 4 is not answered yet */
    FEED(&peer, refused, .channel = 1, .pseq = 4, .code = AL_E_STREAM_HELD);
    {
        TAKE(&peer, CHANNEL_RESUME, channel_resume, resume);
        assert_int_equal(resume.first_pseq, 3);
    }
    peer_take_publish(&peer, 3, "3");
    peer_take_publish(&peer, 4, "4");
    FEED(&peer, channel_ready, .channel = 1, .stream = 5);
    FEED(&peer, receipt, .channel = 1, .pseq = 3, .count = 2, .stream = 5, .seq = 2);
    assert_int_equal(peer_result(&peer), 0);
    assert_int_equal(peer_result(&peer), -AL_E_KEY_CONFLICT);
    assert_int_equal(peer_result(&peer), 0);
    assert_int_equal(peer_result(&peer), 0);
    assert_int_equal(peer.session->unsent, 0);
    assert_int_equal(peer.session->inflight, 0);
    peer_deinit(&peer);
}

/* Refused for a while and reported: everything behind it is refused, until the program resumes. */
static void test_refused_and_reported(void **state)
{
    struct al_message message;
    struct peer peer;
    bool done = false;
    struct ali_out *out;

    (void)state;
    peer_init(&peer, NULL);
    peer_connect(&peer);
    send_numbers(&peer, 3);
    FEED(&peer, refused, .channel = 1, .pseq = 1, .code = AL_E_INBOX_FULL,
         .detail = al_str_c("full"));
    assert_int_equal(peer_send(&peer, "4", NULL, NULL), -AL_E_STREAM_HELD);
    FEED(&peer, refused, .channel = 1, .pseq = 2, .code = AL_E_STREAM_HELD);
    FEED(&peer, refused, .channel = 1, .pseq = 3, .code = AL_E_STREAM_HELD);
    assert_string_equal(peer.session->results->detail, "full");
    assert_int_equal(peer_result(&peer), -AL_E_INBOX_FULL);
    assert_int_equal(peer_result(&peer), -AL_E_STREAM_HELD);
    assert_int_equal(peer_result(&peer), -AL_E_STREAM_HELD);
    assert_silent(&peer);
    al_message_init(&message);
    message.from = "a";
    message.to = "b";
    assert_int_equal(ali_csession_resume(peer.session, &message, peer.now), 0);
    assert_silent(&peer); /* said together with the next message */
    assert_int_equal(peer_send(&peer, "1", &done, &out), 0);
    {
        TAKE(&peer, CHANNEL_RESUME, channel_resume, resume);
        assert_int_equal(resume.first_pseq, 4);
    }
    peer_take_publish(&peer, 4, "1");
    FEED(&peer, refused, .channel = 1, .pseq = 4, .code = AL_E_INBOX_FULL);
    assert_true(done);
    assert_int_equal(out->error, -AL_E_INBOX_FULL);
    ali_out_free(peer.session, out);
    done = false; /* a caller that waited knows: no resume is needed */
    assert_int_equal(peer_send(&peer, "1", &done, &out), 0);
    SKIP(&peer, CHANNEL_RESUME);
    peer_take_publish(&peer, 5, "1");
    FEED(&peer, receipt, .channel = 1, .pseq = 5, .count = 1, .stream = 5, .seq = 1);
    assert_true(done);
    ali_out_free(peer.session, out);
    peer_deinit(&peer);
}

static void test_refused_and_retried(void **state)
{
    struct ali_csession_config config = {.refusals = AL_REFUSAL_RETRY};
    struct peer peer;

    (void)state;
    peer_init(&peer, &config);
    peer_connect(&peer);
    send_numbers(&peer, 2);
    FEED(&peer, refused, .channel = 1, .pseq = 1, .code = AL_E_INBOX_FULL);
    FEED(&peer, refused, .channel = 1, .pseq = 2, .code = AL_E_STREAM_HELD);
    assert_int_equal(peer_send(&peer, "3", NULL, NULL), 0);
    assert_silent(&peer);
    assert_int_equal(ali_csession_deadline_ns(peer.session), peer.now.mono_ns + 50 * AL_NS_PER_MS);
    assert_int_equal(peer_sleep(&peer, 49), 0);
    assert_silent(&peer);
    assert_int_equal(peer_sleep(&peer, 1), 0);
    SKIP(&peer, CHANNEL_RESUME);
    peer_take_publish(&peer, 1, "1");
    peer_take_publish(&peer, 2, "2");
    peer_take_publish(&peer, 3, "3");
    FEED(&peer, refused, .channel = 1, .pseq = 1, .code = AL_E_DISK_FULL);
    FEED(&peer, refused, .channel = 1, .pseq = 2, .code = AL_E_STREAM_HELD);
    FEED(&peer, refused, .channel = 1, .pseq = 3, .code = AL_E_STREAM_HELD);
    assert_int_equal(peer_sleep(&peer, 99), 0);
    assert_silent(&peer); /* the pause has doubled */
    assert_int_equal(peer_sleep(&peer, 1), 0);
    SKIP(&peer, CHANNEL_RESUME);
    peer_take_publish(&peer, 1, "1");
    FEED(&peer, receipt, .channel = 1, .pseq = 1, .count = 3, .stream = 5, .seq = 1);
    assert_int_equal(peer_result(&peer), 0);
    assert_int_equal(peer_result(&peer), 0);
    assert_int_equal(peer_result(&peer), 0);
    peer_deinit(&peer);
}

/* The connection is lost in the middle of a hold: what was behind the refusal was not taken. */
static void test_lost_while_held(void **state)
{
    struct peer peer;

    (void)state;
    peer_init(&peer, NULL);
    peer_connect(&peer);
    send_numbers(&peer, 3);
    FEED(&peer, refused, .channel = 1, .pseq = 1, .code = AL_E_INBOX_FULL);
    peer_lose(&peer);
    assert_int_equal(peer_result(&peer), -AL_E_INBOX_FULL);
    assert_int_equal(peer_result(&peer), -AL_E_STREAM_HELD);
    assert_int_equal(peer_result(&peer), -AL_E_STREAM_HELD);
    assert_int_equal(peer.session->unreceipted, 0);
    assert_int_equal(peer_send(&peer, "4", NULL, NULL), -AL_E_STREAM_HELD);
    peer_connect(&peer);
    assert_silent(&peer);
    peer_deinit(&peer);
}

static void test_unknown_recipient(void **state)
{
    struct peer peer;
    struct ali_out *out;
    bool done = false;

    (void)state;
    peer_init(&peer, NULL);
    peer_connect(&peer);
    assert_int_equal(peer_send(&peer, "x", &done, &out), 0);
    {
        TAKE(&peer, PRODUCER_OPEN, producer_open, open);
        FEED(&peer, producer_ready, .request = open.request, .producer = 9, .epoch = 1);
    }
    SKIP(&peer, CHANNEL_OPEN);
    FEED(&peer, error, .request = 1, .code = AL_E_UNKNOWN_AGENT, .about = AL_MSG_CHANNEL_OPEN);
    assert_true(done);
    assert_int_equal(out->error, -AL_E_UNKNOWN_AGENT);
    ali_out_free(peer.session, out);
    assert_int_equal(peer_send(&peer, "y", NULL, NULL), 0); /* and the next one asks again */
    SKIP(&peer, CHANNEL_OPEN);
    peer_deinit(&peer);
}

/* The node has forgotten the producer: what was written may have been taken, the rest was not. */
static void test_producer_retired(void **state)
{
    struct peer peer;

    (void)state;
    peer_init(&peer, NULL);
    peer_connect(&peer);
    send_numbers(&peer, 1);
    peer_lose(&peer);
    assert_int_equal(peer_send(&peer, "2", NULL, NULL), 0);
    peer_connect(&peer);
    {
        TAKE(&peer, PRODUCER_OPEN, producer_open, open);
        assert_int_equal(open.producer, 9);
        FEED(&peer, error, .request = open.request, .code = AL_E_PRODUCER_RETIRED,
             .about = AL_MSG_PRODUCER_OPEN);
    }
    assert_int_equal(peer_result(&peer), -AL_E_UNKNOWN_OUTCOME);
    {
        TAKE(&peer, PRODUCER_OPEN, producer_open, open);
        assert_int_equal(open.producer, 0);
        FEED(&peer, producer_ready, .request = open.request, .producer = 10, .epoch = 1);
    }
    SKIP(&peer, CHANNEL_OPEN);
    FEED(&peer, channel_ready, .channel = 1, .stream = 5);
    peer_take_publish(&peer, 2, "2");
    peer_deinit(&peer);
}

/* ---- windows and limits ------------------------------------------------------------------ */

static void test_window(void **state)
{
    struct ali_csession_config config = {.window = 2};
    struct peer peer;

    (void)state;
    peer_init(&peer, &config);
    assert_int_equal(peer_send(&peer, "1", NULL, NULL), 0);
    assert_int_equal(peer_send(&peer, "2", NULL, NULL), 0);
    assert_int_equal(peer_send(&peer, "3", NULL, NULL), -AL_E_BUSY);
    peer_deinit(&peer);
    config = (struct ali_csession_config){.outbox_bytes = 250};
    peer_init(&peer, &config);
    assert_int_equal(peer_send(&peer, "a message that fills the outbox", NULL, NULL), 0);
    assert_int_equal(peer_send(&peer, "2", NULL, NULL), 0);
    assert_int_equal(peer_send(&peer, "3", NULL, NULL), -AL_E_BUSY);
    assert_true(peer.session->outbox_bytes <= 250);
    peer_deinit(&peer);
}

/* The node's window is kept, and filled again as receipts come. */
static void test_publish_window(void **state)
{
    struct peer peer;
    unsigned i;

    (void)state;
    peer_init(&peer, NULL);
    assert_int_equal(ali_csession_connected(peer.session, peer.now), 0);
    SKIP(&peer, HELLO);
    FEED(&peer, welcome, .version = 1, .payload_max = 100, .publish_window = 2);
    for (i = 0; i < 5; i++)
        assert_int_equal(peer_send(&peer, "x", NULL, NULL), 0);
    peer_open_channel(&peer);
    peer_take_publish(&peer, 1, "x");
    peer_take_publish(&peer, 2, "x");
    assert_silent(&peer);
    FEED(&peer, receipt, .channel = 1, .pseq = 1, .count = 1, .stream = 5, .seq = 1);
    peer_take_publish(&peer, 3, "x");
    assert_silent(&peer);
    peer_deinit(&peer);
}

static void test_withdraw(void **state)
{
    struct peer peer;
    struct ali_out *first, *second;
    bool done = false;

    (void)state;
    peer_init(&peer, NULL);
    assert_int_equal(peer_send(&peer, "1", &done, &first), 0);
    assert_int_equal(peer_send(&peer, "2", &done, &second), 0);
    assert_int_equal(peer_send(&peer, "3", NULL, NULL), 0);
    assert_true(ali_csession_withdraw(peer.session, second));
    peer_connect(&peer);
    peer_open_channel(&peer);
    peer_take_publish(&peer, 1, "1");
    peer_take_publish(&peer, 2, "3"); /* no hole where the second one was */
    assert_false(ali_csession_withdraw(peer.session, first));
    assert_false(done);
    first->waiter = NULL; /* nobody waits any more: it is freed with its receipt */
    FEED(&peer, receipt, .channel = 1, .pseq = 1, .count = 2, .stream = 5, .seq = 1);
    assert_int_equal(peer_result(&peer), 0);
    peer_deinit(&peer);
}

/* The caller of a synchronous send gave up, and then it was refused: whoever sends only like this
 * knows of no stream that has to be resumed. */
static void test_refused_after_giving_up(void **state)
{
    struct peer peer;
    struct ali_out *out;
    bool done = false;

    (void)state;
    peer_init(&peer, NULL);
    peer_connect(&peer);
    assert_int_equal(peer_send(&peer, "1", &done, &out), 0);
    peer_open_channel(&peer);
    peer_take_publish(&peer, 1, "1");
    assert_false(ali_csession_withdraw(peer.session, out));
    out->waiter = NULL;
    FEED(&peer, refused, .channel = 1, .pseq = 1, .code = AL_E_INBOX_FULL);
    assert_int_equal(peer_send(&peer, "2", NULL, NULL), 0);
    SKIP(&peer, CHANNEL_RESUME);
    peer_take_publish(&peer, 2, "2");
    peer_deinit(&peer);
}

/* Refused together with one that was written, while another one is still without an answer: it can
 * no longer be taken back, and is handed out in its turn. */
static void test_withdraw_answered(void **state)
{
    struct peer peer;
    struct ali_out *third;
    bool done = false;

    (void)state;
    peer_init(&peer, NULL);
    assert_int_equal(ali_csession_connected(peer.session, peer.now), 0);
    SKIP(&peer, HELLO);
    FEED(&peer, welcome, .version = 1, .payload_max = 100, .publish_window = 2);
    assert_int_equal(peer_send(&peer, "1", NULL, NULL), 0);
    assert_int_equal(peer_send(&peer, "2", NULL, NULL), 0);
    assert_int_equal(peer_send(&peer, "3", &done, &third), 0);
    peer_open_channel(&peer);
    peer_take_publish(&peer, 1, "1");
    peer_take_publish(&peer, 2, "2");
    assert_silent(&peer);
    FEED(&peer, refused, .channel = 1, .pseq = 1, .code = AL_E_INBOX_FULL);
    assert_int_equal(peer_result(&peer), -AL_E_INBOX_FULL);
    assert_false(done);
    assert_false(ali_csession_withdraw(peer.session, third));
    assert_int_equal(third->error, -AL_E_STREAM_HELD);
    FEED(&peer, refused, .channel = 1, .pseq = 2, .code = AL_E_STREAM_HELD);
    assert_int_equal(peer_result(&peer), -AL_E_STREAM_HELD);
    assert_true(done);
    ali_out_free(peer.session, third);
    peer_deinit(&peer);
}

/* Sent before the node was known: what it would not read is answered here, and the others go. */
static void test_larger_than_the_node_takes(void **state)
{
    struct ali_csession_config config = {.outbox_bytes = 8 << 20};
    static char large[200 << 10];
    struct peer peer;

    (void)state;
    peer_init(&peer, &config);
    memset(large, 'x', sizeof(large) - 1);
    assert_int_equal(peer_send(&peer, "1", NULL, NULL), 0);
    assert_int_equal(peer_send(&peer, large, NULL, NULL), 0);
    assert_int_equal(peer_send(&peer, large, NULL, NULL), 0);
    assert_int_equal(peer_send(&peer, "4", NULL, NULL), 0);
    assert_int_equal(ali_csession_connected(peer.session, peer.now), 0);
    SKIP(&peer, HELLO);
    FEED(&peer, welcome, .version = 1, .payload_max = 1000, .publish_window = 100);
    peer_open_channel(&peer);
    peer_take_publish(&peer, 1, "1");
    assert_silent(&peer); /* a resume now would lift the hold, should 1 be refused */
    FEED(&peer, receipt, .channel = 1, .pseq = 1, .count = 1, .stream = 5, .seq = 1);
    for (uint64_t pseq = 3; pseq <= 4; pseq++) {
        TAKE(&peer, CHANNEL_RESUME, channel_resume, m);
        assert_int_equal(m.first_pseq, pseq);
    }
    peer_take_publish(&peer, 4, "4");
    FEED(&peer, channel_ready, .channel = 1, .stream = 5);
    assert_int_equal(peer_result(&peer), 0);
    assert_int_equal(peer_result(&peer), -AL_E_TOO_LARGE);
    assert_int_equal(peer_result(&peer), -AL_E_TOO_LARGE);
    FEED(&peer, receipt, .channel = 1, .pseq = 4, .count = 1, .stream = 5, .seq = 2);
    assert_int_equal(peer_result(&peer), 0);
    assert_int_equal(peer.session->unsent, 0);
    peer_deinit(&peer);
}

/* A node that is always a little behind: the output is never empty, and stays small all the same.
 */
static void test_output_of_a_slow_node(void **state)
{
    static char text[1000];
    struct peer peer;

    (void)state;
    peer_init(&peer, NULL);
    memset(text, 'x', sizeof(text) - 1);
    peer_connect(&peer);
    assert_int_equal(peer_send(&peer, text, NULL, NULL), 0);
    peer_open_channel(&peer);
    for (uint64_t pseq = 1; pseq <= 5000; pseq++) {
        assert_int_equal(peer_send(&peer, text, NULL, NULL), 0);
        peer_take_publish(&peer, pseq, text);
        FEED(&peer, receipt, .channel = 1, .pseq = pseq, .count = 1, .stream = 5, .seq = pseq);
        assert_int_equal(peer_result(&peer), 0);
    }
    assert_true(peer.session->out.cap < 500000);
    peer_deinit(&peer);
}

/* The node says why it ends the session: nobody waits for it to close. */
static void test_fatal(void **state)
{
    static const struct al_msg_error m = {.code = AL_E_DENIED, .fatal = 1};
    struct peer peer;

    (void)state;
    peer_init(&peer, NULL);
    assert_int_equal(ali_csession_connected(peer.session, peer.now), 0);
    SKIP(&peer, HELLO);
    assert_int_equal(al_put_error(&peer.in, &m), 0);
    peer_feed(&peer);
    assert_int_equal(peer.error, -AL_E_DENIED);
    peer_lose(&peer);
    assert_null(peer.session->notices); /* it never was connected */
    peer_connect(&peer);
    ali_notice_free(peer.session, ali_csession_take_notice(peer.session));
    assert_int_equal(al_put_error(&peer.in, &m), 0);
    peer_feed(&peer);
    assert_int_equal(peer.error, -AL_E_DENIED);
    peer_lose(&peer);
    assert_int_equal(peer.session->notices->notice.type, AL_NOTICE_DISCONNECTED);
    assert_int_equal(peer.session->notices->notice.error, -AL_E_DENIED);
    peer_deinit(&peer);
}

/* Channels beyond the limit: idle ones are closed, and their numbers used again. */
static void test_many_streams(void **state)
{
    struct peer peer;
    struct al_message message;
    unsigned i;

    (void)state;
    peer_init(&peer, NULL);
    peer_connect(&peer);
    al_message_init(&message);
    message.from = "a";
    for (i = 0; i < AL_CHANNELS_PER_CONN_MAX + 10; i++) {
        struct ali_send send = {.message = &message};
        struct ali_channel *channel;
        char to[16];

        snprintf(to, sizeof(to), "b%u", i);
        message.to = to;
        assert_int_equal(ali_csession_send(peer.session, &send, peer.now, NULL), 0);
        if (i == 0) {
            TAKE(&peer, PRODUCER_OPEN, producer_open, open);
            FEED(&peer, producer_ready, .request = open.request, .producer = 9, .epoch = 1);
        }
        if (i >= AL_CHANNELS_PER_CONN_MAX) {
            TAKE(&peer, CHANNEL_CLOSE, channel_close, close);
            assert_int_equal(close.channel, i - AL_CHANNELS_PER_CONN_MAX + 1);
        }
        {
            TAKE(&peer, CHANNEL_OPEN, channel_open, open);
            assert_true(open.channel >= 1 && open.channel <= AL_CHANNELS_PER_CONN_MAX);
            channel = ali_channel_find(peer.session, open.channel);
            assert_non_null(channel);
            FEED(&peer, channel_ready, .channel = open.channel, .stream = i + 1);
        }
        {
            TAKE(&peer, PUBLISH, publish, publish);
            FEED(&peer, receipt, .channel = publish.channel, .pseq = publish.pseq, .count = 1,
                 .stream = i + 1, .seq = 1);
        }
    }
    peer_deinit(&peer);
}

static void test_volatile(void **state)
{
    struct al_message message;
    struct ali_send send = {.message = &message};
    struct ali_out *out;
    struct peer peer;
    bool done = false;

    (void)state;
    peer_init(&peer, NULL);
    peer_connect(&peer);
    assert_int_equal(peer_send(&peer, "1", NULL, NULL), 0);
    al_message_init(&message);
    message.from = "a";
    message.to = "b";
    message.flags = AL_MESSAGE_VOLATILE;
    send.waiter = &done;
    assert_int_equal(ali_csession_send(peer.session, &send, peer.now, &out), 0);
    assert_int_equal(peer_send(&peer, "2", NULL, NULL), 0);
    assert_false(done);
    peer_open_channel(&peer);
    peer_take_publish(&peer, 1, "1");
    {
        TAKE(&peer, PUBLISH, publish, publish);
        assert_int_equal(publish.flags, AL_PUBLISH_VOLATILE);
        assert_int_equal(publish.pseq, 0);
    }
    peer_take_publish(&peer, 2, "2"); /* it has used no number */
    FEED(&peer, receipt, .channel = 1, .pseq = 1, .count = 2, .stream = 5, .seq = 1);
    assert_true(done);
    ali_out_free(peer.session, out);
    peer_lose(&peer);
    peer_connect(&peer);
    assert_silent(&peer); /* never written twice */
    peer_deinit(&peer);
}

/* One message on a client whose gaps end so; what its channel and its PUBLISH say. */
static void check_priority(enum al_gap_policy gaps, const struct al_message *message,
                           uint8_t priority, bool of_kind)
{
    const struct ali_csession_config config = {.window = 10, .gaps = gaps};
    struct ali_send send = {.message = message, .fn = peer_receipt, .fresh = {{1}}};
    struct peer peer;

    peer_init(&peer, &config);
    peer_connect(&peer);
    assert_int_equal(ali_csession_send(peer.session, &send, peer.now, NULL), 0);
    {
        TAKE(&peer, PRODUCER_OPEN, producer_open, open);
        FEED(&peer, producer_ready, .request = open.request, .producer = 9, .epoch = 1);
    }
    {
        TAKE(&peer, CHANNEL_OPEN, channel_open, channel);
        assert_int_equal(channel.priority, priority);
    }
    FEED(&peer, channel_ready, .channel = 1, .stream = 5);
    {
        TAKE(&peer, PUBLISH, publish, m);
        assert_int_equal(m.flags, of_kind ? AL_PUBLISH_OF_KIND : 0);
    }
    FEED(&peer, receipt, .channel = 1, .pseq = 1, .count = 1, .stream = 8, .seq = 1);
    assert_int_equal(peer_result(&peer), 0);
    peer_deinit(&peer);
}

static void test_priority_of_kind(void **state)
{
    struct al_message message;

    (void)state;
    al_message_init(&message);
    message.from = "a";
    message.to = "b";
    check_priority(AL_GAP_WAIT, &message, 4, false); /* it has none */
    message.kind = "";
    check_priority(AL_GAP_WAIT, &message, 4, false);
    message.kind = "k";
    check_priority(AL_GAP_WAIT, &message, 4, true);
    check_priority(AL_GAP_SKIP, &message, 4, false);
    check_priority(AL_GAP_FAIL, &message, 4, false);
    message.flags = AL_MESSAGE_UNORDERED; /* there gaps are waited for, always */
    check_priority(AL_GAP_SKIP, &message, 4, true);
    message.flags = 0;
    message.priority = 4;
    check_priority(AL_GAP_WAIT, &message, 4, false);
    message.priority = 0;
    check_priority(AL_GAP_WAIT, &message, 0, false);
    message.priority = AL_MESSAGE_PRIORITY_OF_KIND;
    message.to = "group:g";
    check_priority(AL_GAP_WAIT, &message, 4, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_receipts_in_runs),
        cmocka_unit_test(test_receipt_for_nothing),
        cmocka_unit_test(test_reconnect),
        cmocka_unit_test(test_refused_for_good),
        cmocka_unit_test(test_refused_and_reported),
        cmocka_unit_test(test_refused_and_retried),
        cmocka_unit_test(test_lost_while_held),
        cmocka_unit_test(test_unknown_recipient),
        cmocka_unit_test(test_producer_retired),
        cmocka_unit_test(test_window),
        cmocka_unit_test(test_publish_window),
        cmocka_unit_test(test_withdraw),
        cmocka_unit_test(test_refused_after_giving_up),
        cmocka_unit_test(test_withdraw_answered),
        cmocka_unit_test(test_larger_than_the_node_takes),
        cmocka_unit_test(test_output_of_a_slow_node),
        cmocka_unit_test(test_fatal),
        cmocka_unit_test(test_many_streams),
        cmocka_unit_test(test_volatile),
        cmocka_unit_test(test_priority_of_kind),
    };

    return cmocka_run_group_tests_name("client_outbox", tests, NULL, NULL);
}
