/* client_peer.h - a scripted node at the other end of a client's session.
 *
 * The session is pure, so a test plays the node by hand: it looks at the frames that the session
 * wrote, one by one, and feeds frames into it. Time is the test's. */
#ifndef AL_TEST_CLIENT_PEER_H
#define AL_TEST_CLIENT_PEER_H

#include "client/session.h"
#include "support.h"

struct peer {
    struct al_test_alloc memory;
    struct ali_csession *session;
    struct al_now now;
    struct al_buf in;    /* frames to be fed */
    struct al_buf frame; /* the last one taken */
    int error;           /* of the last feeding */
    uint8_t next_id;
};

/* A session with these settings (zero: sensible ones), not connected. */
void peer_init(struct peer *peer, const struct ali_csession_config *config);
/* Frees it; fails the test if memory is left. */
void peer_deinit(struct peer *peer);
/* Moves the clock on, and ticks. Returns what the tick returned. */
int peer_sleep(struct peer *peer, uint64_t ms);

/* Connects, takes HELLO and answers WELCOME. */
void peer_connect(struct peer *peer);
/* The connection is lost. */
void peer_lose(struct peer *peer);

/* Takes the next frame that the session wrote; fails the test unless it is of this type. */
struct al_str peer_take(struct peer *peer, unsigned type);
/* The type of the next frame, 0: there is none. */
unsigned peer_peek(const struct peer *peer);
/* Fails the test if there is another frame. */
#define assert_silent(peer) assert_string_equal(peer_next_name(peer), "nothing")
const char *peer_next_name(const struct peer *peer);

/* Takes a frame into the variable `m` and decodes it. */
#define TAKE(peer, symbol, lower, m) \
    struct al_msg_##lower m;         \
    assert_int_equal(al_decode_##lower(peer_take(peer, AL_MSG_##symbol), &m), 0)
/* Takes a frame and looks no further. */
#define SKIP(peer, symbol) (void)peer_take(peer, AL_MSG_##symbol)
/* Feeds a frame: FEED(&peer, receipt, .channel = 1, …). */
#define FEED(peer, lower, ...)                                  \
    do {                                                        \
        struct al_msg_##lower fed = {__VA_ARGS__};              \
        assert_int_equal(al_put_##lower(&(peer)->in, &fed), 0); \
        peer_feed(peer);                                        \
        assert_int_equal((peer)->error, 0);                     \
    } while (0)
/* Hands what stands in `in` to the session; the result stands in `error`. */
void peer_feed(struct peer *peer);

/* Queues a message from a to b with this text; `done` is set when it is answered (sync), or NULL:
 * asynchronous with peer_receipt as callback. Returns the result of the send. */
int peer_send(struct peer *peer, const char *text, bool *done, struct ali_out **ret_out);
/* The error of the oldest result, freed; fails the test if there is none. */
int peer_result(struct peer *peer);
/* The callback of asynchronous sends; never called, results are taken. */
void peer_receipt(void *ctx, int error, const struct al_receipt *receipt);

/* Plays producer and channel 1: PRODUCER_OPEN … CHANNEL_READY. */
void peer_open_channel(struct peer *peer);
/* Takes a PUBLISH and checks its number and text. */
void peer_take_publish(struct peer *peer, uint64_t pseq, const char *text);

/* Attaches to agent b as number 7. */
void peer_attach(struct peer *peer, const struct al_attach_options *options, bool resumed);
/* Feeds DELIVER on stream 5 with a text. */
void peer_deliver(struct peer *peer, uint64_t seq, uint64_t prev_seq, uint64_t lease,
                  const char *text);
/* Likewise, with prev_seq out before it. */
void peer_follow(struct peer *peer, uint64_t seq, uint64_t prev_seq, uint64_t lease,
                 const char *text);
/* Takes the next message for the program, NULL: none. */
struct ali_delivery *peer_next(struct peer *peer);

#endif
