/* test_core_commit.c - commits: all or nothing, also when the journal ends within one. */
#include "core_driver.h"
#include "support.h"
#include <stdlib.h>
#include <string.h>

static void small(struct al_node_config *config)
{
    config->dedup_max = 64;
    config->records_max = 64;
}

/* Connection 0 sends as "a" to "b", which connection 1 receives and commits for. */
static void begin(struct driver *d)
{
    struct al_msg_producer_open open = {.request = 9};

    driver_init(d, small);
    driver_open(d, 1, 1000, 2);
    driver_attach(d, 1, "b", 64);
    assert_int_equal(al_put_producer_open(&d->in, &open), 0);
    driver_send(d, 1);
    driver_open(d, 0, 1000, 1);
    driver_channel(d, 0, "a", "b");
    driver_forget(d);
}

static void put_body(struct al_buf *list, const uint8_t *body, size_t size)
{
    uint8_t length[4];

    al_put32(length, (uint32_t)size);
    assert_int_equal(al_buf_put(list, length, 4), 0);
    assert_int_equal(al_buf_put(list, body, size), 0);
}

struct parts {
    struct al_buf acks, sends, changes;
};

static void parts_free(struct parts *parts)
{
    al_buf_deinit(&parts->acks);
    al_buf_deinit(&parts->sends);
    al_buf_deinit(&parts->changes);
}

static void parts_init(struct parts *parts, const struct al_alloc *alloc)
{
    al_buf_init(&parts->acks, alloc);
    al_buf_init(&parts->sends, alloc);
    al_buf_init(&parts->changes, alloc);
}

static void add_status(struct driver *d, struct parts *parts, uint64_t seq, uint8_t status)
{
    struct al_msg_ack ack = {.stream = 1,
                             .seq = seq,
                             .lease = d->lease[1][seq],
                             .status = status,
                             .reason = al_str_c(status == AL_STATUS_FAILED ? "never" : ""),
                             .response = al_str_c("done")};
    uint8_t body[256];

    put_body(&parts->acks, body, (size_t)(al_encode_ack(body, &ack) - body));
}

static void add_ack(struct driver *d, struct parts *parts, uint64_t seq)
{
    add_status(d, parts, seq, AL_STATUS_SUCCESS);
}

static void add_send_to(struct parts *parts, const char *to, uint8_t id, const char *key)
{
    struct al_msg_envelope envelope = {
        .message_id = {{0xee, id}}, .key = al_str_c(key), .payload = al_str_c("next")};
    struct al_msg_commit_send send = {.priority = AL_PRIORITY_DEFAULT, .to = al_str_c(to)};
    uint8_t inner[256], body[512];

    send.envelope = al_str_of(inner, (uint32_t)(al_encode_envelope(inner, &envelope) - inner));
    put_body(&parts->sends, body, (size_t)(al_encode_commit_send(body, &send) - body));
}

static void add_send(struct parts *parts, uint8_t id, const char *key)
{
    add_send_to(parts, "a", id, key);
}

static void add_change(struct parts *parts, uint8_t action, const char *key, const char *value)
{
    struct al_msg_commit_kv change = {
        .action = action, .key = al_str_c(key), .value = al_str_c(value)};
    uint8_t body[512];

    put_body(&parts->changes, body, (size_t)(al_encode_commit_kv(body, &change) - body));
}

static void commit(struct driver *d, struct parts *parts, uint64_t cseq)
{
    struct al_msg_commit m = {.request = 50,
                              .producer = d->producer[1],
                              .epoch = 1,
                              .cseq = cseq,
                              .agent = al_str_c("b"),
                              .acks = al_str_of(parts->acks.data, (uint32_t)parts->acks.size),
                              .sends = al_str_of(parts->sends.data, (uint32_t)parts->sends.size),
                              .changes =
                                  al_str_of(parts->changes.data, (uint32_t)parts->changes.size)};

    assert_int_equal(al_put_commit(&d->in, &m), 0);
    driver_send(d, 1);
    parts_free(parts);
}

static void put_group(struct driver *d)
{
    struct al_msg_group_add add = {.request = 1, .keep_count = 2, .group = al_str_c("group:team")};
    struct al_msg_group_join join = {.request = 2, .group = al_str_c("group:team")};

    assert_int_equal(al_put_group_add(&d->in, &add), 0);
    join.agent = al_str_c("a");
    assert_int_equal(al_put_group_join(&d->in, &join), 0);
    join.agent = al_str_c("b");
    assert_int_equal(al_put_group_join(&d->in, &join), 0);
    driver_send(d, 1);
}

#define BIG_COMMIT_RECORDS 9u /* COMMIT and its eight */

/* A state to change, and a commit of every sort of part. Its records begin behind *ret_before. */
static void big_commit(struct driver *d, size_t *ret_before, uint64_t *ret_hash)
{
    struct parts parts;

    put_group(d);
    parts_init(&parts, &d->config.alloc);
    add_change(&parts, AL_KV_SET, "old", "value");
    add_send(&parts, 9, ""); /* their streams are there afterwards */
    add_send_to(&parts, "group:team", 8, "");
    commit(d, &parts, 1);
    driver_publish(d, 0, 1, 4);
    *ret_before = d->record_count;
    *ret_hash = al_node_state_hash(d->node);
    add_ack(d, &parts, 1);
    add_status(d, &parts, 2, AL_STATUS_FAILED);
    add_ack(d, &parts, 3);
    add_send(&parts, 1, "key");
    add_send(&parts, 2, "");
    add_send_to(&parts, "group:team", 3, "");
    add_change(&parts, AL_KV_DELETE, "old", "");
    add_change(&parts, AL_KV_DELETE, "never was", "");
    add_change(&parts, AL_KV_SET, "new", "value");
    commit(d, &parts, 2);
}

static struct al_record_view view_of(const struct driver *d, size_t index)
{
    const struct journal_record *record = &d->journal[index];

    return (struct al_record_view){.lsn = index + 1,
                                   .type = record->type,
                                   .payload = al_str_of(record->payload, record->size)};
}

static void test_replay_of_a_part_is_as_if_it_had_never_been(void **state)
{
    struct driver d;
    uint64_t hash;
    size_t before;

    (void)state;
    begin(&d);
    big_commit(&d, &before, &hash);
    assert_int_equal(d.record_count, before + BIG_COMMIT_RECORDS);
    for (size_t cut = before; cut <= d.record_count; cut++) {
        struct al_node *node;
        bool whole = cut == d.record_count;

        assert_int_equal(al_node_new(&d.config, &node), 0);
        for (size_t i = 0; i < cut; i++) {
            struct al_record_view view = view_of(&d, i);

            assert_int_equal(al_node_replay(node, &view), 0);
        }
        assert_int_equal(al_node_lsn(node), cut);
        assert_true((al_node_state_hash(node) == hash) == !whole);
        assert_true((al_node_state_hash(node) == al_node_state_hash(d.node)) == whole);
        al_node_free(node);
    }
    driver_check_replay(&d);
    driver_deinit(&d);
}

static void test_life_goes_on_behind_a_part(void **state)
{
    for (size_t kept = 0; kept <= BIG_COMMIT_RECORDS; kept++) {
        struct al_msg_kv_list list = {.request = 3, .agent = al_str_c("b")};
        struct driver d;
        struct parts parts;
        uint64_t hash;
        size_t before;

        (void)state;
        begin(&d);
        big_commit(&d, &before, &hash);
        for (size_t i = before + kept; i < d.record_count; i++)
            free(d.journal[i].payload);
        d.record_count = before + kept;
        driver_restart(&d, false);
        driver_check_replay(&d);
        driver_open(&d, 1, 1000, 2);
        driver_attach(&d, 1, "b", 64);
        parts_init(&parts, &d.config.alloc);
        add_change(&parts, AL_KV_SET, "last", "x");
        /* The repeated commit, or what comes behind it: the node knows which it is. */
        commit(&d, &parts, kept == BIG_COMMIT_RECORDS ? 3 : 2);
        assert_int_equal(al_put_kv_list(&d.in, &list), 0);
        driver_send(&d, 1);
        driver_snapshot_begin(&d);
        while (driver_snapshot_step(&d, 64))
            ;
        driver_check_snapshot(&d);
        driver_check_replay(&d);
        driver_restart(&d, true);
        driver_check_snapshot(&d);
        driver_deinit(&d);
    }
}

static void test_nobody_hears_of_half_a_commit(void **state)
{
    struct driver d;
    struct parts parts;
    bool sent = false;

    (void)state;
    begin(&d);
    driver_put_publish(
        &d, &(struct driver_message){.pseq = 1, .text = "ask", .flags = AL_PUBLISH_NOTIFY});
    driver_send(&d, 0);
    driver_attach(&d, 0, "a", 8); /* who gets what the commit sends */
    parts_init(&parts, &d.config.alloc);
    add_ack(&d, &parts, 1);
    add_send(&parts, 1, "");
    add_change(&parts, AL_KV_SET, "k", "v");
    commit(&d, &parts, 1);
    for (size_t i = 0; i < d.effects.count; i++) {
        assert_false(sent && d.effects.list[i].type == AL_EFFECT_PERSIST);
        sent = sent || d.effects.list[i].type == AL_EFFECT_SEND;
    }
    assert_true(sent);
    driver_deinit(&d);
}

/* Asks, and finds the first answer of this type. */
static struct al_str answer_of(struct driver *d, unsigned type)
{
    struct al_frame frame;

    driver_send(d, 1);
    for (size_t i = 0; i < d->effects.count; i++) {
        const struct al_effect *effect = &d->effects.list[i];
        struct al_str rest = al_str_of(d->effects.data.data + effect->offset, effect->size);
        int64_t n;

        while (effect->type == AL_EFFECT_SEND &&
               (n = al_frame_next(rest, AL_FRAME_MAX, &frame)) > 0) {
            if (frame.type == type)
                return frame.body;
            rest = al_str_of(rest.p + n, rest.n - (uint32_t)n);
        }
    }
    return al_str_of(NULL, 0);
}

/* ---- messages that are refused ----------------------------------------------------------- */

static uint32_t letters(struct driver *d)
{
    struct al_msg_dlq_list m = {.request = 6, .agent = al_str_c("b")};
    struct al_msg_done done;

    assert_int_equal(al_put_dlq_list(&d->in, &m), 0);
    assert_int_equal(al_decode_done(answer_of(d, AL_MSG_DONE), &done), 0);
    return (uint32_t)done.count;
}

/* The one in front becomes a dead letter, the one behind ends well, in one step with the rest. */
static void test_a_commit_refuses_a_message(void **state)
{
    struct driver d;
    struct parts parts;

    (void)state;
    begin(&d);
    driver_put_publish(
        &d, &(struct driver_message){.pseq = 1, .text = "ask", .flags = AL_PUBLISH_NOTIFY});
    driver_send(&d, 0);
    driver_publish(&d, 0, 2, 3);
    driver_forget(&d);
    parts_init(&parts, &d.config.alloc);
    add_status(&d, &parts, 1, AL_STATUS_FAILED);
    add_send_to(&parts, "nobody", 1, "");
    commit(&d, &parts, 1);
    driver_expect(&d, "1: COMMITTED\n"); /* refused: there is no such agent */
    assert_int_equal(letters(&d), 0);
    driver_forget(&d);
    add_status(&d, &parts, 1, AL_STATUS_FAILED);
    add_ack(&d, &parts, 2);
    add_change(&parts, AL_KV_SET, "k", "v");
    commit(&d, &parts, 1);
    driver_expect(&d, "0: END 1:1 state 6 attempts 1 'never' ''\n"
                      "1: ACKED 1:1-1 x1\n"
                      "1: ACKED 1:2-2 x1\n"
                      "1: COMMITTED\n");
    assert_int_equal(letters(&d), 1);
    driver_restart(&d, false);
    driver_check_replay(&d);
    driver_open(&d, 1, 1000, 2);
    assert_int_equal(letters(&d), 1);
    driver_deinit(&d);
}

static uint64_t pending(struct driver *d, const char *agent)
{
    struct al_msg_agent_list m = {.request = 4, .limit = 1, .exact = 1, .after = al_str_c(agent)};
    struct al_msg_agent_row row;

    assert_int_equal(al_put_agent_list(&d->in, &m), 0);
    assert_int_equal(al_decode_agent_row(answer_of(d, AL_MSG_AGENT_ROW), &row), 0);
    return row.ready + row.leased + row.delayed;
}

/* ---- groups ------------------------------------------------------------------------------ */

static void test_a_commit_posts_to_a_group(void **state)
{
    struct driver d;
    struct parts parts;

    (void)state;
    begin(&d);
    put_group(&d);
    driver_publish(&d, 0, 1, 1);
    driver_attach(&d, 0, "a", 8);
    driver_forget(&d);
    parts_init(&parts, &d.config.alloc);
    add_send_to(&parts, "group:team", 1, "");
    add_send_to(&parts, "group:none", 2, "key");
    commit(&d, &parts, 1);
    driver_expect(&d, "1: COMMITTED\n"); /* refused, and the key is free */
    add_ack(&d, &parts, 1);
    add_send_to(&parts, "group:team", 1, "");
    add_send_to(&parts, "group:team", 2, "key");
    add_change(&parts, AL_KV_SET, "k", "v");
    commit(&d, &parts, 1);
    driver_expect(&d, "1: ACKED 1:1-1 x1\n"
                      "0: DELIVER 2:3 after 2 attempt 1 'next' by b\n"
                      "1: DELIVER 3:3 after 2 attempt 1 'next' by b\n"
                      "0: DELIVER 2:4 after 3 attempt 1 'next' by b\n"
                      "1: DELIVER 3:4 after 3 attempt 1 'next' by b\n"
                      "1: COMMITTED\n");
    add_send_to(&parts, "group:team", 7, "key"); /* was posted, under another id */
    commit(&d, &parts, 2);
    driver_expect(&d, "1: COMMITTED\n");
    driver_check_replay(&d);
    driver_deinit(&d);
}

/* Keys that have expired go with the first message that has one, and no others with them. */
static void test_expired_keys_go_once(void **state)
{
    struct driver d;
    struct parts parts;

    (void)state;
    begin(&d);
    put_group(&d);
    parts_init(&parts, &d.config.alloc);
    add_send(&parts, 1, "old");
    commit(&d, &parts, 1);
    driver_tick(&d, d.config.dedup_ttl_ms - 1000);
    add_send(&parts, 2, "young");
    commit(&d, &parts, 2);
    driver_tick(&d, 2000);
    driver_forget(&d);
    add_send(&parts, 3, "");
    add_send_to(&parts, "group:team", 4, "post");
    add_send(&parts, 5, "new");
    commit(&d, &parts, 3);
    driver_forget(&d);
    add_send(&parts, 6, "young"); /* is not forgotten, nor is the post's */
    add_send_to(&parts, "group:team", 7, "post");
    commit(&d, &parts, 4);
    driver_expect(&d, "1: COMMITTED\n");
    assert_int_equal(pending(&d, "a"), 7); /* old, young, the unnamed, new; a post and two joins */
    driver_check_replay(&d);
    driver_deinit(&d);
}

/* ---- any order of things ----------------------------------------------------------------- */

static uint64_t counted(struct driver *d)
{
    struct al_msg_kv_get m = {.request = 5, .agent = al_str_c("b"), .key = al_str_c("count")};
    struct al_msg_kv_row row;
    struct al_str body;

    assert_int_equal(al_put_kv_get(&d->in, &m), 0);
    body = answer_of(d, AL_MSG_KV_ROW);
    if (!body.p)
        return 0;
    assert_int_equal(al_decode_kv_row(body, &row), 0);
    return row.value.n; /* as many bytes as commits */
}

/* The commit of message n: its ack, a message to "a", and the count. */
static void commit_one(struct driver *d, uint64_t n, uint64_t cseq, uint8_t *id)
{
    char count[17] = "";
    struct parts parts;

    memset(count, 'x', n);
    parts_init(&parts, &d->config.alloc);
    add_ack(d, &parts, n);
    add_send(&parts, ++*id, "");
    add_change(&parts, AL_KV_SET, "count", count);
    commit(d, &parts, cseq);
}

/* The node dies; of what it wrote since `floor` records, any number are on disk. What was sent is
 * sent again. Returns how many commits were applied. */
static uint64_t crash(struct driver *d, struct al_test_random *random, size_t floor, uint64_t sent)
{
    size_t kept = floor + al_test_below(random, d->record_count - floor + 1);

    for (size_t i = kept; i < d->record_count; i++)
        free(d->journal[i].payload);
    d->record_count = kept;
    driver_restart(d, false);
    driver_check_replay(d);
    driver_open(d, 1, 1000, 2);
    driver_open(d, 0, 1000, 1);
    driver_channel(d, 0, "a", "b");
    if (sent)
        driver_publish(d, 0, 1, sent);
    driver_attach(d, 1, "b", 64);
    return counted(d);
}

/* Any interleaving of publishes, commits, repeated commits and crashes gives a state that there is
 * without crashes too: of n messages sent and c committed, c effects and n - c that wait. */
static void test_any_order_gives_a_state_without_crashes(void **state)
{
    struct al_test_random random = al_test_random_new("commits");

    (void)state;
    for (unsigned run = 0; run < 150; run++) {
        uint64_t sent = 0, done = 0, before;
        unsigned crashes = 0;
        struct driver d;
        uint8_t id = 0;
        size_t floor;

        begin(&d);
        floor = d.record_count;
        for (unsigned step = 0; step < 30; step++) {
            uint64_t what = al_test_below(&random, 10);

            before = done;
            if (what < 4 && sent < 15) {
                sent++;
                driver_publish(&d, 0, sent, sent);
            } else if (what < 8 && done < sent) {
                commit_one(&d, done + 1, done + 1, &id);
                done++;
            } else if (what == 8 && done) {
                commit_one(&d, done, done, &id); /* once more: it is known */
            } else if (what == 9 && crashes < 3) {
                crashes++;
                done = crash(&d, &random, floor, sent);
            }
            assert_true(done <= before + 1);
            assert_int_equal(counted(&d), done);
            assert_int_equal(pending(&d, "b"), sent - done);
            assert_int_equal(pending(&d, "a"), done);
        }
        driver_check_replay(&d);
        driver_deinit(&d);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replay_of_a_part_is_as_if_it_had_never_been),
        cmocka_unit_test(test_life_goes_on_behind_a_part),
        cmocka_unit_test(test_a_commit_refuses_a_message),
        cmocka_unit_test(test_a_commit_posts_to_a_group),
        cmocka_unit_test(test_expired_keys_go_once),
        cmocka_unit_test(test_nobody_hears_of_half_a_commit),
        cmocka_unit_test(test_any_order_gives_a_state_without_crashes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
