/* wait.c - waiting for the node, and the keeper. */
#include "base/errors.h"
#include "client/client.h"
#include "os/clock.h"
#include "os/entropy.h"
#include "os/thread.h"
#include <errno.h>
#include <limits.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define KEEPER_MS 50u

uint64_t ali_deadline_ns(int64_t timeout_ms)
{
    if (timeout_ms < 0)
        return AL_NEVER_NS;
    return al_clock_mono_ns() + (uint64_t)timeout_ms * AL_NS_PER_MS;
}

int ali_client_random(struct al_client *client, uint8_t ret_bytes[16])
{
    int r;

    if (client->random_left == 0) {
        r = al_entropy_fill(client->random, sizeof(client->random));
        if (r < 0)
            return r;
        client->random_left = ALI_RANDOM_SIZE;
    }
    client->random_left -= 16;
    memcpy(ret_bytes, client->random + client->random_left, 16);
    memset(client->random + client->random_left, 0, 16);
    return 0;
}

/* ---- waking ------------------------------------------------------------------------------ */

static void event_raise(struct al_client *client)
{
    uint64_t one = 1;

    while (write(client->event_fd, &one, sizeof(one)) < 0 && errno == EINTR)
        ;
}

static void event_clear(struct al_client *client)
{
    uint64_t count;

    while (read(client->event_fd, &count, sizeof(count)) < 0 && errno == EINTR)
        ;
    client->event_set = false;
}

/* What there is for the program to take, a bit for each kind. */
static unsigned something(const struct al_client *client)
{
    const struct ali_csession *session = client->session;

    return (session->results ? 1u : 0) | (session->ends && client->end_fn ? 2u : 0) |
           (session->notices && client->notice_fn ? 4u : 0) |
           (ali_csession_is_ready(session, ALI_READY_PULL) ? 8u : 0) |
           (ali_csession_is_ready(session, ALI_READY_HANDLER) ? 16u : 0) |
           (client->requests_due || client->parts_due ? 32u : 0) | (session->commits_due ? 64u : 0);
}

/* For a program that polls al_client_fd() itself: what the library knows shows there. */
static void show(struct al_client *client)
{
    struct itimerspec spec = {{0, 0}, {0, 0}};
    uint64_t deadline;

    if (client->timer_fd < 0)
        return;
    if (something(client) || atomic_load(&client->stop)) {
        if (!client->event_set)
            event_raise(client);
        client->event_set = true;
    } else if (client->event_set) {
        event_clear(client);
    }
    deadline = ali_client_deadline_ns(client);
    if (deadline == client->timer_ns)
        return;
    client->timer_ns = deadline;
    if (deadline != AL_NEVER_NS) {
        spec.it_value.tv_sec = (time_t)(deadline / AL_NS_PER_SEC);
        spec.it_value.tv_nsec = (long)(deadline % AL_NS_PER_SEC) | 1;
    }
    (void)timerfd_settime(client->timer_fd, TFD_TIMER_ABSTIME, &spec, NULL);
}

bool ali_client_take_stop(struct al_client *client)
{
    if (!atomic_load(&client->stop))
        return false;
    if (client->runs == 0) {
        atomic_store(&client->stop, false);
        client->event_set = true; /* by al_client_stop(): show() takes it back */
    }
    return true;
}

/* Is there anything that cannot wait until the program calls again? */
static bool keeper_needed(const struct al_client *client)
{
    const struct ali_csession *session = client->session;

    return session->deliveries || ali_csession_output(session).n ||
           (session->attaches && session->link != ALI_LINK_UP);
}

/* Does nobody listen although the node may give out a message, or answer a request, at any time? */
static bool guard_needed(const struct al_client *client)
{
    return (client->session->attaches || client->requests) && !client->polling && !client->waiting;
}

void ali_client_touch(struct al_client *client)
{
    unsigned now = something(client), fresh = now & ~client->told;

    client->told = now;
    /* The poller would sleep too long, or on what another thread has made ready: the next message
     * of a stream, for instance. */
    if (client->polling && (fresh || ali_client_deadline_ns(client) < client->poll_until_ns))
        event_raise(client);
    if (fresh && client->waiting)
        pthread_cond_broadcast(&client->changed);
    if (client->keeper_idle && (keeper_needed(client) || guard_needed(client)))
        pthread_cond_signal(&client->keeper_wake);
    show(client);
}

void ali_client_lock(struct al_client *client)
{
    pthread_mutex_lock(&client->lock);
}

void ali_client_unlock(struct al_client *client)
{
    ali_client_touch(client);
    pthread_mutex_unlock(&client->lock);
}

/* ---- waiting ----------------------------------------------------------------------------- */

static void cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *lock, uint64_t deadline_ns)
{
    struct timespec until = {.tv_sec = (time_t)(deadline_ns / AL_NS_PER_SEC),
                             .tv_nsec = (long)(deadline_ns % AL_NS_PER_SEC)};

    if (deadline_ns == AL_NEVER_NS)
        pthread_cond_wait(cond, lock);
    else
        pthread_cond_timedwait(cond, lock, &until);
}

static int poll_timeout_ms(uint64_t deadline_ns)
{
    uint64_t now = al_clock_mono_ns(), ms;

    if (deadline_ns == AL_NEVER_NS)
        return -1;
    if (deadline_ns <= now)
        return 0;
    ms = (deadline_ns - now + AL_NS_PER_MS - 1) / AL_NS_PER_MS;
    return ms < INT_MAX ? (int)ms : INT_MAX;
}

/* One turn as the poller. */
static void poll_once(struct al_client *client, uint64_t deadline_ns)
{
    struct epoll_event events[4];
    uint64_t own = ali_client_deadline_ns(client);
    bool read = false;
    int i, n;

    client->poll_until_ns = own < deadline_ns ? own : deadline_ns;
    client->polling = true;
    pthread_mutex_unlock(&client->lock);
    n = epoll_wait(client->epoll_fd, events, 4, poll_timeout_ms(client->poll_until_ns));
    pthread_mutex_lock(&client->lock);
    client->polling = false;
    for (i = 0; i < n; i++) {
        if (events[i].data.u32 == 1)
            read |= (events[i].events & ~(uint32_t)EPOLLOUT) != 0;
        else if (events[i].data.u32 == 2)
            event_clear(client);
        else
            client->timer_ns = 0; /* the timer has fired: it is set again by show() */
    }
    ali_client_io(client, read);
}

void ali_client_wait(struct al_client *client, uint64_t deadline_ns)
{
    ali_client_touch(client);
    if (client->polling) {
        if (client->keeper_polls)
            event_raise(client); /* we take the poll over */
        client->waiting++;
        cond_wait_until(&client->changed, &client->lock, deadline_ns);
        client->waiting--;
        return;
    }
    poll_once(client, deadline_ns);
    if (client->waiting)
        pthread_cond_broadcast(&client->changed);
}

/* ---- the keeper -------------------------------------------------------------------------- */

/* One turn of looking after the connection. */
static void keep(struct al_client *client)
{
    /* With a raised event a poll returns at once, again and again: the next turn is soon enough. */
    if (guard_needed(client) && !keeper_needed(client) && !client->event_set) {
        client->keeper_polls = true;
        poll_once(client, AL_NEVER_NS);
        client->keeper_polls = false;
    } else {
        ali_client_io(client, !client->polling && client->stream.fd >= 0);
    }
    if (client->waiting)
        pthread_cond_broadcast(&client->changed);
    ali_client_touch(client);
}

static void *keeper_main(void *ctx)
{
    struct al_client *client = ctx;

    pthread_mutex_lock(&client->lock);
    while (!client->keeper_stop) {
        if (!keeper_needed(client) && !guard_needed(client)) {
            client->keeper_idle = true;
            pthread_cond_wait(&client->keeper_wake, &client->lock);
            client->keeper_idle = false;
            continue;
        }
        /* The program gets its turn first: most often it waits again at once. */
        cond_wait_until(&client->keeper_wake, &client->lock, ali_deadline_ns(KEEPER_MS));
        if (!client->keeper_stop)
            keep(client);
    }
    pthread_mutex_unlock(&client->lock);
    return NULL;
}

int ali_keeper_start(struct al_client *client)
{
    int r;

    if (client->keeper_started)
        return 0;
    r = al_thread_start(&client->keeper, "al-keeper", keeper_main, client);
    if (r >= 0)
        client->keeper_started = true;
    return r;
}

void ali_keeper_stop(struct al_client *client)
{
    if (!client->keeper_started)
        return;
    pthread_mutex_lock(&client->lock);
    client->keeper_stop = true;
    pthread_cond_signal(&client->keeper_wake);
    if (client->keeper_polls)
        event_raise(client);
    pthread_mutex_unlock(&client->lock);
    pthread_join(client->keeper, NULL);
    client->keeper_started = false;
}
