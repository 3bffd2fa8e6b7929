/* thread.h - threads and the bounded queues between two of them. */
#ifndef AL_OS_THREAD_H
#define AL_OS_THREAD_H

#include "os/loop.h"
#include <pthread.h>
#include <stddef.h>

/* Starts a thread with a small stack and all signals blocked: signals belong to the program's first
 * thread. `name` has at most 15 characters. 0 or -AL_E_NOMEM. */
int al_thread_start(pthread_t *ret_thread, const char *name, void *(*fn)(void *), void *ctx);

/* One turn of a spin: tells the processor, not the operating system. */
static inline void al_thread_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

#define AL_MAILBOX_SLOTS 64u

/* A bounded queue of pointers from one thread to one other thread. Never blocks, no locks. The
 * indexes count up for ever; each is written by one side only and they stand in different cache
 * lines. What a pointer points to belongs to whoever took it out. */
struct al_mailbox {
    _Atomic uint32_t head; /* next to put; written by the sender */
    char apart[60];
    _Atomic uint32_t tail;    /* next to take; written by the receiver */
    struct al_doorbell *bell; /* of the receiver */
    void *slots[AL_MAILBOX_SLOTS];
};

/* `bell` wakes the receiver and must outlive the mailbox. */
void al_mailbox_init(struct al_mailbox *box, struct al_doorbell *bell);
/* Sender: puts an item and rings. False when it is full. */
bool al_mailbox_put(struct al_mailbox *box, void *item);
/* Receiver: the oldest item, NULL when it is empty. */
void *al_mailbox_take(struct al_mailbox *box);
/* Receiver: true if al_mailbox_take would give NULL. */
bool al_mailbox_is_empty(struct al_mailbox *box);
/* Receiver: waits for the next item; spins up to spin_ns, then sleeps. Rings for other queues of
 * the same bell are swallowed: look at those before sleeping again. */
void *al_mailbox_wait(struct al_mailbox *box, uint64_t spin_ns);

#endif
