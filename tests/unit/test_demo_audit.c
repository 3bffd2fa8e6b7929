/* test_demo_audit.c - the demo's accounts find what they are there to find. */
#include "../../examples/demo/director.h"
#include "support.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The demo's own die() comes with the agents' library; here a message is enough. */
void die(const char *format, ...)
{
    fail_msg("%s", format);
    abort();
}

static char dir[] = "/tmp/al-audit-XXXXXX";

static void write_trace(const char *name, const char *text)
{
    char path[100];
    FILE *file;

    snprintf(path, sizeof path, "%s/%s.trace", dir, name);
    file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static struct audit audit_of(const char *sender, const char *receiver)
{
    static const char *const names[] = {"sender", "receiver", NULL};
    struct audit audit;

    write_trace("sender", sender);
    write_trace("receiver", receiver);
    audit_traces(dir, names, &audit);
    return audit;
}

static void a_clean_run(void **state)
{
    struct audit audit = audit_of("S 1 1 0\nS 1 2 0\nS 2 1 0\n",
                                  "R 1 1 0 1\nD 1 1\nR 2 1 0 1\nR 1 2 0 1\nD 2 1\nD 1 2\n");

    (void)state;
    assert_int_equal(audit.sent, 3);
    assert_int_equal(audit.delivered, 3);
    assert_int_equal(audit.lost + audit.disorder + audit.unmarked + audit.retried, 0);
    assert_int_equal(audit.suppressed_node + audit.suppressed_agent + audit.redelivered, 0);
}

static void a_lost_message(void **state)
{
    struct audit audit = audit_of("S 1 1 0\nS 1 2 0\n", "R 1 1 0 1\nD 1 1\nR 1 2 0 1\n");

    (void)state;
    assert_int_equal(audit.lost, 1);
    assert_int_equal(audit.delivered, 1);
}

static void an_order_violation(void **state)
{
    struct audit audit = audit_of("S 1 1 0\nS 1 2 0\nS 1 3 0\n",
                                  "R 1 1 0 1\nD 1 1\nR 1 3 0 1\nD 1 3\nR 1 2 0 1\nD 1 2\n");

    (void)state;
    assert_int_equal(audit.disorder, 1);
    assert_int_equal(audit.lost, 0);
    /* Begun before the one before it was done. */
    audit = audit_of("S 1 1 0\nS 1 2 0\n", "R 1 1 0 1\nR 1 2 0 1\nD 1 1\nD 1 2\n");
    assert_int_equal(audit.disorder, 1);
}

static void a_hole_that_nobody_sent_is_none(void **state)
{
    struct audit audit = audit_of("S 1 1 0\nS 1 5 0\n", "R 1 1 0 1\nD 1 1\nR 1 5 0 1\nD 1 5\n");

    (void)state;
    assert_int_equal(audit.disorder + audit.lost, 0);
}

static void repetitions(void **state)
{
    struct audit audit = audit_of("S 1 1 0\nS 1 2 0\nS 1 2 1\n",
                                  "R 1 1 0 1\nR 1 1 1 2\nX 1 1\nD 1 1\nR 1 2 0 1\nD 1 2\n");

    (void)state;
    assert_int_equal(audit.sent, 2);
    assert_int_equal(audit.delivered, 2);
    assert_int_equal(audit.suppressed_node, 1);
    assert_int_equal(audit.suppressed_agent, 1);
    assert_int_equal(audit.retried, 1);
    assert_int_equal(audit.redelivered, 1);
    assert_int_equal(audit.unmarked, 0);
    audit = audit_of("S 1 1 0\n", "R 1 1 0 1\nR 1 1 0 1\nD 1 1\n");
    assert_int_equal(audit.unmarked, 1);
}

static void last_and_count(void **state)
{
    (void)state;
    write_trace("sender", "R 1 1 0 1\nS 1 1 0\nD 1 1\nR 1 2 0 1\nS 1 2 0\n");
    assert_int_equal(trace_last(dir, "sender"), 'S');
    assert_int_equal(trace_count(dir, "sender", 'D'), 1);
    assert_int_equal(trace_last(dir, "nobody"), 0);
}

static int make_dir(void **state)
{
    (void)state;
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    static const char *const names[] = {"sender", "receiver"};
    char path[100];

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s.trace", dir, names[i]);
        unlink(path);
    }
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_clean_run),        cmocka_unit_test(a_lost_message),
        cmocka_unit_test(an_order_violation), cmocka_unit_test(a_hole_that_nobody_sent_is_none),
        cmocka_unit_test(repetitions),        cmocka_unit_test(last_and_count),
    };

    return cmocka_run_group_tests_name("demo_audit", tests, make_dir, remove_dir);
}
