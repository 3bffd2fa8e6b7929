/* test_os_loop.c - the loop, the doorbell, the mailbox between two threads, the clocks. */
#include "base/errors.h"
#include "os/clock.h"
#include "os/entropy.h"
#include "os/loop.h"
#include "os/thread.h"
#include "support.h"
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

/* A watch that counts what it was told. */
struct probe {
    struct al_watch watch;
    struct al_loop *loop;
    struct al_watch *victim; /* removed when this one is called */
    unsigned calls, ready;
    int fds[2];
};

static void probe_ready(struct al_watch *watch, unsigned ready)
{
    struct probe *probe = (struct probe *)watch;

    probe->calls++;
    probe->ready |= ready;
    if (probe->victim)
        al_loop_remove(probe->loop, probe->victim);
}

static void probe_init(struct probe *probe, struct al_loop *loop, unsigned interest)
{
    *probe = (struct probe){.loop = loop};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, probe->fds), 0);
    assert_int_equal(al_loop_add(loop, &probe->watch, probe->fds[0], interest, probe_ready), 0);
}

static void probe_deinit(struct probe *probe)
{
    close(probe->fds[0]);
    if (probe->fds[1] >= 0)
        close(probe->fds[1]);
}

static void reports_what_is_ready(void **state)
{
    struct al_loop loop;
    struct probe probe;

    (void)state;
    assert_int_equal(al_loop_init(&loop), 0);
    probe_init(&probe, &loop, AL_LOOP_READ);
    assert_int_equal(al_loop_wait(&loop, 0), 0);
    assert_int_equal(write(probe.fds[1], "x", 1), 1);
    assert_int_equal(al_loop_wait(&loop, AL_NEVER_NS), 1);
    assert_int_equal(probe.ready, AL_LOOP_READ);

    assert_int_equal(al_loop_set(&loop, &probe.watch, AL_LOOP_WRITE), 0);
    probe.ready = 0;
    assert_int_equal(al_loop_wait(&loop, 0), 1);
    assert_int_equal(probe.ready, AL_LOOP_WRITE);

    /* Nothing asked for: only the end of the peer is told. */
    assert_int_equal(al_loop_set(&loop, &probe.watch, 0), 0);
    assert_int_equal(al_loop_wait(&loop, 0), 0);
    close(probe.fds[1]);
    probe.fds[1] = -1;
    probe.ready = 0;
    assert_int_equal(al_loop_wait(&loop, 0), 1);
    assert_true(probe.ready & AL_LOOP_HANGUP);
    al_loop_remove(&loop, &probe.watch);
    probe_deinit(&probe);
    al_loop_deinit(&loop);
}

/* Two are ready in one answer of the kernel; whoever is called first removes the other. */
static void removed_watch_is_not_called(void **state)
{
    struct al_loop loop;
    struct probe a, b;

    (void)state;
    assert_int_equal(al_loop_init(&loop), 0);
    probe_init(&a, &loop, AL_LOOP_WRITE);
    probe_init(&b, &loop, AL_LOOP_WRITE);
    a.victim = &b.watch;
    b.victim = &a.watch;
    assert_int_equal(al_loop_wait(&loop, 0), 2);
    assert_int_equal(a.calls + b.calls, 1);
    probe_deinit(&a);
    probe_deinit(&b);
    al_loop_deinit(&loop);
}

static void timeout_is_never_early(void **state)
{
    struct al_loop loop;
    uint64_t start = al_clock_mono_ns();

    (void)state;
    assert_int_equal(al_loop_init(&loop), 0);
    assert_int_equal(al_loop_wait(&loop, 1500000), 0);
    assert_true(al_clock_mono_ns() - start >= 1500000);
    al_loop_deinit(&loop);
}

static void bell_costs_nothing_while_awake(void **state)
{
    struct al_doorbell bell;
    uint64_t count;

    (void)state;
    assert_int_equal(al_doorbell_init(&bell), 0);
    al_doorbell_ring(&bell);
    assert_int_equal(read(bell.fd, &count, sizeof count), -1);
    al_doorbell_arm(&bell);
    al_doorbell_ring(&bell);
    al_doorbell_ring(&bell); /* the second finds nobody asleep */
    assert_int_equal(read(bell.fd, &count, sizeof count), sizeof count);
    assert_int_equal(count, 1);
    al_doorbell_arm(&bell);
    al_doorbell_ring(&bell);
    al_doorbell_disarm(&bell);
    assert_int_equal(read(bell.fd, &count, sizeof count), -1);
    al_doorbell_deinit(&bell);
}

/* A ringer takes `armed` away, is held up, and writes when the sleeper has long disarmed. */
static void late_ring_ends_one_sleep_only(void **state)
{
    struct al_doorbell bell;
    struct pollfd pollfd = {.events = POLLIN};
    uint64_t one = 1;

    (void)state;
    assert_int_equal(al_doorbell_init(&bell), 0);
    pollfd.fd = bell.fd;
    al_doorbell_arm(&bell);
    assert_int_equal(atomic_exchange(&bell.armed, 0), 1); /* the ringer's first half */
    al_doorbell_disarm(&bell);
    assert_int_equal(write(bell.fd, &one, sizeof one), sizeof one); /* and its second */
    al_doorbell_arm(&bell);
    al_doorbell_sleep(&bell);
    assert_int_equal(poll(&pollfd, 1, 0), 0);
    assert_int_equal(atomic_load(&bell.armed), 0);
    al_doorbell_deinit(&bell);
}

static void mailbox_is_bounded_and_in_order(void **state)
{
    struct al_doorbell bell;
    static struct al_mailbox box;
    static char items[AL_MAILBOX_SLOTS + 1];

    (void)state;
    assert_int_equal(al_doorbell_init(&bell), 0);
    al_mailbox_init(&box, &bell);
    assert_null(al_mailbox_take(&box));
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < AL_MAILBOX_SLOTS; i++)
            assert_true(al_mailbox_put(&box, &items[i]));
        assert_false(al_mailbox_put(&box, &items[AL_MAILBOX_SLOTS]));
        for (unsigned i = 0; i < AL_MAILBOX_SLOTS; i++)
            assert_ptr_equal(al_mailbox_take(&box), &items[i]);
        assert_true(al_mailbox_is_empty(&box));
    }
    al_doorbell_deinit(&bell);
}

#define PASSED 200000u

struct relay {
    struct al_mailbox there, back;
    struct al_doorbell there_bell, back_bell;
};

/* Returns every item. */
static void *relay_main(void *ctx)
{
    struct relay *relay = ctx;

    for (unsigned i = 0; i < PASSED; i++) {
        void *item = al_mailbox_wait(&relay->there, i % 3 ? 0 : 5000);

        while (!al_mailbox_put(&relay->back, item))
            al_thread_pause();
    }
    return NULL;
}

/* Both sides sleep and wake all the time: a lost wake-up hangs, a lost item fails. */
static void mailboxes_between_threads(void **state)
{
    static struct relay relay;
    pthread_t thread;
    uintptr_t put = 0, taken = 0;

    (void)state;
    assert_int_equal(al_doorbell_init(&relay.there_bell), 0);
    assert_int_equal(al_doorbell_init(&relay.back_bell), 0);
    al_mailbox_init(&relay.there, &relay.there_bell);
    al_mailbox_init(&relay.back, &relay.back_bell);
    assert_int_equal(al_thread_start(&thread, "relay", relay_main, &relay), 0);
    alarm(60);
    while (taken < PASSED) {
        uintptr_t burst = 1 + put % 7;

        while (put < PASSED && put - taken < burst &&
               al_mailbox_put(&relay.there, (void *)(put + 1)))
            put++;
        assert_int_equal((uintptr_t)al_mailbox_wait(&relay.back, 0), taken + 1);
        taken++;
    }
    alarm(0);
    pthread_join(thread, NULL);
    al_doorbell_deinit(&relay.there_bell);
    al_doorbell_deinit(&relay.back_bell);
}

static void clocks_and_entropy(void **state)
{
    struct al_now a = al_clock_now(), b = al_clock_now();
    uint8_t x[300] = {0}, y[300] = {0};

    (void)state;
    assert_true(b.mono_ns >= a.mono_ns);
    assert_true(a.wall_ms > 1600000000000ull);
    assert_int_equal(al_entropy_fill(x, sizeof x), 0);
    assert_int_equal(al_entropy_fill(y, sizeof y), 0);
    assert_memory_not_equal(x, y, sizeof x);
    assert_memory_not_equal(x + 200, (uint8_t[100]){0}, 100); /* filled to the end */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reports_what_is_ready),
        cmocka_unit_test(removed_watch_is_not_called),
        cmocka_unit_test(timeout_is_never_early),
        cmocka_unit_test(bell_costs_nothing_while_awake),
        cmocka_unit_test(late_ring_ends_one_sleep_only),
        cmocka_unit_test(mailbox_is_bounded_and_in_order),
        cmocka_unit_test(mailboxes_between_threads),
        cmocka_unit_test(clocks_and_entropy),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
