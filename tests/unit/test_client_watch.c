/* test_client_watch.c - ends are told once, whatever happens to the connection. */
#include "base/errors.h"
#include "client_peer.h"
#include <string.h>

static struct al_message_id id_of(uint8_t number)
{
    struct al_message_id id = {{0}};

    id.bytes[0] = number;
    return id;
}

/* Sends with NOTIFY from a to b; the id is `number`. */
static void send_notify(struct peer *peer, uint8_t number)
{
    struct al_message message;
    struct ali_send send = {.message = &message};

    al_message_init(&message);
    message.from = "a";
    message.to = "b";
    message.id = id_of(number);
    message.flags = AL_MESSAGE_NOTIFY;
    assert_int_equal(ali_csession_send(peer->session, &send, peer->now, NULL), 0);
}

static void begin(struct peer *peer, uint8_t number)
{
    peer_init(peer, NULL);
    peer_connect(peer);
    send_notify(peer, number);
    peer_open_channel(peer);
    {
        TAKE(peer, PUBLISH, publish, publish);
        assert_int_equal(publish.flags, AL_PUBLISH_NOTIFY);
    }
}

/* Reconnects up to the point where the session says what it wants to know. */
static void reconnect(struct peer *peer)
{
    peer_lose(peer);
    peer_connect(peer);
}

static void assert_end(struct peer *peer, uint8_t number, enum al_record_state state)
{
    struct al_end *end = ali_csession_take_end(peer->session);

    assert_non_null(end);
    assert_int_equal(end->id.bytes[0], number);
    assert_int_equal(end->state, state);
    al_end_free(end);
    assert_null(ali_csession_take_end(peer->session));
}

static void test_end(void **state)
{
    struct al_end *end;
    struct peer peer;

    (void)state;
    begin(&peer, 1);
    FEED(&peer, receipt, .channel = 1, .pseq = 1, .count = 1, .stream = 5, .seq = 3);
    FEED(&peer, end, .message_id.b = {1}, .stream = 5, .seq = 3, .state = AL_STATE_PARTIAL,
         .attempts = 2, .reason = al_str_c("half"), .response_type = al_str_c("text/plain"),
         .response = al_str_c("answer"));
    end = ali_csession_take_end(peer.session);
    assert_non_null(end);
    assert_int_equal(end->state, AL_RECORD_PARTIAL);
    assert_int_equal(end->attempts, 2);
    assert_string_equal(end->reason, "half");
    assert_string_equal(end->response_type, "text/plain");
    assert_int_equal(end->response_size, 6);
    assert_memory_equal(end->response, "answer", 6);
    al_end_free(end);
    FEED(&peer, end, .message_id.b = {1}, .stream = 5, .seq = 3, .state = AL_STATE_PARTIAL);
    assert_null(ali_csession_take_end(peer.session)); /* once */
    assert_int_equal(peer.session->watch_pool.count, 0);
    assert_int_equal(peer.session->watch_places.count, 0);
    peer_deinit(&peer);
}

static void test_refused(void **state)
{
    struct peer peer;

    (void)state;
    begin(&peer, 1);
    FEED(&peer, refused, .channel = 1, .pseq = 1, .code = AL_E_EXPIRED);
    assert_int_equal(peer.session->watch_pool.count, 0);
    peer_deinit(&peer);
}

static void test_waiter(void **state)
{
    struct al_end *end = NULL;
    struct al_message_id id = id_of(1), other = id_of(2);
    struct peer peer;

    (void)state;
    begin(&peer, 1);
    FEED(&peer, receipt, .channel = 1, .pseq = 1, .count = 1, .stream = 5, .seq = 3);
    assert_true(ali_watch_wait(peer.session, &id, &end));
    assert_false(ali_watch_wait(peer.session, &other, &end));
    FEED(&peer, end, .message_id.b = {1}, .stream = 5, .seq = 3, .state = AL_STATE_DELIVERED);
    assert_non_null(end);
    assert_null(ali_csession_take_end(peer.session));
    al_end_free(end);
    peer_deinit(&peer);
}

/* After a reconnect the end is asked for by its place, and answered by it. */
static void test_reconnect(void **state)
{
    struct peer peer;

    (void)state;
    begin(&peer, 1);
    FEED(&peer, receipt, .channel = 1, .pseq = 1, .count = 1, .stream = 5, .seq = 3);
    reconnect(&peer);
    {
        TAKE(&peer, END_WATCH, end_watch, watch);
        assert_int_equal(watch.stream, 5);
        assert_int_equal(watch.seq, 3);
    }
    assert_silent(&peer);
    FEED(&peer, end, .stream = 5, .seq = 3, .state = AL_STATE_DEAD); /* no id: it is not kept */
    assert_end(&peer, 1, AL_RECORD_DEAD);
    peer_deinit(&peer);
}

/* Without a receipt nothing is asked: the message itself is sent again. */
static void test_reconnect_before_receipt(void **state)
{
    struct peer peer;

    (void)state;
    begin(&peer, 1);
    reconnect(&peer);
    SKIP(&peer, PRODUCER_OPEN);
    assert_silent(&peer);
    peer_deinit(&peer);
}

/* Not due yet: it has no place to ask by. Its record is asked for until it has one. */
static void test_delayed(void **state)
{
    struct peer peer;

    (void)state;
    begin(&peer, 1);
    FEED(&peer, receipt, .channel = 1, .pseq = 1, .count = 1, .stream = 5, .seq = 0);
    assert_int_equal(peer_sleep(&peer, 5000), 0);
    assert_silent(&peer); /* this connection will be told */
    reconnect(&peer);
    assert_silent(&peer);
    assert_int_equal(peer_sleep(&peer, 1000), 0);
    {
        TAKE(&peer, RECORD_GET, record_get, get);
        assert_int_equal(get.message_id.b[0], 1);
        FEED(&peer, record, .request = get.request, .state = AL_STATE_DELAYED);
    }
    assert_int_equal(peer_sleep(&peer, 999), 0);
    assert_silent(&peer);
    assert_int_equal(peer_sleep(&peer, 1), 0);
    {
        TAKE(&peer, RECORD_GET, record_get, get);
        FEED(&peer, record, .request = get.request, .stream = 5, .seq = 8,
             .state = AL_STATE_WAITING);
    }
    {
        TAKE(&peer, END_WATCH, end_watch, watch);
        assert_int_equal(watch.seq, 8);
    }
    assert_int_equal(peer_sleep(&peer, 1000), 0);
    assert_silent(&peer);
    FEED(&peer, end, .stream = 5, .seq = 8, .state = AL_STATE_DELIVERED);
    assert_end(&peer, 1, AL_RECORD_DELIVERED);
    peer_deinit(&peer);
}

/* A duplicate of what another client sent: the end goes there, so we look. */
static void test_duplicate(void **state)
{
    struct peer peer;

    (void)state;
    begin(&peer, 2);
    FEED(&peer, receipt, .channel = 1, .pseq = 1, .count = 1, .stream = 6, .seq = 3,
         .duplicate = 1);
    assert_int_equal(peer_sleep(&peer, 1000), 0);
    {
        TAKE(&peer, RECORD_GET, record_get, get);
        assert_int_equal(get.stream, 6);
        assert_int_equal(get.seq, 3);
        assert_int_equal(get.message_id.b[0], 0);
        FEED(&peer, record, .request = get.request, .stream = 6, .seq = 3,
             .state = AL_STATE_LEASED);
    }
    assert_silent(&peer);
    assert_int_equal(peer_sleep(&peer, 1000), 0);
    {
        TAKE(&peer, RECORD_GET, record_get, get);
        FEED(&peer, record, .request = get.request, .stream = 6, .seq = 3,
             .state = AL_STATE_DELIVERED);
    }
    SKIP(&peer, END_WATCH); /* the response is in the END only */
    FEED(&peer, end, .message_id.b = {1}, .stream = 6, .seq = 3, .state = AL_STATE_DELIVERED);
    assert_end(&peer, 2, AL_RECORD_DELIVERED); /* under our id */
    peer_deinit(&peer);
}

/* The node does not keep it any more: an end all the same, without the outcome. */
static void test_forgotten(void **state)
{
    struct peer peer;

    (void)state;
    begin(&peer, 1);
    FEED(&peer, receipt, .channel = 1, .pseq = 1, .count = 1, .stream = 5, .seq = 3);
    reconnect(&peer);
    SKIP(&peer, END_WATCH);
    FEED(&peer, error, .request = 5, .code = AL_E_NOT_FOUND, .about = AL_MSG_END_WATCH);
    assert_int_equal(peer_sleep(&peer, 1000), 0);
    {
        TAKE(&peer, RECORD_GET, record_get, get);
        FEED(&peer, error, .request = get.request, .code = AL_E_NOT_FOUND,
             .about = AL_MSG_RECORD_GET);
    }
    assert_end(&peer, 1, AL_RECORD_ENDED);
    assert_int_equal(peer.session->watch_polled, 0);
    peer_deinit(&peer);
}

static void test_same_id_twice(void **state)
{
    struct peer peer;

    (void)state;
    begin(&peer, 1);
    send_notify(&peer, 1);
    SKIP(&peer, PUBLISH);
    FEED(&peer, receipt, .channel = 1, .pseq = 1, .count = 1, .stream = 5, .seq = 3);
    FEED(&peer, refused, .channel = 1, .pseq = 2, .code = AL_E_EXPIRED);
    FEED(&peer, end, .message_id.b = {1}, .stream = 5, .seq = 3, .state = AL_STATE_DELIVERED);
    assert_end(&peer, 1, AL_RECORD_DELIVERED);
    peer_deinit(&peer);
}

/* Ends that nobody takes are kept; what is refused is asking for more of them. */
static void test_ends_not_taken(void **state)
{
    struct al_message message;
    struct ali_send send = {.message = &message};
    struct peer peer;

    (void)state;
    begin(&peer, 1);
    FEED(&peer, receipt, .channel = 1, .pseq = 1, .count = 1, .stream = 5, .seq = 3);
    FEED(&peer, end, .message_id.b = {1}, .stream = 5, .seq = 3, .state = AL_STATE_DELIVERED);
    peer.session->end_count = 65536; /* as if there were so many */
    al_message_init(&message);
    message.from = "a";
    message.to = "b";
    message.flags = AL_MESSAGE_NOTIFY;
    assert_int_equal(ali_csession_send(peer.session, &send, peer.now, NULL), -AL_E_BUSY);
    assert_int_equal(peer.session->unreceipted, 0);
    message.flags = 0;
    assert_int_equal(ali_csession_send(peer.session, &send, peer.now, NULL), 0);
    peer.session->end_count = 1;
    assert_end(&peer, 1, AL_RECORD_DELIVERED);
    peer_deinit(&peer);
}

/* ---- questions --------------------------------------------------------------------------- */

/* A question to the node as a public call asks it. */
static void ask_status(struct peer *peer, struct ali_request *request, bool changes)
{
    struct al_msg_status_get m;

    ali_request_init(request, &peer->memory.alloc);
    request->changes = changes;
    m.request = request->number = ali_csession_number(peer->session);
    assert_int_equal(al_put_status_get(&request->frame, &m), 0);
    assert_int_equal(ali_csession_ask(peer->session, request), 0);
}

static void test_questions(void **state)
{
    struct ali_request query, change;
    struct peer peer;

    (void)state;
    peer_init(&peer, NULL);
    ask_status(&peer, &query, false);
    assert_int_equal(ali_csession_output(peer.session).n, 0);
    peer_connect(&peer);
    SKIP(&peer, STATUS_GET);
    ask_status(&peer, &change, true);
    SKIP(&peer, STATUS_GET);
    peer_lose(&peer);
    assert_true(change.done); /* it may have been made */
    assert_int_equal(change.error, -AL_E_UNKNOWN_OUTCOME);
    assert_false(query.done); /* it changes nothing: asked again */
    peer_connect(&peer);
    SKIP(&peer, STATUS_GET);
    assert_silent(&peer);
    FEED(&peer, done, .request = query.number + 1000); /* somebody else's */
    FEED(&peer, agent_row, .request = query.number, .name = al_str_c("x"));
    FEED(&peer, done, .request = query.number, .code = AL_E_DENIED, .count = 4,
         .detail = al_str_c("no"));
    assert_true(query.done);
    assert_int_equal(query.error, -AL_E_DENIED);
    assert_int_equal(query.count, 4);
    assert_string_equal(query.detail, "no");
    assert_true(query.rows.size > 0);
    ali_request_deinit(&query);
    ali_request_deinit(&change);
    peer_deinit(&peer);
}

/* ---- memory ------------------------------------------------------------------------------ */

/* A whole conversation; returns the first failure, which must be for want of memory. */
static int converse(struct peer *peer)
{
    struct al_msg_welcome welcome = {
        .version = 1, .payload_max = 1000, .publish_window = 10, .credit_max = 10};
    struct al_msg_attached attached = {.agent = 7};
    struct al_msg_deliver deliver = {
        .agent = 7, .stream = 5, .seq = 1, .lease = 1, .lease_ms = 900};
    struct al_message message;
    struct ali_send send = {.message = &message};
    struct ali_delivery *d;
    struct ali_attach *attach;
    struct al_msg_envelope envelope = {.timestamp_ms = 1};
    uint8_t body[64];
    int r;

    (void)al_encode_envelope(body, &envelope);
    deliver.envelope = al_str_of(body, al_size_envelope(&envelope));
    al_message_init(&message);
    message.from = "a";
    message.to = "b";
    message.flags = AL_MESSAGE_NOTIFY;
    if ((r = ali_csession_connected(peer->session, peer->now)) < 0 ||
        (r = al_put_welcome(&peer->in, &welcome)) < 0)
        return r;
    peer_feed(peer);
    if (peer->error < 0 || (r = ali_csession_send(peer->session, &send, peer->now, NULL)) < 0)
        return peer->error < 0 ? peer->error : r;
    if ((r = ali_csession_attach(peer->session, "b", NULL, true, &attach)) < 0)
        return r;
    attached.request = attach->request;
    if ((r = al_put_attached(&peer->in, &attached)) < 0 ||
        (r = al_put_deliver(&peer->in, &deliver)) < 0)
        return r;
    peer_feed(peer);
    d = peer->error < 0 ? NULL : ali_csession_take(peer->session, ALI_READY_PULL, peer->now);
    if (!d)
        return peer->error;
    return ali_csession_ack(peer->session, d, NULL, peer->now);
}

/* Every allocation of it fails once: an error each time, and nothing is left behind. */
static void test_out_of_memory(void **state)
{
    uint64_t n = 0;
    bool failed = true;

    (void)state;
    while (failed) {
        struct peer peer;
        uint64_t before;
        int r;

        peer_init(&peer, NULL);
        before = peer.memory.calls;
        peer.memory.fail_at = before + ++n;
        peer.memory.fail_once = true;
        r = converse(&peer);
        failed = peer.memory.calls >= peer.memory.fail_at;
        assert_true(r == 0 || r == -AL_E_NOMEM);
        assert_true(failed || r == 0);
        peer.memory.fail_at = 0;
        if (r < 0) { /* and the session is as good as before */
            peer_lose(&peer);
            ali_csession_written(peer.session, 0);
        }
        peer_deinit(&peer);
    }
    assert_true(n > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_end),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_waiter),
        cmocka_unit_test(test_reconnect),
        cmocka_unit_test(test_reconnect_before_receipt),
        cmocka_unit_test(test_delayed),
        cmocka_unit_test(test_duplicate),
        cmocka_unit_test(test_forgotten),
        cmocka_unit_test(test_same_id_twice),
        cmocka_unit_test(test_ends_not_taken),
        cmocka_unit_test(test_questions),
        cmocka_unit_test(test_out_of_memory),
    };

    return cmocka_run_group_tests_name("client_watch", tests, NULL, NULL);
}
