/* loop.c - epoll and eventfd.
 *
 * A handler may remove watches whose events stand later in the same answer of epoll_wait. The rest
 * of the answer is therefore searched on removal; it is at most 128 entries and removals are rare
 * beside everything else that closing a connection costs.
 *
 * No timerfd: the only clients of time have a resolution of a millisecond, and a timeout that is a
 * parameter of the wait costs no system call to change. */
#include "os/loop.h"

#include "base/errors.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

static uint32_t to_epoll(unsigned interest)
{
    return ((interest & AL_LOOP_READ) ? (uint32_t)EPOLLIN : 0) |
           ((interest & AL_LOOP_WRITE) ? (uint32_t)EPOLLOUT : 0);
}

static unsigned from_epoll(uint32_t events)
{
    return ((events & EPOLLIN) ? (unsigned)AL_LOOP_READ : 0) |
           ((events & EPOLLOUT) ? (unsigned)AL_LOOP_WRITE : 0) |
           ((events & (EPOLLHUP | EPOLLERR)) ? (unsigned)AL_LOOP_HANGUP : 0);
}

int al_loop_init(struct al_loop *loop)
{
    loop->event_count = loop->event_next = 0;
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    return loop->epoll_fd < 0 ? -AL_E_IO : 0;
}

void al_loop_deinit(struct al_loop *loop)
{
    if (loop->epoll_fd >= 0)
        close(loop->epoll_fd);
    loop->epoll_fd = -1;
}

int al_loop_add(struct al_loop *loop, struct al_watch *watch, int fd, unsigned interest,
                al_watch_fn *fn)
{
    struct epoll_event event = {.events = to_epoll(interest), .data.ptr = watch};

    watch->fd = fd;
    watch->interest = interest;
    watch->fn = fn;
    return epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) ? -AL_E_IO : 0;
}

int al_loop_set(struct al_loop *loop, struct al_watch *watch, unsigned interest)
{
    struct epoll_event event = {.events = to_epoll(interest), .data.ptr = watch};

    if (watch->interest == interest)
        return 0;
    watch->interest = interest;
    return epoll_ctl(loop->epoll_fd, EPOLL_CTL_MOD, watch->fd, &event) ? -AL_E_IO : 0;
}

void al_loop_remove(struct al_loop *loop, struct al_watch *watch)
{
    epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
    for (int i = loop->event_next; i < loop->event_count; i++) {
        if (loop->events[i].data.ptr == watch)
            loop->events[i].data.ptr = NULL;
    }
}

/* Milliseconds for epoll_wait, rounded up so that a deadline is never looked at too early. */
static int to_timeout_ms(uint64_t timeout_ns)
{
    if (timeout_ns == AL_NEVER_NS)
        return -1;
    if (timeout_ns > (uint64_t)INT_MAX * AL_NS_PER_MS - AL_NS_PER_MS)
        return INT_MAX;
    return (int)((timeout_ns + AL_NS_PER_MS - 1) / AL_NS_PER_MS);
}

int al_loop_wait(struct al_loop *loop, uint64_t timeout_ns)
{
    int count = epoll_wait(loop->epoll_fd, loop->events, AL_LOOP_EVENTS, to_timeout_ms(timeout_ns));

    if (count < 0)
        return errno == EINTR ? 0 : -AL_E_IO;
    loop->event_count = count;
    for (int i = 0; i < count; i++) {
        struct al_watch *watch = loop->events[i].data.ptr;

        loop->event_next = i + 1;
        if (watch)
            watch->fn(watch, from_epoll(loop->events[i].events));
    }
    loop->event_count = loop->event_next = 0;
    return count;
}

int al_doorbell_init(struct al_doorbell *bell)
{
    atomic_init(&bell->armed, 0);
    bell->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return bell->fd < 0 ? -AL_E_IO : 0;
}

void al_doorbell_deinit(struct al_doorbell *bell)
{
    if (bell->fd >= 0)
        close(bell->fd);
    bell->fd = -1;
}

void al_doorbell_arm(struct al_doorbell *bell)
{
    atomic_store(&bell->armed, 1);
}

void al_doorbell_disarm(struct al_doorbell *bell)
{
    uint64_t count;

    /* Whoever took `armed` away has written to the descriptor, or is about to. Reading finds it or
     * not; a late write only makes the next sleep end early once. */
    if (atomic_exchange(&bell->armed, 0) == 0)
        (void)!read(bell->fd, &count, sizeof count);
}

void al_doorbell_drain(struct al_doorbell *bell)
{
    uint64_t count;

    atomic_store(&bell->armed, 0);
    (void)!read(bell->fd, &count, sizeof count);
}

void al_doorbell_ring(struct al_doorbell *bell)
{
    uint64_t one = 1;

    if (atomic_load(&bell->armed) && atomic_exchange(&bell->armed, 0))
        (void)!write(bell->fd, &one, sizeof one);
}

void al_doorbell_sleep(struct al_doorbell *bell)
{
    struct pollfd pollfd = {.fd = bell->fd, .events = POLLIN};

    while (poll(&pollfd, 1, -1) < 0)
        assert(errno == EINTR);
    al_doorbell_drain(bell);
}
