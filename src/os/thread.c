/* thread.c - pthreads, and a single-producer single-consumer ring.
 *
 * `head` is stored and loaded with sequential consistency because it is one half of the doorbell's
 * agreement (see loop.h): the sender stores head and then reads `armed`, the receiver stores
 * `armed` and then reads head. A batch or a job goes through here, never a single message, so the
 * price (one locked instruction) does not show. */
#include "os/thread.h"

#include "base/errors.h"
#include "os/clock.h"

#include <signal.h>

/* Deep enough for the drivers (no recursion, no big frames), small enough for a light process. */
#define THREAD_STACK_BYTES (256u << 10)

int al_thread_start(pthread_t *ret_thread, const char *name, void *(*fn)(void *), void *ctx)
{
    pthread_attr_t attr;
    sigset_t all, before;
    pthread_t thread;
    int error;

    if (pthread_attr_init(&attr))
        return -AL_E_NOMEM;
    pthread_attr_setstacksize(&attr, THREAD_STACK_BYTES);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    error = pthread_create(&thread, &attr, fn, ctx);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    if (error)
        return -AL_E_NOMEM;
    pthread_setname_np(thread, name);
    *ret_thread = thread;
    return 0;
}

void al_mailbox_init(struct al_mailbox *box, struct al_doorbell *bell)
{
    atomic_init(&box->head, 0);
    atomic_init(&box->tail, 0);
    box->bell = bell;
}

bool al_mailbox_put(struct al_mailbox *box, void *item)
{
    uint32_t head = atomic_load_explicit(&box->head, memory_order_relaxed);

    if (head - atomic_load_explicit(&box->tail, memory_order_acquire) == AL_MAILBOX_SLOTS)
        return false;
    box->slots[head % AL_MAILBOX_SLOTS] = item;
    atomic_store(&box->head, head + 1);
    al_doorbell_ring(box->bell);
    return true;
}

void *al_mailbox_take(struct al_mailbox *box)
{
    uint32_t tail = atomic_load_explicit(&box->tail, memory_order_relaxed);
    void *item;

    if (tail == atomic_load(&box->head))
        return NULL;
    item = box->slots[tail % AL_MAILBOX_SLOTS];
    atomic_store_explicit(&box->tail, tail + 1, memory_order_release);
    return item;
}

bool al_mailbox_is_empty(struct al_mailbox *box)
{
    return atomic_load_explicit(&box->tail, memory_order_relaxed) == atomic_load(&box->head);
}

void *al_mailbox_wait(struct al_mailbox *box, uint64_t spin_ns)
{
    uint64_t until = spin_ns ? al_clock_mono_ns() + spin_ns : 0;
    void *item;

    while ((item = al_mailbox_take(box)) == NULL) {
        if (spin_ns && al_clock_mono_ns() < until) {
            al_thread_pause();
            continue;
        }
        al_doorbell_arm(box->bell);
        if (!al_mailbox_is_empty(box))
            al_doorbell_disarm(box->bell);
        else
            al_doorbell_sleep(box->bell);
    }
    return item;
}
