/* loop.h - the event loop: who is ready, and one wake-up from outside. Level-triggered.
 *
 * One thread owns a loop; every function belongs to that thread, except al_doorbell_ring. */
#ifndef AL_OS_LOOP_H
#define AL_OS_LOOP_H

#include "base/time.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/epoll.h>

enum {
    AL_LOOP_READ = 1,
    AL_LOOP_WRITE = 2,
    AL_LOOP_HANGUP = 4, /* reported without being asked for: error or the peer is gone */
};

struct al_watch;
/* Called with what is ready (AL_LOOP_ bits). May add, change and remove any watch. */
typedef void al_watch_fn(struct al_watch *watch, unsigned ready);

/* A watched descriptor; embedded in its owner, at a fixed address while it is added. */
struct al_watch {
    int fd;
    unsigned interest; /* AL_LOOP_ bits */
    al_watch_fn *fn;
};

#define AL_LOOP_EVENTS 128

struct al_loop {
    int epoll_fd;
    int event_count, event_next; /* the part of `events` that is not handled yet */
    struct epoll_event events[AL_LOOP_EVENTS];
};

/* 0 or -AL_E_IO (errno). */
int al_loop_init(struct al_loop *loop);
/* Accepts a zeroed loop whose epoll_fd is -1. Does not close watched descriptors. */
void al_loop_deinit(struct al_loop *loop);
/* Begins to watch fd. 0 or -AL_E_IO (errno). */
int al_loop_add(struct al_loop *loop, struct al_watch *watch, int fd, unsigned interest,
                al_watch_fn *fn);
/* Changes what is waited for; no system call if it is the same. 0 or -AL_E_IO. */
int al_loop_set(struct al_loop *loop, struct al_watch *watch, unsigned interest);
/* Stops watching; fn is not called again, even if an event is at hand. Before close(fd). */
void al_loop_remove(struct al_loop *loop, struct al_watch *watch);
/* Waits until a descriptor is ready or timeout_ns is over (AL_NEVER_NS: for ever; rounded up to
 * milliseconds), then calls the functions of what is ready. Returns how many were ready;
 * -AL_E_IO. */
int al_loop_wait(struct al_loop *loop, uint64_t timeout_ns);

/* A doorbell wakes one sleeping thread, and costs a ringer nothing while that thread is awake.
 *
 * The sleeper: al_doorbell_arm, then look at all its queues once more; if there is work,
 * al_doorbell_disarm, else sleep on the descriptor. A ringer: first put the work in the queue, then
 * ring. Both sides use sequentially consistent operations, so one of them sees the other. */
struct al_doorbell {
    int fd;
    _Atomic int armed;
};

/* 0 or -AL_E_IO (errno). */
int al_doorbell_init(struct al_doorbell *bell);
void al_doorbell_deinit(struct al_doorbell *bell);
void al_doorbell_arm(struct al_doorbell *bell);
/* Also takes back a ring that came in meanwhile. */
void al_doorbell_disarm(struct al_doorbell *bell);
/* Disarms when the descriptor was seen to be readable: also takes back the late ring of somebody
 * who found the bell armed before it was disarmed last. Left there, it would end every sleep at
 * once. */
void al_doorbell_drain(struct al_doorbell *bell);
/* Any thread; async-signal-safe. */
void al_doorbell_ring(struct al_doorbell *bell);
/* Blocks until rung, then disarms. For threads without a loop. */
void al_doorbell_sleep(struct al_doorbell *bell);

#endif
