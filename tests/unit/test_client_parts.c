/* test_client_parts.c - replies in parts, on both sides of a client. */
#include "base/errors.h"
#include "base/limits.h"
#include "client_peer.h"
#include <string.h>

/* ---- taking ------------------------------------------------------------------------------ */

static const struct al_message_id asked = {{9}};

struct asker {
    struct peer peer;
    struct ali_parts parts;
    struct al_end *end;
};

static void begin(struct asker *a)
{
    a->end = NULL;
    peer_init(&a->peer, NULL);
    peer_connect(&a->peer);
    ali_parts_init(&a->parts);
    assert_int_equal(ali_watch_add(a->peer.session, &asked), 0);
    ali_watch_find(a->peer.session, &asked)->parts = &a->parts;
    assert_true(ali_watch_wait(a->peer.session, &asked, &a->end));
}

static void end(struct asker *a)
{
    al_end_free(a->end);
    ali_parts_deinit(a->peer.session, &a->parts);
    peer_deinit(&a->peer);
}

static void feed(struct asker *a, uint64_t attempt, uint32_t part, const char *text)
{
    FEED(&a->peer, reply_part, .message_id.b = {9}, .stream = 5, .seq = 1, .attempt = attempt,
         .part = part, .data = al_str_c(text));
}

/* The end, with these parts of one letter each. */
static void feed_end(struct asker *a, uint64_t attempt, const char *letters)
{
    struct al_msg_parts m = {.attempt = attempt,
                             .count = (uint32_t)strlen(letters),
                             .response_type = al_str_c("text/x"),
                             .response = al_str_c("all")};
    uint8_t parts[200], body[400];

    for (uint32_t i = 0; i < m.count; i++) {
        al_put32(parts + 5 * (size_t)i, 1);
        parts[5 * (size_t)i + 4] = (uint8_t)letters[i];
    }
    m.parts = al_str_of(parts, 5 * m.count);
    (void)al_encode_parts(body, &m);
    FEED(&a->peer, end, .message_id.b = {9}, .stream = 5, .seq = 1, .state = AL_STATE_DELIVERED,
         .response_type = al_str_c(AL_PARTS_TYPE),
         .response = al_str_of(body, (uint32_t)al_size_parts(&m)));
}

static void expect(struct asker *a, uint32_t attempt, uint32_t number, const char *text)
{
    struct ali_part *part = ali_parts_take(&a->parts);

    assert_non_null(part);
    assert_int_equal(part->attempt, attempt);
    assert_int_equal(part->number, number);
    assert_int_equal(part->size, strlen(text));
    assert_memory_equal(part->data, text, part->size);
    ali_part_free(a->peer.session, part);
}

static void expect_end(const struct asker *a, uint32_t attempt, uint32_t count)
{
    assert_null(a->parts.head);
    assert_non_null(a->end);
    assert_int_equal(a->end->parts, count);
    assert_int_equal(a->end->parts_attempt, attempt);
}

static void parts_come_in_order_and_once(void **state)
{
    struct asker a;

    (void)state;
    begin(&a);
    feed(&a, 100, 1, "a");
    feed(&a, 100, 1, "a"); /* twice */
    feed(&a, 100, 2, "b");
    feed(&a, 100, 4, "d"); /* the third was lost: it waits for the end */
    expect(&a, 1, 1, "a");
    expect(&a, 1, 2, "b");
    assert_null(a.parts.head);
    feed_end(&a, 100, "abcd");
    expect(&a, 1, 3, "c");
    expect(&a, 1, 4, "d");
    expect_end(&a, 1, 4);
    assert_string_equal(a.end->response_type, "text/x");
    assert_memory_equal(a.end->response, "all", 3);
    assert_int_equal(a.peer.session->stats.parts, 4);
    end(&a);
}

static void another_attempt_begins_again(void **state)
{
    struct asker a;

    (void)state;
    begin(&a);
    feed(&a, 100, 1, "a");
    feed(&a, 100, 2, "b");
    expect(&a, 1, 1, "a");
    feed(&a, 200, 2, "y"); /* its first was lost */
    expect(&a, 1, 2, "b");
    feed(&a, 300, 1, "p");
    feed(&a, 400, 1, "q"); /* what is not taken of an attempt is void */
    expect(&a, 3, 1, "q");
    feed_end(&a, 500, "uv");
    expect(&a, 4, 1, "u");
    expect(&a, 4, 2, "v");
    expect_end(&a, 4, 2);
    end(&a);
}

static void an_end_without_parts_voids_what_came(void **state)
{
    struct asker a;

    (void)state;
    begin(&a);
    feed(&a, 100, 1, "a");
    FEED(&a.peer, end, .message_id.b = {9}, .stream = 5, .seq = 1, .state = AL_STATE_DELIVERED,
         .response = al_str_c("plain"));
    expect_end(&a, 0, 0);
    assert_int_equal(a.end->response_size, 5);
    end(&a);
}

static void what_is_not_in_parts_stays_a_response(void **state)
{
    static const uint8_t none[4];
    struct asker a;

    (void)state;
    begin(&a);
    FEED(&a.peer, end, .message_id.b = {9}, .stream = 5, .seq = 1, .state = AL_STATE_DELIVERED,
         .response_type = al_str_c(AL_PARTS_TYPE), .response = al_str_of(none, 4));
    expect_end(&a, 0, 0);
    assert_int_equal(a.end->response_size, 4);
    assert_string_equal(a.end->response_type, AL_PARTS_TYPE);
    end(&a);
}

static void strangers_parts_are_ignored(void **state)
{
    struct asker a;

    (void)state;
    begin(&a);
    FEED(&a.peer, reply_part, .message_id.b = {8}, .stream = 5, .seq = 1, .attempt = 1, .part = 1,
         .data = al_str_c("x"));
    assert_null(a.parts.head);
    end(&a);
}

/* ---- sending ----------------------------------------------------------------------------- */

static void deliver(struct peer *peer, uint64_t lease)
{
    uint8_t ext[] = {AL_EXT_PARTS, 0, 1, 0, '1'}, body[200];
    struct al_msg_envelope envelope = {.payload = al_str_c("x"), .ext = al_str_of(ext, 5)};

    envelope.message_id.b[0] = 1;
    (void)al_encode_envelope(body, &envelope);
    FEED(peer, deliver, .agent = 7, .stream = 5, .seq = 1, .lease = lease, .lease_ms = 900,
         .attempt = 1, .from = al_str_c("a"),
         .envelope = al_str_of(body, (uint32_t)al_size_envelope(&envelope)));
}

static void expect_part(struct peer *peer, uint64_t lease, uint32_t number)
{
    TAKE(peer, PART, part, m);

    assert_int_equal(m.agent, 7);
    assert_int_equal(m.lease, lease);
    assert_int_equal(m.attempt, 101);
    assert_int_equal(m.part, number);
}

static int say(struct peer *peer, struct ali_delivery *d, const char *text)
{
    return ali_csession_part(peer->session, d, al_str_c(text), peer->now);
}

static void the_ack_says_all_parts(void **state)
{
    struct al_ack_options options = {.response = "end", .response_size = 3}, wrapped;
    struct al_msg_parts parts;
    struct ali_delivery *d;
    struct al_buf buf;
    struct peer peer;

    (void)state;
    peer_init(&peer, NULL);
    al_buf_init(&buf, &peer.session->config.alloc);
    peer_connect(&peer);
    peer_attach(&peer, NULL, false);
    deliver(&peer, 101);
    d = peer_next(&peer);
    assert_true(d->pub.wants_parts);
    assert_int_equal(say(&peer, d, "1"), 0);
    expect_part(&peer, 101, 1);
    peer_lose(&peer); /* said without a connection: it goes with the ack */
    assert_int_equal(say(&peer, d, "2"), 0);
    peer_connect(&peer);
    peer_attach(&peer, NULL, false);
    assert_silent(&peer);
    deliver(&peer, 102); /* again, to us: the attempt goes on under its name */
    assert_int_equal(say(&peer, d, "3"), 0);
    expect_part(&peer, 102, 3);
    assert_int_equal(ali_parts_wrap(d, &options, &buf, &wrapped), 0);
    assert_int_equal(ali_csession_ack(peer.session, d, &wrapped, peer.now), 0);
    {
        TAKE(&peer, ACK, ack, ack);

        assert_int_equal(ack.lease, 102);
        assert_int_equal(al_decode_parts(ack.response, &parts), 0);
        assert_int_equal(parts.attempt, 101);
        assert_int_equal(parts.count, 3);
        assert_memory_equal(parts.parts.p, "\1\0\0\0001\1\0\0\0002\1\0\0\0003", 15);
        assert_memory_equal(parts.response.p, "end", 3);
    }
    al_buf_deinit(&buf);
    peer_deinit(&peer);
}

static void parts_have_limits(void **state)
{
    static uint8_t large[AL_PART_MAX + 1];
    struct al_ack_options wrapped;
    struct ali_delivery *d;
    struct al_buf buf;
    struct peer peer;
    unsigned count = 0;
    int r = 0;

    (void)state;
    peer_init(&peer, NULL);
    peer_connect(&peer);
    peer_attach(&peer, NULL, false);
    deliver(&peer, 101);
    peer_deliver(&peer, 2, 1, 105, "its sender did not ask");
    d = peer_next(&peer);
    assert_int_equal(say(&peer, d, ""), -AL_E_INVALID);
    assert_int_equal(ali_csession_part(peer.session, d, al_str_of(large, sizeof(large)), peer.now),
                     -AL_E_TOO_LARGE);
    for (; r == 0; count++)
        r = ali_csession_part(peer.session, d, al_str_of(large, AL_PART_MAX), peer.now);
    assert_int_equal(r, -AL_E_TOO_LARGE);
    assert_int_equal(count, AL_RESPONSE_MAX / AL_PART_MAX);
    while (say(&peer, d, "x") == 0) /* to the last byte: it can be acknowledged all the same */
        ;
    al_buf_init(&buf, &peer.session->config.alloc);
    assert_int_equal(ali_parts_wrap(d, NULL, &buf, &wrapped), 0);
    assert_int_equal(ali_csession_ack(peer.session, d, &wrapped, peer.now), 0);
    al_buf_deinit(&buf);
    d = peer_next(&peer);
    assert_false(d->pub.wants_parts);
    assert_int_equal(say(&peer, d, "x"), -AL_E_UNSUPPORTED);
    peer_deinit(&peer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_come_in_order_and_once),
        cmocka_unit_test(another_attempt_begins_again),
        cmocka_unit_test(an_end_without_parts_voids_what_came),
        cmocka_unit_test(what_is_not_in_parts_stays_a_response),
        cmocka_unit_test(strangers_parts_are_ignored),
        cmocka_unit_test(the_ack_says_all_parts),
        cmocka_unit_test(parts_have_limits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
