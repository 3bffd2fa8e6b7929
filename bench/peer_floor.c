/* peer_floor.c - how the client speaks to the floor server, over loopback TCP or a Unix socket. */
#include "base/bytes.h"
#include "bench.h"
#include "floor.h"

static uint8_t *put_head(struct bench_link *link, uint8_t type, uint32_t size)
{
    uint8_t *p = ali_buf_room(&link->out, FLOOR_HEAD_SIZE + (size_t)size);

    p[0] = type;
    al_put32(p + 1, size);
    link->out.end += FLOOR_HEAD_SIZE + (size_t)size;
    return p + FLOOR_HEAD_SIZE;
}

static void ask(struct bench_link *link, uint8_t type)
{
    put_head(link, type, 0);
    if (!ali_link_write_all(link))
        ali_fail("floor: no greeting");
    while (ali_buf_size(&link->in) < FLOOR_HEAD_SIZE)
        if (!ali_link_read_more(link))
            ali_fail("floor: no greeting");
    link->in.start += FLOOR_HEAD_SIZE;
}

static void greet(struct bench_link *link)
{
    ask(link, FLOOR_HELLO);
}

static void open_producer(struct bench_link *link, unsigned number)
{
    (void)link;
    (void)number;
}

static void open_consumer(struct bench_link *link)
{
    ask(link, FLOOR_SUBSCRIBE);
}

static void publish(struct bench_link *link, uint64_t number, uint64_t now_ns)
{
    size_t size = link->run->size;

    ali_payload_write(put_head(link, FLOOR_PUBLISH, (uint32_t)size), size, number, now_ns);
}

static void parse(struct bench_link *link)
{
    struct bench_buf *in = &link->in;

    while (ali_buf_size(in) >= FLOOR_HEAD_SIZE) {
        const uint8_t *frame = in->data + in->start, *body = frame + FLOOR_HEAD_SIZE;
        uint32_t size = al_get32(frame + 1);

        if (ali_buf_size(in) < FLOOR_HEAD_SIZE + (size_t)size)
            break;
        switch (frame[0]) {
        case FLOOR_CONFIRMED:
            ali_run_confirmed(link, al_get32(body));
            break;
        case FLOOR_DELIVER:
            ali_run_received(link->run, body + 8, size - 8, 0);
            al_put64(put_head(link, FLOOR_ACK, 8), al_get64(body));
            break;
        case FLOOR_ACKS_TAKEN:
            link->run->acked += al_get32(body);
            break;
        default:
            ali_fail("floor: frame of type %u", frame[0]);
        }
        in->start += FLOOR_HEAD_SIZE + size;
    }
}

const struct bench_peer ali_peer_floor_tcp = {.name = "floor-direct",
                                              .is_floor = true,
                                              .is_tcp = true,
                                              .greet = greet,
                                              .open_producer = open_producer,
                                              .open_consumer = open_consumer,
                                              .publish = publish,
                                              .parse = parse};

const struct bench_peer ali_peer_floor_unix = {.name = "floor-direct-unix",
                                               .is_floor = true,
                                               .greet = greet,
                                               .open_producer = open_producer,
                                               .open_consumer = open_consumer,
                                               .publish = publish,
                                               .parse = parse};
