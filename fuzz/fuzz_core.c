/* fuzz_core.c - the whole pure core under a hostile script: clients, time, crashes.
 *
 * The input is a program: one byte says what happens next, further bytes say how. Most steps send a
 * well-formed frame whose fields come from the input with a liking for small numbers and for names
 * that exist, because random bytes would die at the decoder (that is fuzz_frames). Others send raw
 * bytes, let time pass, answer reads, drop connections, restart the node. core_world.c checks. */
#include "base/limits.h"
#include "core_world.h"
#include "fuzz.h"
#include <assert.h>
#include <stdlib.h>

struct script {
    const uint8_t *p;
    size_t n;
};

static unsigned byte(struct script *script)
{
    if (!script->n)
        return 0;
    script->n--;
    return *script->p++;
}

/* Mostly small; now and then anything. */
static uint64_t number(struct script *script)
{
    unsigned first = byte(script);
    uint64_t v = 0;

    if (first < 0xf0)
        return first % 24;
    for (unsigned i = 0; i <= first % 8; i++)
        v = v << 8 | byte(script);
    return v;
}

static struct al_id some_id(struct script *script)
{
    struct al_id id = {{0}};

    id.b[6] = 0x40;
    id.b[8] = 0x80;
    id.b[15] = (uint8_t)(byte(script) % 8);
    return id.b[15] ? id : (struct al_id){{0}};
}

static struct al_str some_text(struct script *script)
{
    static const char *const texts[] = {"a",          "b",  "c",  "default/a", "x/y",  "",
                                        "Not A Name", "k1", "k2", "task",      "\x01", "\xff"};

    return al_str_c(texts[byte(script) % (sizeof(texts) / sizeof(texts[0]))]);
}

/* An envelope, mostly valid, in a buffer of the caller. */
static struct al_str some_envelope(struct script *script, uint8_t *room)
{
    static const uint8_t payload[64];
    struct al_msg_envelope m = {.message_id = some_id(script),
                                .timestamp_ms = 1,
                                .kind = some_text(script),
                                .key = some_text(script),
                                .payload = al_str_of(payload, byte(script) % 64)};

    if (byte(script) % 4)
        m.kind = m.key = al_str_of(NULL, 0);
    if (byte(script) % 16 == 0) /* headers and optional fields that are nonsense */
        m.headers = m.ext = al_str_of("\x02\x00xy\x09", 5);
    return al_str_of(room, (size_t)(al_encode_envelope(room, &m) - room));
}

#define MAKE_U8(field, doc)    m.field = (uint8_t)number(script);
#define MAKE_U16(field, doc)   m.field = (uint16_t)number(script);
#define MAKE_U32(field, doc)   m.field = (uint32_t)number(script);
#define MAKE_U64(field, doc)   m.field = number(script);
#define MAKE_ID(field, doc)    m.field = some_id(script);
#define MAKE_STR(field, doc)   m.field = some_text(script);
#define MAKE_BYTES(field, doc) m.field = some_envelope(script, room);

/* Sends one message of any type of the table. */
static void send_any(struct world *world, struct script *script, uint32_t conn)
{
    static const uint8_t types[] = {
#define AL_X(symbol, lower, number, direction, doc) (number),
        AL_MESSAGES(AL_X)
#undef AL_X
    };
    uint8_t room[512], frame[1024], *end;
    unsigned type = types[byte(script) % sizeof(types)];

    switch (type) {
#define AL_X(symbol, lower, number_, direction, doc)                                              \
    case (number_): {                                                                             \
        struct al_msg_##lower m;                                                                  \
        AL_FIELDS_##symbol(MAKE_U8, MAKE_U16, MAKE_U32, MAKE_U64, MAKE_ID, MAKE_STR, MAKE_BYTES); \
        end = al_encode_##lower(frame + AL_WIRE_HEADER_SIZE, &m);                                 \
        break;                                                                                    \
    }
        AL_MESSAGES(AL_X)
#undef AL_X
    default:
        abort();
    }
    al_put32(frame, (uint32_t)(end - frame) - AL_WIRE_HEADER_SIZE);
    al_put32(frame + 4, type);
    world_bytes(world, conn, al_str_of(frame, (size_t)(end - frame)));
}

#define SEND(lower, number_, ...)                                                           \
    do {                                                                                    \
        struct al_msg_##lower m_ = __VA_ARGS__;                                             \
        uint8_t frame_[1024], *end_ = al_encode_##lower(frame_ + AL_WIRE_HEADER_SIZE, &m_); \
        al_put32(frame_, (uint32_t)(end_ - frame_) - AL_WIRE_HEADER_SIZE);                  \
        al_put32(frame_ + 4, (number_));                                                    \
        world_bytes(world, conn, al_str_of(frame_, (size_t)(end_ - frame_)));               \
    } while (0)

/* The way in that every client takes, so that the script need not find it. */
static void greet(struct world *world, struct script *script, uint32_t conn)
{
    struct al_str to = some_text(script);
    uint8_t credit = (uint8_t)byte(script);

    SEND(hello, AL_MSG_HELLO,
         {.magic = AL_WIRE_MAGIC, .version_min = 1, .version_max = 1, .instance = {{conn + 1}}});
    SEND(attach, AL_MSG_ATTACH,
         {.request = 1, .credit = credit % 8, .credit_bytes = 65536, .agent = to});
    SEND(producer_open, AL_MSG_PRODUCER_OPEN, {.request = 2});
    SEND(channel_open, AL_MSG_CHANNEL_OPEN,
         {.channel = 1,
          .producer = conn + 1,
          .first_pseq = 1,
          .priority = credit % 10,
          .from = al_str_c("a"),
          .to = to});
}

static void publish(struct world *world, struct script *script, uint32_t conn)
{
    uint8_t room[512];
    uint64_t pseq = number(script);
    unsigned how = byte(script);

    SEND(publish, AL_MSG_PUBLISH,
         {.channel = 1 + how % 2,
          .pseq = pseq,
          .flags = (how >> 2 & 3) | (how >> 4 & AL_PUBLISH_OF_KIND),
          .ttl_ms = how & 16 ? number(script) * 100 : 0,
          .due_ms = how & 32 ? world->now.wall_ms + number(script) * 100 : 0,
          .envelope = some_envelope(script, room)});
}

/* Settles a delivery that was really made. */
static void settle(struct world *world, struct script *script, uint32_t conn)
{
    const struct al_msg_deliver *d = &world->sent[byte(script) % WORLD_SENT_MAX];
    unsigned how = byte(script);
    uint8_t room[512];

    if (how % 4 == 0)
        SEND(nack, AL_MSG_NACK,
             {.agent = d->agent,
              .stream = d->stream,
              .seq = d->seq,
              .lease = d->lease,
              .retry_after_ms = how >> 2,
              .reason = some_text(script)});
    else if (how % 4 == 1)
        SEND(extend, AL_MSG_EXTEND,
             {.agent = d->agent,
              .stream = d->stream,
              .seq = d->seq,
              .lease = d->lease,
              .lease_ms = how * 16,
              .retrying = how >> 4});
    else
        SEND(ack, AL_MSG_ACK,
             {.agent = d->agent,
              .stream = d->stream,
              .seq = d->seq,
              .lease = d->lease,
              .status = 1 + (how >> 2) % 3,
              .flags = how >> 4 & 1,
              .reason = some_text(script),
              .response = some_envelope(script, room)});
}

static void pass_time(struct world *world, struct script *script)
{
    unsigned how = byte(script);
    uint64_t ms = 1ull << (how % 22), deadline = al_node_deadline_ns(world->node);

    if (how & 0x80 && deadline != AL_NEVER_NS && deadline > world->now.mono_ns)
        ms = (deadline - world->now.mono_ns) / AL_NS_PER_MS + 1;
    world->now.mono_ns += ms * AL_NS_PER_MS;
    world->now.wall_ms += ms;
    if (how & 0x40) /* the wall clock jumps */
        world->now.wall_ms -= ms * (how & 3);
    world_step(world, (struct al_event){.type = AL_EVENT_TICK});
}

static void one_step(struct world *world, struct script *script)
{
    unsigned what = byte(script);
    uint32_t conn = what % WORLD_CONNS;

    switch (what / WORLD_CONNS % 16) {
    case 0:
    case 1:
        greet(world, script, conn);
        break;
    case 2:
    case 3:
    case 4:
        publish(world, script, conn);
        break;
    case 5:
    case 6:
        settle(world, script, conn);
        break;
    case 7:
    case 8:
        pass_time(world, script);
        break;
    case 9:
        world_answer(world);
        break;
    case 10: {
        size_t n = byte(script);

        n = n < script->n ? n : script->n;
        world_bytes(world, conn, al_str_of(script->p, n));
        script->p += n;
        script->n -= n;
        break;
    }
    case 11:
        if (world->open[conn]) {
            world->open[conn] = false;
            world_step(world, (struct al_event){.type = AL_EVENT_CLOSED, .conn = conn});
        }
        break;
    case 12:
        world_step(world, (struct al_event){.type = AL_EVENT_DISK, .disk_full = byte(script) & 1});
        break;
    case 13:
        if (byte(script) % 4 == 0)
            world_restart(world);
        else if (byte(script) % 4 == 0)
            world_restart_from_snapshot(world);
        else
            world_carry(world, byte(script), 1 + byte(script));
        break;
    default:
        send_any(world, script, conn);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct world world;
    struct script script = {data, size};

    world_init(&world);
    /* Room is kept for what one step can make; an input can do only so much. */
    for (unsigned steps = 0; script.n && steps < 250; steps++) {
        if (world.record_count > WORLD_RECORDS_MAX - 1024 ||
            world.read_count > WORLD_READS_MAX - 16)
            break;
        one_step(&world, &script);
    }
    world_restart(&world);
    world_deinit(&world);
    return 0;
}
