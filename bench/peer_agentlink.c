/* peer_agentlink.c - how the client speaks to a node: the native protocol, without the library.
 *
 * A PUBLISH frame differs from the one before it only in sequence, id and payload, so each link
 * keeps one ready-made frame and copies it: what is measured is the node, not this encoder. */
#include "base/errors.h"
#include "base/limits.h"
#include "bench.h"
#include "wire/messages.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CREDIT         32768u
#define CREDIT_BYTES   (48u << 20)
#define LEASE_MS       60000u
#define CHANNEL        1u
#define MEMBER_REQUEST 1000u /* request number of the first member's ATTACH */
#define MADE_AT_ONCE   256u
#define KEY_SIZE       16u
#define RESPONSE       "the response that a duplicate gets as well: its bytes never change"
#define LATER_MS       (7ull * 24 * 3600 * 1000)

/* Where the changing parts of the ready-made PUBLISH stand. */
#define PSEQ_AT     (AL_WIRE_HEADER_SIZE + 4u)
#define TTL_AT      (PSEQ_AT + 8u + 2u)
#define ENVELOPE_AT (TTL_AT + 8u + 8u + 4u)

static void *realloc_libc(void *ctx, void *ptr, size_t old_size, size_t new_size)
{
    (void)ctx;
    (void)old_size;
    if (new_size > 0)
        return ali_realloc(ptr, new_size);
    free(ptr);
    return NULL;
}
static const struct al_alloc libc_alloc = {.realloc_fn = realloc_libc};

/* Encodes one frame into the link: PUT(link, hello, &message). */
#define PUT(link, lower, message)                                                     \
    do {                                                                              \
        struct al_buf put_buf;                                                        \
                                                                                      \
        al_buf_init(&put_buf, &libc_alloc);                                           \
        (void)al_put_##lower(&put_buf, (message));                                    \
        memcpy(ali_buf_room(&(link)->out, put_buf.size), put_buf.data, put_buf.size); \
        (link)->out.end += put_buf.size;                                              \
        al_buf_deinit(&put_buf);                                                      \
    } while (0)

/* A frame that says that something failed; none of them belongs into a benchmark. */
static void fail_frame(const struct al_frame *frame)
{
    struct al_msg_error error;
    struct al_msg_refused refused;
    struct al_msg_settle_refused settle;

    if (frame->type == AL_MSG_ERROR && al_decode_error(frame->body, &error) == 0)
        ali_fail("agentlink: ERROR %s about %s: %.*s", al_error_name(error.code),
                 al_msg_name(error.about) ? al_msg_name(error.about) : "?", (int)error.detail.n,
                 (const char *)error.detail.p);
    if (frame->type == AL_MSG_REFUSED && al_decode_refused(frame->body, &refused) == 0)
        ali_fail("agentlink: REFUSED %s: %.*s", al_error_name(refused.code), (int)refused.detail.n,
                 (const char *)refused.detail.p);
    if (frame->type == AL_MSG_SETTLE_REFUSED && al_decode_settle_refused(frame->body, &settle) == 0)
        ali_fail("agentlink: SETTLE_REFUSED %s, sequence %llu", al_error_name(settle.code),
                 (unsigned long long)settle.seq);
    ali_fail("agentlink: unexpected %s", al_msg_name(frame->type));
}

/* Takes the next whole frame; false if more bytes are needed. It is valid until the next read. */
static bool next_frame(struct bench_link *link, struct al_frame *ret_frame)
{
    struct bench_buf *in = &link->in;
    int64_t size =
        al_frame_next(al_str_of(in->data + in->start, ali_buf_size(in)), AL_FRAME_MAX, ret_frame);

    if (size < 0)
        ali_fail("agentlink: %s", al_error_text((int)size));
    in->start += (size_t)size;
    return size > 0;
}

/* Set-up: sends what is in the link and waits for one answer of this type. */
static struct al_str await(struct bench_link *link, unsigned type)
{
    struct al_frame frame;

    if (!ali_link_write_all(link))
        ali_fail("agentlink: cannot write");
    while (!next_frame(link, &frame))
        if (!ali_link_read_more(link))
            ali_fail("agentlink: no %s", al_msg_name(type));
    if (frame.type != type)
        fail_frame(&frame);
    return frame.body;
}

static void greet(struct bench_link *link)
{
    struct al_msg_hello hello = {.magic = AL_WIRE_MAGIC,
                                 .version_min = AL_WIRE_VERSION,
                                 .version_max = AL_WIRE_VERSION,
                                 .client = al_str_c("al_bench")};
    struct al_msg_welcome welcome;
    uint64_t unique = ali_now_ns() ^ (uint64_t)link->fd << 48;

    memcpy(hello.instance.b, &unique, sizeof(unique));
    hello.instance.b[15] = 1;
    PUT(link, hello, &hello);
    if (al_decode_welcome(await(link, AL_MSG_WELCOME), &welcome) < 0)
        ali_fail("agentlink: WELCOME is malformed");
}

static void add_agent(struct bench_link *link, const char *name)
{
    struct al_msg_agent_add add = {.request = 1, .name = al_str_c(name)};
    struct al_msg_done done;

    PUT(link, agent_add, &add);
    if (al_decode_done(await(link, AL_MSG_DONE), &done) < 0 ||
        (done.code != 0 && done.code != AL_E_EXISTS))
        ali_fail("agentlink: cannot add agent %s", name);
}

/* The frame that publish() copies: everything but sequence, id, time and payload. */
static void make_frame(struct bench_link *link)
{
    const struct bench_run *run = link->run;
    const char key[KEY_SIZE + 1] = "the number, hex.";
    struct al_msg_envelope envelope = {.timestamp_ms = ali_wall_ms(),
                                       .key = al_str_of(key, run->keys ? KEY_SIZE : 0),
                                       .payload = al_str_of(ali_payload_at(0), run->size)};
    struct al_msg_publish publish = {.channel = CHANNEL,
                                     .flags = run->tell_end ? AL_PUBLISH_NOTIFY : 0};
    struct al_buf inner, outer;

    al_buf_init(&inner, &libc_alloc);
    al_buf_init(&outer, &libc_alloc);
    (void)al_put_envelope(&inner, &envelope);
    publish.envelope =
        al_str_of(inner.data + AL_WIRE_HEADER_SIZE, inner.size - AL_WIRE_HEADER_SIZE);
    (void)al_put_publish(&outer, &publish);
    link->salt = ali_now_ns() * 0x9e3779b97f4a7c15u;
    link->frame = outer.data;
    link->frame_size = outer.size;
    if (run->keys)
        link->key_at =
            (size_t)((uint8_t *)memmem(outer.data, outer.size, key, KEY_SIZE) - outer.data);
    al_buf_deinit(&inner);
}

static void open_producer(struct bench_link *link, unsigned number)
{
    struct al_msg_producer_open open = {.request = 2};
    struct al_msg_producer_ready ready;
    struct al_msg_channel_open channel = {.channel = CHANNEL,
                                          .first_pseq = 1,
                                          .priority = AL_PRIORITY_DEFAULT,
                                          .to = al_str_c(link->run->recipient)};
    char from[AL_NAME_MAX];

    snprintf(from, sizeof(from), "producer-%u", number);
    add_agent(link, from);
    if (link->run->copies == 1)
        add_agent(link, link->run->recipient);
    PUT(link, producer_open, &open);
    if (al_decode_producer_ready(await(link, AL_MSG_PRODUCER_READY), &ready) < 0)
        ali_fail("agentlink: PRODUCER_READY is malformed");
    channel.producer = ready.producer;
    channel.from = al_str_c(from);
    PUT(link, channel_open, &channel);
    (void)await(link, AL_MSG_CHANNEL_READY);
    make_frame(link);
}

static void publish(struct bench_link *link, uint64_t number, uint64_t now_ns)
{
    const struct bench_run *run = link->run;
    uint8_t *out = ali_buf_room(&link->out, link->frame_size);
    uint8_t *id = out + ENVELOPE_AT;
    size_t head_size = link->frame_size - run->size;

    memcpy(out, link->frame, head_size);
    al_put64(out + PSEQ_AT, link->published + 1);
    if (run->later == BENCH_LATER_EXPIRING || (run->later == BENCH_LATER_MIXED && number % 2 == 0))
        al_put64(out + TTL_AT, LATER_MS);
    else if (run->later)
        al_put64(out + TTL_AT + 8, ali_wall_ms() + LATER_MS);
    if (run->keys)
        for (unsigned i = 0; i < KEY_SIZE; i++)
            out[link->key_at + i] = (uint8_t) "0123456789abcdef"[number >> (60 - 4 * i) & 15];
    al_put64(id, al_get64(ali_payload_at(number) + 64) ^ link->salt);
    memcpy(id + 8, &number, 8);
    id[6] = 0x40 | (id[6] & 0x0f); /* the form of a version 4 UUID */
    id[15] = id[8];
    id[8] = 0x80;
    ali_payload_write(out + head_size, run->size, number, now_ns);
    link->out.end += link->frame_size;
}

/* Which member of the group an agent is, by its number; those of a fresh node are small. */
static uint8_t member_at[256];
static unsigned members_attached;

static void take_attached(struct al_str body)
{
    struct al_msg_attached attached;

    if (al_decode_attached(body, &attached) < 0 || attached.request < MEMBER_REQUEST)
        ali_fail("agentlink: ATTACHED is malformed");
    if (attached.agent >= sizeof(member_at))
        ali_fail("agentlink: the node has too many agents for this workload");
    member_at[attached.agent] = (uint8_t)(attached.request - MEMBER_REQUEST);
    members_attached++;
}

static void take_delivery(struct bench_link *link, struct al_str body)
{
    struct al_msg_deliver deliver;
    struct al_msg_envelope envelope;
    struct al_msg_ack ack = {.status = AL_STATUS_SUCCESS};
    size_t size;
    uint8_t *out;

    if (al_decode_deliver(body, &deliver) < 0 ||
        al_decode_envelope(deliver.envelope, &envelope) < 0)
        ali_fail("agentlink: DELIVER is malformed");
    if (link->run->copies == 1)
        ali_run_received(link->run, envelope.payload.p, envelope.payload.n, 0);
    else if (envelope.kind.n) /* a join */
        link->run->notices++;
    else
        ali_run_received(link->run, envelope.payload.p, envelope.payload.n,
                         member_at[deliver.agent & 255]);
    ack.agent = deliver.agent;
    ack.stream = deliver.stream;
    ack.seq = deliver.seq;
    ack.lease = deliver.lease;
    if (link->run->keys)
        ack.response = al_str_c(RESPONSE);
    size = al_size_ack(&ack);
    out = ali_buf_room(&link->out, AL_WIRE_HEADER_SIZE + size);
    al_put32(out, (uint32_t)size);
    al_put32(out + 4, AL_MSG_ACK);
    (void)al_encode_ack(out + AL_WIRE_HEADER_SIZE, &ack);
    link->out.end += AL_WIRE_HEADER_SIZE + size;
}

static void take_end(struct bench_link *link, struct al_str body)
{
    struct al_msg_end end;

    if (al_decode_end(body, &end) < 0)
        ali_fail("agentlink: END is malformed");
    if (link->run->keys && !al_str_eq(end.response, al_str_c(RESPONSE)))
        ali_fail("agentlink: a duplicate was not answered with the first response");
    link->run->ended++;
}

static void parse(struct bench_link *link)
{
    struct al_frame frame;
    struct al_msg_receipt receipt;
    struct al_msg_acked acked;

    while (ali_buf_size(&link->in) > 0 && next_frame(link, &frame)) {
        switch (frame.type) {
        case AL_MSG_RECEIPT:
            if (al_decode_receipt(frame.body, &receipt) < 0 ||
                receipt.durability != AL_DURABILITY_LOCAL ||
                receipt.duplicate != (link->run->keys == BENCH_KEYS_AGAIN))
                ali_fail("agentlink: RECEIPT is malformed, not durable, or of a duplicate where "
                         "none should be, or of none where one should");
            ali_run_confirmed(link, receipt.count);
            break;
        case AL_MSG_ATTACHED:
            take_attached(frame.body);
            break;
        case AL_MSG_DELIVER:
            take_delivery(link, frame.body);
            break;
        case AL_MSG_ACKED:
            if (al_decode_acked(frame.body, &acked) < 0)
                ali_fail("agentlink: ACKED is malformed");
            link->run->acked += acked.count;
            break;
        case AL_MSG_END:
            take_end(link, frame.body);
            break;
        default:
            fail_frame(&frame);
        }
    }
}

/* ---- groups ------------------------------------------------------------------------------ */

/* It is done, or was by an earlier run on this node. */
static void await_done(struct bench_link *link, const char *what)
{
    struct al_msg_done done;

    if (al_decode_done(await(link, AL_MSG_DONE), &done) < 0 ||
        (done.code != 0 && done.code != AL_E_EXISTS))
        ali_fail("agentlink: cannot %s", what);
}

/* The members of a group; the first is the producer. */
static const char *member_name(unsigned i, char ret_name[AL_NAME_MAX])
{
    snprintf(ret_name, AL_NAME_MAX, i ? "member-%u" : "producer-%u", i);
    return ret_name;
}

/* Makes the group, all its members, and then receives for them. */
static void open_group(struct bench_link *link)
{
    const struct bench_run *run = link->run;
    struct al_msg_group_add add = {.request = 4, .group = al_str_c(run->recipient)};
    char name[AL_NAME_MAX];

    PUT(link, group_add, &add);
    await_done(link, "add the group");
    for (unsigned i = 0; i < run->copies; i++) {
        struct al_msg_group_join join = {.request = 5, .group = al_str_c(run->recipient)};

        add_agent(link, member_name(i, name));
        join.agent = al_str_c(name);
        PUT(link, group_join, &join);
        await_done(link, "join the group");
    }
    members_attached = 0;
    for (unsigned i = 0; i < run->copies; i++) {
        struct al_msg_attach attach = {.request = MEMBER_REQUEST + i,
                                       .credit = CREDIT,
                                       .credit_bytes = CREDIT_BYTES,
                                       .lease_ms = LEASE_MS,
                                       .agent = al_str_c(member_name(i, name))};

        PUT(link, attach, &attach);
    }
    while (members_attached < run->copies) { /* the notices of the joins come in between */
        if (!ali_link_write_all(link) || !ali_link_read_more(link))
            ali_fail("agentlink: no ATTACHED");
        parse(link);
    }
    if (!ali_link_write_all(link))
        ali_fail("agentlink: cannot write");
}

static void open_consumer(struct bench_link *link)
{
    struct al_msg_attach attach = {.request = 3,
                                   .credit = CREDIT,
                                   .credit_bytes = CREDIT_BYTES,
                                   .lease_ms = LEASE_MS,
                                   .agent = al_str_c(link->run->recipient)};

    if (link->run->copies > 1) {
        open_group(link);
        return;
    }
    PUT(link, attach, &attach);
    (void)await(link, AL_MSG_ATTACHED);
}

/* ---- things that lie idle ---------------------------------------------------------------- */

static struct bench_link *open_admin(const struct bench_server *server, struct bench_run *run)
{
    struct bench_link *link;

    *run = (struct bench_run){.peer = server->peer};
    link = ali_link_open(server->address, run);
    if (!link)
        ali_fail("agentlink: cannot connect to %s", server->address);
    greet(link);
    return link;
}

void ali_make_streams(const struct bench_server *server, unsigned count)
{
    struct al_msg_producer_open open = {.request = 2};
    struct al_msg_producer_ready ready;
    struct al_msg_channel_open channel = {.channel = CHANNEL,
                                          .first_pseq = 1,
                                          .priority = AL_PRIORITY_DEFAULT,
                                          .from = al_str_c("idle-from"),
                                          .to = al_str_c("idle-to")};
    struct al_msg_channel_close close = {.channel = CHANNEL};
    struct bench_run run;
    struct bench_link *link = open_admin(server, &run);
    char label[32];

    add_agent(link, "idle-from");
    add_agent(link, "idle-to");
    PUT(link, producer_open, &open);
    if (al_decode_producer_ready(await(link, AL_MSG_PRODUCER_READY), &ready) < 0)
        ali_fail("agentlink: PRODUCER_READY is malformed");
    channel.producer = ready.producer;
    for (unsigned made = 0; made < count;) {
        unsigned end = made + MADE_AT_ONCE < count ? made + MADE_AT_ONCE : count;

        for (unsigned i = made; i < end; i++) {
            snprintf(label, sizeof(label), "idle-%u", i);
            channel.label = al_str_c(label);
            PUT(link, channel_open, &channel);
            PUT(link, channel_close, &close);
        }
        for (; made < end; made++)
            (void)await(link, AL_MSG_CHANNEL_READY);
    }
    ali_link_close(link);
}

void ali_make_groups(const struct bench_server *server, unsigned count)
{
    struct bench_run run;
    struct bench_link *link = open_admin(server, &run);
    char name[AL_NAME_MAX];

    for (unsigned made = 0; made < count;) {
        unsigned end = made + MADE_AT_ONCE < count ? made + MADE_AT_ONCE : count;

        for (unsigned i = made; i < end; i++) {
            struct al_msg_group_add add = {.request = 1, .group = al_str_c(name)};

            snprintf(name, sizeof(name), "group:idle-%u", i);
            add.group = al_str_c(name);
            PUT(link, group_add, &add);
        }
        for (; made < end; made++)
            await_done(link, "add a group");
    }
    ali_link_close(link);
}

const struct bench_peer ali_peer_agentlink = {.name = "agentlink",
                                              .greet = greet,
                                              .open_producer = open_producer,
                                              .open_consumer = open_consumer,
                                              .publish = publish,
                                              .parse = parse};
