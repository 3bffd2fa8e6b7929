/* test_core_runs.c - the runs of a backlog against a plain array of LSNs. */
#include "core/runs.h"
#include "support.h"
#include <stdlib.h>

#define STEPS   20000u
#define ENTRIES (STEPS + 1)

struct model {
    struct al_test_alloc test;
    struct ali_runs runs;
    uint64_t lsn[ENTRIES]; /* by sequence */
    uint64_t first, next, newest;
};

static void push(struct model *m, uint64_t lsn)
{
    assert_int_equal(ali_runs_reserve(&m->runs, &m->test.alloc), 0);
    ali_runs_push(&m->runs, lsn);
    m->lsn[m->next++] = lsn;
}

static void move(struct model *m, struct al_test_random *random)
{
    uint64_t seq = m->first + al_test_below(random, m->next - m->first);

    assert_int_equal(ali_runs_reserve_move(&m->runs, &m->test.alloc, seq), 0);
    ali_runs_move(&m->runs, &m->test.alloc, seq, ++m->newest);
    m->lsn[seq] = m->newest;
}

static void looks_the_same(const struct model *m)
{
    struct ali_cursor at = ali_runs_begin(&m->runs);

    assert_int_equal(ali_runs_count(&m->runs), m->next - m->first);
    for (uint64_t seq = m->first; seq < m->next; seq++) {
        assert_int_equal(at.seq, seq);
        assert_int_equal(at.lsn, m->lsn[seq]);
        ali_cursor_next(&m->runs, &at);
    }
    assert_int_equal(at.seq, m->next);
}

/* Every entry with this LSN is found, in order, and no other. */
static void finds(const struct model *m, uint64_t lsn)
{
    struct ali_cursor at = ali_runs_begin(&m->runs);

    for (uint64_t seq = m->first; seq < m->next; seq++) {
        if (m->lsn[seq] != lsn)
            continue;
        assert_true(ali_runs_find(&m->runs, lsn, &at));
        assert_int_equal(at.seq, seq);
        assert_int_equal(at.lsn, lsn);
        ali_cursor_next(&m->runs, &at);
    }
    assert_false(ali_runs_find(&m->runs, lsn, &at));
    assert_int_equal(at.seq, m->next);
}

static void asks(const struct model *m, struct al_test_random *random)
{
    uint64_t seq = m->first + al_test_below(random, m->next - m->first + 1);
    struct ali_cursor at = ali_runs_seek(&m->runs, seq);

    assert_int_equal(at.seq, seq);
    if (seq < m->next)
        assert_int_equal(at.lsn, m->lsn[seq]);
    finds(m, seq < m->next ? m->lsn[seq] : al_test_below(random, m->newest + 2));
}

static void behaves_like_an_array(void **state)
{
    struct al_test_random random = al_test_random_new("runs");
    struct model *m = calloc(1, sizeof(*m));

    (void)state;
    al_test_alloc_init(&m->test);
    m->first = m->next = 1;
    ali_runs_init(&m->runs, 1);
    for (unsigned i = 0; i < STEPS; i++) {
        unsigned what = (unsigned)al_test_below(&random, 100);
        /* it grows for a while, then it is nearly empty for a while */
        unsigned pushes = i / 2000 % 2 ? 30 : 50;

        if (what < pushes) { /* the next record, or one that comes back from far behind */
            m->newest += 1 + al_test_below(&random, what < pushes - 10 ? 3 : 100000);
            push(m, what % 10 ? m->newest : 1 + al_test_below(&random, m->newest));
        } else if (what < 88 && m->first < m->next) {
            ali_runs_pop(&m->runs, &m->test.alloc);
            m->first++;
        } else if (what < 96 && m->first < m->next) {
            move(m, &random);
        } else if (what < 99) {
            asks(m, &random);
        } else {
            looks_the_same(m);
        }
    }
    looks_the_same(m);
    ali_runs_deinit(&m->runs, &m->test.alloc);
    assert_int_equal(m->test.live_bytes, 0);
    free(m);
}

/* A backlog of a million in order: whoever looks for an LSN walks one chunk of it. */
static void a_backlog_costs_a_byte_each(void **state)
{
    struct al_test_alloc test;
    struct ali_runs runs;
    struct ali_cursor at;

    (void)state;
    al_test_alloc_init(&test);
    ali_runs_init(&runs, 1);
    for (uint64_t lsn = 1; lsn <= 1000000; lsn++) {
        assert_int_equal(ali_runs_reserve(&runs, &test.alloc), 0);
        ali_runs_push(&runs, lsn * 2);
    }
    assert_true(test.live_bytes < 1100000);
    at = ali_runs_begin(&runs);
    assert_true(ali_runs_find(&runs, 1600000, &at));
    assert_int_equal(at.seq, 800000);
    at = ali_runs_begin(&runs);
    assert_false(ali_runs_find(&runs, 1600001, &at));
    ali_runs_deinit(&runs, &test.alloc);
    assert_int_equal(test.live_bytes, 0);
}

/* The whole backlog is carried forward: each difference changes twice and is as short as before. */
static void a_moved_backlog_stays_small(void **state)
{
    struct al_test_alloc test;
    struct ali_runs runs;
    struct ali_cursor at;

    (void)state;
    al_test_alloc_init(&test);
    ali_runs_init(&runs, 1);
    for (uint64_t lsn = 1; lsn <= 100000; lsn++) {
        assert_int_equal(ali_runs_reserve(&runs, &test.alloc), 0);
        ali_runs_push(&runs, lsn);
    }
    for (uint64_t seq = 1; seq <= 100000; seq++) {
        assert_int_equal(ali_runs_reserve_move(&runs, &test.alloc, seq), 0);
        ali_runs_move(&runs, &test.alloc, seq, 1000000 + seq);
    }
    assert_true(test.live_bytes < 120000);
    at = ali_runs_begin(&runs);
    assert_false(ali_runs_find(&runs, 50000, &at));
    at = ali_runs_begin(&runs);
    assert_true(ali_runs_find(&runs, 1050000, &at));
    assert_int_equal(at.seq, 50000);
    ali_runs_deinit(&runs, &test.alloc);
    assert_int_equal(test.live_bytes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(behaves_like_an_array),
        cmocka_unit_test(a_backlog_costs_a_byte_each),
        cmocka_unit_test(a_moved_backlog_stays_small),
    };

    return cmocka_run_group_tests_name("core_runs", tests, NULL, NULL);
}
