/* test_core_corners.c - removals, small rings, full disks and damaged records: rare ways, each once
 * wrong. */
#include "base/errors.h"
#include "core/state.h"
#include "core_driver.h"
#include "support.h"
#include <stdio.h>
#include <stdlib.h>

static void small(struct al_node_config *c)
{
    c->records_max = 16;
    c->dedup_max = 64;
}

static void begin(struct driver *d, void (*tune)(struct al_node_config *), uint32_t credit)
{
    driver_init(d, tune);
    driver_open(d, 0, 1000, 1);
    driver_open(d, 1, 1000, 2);
    driver_attach(d, 1, "b", credit);
    driver_channel(d, 0, "a", "b");
    driver_forget(d);
}

static void put_detail_ack(struct driver *d, uint64_t seq, uint8_t status, const char *response)
{
    struct al_msg_ack ack = {.agent = d->agent[1],
                             .stream = 1,
                             .seq = seq,
                             .lease = d->lease[1][seq & 15],
                             .status = status,
                             .response = al_str_c(response)};
    assert_int_equal(al_put_ack(&d->in, &ack), 0);
    driver_send(d, 1);
}

/* agents remove --force of an inbox with a hole: the gone entry's record is dropped twice */
static void purge_with_a_hole(void **state)
{
    (void)state;
    struct al_msg_agent_remove remove = {.request = 1, .flags = 1, .name = al_str_c("b")};
    struct driver d;
    begin(&d, NULL, 1);
    driver_put_publish(&d, &(struct driver_message){.pseq = 1, .text = "m1"});
    driver_put_publish(&d, &(struct driver_message){.pseq = 2, .text = "m2", .ttl_ms = 100});
    driver_put_publish(&d, &(struct driver_message){.pseq = 3, .text = "m3"});
    driver_send(&d, 0);
    driver_tick(&d, 200);
    driver_close(&d, 0);
    driver_forget(&d);
    assert_int_equal(al_put_agent_remove(&d.in, &remove), 0);
    driver_send(&d, 1);
    driver_expect(&d, "1: DETACHED NOT_FOUND\n1: DONE OK 1\n");
    driver_check_replay(&d);
    driver_deinit(&d);
}

/* the same with a neighbour whose record stands in the same bucket: no assertion, but the
 * neighbour's record counts as dead */
static void purge_with_a_hole_kills_a_neighbour(void **state)
{
    (void)state;
    struct al_msg_agent_add add = {.request = 1, .name = al_str_c("c")};
    struct al_msg_agent_remove remove = {.request = 1, .flags = 1, .name = al_str_c("b")};
    struct driver d;
    begin(&d, NULL, 1);
    assert_int_equal(al_put_agent_add(&d.in, &add), 0);
    driver_send(&d, 0);
    driver_open(&d, 2, 1000, 3);
    driver_channel(&d, 2, "x", "c");
    driver_publish(&d, 2, 1, 1); /* waits for c */
    driver_put_publish(&d, &(struct driver_message){.pseq = 1, .text = "m1"});
    driver_put_publish(&d, &(struct driver_message){.pseq = 2, .text = "m2", .ttl_ms = 100});
    driver_send(&d, 0);
    driver_tick(&d, 200);
    driver_close(&d, 0);
    driver_forget(&d);
    assert_int_equal(al_put_agent_remove(&d.in, &remove), 0);
    driver_send(&d, 1);
    driver_forget(&d);
    /* left: x->c 1 pending (1) and the ended entry of m2, which refers to its DEAD record (1) */
    assert_int_equal(al_node_live_count(d.node, 1, 63), 2);
    driver_deinit(&d);
}

/* records_max lowered between two starts: a CARRY of a finished delivery no longer "follows" */
static void lower_records_max(void **state)
{
    (void)state;
    struct driver d;
    begin(&d, NULL, 200);
    driver_publish(&d, 0, 1, 1);
    put_detail_ack(&d, 1, AL_STATUS_SUCCESS, "answer");
    for (uint64_t i = 2; i <= 60; i++) {
        driver_publish(&d, 0, i, i);
        driver_ack(&d, 1, 1, i);
    }
    driver_carry(&d, 1, d.record_count); /* the ACK with the answer is carried: CARRY what 4 */
    d.config.records_max = 16;           /* the operator lowers "records" */
    driver_restart(&d, false);
    driver_deinit(&d);
}

static void scheduled_id_twice(void **state)
{
    (void)state;
    struct driver d;
    begin(&d, NULL, 5);
    driver_put_publish(&d, &(struct driver_message){
                               .pseq = 1, .id = 50, .text = "x", .due_ms = d.now.wall_ms + 1000});
    driver_send(&d, 0);
    driver_open(&d, 2, 1000, 3); /* the client restarted, same message id */
    driver_channel(&d, 2, "a", "b");
    driver_forget(&d);
    driver_put_publish(&d, &(struct driver_message){
                               .pseq = 1, .id = 50, .text = "x", .due_ms = d.now.wall_ms + 1000});
    driver_send(&d, 2);
    driver_tick(&d, 1100);
    driver_expect(&d, "2: RECEIPT 1 x1 -> 1:0 duplicate\n1: DELIVER 1:1 after 0 attempt 1 'x'\n");
    driver_deinit(&d);
}

/* END is being read back; its record is carried meanwhile and its old place is gone: NOT_FOUND */
static void end_without_response(void **state)
{
    (void)state;
    struct al_msg_end_watch watch = {.stream = 1, .seq = 1};
    struct al_event missed;
    struct driver d;
    begin(&d, NULL, 5);
    driver_publish(&d, 0, 1, 1);
    put_detail_ack(&d, 1, AL_STATUS_SUCCESS, "answer");
    driver_forget(&d);
    d.hold_reads = true;
    assert_int_equal(al_put_end_watch(&d.in, &watch), 0);
    driver_send(&d, 0);
    driver_carry(&d, 1, d.record_count);
    missed = (struct al_event){.type = AL_EVENT_READ_DONE,
                               .request = d.held[0].lsn,
                               .status = -AL_E_NOT_FOUND,
                               .now = d.now};
    assert_int_equal(al_node_step(d.node, &missed, &d.effects), 0);
    /* either another READ or the answer in full */
    for (size_t i = 0; i < d.effects.count; i++)
        if (d.effects.list[i].type == AL_EFFECT_SEND) {
            struct al_frame f;
            struct al_msg_end end;
            assert_true(al_frame_next(al_str_of(d.effects.data.data + d.effects.list[i].offset,
                                                d.effects.list[i].size),
                                      AL_FRAME_MAX, &f) > 0);
            assert_int_equal(al_decode_end(f.body, &end), 0);
            print_message("END state %u response '%.*s'\n", end.state, (int)end.response.n,
                          end.response.p);
            assert_int_equal(end.response.n, 6);
        }
    driver_deinit(&d);
}

/* Or it cannot be read at the moment: then there is no END, and it is asked for again. */
static void end_that_cannot_be_read(void **state)
{
    struct al_msg_end_watch watch = {.stream = 1, .seq = 1};
    struct driver d;

    (void)state;
    begin(&d, NULL, 5);
    driver_publish(&d, 0, 1, 1);
    put_detail_ack(&d, 1, AL_STATUS_SUCCESS, "answer");
    driver_forget(&d);
    d.hold_reads = true;
    assert_int_equal(al_put_end_watch(&d.in, &watch), 0);
    driver_send(&d, 0);
    d.read_error = -AL_E_IO;
    driver_answer_reads(&d);
    driver_expect(&d, "0: ERROR IO about END_WATCH\n");
    d.read_error = 0;
    assert_int_equal(al_put_end_watch(&d.in, &watch), 0);
    driver_send(&d, 0);
    driver_answer_reads(&d);
    driver_expect(&d, "0: END 1:1 state 4 attempts 1 '' 'answer'\n");
    driver_deinit(&d);
}

static struct al_kind_policy strict = {.policy = {1000, 100, 2, 1600, 0}};
static void one_kind(struct al_node_config *c)
{
    strict.kind = al_str_c("pay-once");
#ifdef AL_BREAKER_PERCENT_DEFAULT
    strict.breaker = (struct al_breaker_policy){50, 10, 5000, 30000, 0};
#endif
    c->kinds = &strict;
    c->kind_count = 1;
}

/* 1024 other kinds: the configured kind loses its retry policy */
static void kinds_run_out(void **state)
{
    (void)state;
    struct driver d;
    begin(&d, one_kind, 2000);
    for (uint64_t i = 1; i <= 1024; i++) {
        char kind[16];
        snprintf(kind, sizeof(kind), "k%u", (unsigned)i);
        driver_put_publish(&d, &(struct driver_message){.pseq = i, .kind = kind, .text = "x"});
    }
    driver_send(&d, 0);
    for (uint64_t i = 1; i <= 1024; i++) {
        struct al_msg_ack ack = {.agent = d.agent[1],
                                 .stream = 1,
                                 .seq = i,
                                 .lease = 1ull << 40 | i,
                                 .status = AL_STATUS_SUCCESS};
        assert_int_equal(al_put_ack(&d.in, &ack), 0);
    }
    driver_send(&d, 1);
    driver_put_publish(
        &d, &(struct driver_message){
                .pseq = 1025, .kind = "pay-once", .text = "x", .flags = AL_PUBLISH_NOTIFY});
    driver_send(&d, 0);
    driver_forget(&d);
    driver_nack(&d, 1, 1, 1025, "no"); /* retries 0: dead */
    driver_tick(&d, 500);
    driver_expect(&d, "0: END 1:1025 state 7 attempts 1 'no' ''\n1: ACKED 1:1025-1025 x1\n");
    driver_deinit(&d);
}

/* disk full: what is not an ack still takes from the reserve */
static void disk_full_objects(void **state)
{
    (void)state;
    struct al_event full;
    struct driver d;
    size_t before;
    begin(&d, NULL, 5);
    full = (struct al_event){.type = AL_EVENT_DISK, .disk_full = true, .now = d.now};
    assert_int_equal(al_node_step(d.node, &full, &d.effects), 0);
    before = d.record_count;
    for (unsigned i = 0; i < 1000; i++) {
        struct al_msg_producer_open open = {.request = 1};
        struct al_msg_agent_add add = {.request = 1};
        char name[32];
        snprintf(name, sizeof(name), "agent%u", i);
        add.name = al_str_c(name);
        assert_int_equal(al_put_producer_open(&d.in, &open), 0);
        assert_int_equal(al_put_agent_add(&d.in, &add), 0);
        driver_send(&d, 0);
    }
    print_message("%zu records on a full disk\n", d.record_count - before);
    assert_int_equal(d.record_count, before);
    driver_deinit(&d);
}

static void *limited(void *ctx, void *p, size_t old, size_t n);
static bool starve;
static void *limited(void *ctx, void *p, size_t old, size_t n)
{
    (void)ctx;
    (void)old;
    if (n == 0) {
        free(p);
        return NULL;
    }
    if (starve && n > old)
        return NULL;
    return realloc(p, n);
}
static void limited_memory(struct al_node_config *c)
{
    c->alloc = (struct al_alloc){limited, NULL};
}

/* memory runs out when a run of acks is flushed on the way of another ack: the run is forgotten */
static void acks_forgotten(void **state)
{
    (void)state;
    struct driver d;
    struct al_event event;
    int r;
    begin(&d, limited_memory, 200);
    driver_open(&d, 2, 1000, 3);
    driver_channel(&d, 2, "x", "b");
    driver_publish(&d, 0, 1, 70);
    driver_publish(&d, 2, 1, 1);
    driver_forget(&d);
    for (uint64_t i = 1; i <= 70; i++) {
        struct al_msg_ack ack = {.agent = d.agent[1],
                                 .stream = 1,
                                 .seq = i,
                                 .lease = 1ull << 40 | i,
                                 .status = AL_STATUS_SUCCESS};
        assert_int_equal(al_put_ack(&d.in, &ack), 0);
    }
    {
        struct al_msg_ack ack = {.agent = d.agent[1],
                                 .stream = 2,
                                 .seq = 1,
                                 .lease = 1ull << 40 | 71,
                                 .status = AL_STATUS_SUCCESS};
        assert_int_equal(al_put_ack(&d.in, &ack), 0);
    }
    event = (struct al_event){
        .type = AL_EVENT_BYTES, .conn = 1, .data = al_str_of(d.in.data, d.in.size), .now = d.now};
    starve = true;
    r = al_node_step(d.node, &event, &d.effects);
    starve = false;
    print_message("step %d, pushed of stream 1: %u, pending %llu, next %llu\n", r,
                  ali_stream_at(d.node, 0)->v.flow->pushed_count,
                  (unsigned long long)ali_runs_count(&ali_stream_at(d.node, 0)->d.runs),
                  (unsigned long long)ali_stream_at(d.node, 0)->v.flow->next.seq);
    /* either the node stops, or what is pending is still out */
    assert_true(r < 0 || ali_stream_at(d.node, 0)->v.flow->pushed_count ==
                             ali_runs_count(&ali_stream_at(d.node, 0)->d.runs));
    driver_deinit(&d);
}

/* the ring of what is out does not keep its greatest size for ever */
static void rings_stay(void **state)
{
    (void)state;
    struct driver d;
    uint64_t before;
    begin(&d, NULL, 65536);
    before = d.node->state_bytes;
    for (uint64_t s = 0; s < 4; s++) {
        struct al_msg_channel_open open = {.channel = (uint32_t)(2 + s),
                                           .producer = d.producer[0],
                                           .first_pseq = 1,
                                           .priority = 4,
                                           .from = al_str_c("a"),
                                           .to = al_str_c("b")};
        char label[8];
        snprintf(label, sizeof(label), "l%u", (unsigned)s);
        open.label = al_str_c(label);
        assert_int_equal(al_put_channel_open(&d.in, &open), 0);
        driver_send(&d, 0);
        for (uint64_t i = 1; i <= 8192; i++) {
            struct al_msg_envelope e = {
                .message_id.b = {1, (uint8_t)i, (uint8_t)(i >> 8), (uint8_t)s}};
            struct al_msg_publish p = {.channel = open.channel, .pseq = i};
            uint8_t body[128];
            p.envelope = al_str_of(body, (size_t)(al_encode_envelope(body, &e) - body));
            assert_int_equal(al_put_publish(&d.in, &p), 0);
        }
        driver_send(&d, 0);
        for (uint64_t i = 1; i <= 8192; i++) {
            struct al_msg_ack ack = {.agent = d.agent[1],
                                     .stream = (uint32_t)(2 + s),
                                     .seq = i,
                                     .lease = 1ull << 40 | (s * 8192 + i),
                                     .status = AL_STATUS_SUCCESS};
            assert_int_equal(al_put_ack(&d.in, &ack), 0);
        }
        driver_send(&d, 1);
        driver_forget(&d);
    }
    {
        uint64_t rings = 0;
        for (ali_ref r = 0; r < d.node->streams.end; r++)
            rings += ali_stream_at(d.node, r)->v.flow->pushed_cap * sizeof(struct ali_push);
        for (const struct ali_flow *flow = d.node->v.spare_flows; flow; flow = flow->next_loose)
            rings += flow->pushed_cap * sizeof(struct ali_push);
        print_message("nothing is out or pending; rings hold %llu bytes, state grew by %llu\n",
                      (unsigned long long)rings,
                      (unsigned long long)(d.node->state_bytes - before));
        assert_true(rings < 1u << 16);
    }
    driver_deinit(&d);
}

/* a service with a lasting connection and a label per conversation: streams are never given back */
static void conversations(void **state)
{
    (void)state;
    struct driver d;
    begin(&d, NULL, 10);
    for (unsigned i = 0; i < 3000; i++) {
        struct al_msg_channel_open open = {.channel = 2,
                                           .producer = d.producer[0],
                                           .first_pseq = i + 1,
                                           .priority = 4,
                                           .from = al_str_c("a"),
                                           .to = al_str_c("b")};
        struct al_msg_channel_close close = {.channel = 2};
        char label[16];
        uint8_t body[128];
        struct al_msg_envelope e = {.message_id.b = {7, (uint8_t)i, (uint8_t)(i >> 8)}};
        struct al_msg_publish p = {.channel = 2, .pseq = i + 1};
        struct al_msg_ack ack = {.agent = d.agent[1],
                                 .stream = i + 2,
                                 .seq = 1,
                                 .lease = 1ull << 40 | (i + 1),
                                 .status = AL_STATUS_SUCCESS};
        snprintf(label, sizeof(label), "conv-%u", i);
        open.label = al_str_c(label);
        p.envelope = al_str_of(body, (size_t)(al_encode_envelope(body, &e) - body));
        assert_int_equal(al_put_channel_open(&d.in, &open), 0);
        assert_int_equal(al_put_publish(&d.in, &p), 0);
        assert_int_equal(al_put_channel_close(&d.in, &close), 0);
        driver_send(&d, 0);
        assert_int_equal(al_put_ack(&d.in, &ack), 0);
        driver_send(&d, 1);
        driver_forget(&d);
    }
    for (unsigned h = 0; h < 72 * 60; h++) { /* three days */
        struct al_event tick = {.type = AL_EVENT_TICK};
        d.now.mono_ns += 60 * AL_NS_PER_SEC;
        d.now.wall_ms += 60000;
        tick.now = d.now;
        assert_int_equal(al_node_step(d.node, &tick, &d.effects), 0);
    }
    print_message("streams after three idle days: %u, tracks %u\n", d.node->streams.count,
                  d.node->tracks.count);
    assert_true(d.node->streams.count < 100);
    driver_deinit(&d);
}

/* a message is pushed to a connection that the node has just closed, and its only attempt is spent
 */
static struct al_kind_policy once = {.policy = {1000, 100, 2, 1600, 0}};
static void once_kind(struct al_node_config *c)
{
    once.kind = al_str_c("once");
#ifdef AL_BREAKER_PERCENT_DEFAULT
    once.breaker = (struct al_breaker_policy){50, 10, 5000, 30000, 0};
#endif
    c->kinds = &once;
    c->kind_count = 1;
}
static void pushed_into_a_closed_connection(void **state)
{
    (void)state;
    struct driver d;
    begin(&d, once_kind, 5);
    driver_send_raw(&d, 1, "\xff\xff\xff\xff\xff\xff\xff\xff",
                    8); /* the receiver breaks the protocol */
    driver_expect(&d, "1: ERROR TOO_LARGE about ? fatal\n1: closed\n");
    driver_put_publish(&d, &(struct driver_message){
                               .pseq = 1, .text = "x", .kind = "once", .flags = AL_PUBLISH_NOTIFY});
    driver_send(&d, 0);
    driver_expect(&d, "0: RECEIPT 1 x1 -> 1:1\n");
    driver_close(&d, 1);
    driver_tick(&d, 3000);
    driver_expect(&d, "");
    driver_deinit(&d);
}

/* unchecked bytes of a record read back: kind longer than the metrics row */
static void long_kind_from_disk(void **state)
{
    (void)state;
    struct driver d;
    driver_init(&d, NULL);
    driver_open(&d, 0, 1000, 1);
    driver_open(&d, 1, 1000, 2);
    driver_attach(&d, 1, "b", 0);
    driver_channel(&d, 0, "a", "b");
    d.hold_reads = true;
    driver_publish(&d, 0, 1, 1);
    {
        struct al_msg_credit credit = {.agent = d.agent[1], .credit = 5, .credit_bytes = 1000};
        assert_int_equal(al_put_credit(&d.in, &credit), 0);
        driver_send(&d, 1);
    }
    {
        struct journal_record *r = &d.journal[d.held_lsns[0][0] - 1];
        struct ali_rec_publish p;
        struct al_msg_envelope e;
        static uint8_t body[1024], rec[2048];
        static const char kind[256] =
            "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk"
            "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk"
            "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk";
        assert_int_equal(ali_decode_rec_publish(al_str_of(r->payload, r->size), &p), 0);
        assert_int_equal(al_decode_envelope(p.envelope, &e), 0);
        e.kind = al_str_of(kind, 250);
        p.envelope = al_str_of(body, (size_t)(al_encode_envelope(body, &e) - body));
        r->size = (uint32_t)(ali_encode_rec_publish(rec, &p) - rec);
        free(r->payload);
        r->payload = malloc(r->size);
        memcpy(r->payload, rec, r->size);
        /* rows 0 .. 3 filled, so that the last row of the table is written beyond */
        for (unsigned i = 0; i < 2; i++) {
            char k[4] = {'z', (char)('a' + i), 0};
            driver_put_publish(&d, &(struct driver_message){.pseq = 2 + i, .text = "", .kind = k});
        }
        driver_send(&d, 0);
    }
    {
        struct al_record_view v = {d.held_lsns[0][0], ALI_REC_PUBLISH,
                                   al_str_of(d.journal[d.held_lsns[0][0] - 1].payload,
                                             d.journal[d.held_lsns[0][0] - 1].size)};
        struct al_event e = {.type = AL_EVENT_READ_DONE,
                             .request = d.held[0].lsn,
                             .records = &v,
                             .record_count = 1,
                             .now = d.now};
        (void)al_node_step(d.node, &e, &d.effects); /* ASan sees it */
    }
    driver_deinit(&d);
}

/* ---- journals that decode but do not follow from what came before ---- */
static int replay_one(struct driver *d, unsigned type, const uint8_t *p, size_t n)
{
    struct al_node *node;
    int r = 0;
    assert_int_equal(al_node_new(&d->config, &node), 0);
    for (size_t i = 0; i < d->record_count && r == 0; i++) {
        struct al_record_view v = {i + 1, d->journal[i].type,
                                   al_str_of(d->journal[i].payload, d->journal[i].size)};
        r = al_node_replay(node, &v);
    }
    assert_int_equal(r, 0);
    r = al_node_replay(
        node, &(struct al_record_view){d->record_count + 1, (uint16_t)type, al_str_of(p, n)});
    al_node_free(node);
    return r;
}
static void damaged_ack(void **state)
{
    (void)state;
    struct ali_rec_ack a = {.stream = 1, .last_seq = 1, .count = 0, .status = 1};
    uint8_t b[256];
    struct driver d;
    begin(&d, NULL, 5);
    driver_publish(&d, 0, 1, 1);
    assert_int_equal(replay_one(&d, ALI_REC_ACK, b, (size_t)(ali_encode_rec_ack(b, &a) - b)),
                     -AL_E_DAMAGED);
    driver_deinit(&d);
}
static void damaged_carry(void **state)
{
    (void)state;
    struct ali_rec_carry c = {
        .what = ALI_CARRY_MESSAGE, .type = ALI_REC_PUBLISH, .stream = 1, .key = 77, .old_lsn = 2};
    uint8_t b[256];
    struct driver d;
    begin(&d, NULL, 5);
    driver_publish(&d, 0, 1, 1);
    assert_int_equal(replay_one(&d, ALI_REC_CARRY, b, (size_t)(ali_encode_rec_carry(b, &c) - b)),
                     -AL_E_DAMAGED);
    driver_deinit(&d);
}
static void damaged_dead(void **state)
{
    (void)state;
    struct ali_rec_dead r = {.stream = 1, .seq = 2, .position = 2, .state = 8};
    uint8_t b[256];
    struct driver d;
    begin(&d, NULL, 1);
    driver_put_publish(&d, &(struct driver_message){.pseq = 1, .text = "m1"});
    driver_put_publish(&d, &(struct driver_message){.pseq = 2, .text = "m2", .ttl_ms = 100});
    driver_send(&d, 0);
    driver_tick(&d, 200);
    assert_int_equal(replay_one(&d, ALI_REC_DEAD, b, (size_t)(ali_encode_rec_dead(b, &r) - b)),
                     -AL_E_DAMAGED);
    driver_deinit(&d);
}
static void damaged_close(void **state)
{
    (void)state;
    struct ali_rec_stream_close r = {.stream = 1};
    uint8_t b[256];
    struct driver d;
    begin(&d, NULL, 1);
    driver_publish(&d, 0, 1, 1);
    put_detail_ack(&d, 1, AL_STATUS_FAILED, "");
    assert_int_equal(
        replay_one(&d, ALI_REC_STREAM_CLOSE, b, (size_t)(ali_encode_rec_stream_close(b, &r) - b)),
        -AL_E_DAMAGED);
    driver_deinit(&d);
}

/* ... and the node dies of it later, and again at every start */
static void purge_with_a_hole_ends_the_node(void **state)
{
    (void)state;
    struct al_msg_agent_remove remove = {.request = 1, .flags = 1, .name = al_str_c("b")};
    struct driver d;
    begin(&d, small, 1);
    driver_put_publish(&d, &(struct driver_message){.pseq = 1, .text = "m1"});
    for (uint64_t i = 2; i <= 4; i++)
        driver_put_publish(&d, &(struct driver_message){.pseq = i, .text = "m", .ttl_ms = 100});
    driver_send(&d, 0);
    driver_tick(&d, 200);
    driver_close(&d, 0);
    assert_int_equal(al_put_agent_remove(&d.in, &remove), 0);
    driver_send(&d, 1);
    driver_open(&d, 3, 1000, 4);
    driver_attach(&d, 3, "c", 1);
    driver_open(&d, 2, 1000, 3);
    driver_channel(&d, 2, "x", "c");
    for (uint64_t i = 1; i <= 40; i++) {
        driver_publish(&d, 2, i, i);
        driver_ack(&d, 3, 2, i);
    }
    driver_deinit(&d);
}

/* a record that is to be kept for a day goes with its stream after an hour */
static void long_records(struct al_node_config *c)
{
    c->records_ttl_ms = 24ull * 3600 * 1000;
}
static void record_of_a_closed_stream(void **state)
{
    (void)state;
    struct al_msg_goodbye bye = {0};
    struct al_msg_record_get get = {.request = 1, .message_id.b = {1}};
    struct driver d;
    begin(&d, long_records, 5);
    driver_publish(&d, 0, 1, 1);
    driver_ack(&d, 1, 1, 1);
    assert_int_equal(al_put_goodbye(&d.in, &bye), 0);
    driver_send(&d, 0);
    driver_close(&d, 0);
    for (unsigned m = 0; m < 120; m++) {
        struct al_event tick = {.type = AL_EVENT_TICK};
        d.now.mono_ns += 60 * AL_NS_PER_SEC;
        d.now.wall_ms += 60000;
        tick.now = d.now;
        assert_int_equal(al_node_step(d.node, &tick, &d.effects), 0);
    }
    driver_open(&d, 2, 1000, 3);
    get.message_id.b[15] = 1;
    assert_int_equal(al_put_record_get(&d.in, &get), 0);
    driver_send(&d, 2);
    driver_expect(&d, "2: RECORD 1:1 state 4 attempts 1 ''\n");
    driver_deinit(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(purge_with_a_hole),
        cmocka_unit_test(purge_with_a_hole_kills_a_neighbour),
        cmocka_unit_test(purge_with_a_hole_ends_the_node),
        cmocka_unit_test(lower_records_max),
        cmocka_unit_test(scheduled_id_twice),
        cmocka_unit_test(end_without_response),
        cmocka_unit_test(end_that_cannot_be_read),
        cmocka_unit_test(kinds_run_out),
        cmocka_unit_test(disk_full_objects),
        cmocka_unit_test(acks_forgotten),
        cmocka_unit_test(conversations),
        cmocka_unit_test(record_of_a_closed_stream),
        cmocka_unit_test(pushed_into_a_closed_connection),
        cmocka_unit_test(long_kind_from_disk),
        cmocka_unit_test(damaged_ack),
        cmocka_unit_test(damaged_carry),
        cmocka_unit_test(damaged_dead),
        cmocka_unit_test(damaged_close),
        cmocka_unit_test(rings_stay),
    };

    return cmocka_run_group_tests_name("core_corners", tests, NULL, NULL);
}
