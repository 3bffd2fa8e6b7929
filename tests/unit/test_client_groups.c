/* test_client_groups.c - the chain of a group's messages: what was altered, moved or left out. */
#include "base/errors.h"
#include "client/session.h"
#include "client_peer.h"
#include "crypto/hash.h"
#include <stdio.h>
#include <string.h>

#define COUNT 6

/* An honest history of group:team from its first message on. */
struct history {
    struct al_group_entry entries[COUNT];
    char texts[COUNT][32];
};

static void make(struct history *history)
{
    uint8_t hash[AL_GROUP_HASH_SIZE];

    memset(history, 0, sizeof(*history));
    al_chain_begin(al_str_c("group:team"), hash);
    for (unsigned i = 0; i < COUNT; i++) {
        struct al_group_entry *entry = &history->entries[i];

        snprintf(history->texts[i], sizeof(history->texts[i]), "envelope %u", i);
        entry->seq = i + 1;
        entry->what = i ? AL_GROUP_SAID : AL_GROUP_JOIN;
        entry->admitted_ms = 1000 + i;
        entry->author = i % 2 ? "ann" : "bob";
        entry->envelope = history->texts[i];
        entry->envelope_size = strlen(history->texts[i]);
        memcpy(entry->prev_hash, hash, sizeof(hash));
        al_group_entry_hash(entry, hash);
        memcpy(entry->hash, hash, sizeof(hash));
    }
}

/* Checks the entries [first, COUNT) but `skip`; where the chain breaks, 0: nowhere. */
static uint64_t check(const struct history *history, unsigned first, unsigned skip, int *ret_error)
{
    struct al_group_chain chain = {.seq = 0};
    int r = 0;

    if (first == 0)
        assert_int_equal(al_group_chain_begin(&chain, "team"), 0);
    for (unsigned i = first; i < COUNT && r == 0; i++)
        if (i != skip)
            r = al_group_chain_add(&chain, &history->entries[i]);
    *ret_error = r;
    assert_true((r < 0) == (chain.bad_seq != 0));
    return chain.bad_seq;
}

static void test_an_honest_history_is_whole(void **state)
{
    struct history history;
    int error;

    (void)state;
    make(&history);
    for (unsigned first = 0; first < COUNT; first++)
        assert_int_equal(check(&history, first, COUNT, &error), 0);
}

static void alter(struct history *history, unsigned i, unsigned field)
{
    struct al_group_entry *entry = &history->entries[i];

    switch (field) {
    case 0:
        history->texts[i][3] ^= 1;
        return;
    case 1:
        entry->author = "eve";
        return;
    case 2:
        entry->admitted_ms++;
        return;
    case 3:
        entry->what = AL_GROUP_LEAVE;
        return;
    default:
        entry->prev_hash[31] ^= 1;
    }
}

static void test_every_altered_field_is_found_where_it_stands(void **state)
{
    (void)state;
    for (unsigned i = 0; i < COUNT; i++)
        for (unsigned field = 0; field < 5; field++) {
            struct history history;
            int error;

            make(&history);
            alter(&history, i, field);
            assert_int_equal(check(&history, 0, COUNT, &error), i + 1);
            assert_int_equal(error, -AL_E_DAMAGED);
        }
}

/* Whoever alters a message can compute its hash again, but not the one that follows. */
static void test_a_forged_hash_breaks_the_next_link(void **state)
{
    (void)state;
    for (unsigned i = 0; i + 1 < COUNT; i++)
        for (unsigned field = 0; field < 5; field++) {
            struct history history;
            uint64_t bad;
            int error;

            make(&history);
            alter(&history, i, field);
            al_group_entry_hash(&history.entries[i], history.entries[i].hash);
            bad = check(&history, 0, COUNT, &error);
            assert_int_equal(bad, field == 4 ? i + 1 : i + 2);
            assert_int_equal(error, -AL_E_DAMAGED);
        }
}

static void test_what_was_left_out_is_named(void **state)
{
    struct history history;
    int error;

    (void)state;
    make(&history);
    for (unsigned i = 0; i + 1 < COUNT; i++) {
        assert_int_equal(check(&history, 0, i, &error), i + 2);
        assert_int_equal(error, -AL_E_SEQUENCE_GAP);
        assert_non_null(strstr(al_last_error(), "missing"));
    }
}

static void test_messages_in_each_others_places(void **state)
{
    struct al_group_chain chain = {.seq = 0};
    struct history history;

    (void)state;
    make(&history);
    assert_int_equal(al_group_chain_add(&chain, &history.entries[1]), 0);
    assert_int_equal(al_group_chain_add(&chain, &history.entries[2]), 0);
    assert_int_equal(al_group_chain_add(&chain, &history.entries[1]), -AL_E_DAMAGED);
    assert_int_equal(chain.bad_seq, 2);
    assert_int_equal(al_group_chain_add(&chain, &history.entries[3]), 0); /* it goes on */
    assert_int_equal(chain.bad_seq, 0);
    assert_int_equal(chain.count, 3);
}

static void test_names_of_groups(void **state)
{
    struct al_group_chain a, b;

    (void)state;
    assert_int_equal(al_group_chain_begin(&a, "team"), 0);
    assert_int_equal(al_group_chain_begin(&b, "group:default/team"), 0);
    assert_memory_equal(a.hash, b.hash, sizeof(a.hash));
    assert_int_equal(al_group_chain_begin(&b, "group:other/team"), 0);
    assert_memory_not_equal(a.hash, b.hash, sizeof(a.hash));
    assert_int_equal(al_group_chain_begin(&b, "group:"), -AL_E_BAD_NAME);
    assert_int_equal(al_group_chain_begin(&b, "group:group:team"), -AL_E_BAD_NAME);
    assert_int_equal(al_group_chain_begin(&b, NULL), -AL_E_BAD_NAME);
}

/* ---- what the node gives out ------------------------------------------------------------- */

/* Feeds a group's message with these optional fields behind it. */
static void deliver(struct peer *peer, const char *group, size_t hash_size)
{
    struct al_msg_envelope envelope = {.kind = al_str_c("note"), .payload = al_str_c("hello")};
    struct al_msg_deliver m = {.agent = 7,
                               .stream = 5,
                               .seq = 3,
                               .lease = 1,
                               .attempt = 1,
                               .lease_ms = 1000,
                               .admitted_ms = 77,
                               .from = al_str_c("ann")};
    uint8_t body[64] = {0}, hash[AL_GROUP_HASH_SIZE + 1] = {9};
    size_t at = peer->in.size;

    assert_true(al_size_envelope(&envelope) <= sizeof(body));
    m.envelope = al_str_of(body, (size_t)(al_encode_envelope(body, &envelope) - body));
    assert_int_equal(al_put_deliver(&peer->in, &m), 0);
    assert_int_equal(al_ext_put(&peer->in, AL_DELIVER_EXT_GROUP, al_str_c(group)), 0);
    assert_int_equal(al_ext_put(&peer->in, AL_DELIVER_EXT_PREV_HASH, al_str_of(hash, hash_size)),
                     0);
    al_put32(peer->in.data + at, (uint32_t)(peer->in.size - at - AL_WIRE_HEADER_SIZE));
    peer_feed(peer);
}

static void begin(struct peer *peer)
{
    peer_init(peer, NULL);
    peer_connect(peer);
    peer_attach(peer, NULL, false);
}

static void test_a_delivery_knows_its_place(void **state)
{
    struct al_group_chain chain = {.seq = 0};
    struct ali_delivery *delivery;
    struct peer peer;

    (void)state;
    begin(&peer);
    deliver(&peer, "group:team", AL_GROUP_HASH_SIZE);
    assert_int_equal(peer.error, 0);
    delivery = peer_next(&peer);
    assert_non_null(delivery);
    assert_non_null(delivery->pub.group);
    assert_string_equal(delivery->pub.group->name, "group:team");
    assert_string_equal(delivery->pub.message.to, "group:team");
    assert_string_equal(delivery->pub.message.from, "ann");
    assert_string_equal(delivery->pub.agent, "b");
    assert_int_equal(delivery->pub.group->what, AL_GROUP_SAID);
    assert_int_equal(delivery->pub.group->prev_hash[0], 9);
    assert_int_equal(al_group_chain_add_delivery(&chain, &delivery->pub), 0);
    assert_int_equal(al_group_chain_add_delivery(&chain, &delivery->pub), 1);
    assert_memory_equal(chain.hash, delivery->pub.group->hash, sizeof(chain.hash));
    peer_deinit(&peer);
}

static void test_a_place_that_makes_no_sense_ends_the_connection(void **state)
{
    struct peer peer;

    (void)state;
    begin(&peer);
    deliver(&peer, "group:", AL_GROUP_HASH_SIZE);
    assert_int_equal(peer.error, -AL_E_PROTOCOL);
    peer_deinit(&peer);
    begin(&peer);
    deliver(&peer, "group:team", AL_GROUP_HASH_SIZE + 1);
    assert_int_equal(peer.error, -AL_E_PROTOCOL);
    peer_deinit(&peer);
}

/* A hole in a group would be one for all: its channel never skips. */
static void test_a_channel_to_a_group_waits_for_what_is_missing(void **state)
{
    struct peer peer;
    struct al_message message;
    bool done = false;
    struct ali_send send = {.message = &message, .waiter = &done, .fresh = {{1}}};
    struct ali_out *out;

    (void)state;
    peer_init(&peer, &(struct ali_csession_config){.gaps = AL_GAP_SKIP});
    peer_connect(&peer);
    al_message_init(&message);
    message.from = "ann";
    message.to = "group:team";
    assert_int_equal(ali_csession_send(peer.session, &send, peer.now, &out), 0);
    {
        TAKE(&peer, PRODUCER_OPEN, producer_open, open);
        FEED(&peer, producer_ready, .request = open.request, .producer = 9, .epoch = 1);
    }
    {
        TAKE(&peer, CHANNEL_OPEN, channel_open, m);
        assert_int_equal(m.flags, AL_GAPS_WAIT);
        assert_true(al_str_eq(m.to, al_str_c("group:team")));
    }
    peer_deinit(&peer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_honest_history_is_whole),
        cmocka_unit_test(test_every_altered_field_is_found_where_it_stands),
        cmocka_unit_test(test_a_forged_hash_breaks_the_next_link),
        cmocka_unit_test(test_what_was_left_out_is_named),
        cmocka_unit_test(test_messages_in_each_others_places),
        cmocka_unit_test(test_names_of_groups),
        cmocka_unit_test(test_a_delivery_knows_its_place),
        cmocka_unit_test(test_a_place_that_makes_no_sense_ends_the_connection),
        cmocka_unit_test(test_a_channel_to_a_group_waits_for_what_is_missing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
