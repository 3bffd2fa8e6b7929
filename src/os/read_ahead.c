/* read_ahead.c - a thread that reads one piece at a time.
 *
 * Not io_submit or io_uring: with O_DIRECT the processor time of a read is the pinning of its
 * pages, and both would spend it in the owner's thread; leaving io_submit's context costs some 30
 * ms more. */
#include "os/read_ahead.h"
#include "os/thread.h"
#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>

enum state { IDLE, WANTED, DONE, STOPPING };

struct al_read_ahead {
    al_read_ahead_fn *fn;
    void *file;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    enum state state; /* under lock; the rest belongs to the thread while it is WANTED */
    void *p;
    size_t n, got;
    uint64_t offset;
    int result;
};

static void *run(void *ctx)
{
    struct al_read_ahead *ahead = ctx;

    pthread_mutex_lock(&ahead->lock);
    while (ahead->state != STOPPING) {
        if (ahead->state != WANTED) {
            pthread_cond_wait(&ahead->changed, &ahead->lock);
            continue;
        }
        pthread_mutex_unlock(&ahead->lock);
        ahead->result = ahead->fn(ahead->file, ahead->p, ahead->n, ahead->offset, &ahead->got);
        pthread_mutex_lock(&ahead->lock);
        ahead->state = DONE;
        pthread_cond_signal(&ahead->changed);
    }
    pthread_mutex_unlock(&ahead->lock);
    return NULL;
}

struct al_read_ahead *al_read_ahead_new(al_read_ahead_fn *fn, void *file)
{
    struct al_read_ahead *ahead = calloc(1, sizeof *ahead);

    if (!ahead)
        return NULL;
    ahead->fn = fn;
    ahead->file = file;
    pthread_mutex_init(&ahead->lock, NULL);
    pthread_cond_init(&ahead->changed, NULL);
    if (al_thread_start(&ahead->thread, "al-read-ahead", run, ahead) < 0) {
        pthread_cond_destroy(&ahead->changed);
        pthread_mutex_destroy(&ahead->lock);
        free(ahead);
        return NULL;
    }
    return ahead;
}

/* Returns with the lock held and nothing under way. */
static void lock_quiet(struct al_read_ahead *ahead)
{
    pthread_mutex_lock(&ahead->lock);
    while (ahead->state == WANTED)
        pthread_cond_wait(&ahead->changed, &ahead->lock);
}

void al_read_ahead_free(struct al_read_ahead *ahead)
{
    if (!ahead)
        return;
    lock_quiet(ahead);
    ahead->state = STOPPING;
    pthread_cond_signal(&ahead->changed);
    pthread_mutex_unlock(&ahead->lock);
    pthread_join(ahead->thread, NULL);
    pthread_cond_destroy(&ahead->changed);
    pthread_mutex_destroy(&ahead->lock);
    free(ahead);
}

void al_read_ahead_begin(struct al_read_ahead *ahead, void *p, size_t n, uint64_t offset)
{
    pthread_mutex_lock(&ahead->lock);
    assert(ahead->state == IDLE);
    ahead->p = p;
    ahead->n = n;
    ahead->offset = offset;
    ahead->state = WANTED;
    pthread_cond_signal(&ahead->changed);
    pthread_mutex_unlock(&ahead->lock);
}

int al_read_ahead_end(struct al_read_ahead *ahead, size_t *ret_n)
{
    int r;

    lock_quiet(ahead);
    assert(ahead->state == DONE);
    ahead->state = IDLE;
    r = ahead->result;
    if (r == 0)
        *ret_n = ahead->got;
    pthread_mutex_unlock(&ahead->lock);
    return r;
}
