/* test_config.c - the configuration file: what is allowed works, everything else is named. */
#include "base/errors.h"
#include "base/limits.h"
#include "node/config.h"
#include "support.h"
#include <stdio.h>
#include <stdlib.h>

static char why[512];

static int parse(struct al_config *config, const char *text)
{
    al_config_init(config);
    snprintf(why, sizeof why, "(nothing)");
    return al_config_parse(config, text, strlen(text), why, sizeof why);
}

static void everything_can_be_said(void **state)
{
    struct al_config config;
    struct al_runner_config runner = {0};

    (void)state;
    assert_int_equal(
        parse(&config,
              "{\"name\": \"node-1\", \"data\": \"/d\", \"listen\": [\"unix:/a\", \"unix:/b\"],"
              "\"log_level\": \"debug\", \"allowed_uids\": [1000, 0, 4294967294],"
              "\"limits\": {\"payload_bytes\": 4096, \"connections\": 7, \"inbox_messages\": 8,"
              "  \"dead_letters\": 9, \"dead_letter_bytes\": 10, \"dedup_keys\": 17, "
              "\"dedup_ttl_ms\": 1000,"
              "  \"records\": 18, \"records_ttl_ms\": 2000,"
              "  \"workflows\": 19, \"workflow_blocks\": 20, \"workflow_ttl_ms\": 3000},"
              "\"journal\": {\"segment_bytes\": 1048576, \"first_segment_bytes\": 65536,"
              "  \"reserve_bytes\": 1048576},"
              "\"kinds\": {\"job.slow\": {\"ack_timeout_ms\": 60000, \"title\": \"Slow\","
              "  \"priority\": 7, \"breaker\": {\"percent\": 20, \"own\": 1}}, \"once\": {\"max\": "
              "0}},"
              "\"breaker\": {\"samples\": 3}, \"network\": {\"certificate_ms\": 3600000},"
              "\"retry\": {\"ack_timeout_ms\": 10, \"base_ms\": 20, \"factor\": 3, \"cap_ms\": 40,"
              "  \"max\": 5}}"),
        0);
    assert_string_equal(config.data, "/d");
    assert_int_equal(config.certificate_ms, 3600000);
    assert_string_equal(config.listen[1], "unix:/b");
    assert_null(config.listen[2]);
    assert_string_equal(config.log_level, "debug");
    al_config_apply(&config, &runner);
    assert_true(al_str_eq(runner.node.name, al_str_c("node-1")));
    assert_int_equal(runner.node.payload_max, 4096);
    assert_int_equal(runner.connections_max, 7);
    assert_int_equal(runner.node.inbox_max, 8);
    assert_int_equal(runner.node.dlq_max, 9);
    assert_int_equal(runner.node.dlq_bytes, 10);
    assert_int_equal(runner.node.dedup_max, 17);
    assert_int_equal(runner.node.dedup_ttl_ms, 1000);
    assert_int_equal(runner.node.records_max, 18);
    assert_int_equal(runner.node.records_ttl_ms, 2000);
    assert_int_equal(runner.node.workflows_max, 19);
    assert_int_equal(runner.node.workflow_blocks, 20);
    assert_int_equal(runner.node.workflow_ttl_ms, 3000);
    assert_int_equal(runner.store.segment_bytes, 1048576);
    assert_int_equal(runner.store.first_segment_bytes, 65536);
    assert_int_equal(runner.store.reserve_bytes, 1048576);
    assert_int_equal(runner.node.policy.retry_base_ms, 20);
    assert_int_equal(runner.node.policy.retry_factor, 3);
    assert_int_equal(runner.allowed_uid_count, 3);
    assert_int_equal(runner.allowed_uids[2], 4294967294u);
    /* A kind takes what it leaves out from retry, although retry stands behind it. */
    assert_int_equal(runner.node.kind_count, 2);
    assert_true(al_str_eq(runner.node.kinds[0].kind, al_str_c("job.slow")));
    assert_int_equal(runner.node.kinds[0].policy.ack_timeout_ms, 60000);
    assert_int_equal(runner.node.kinds[0].policy.retry_cap_ms, 40);
    assert_int_equal(runner.node.kinds[1].policy.retry_max, 0);
    assert_int_equal(runner.node.kinds[1].policy.ack_timeout_ms, 10);
    assert_true(al_str_eq(runner.node.kinds[0].title, al_str_c("Slow")));
    assert_int_equal(runner.node.kinds[0].priority, 7);
    assert_int_equal(runner.node.kinds[0].breaker.percent, 20);
    assert_int_equal(runner.node.kinds[0].breaker.own, 1);
    assert_int_equal(runner.node.kinds[0].breaker.samples, 3);
    assert_int_equal(runner.node.kinds[1].breaker.samples, 3);
    assert_int_equal(runner.node.kinds[1].priority, AL_PRIORITY_NONE);
    al_config_deinit(&config);
}

static void empty_is_default(void **state)
{
    struct al_config config;
    struct al_runner_config runner = {0};

    (void)state;
    assert_int_equal(parse(&config, "{}"), 0);
    al_config_apply(&config, &runner);
    assert_int_equal(runner.node.payload_max, AL_PAYLOAD_DEFAULT_MAX);
    assert_int_equal(runner.node.workflows_max, AL_WORKFLOWS_DEFAULT);
    assert_int_equal(runner.node.workflow_blocks, AL_WORKFLOW_BLOCKS_DEFAULT);
    assert_int_equal(runner.node.workflow_ttl_ms, AL_WORKFLOW_TTL_DEFAULT_MS);
    assert_int_equal(runner.node.policy.retry_max, AL_RETRY_COUNT_DEFAULT);
    assert_int_equal(runner.store.segment_bytes, 0);
    assert_null(config.data);
    al_config_deinit(&config);
}

/* The core has limits of its own: what the file allows must not fail there without a word. */
static void the_least_of_everything_makes_a_node(void **state)
{
    struct al_test_alloc memory;
    struct al_config config;
    struct al_runner_config runner = {0};

    (void)state;
    al_test_alloc_init(&memory);
    assert_int_equal(parse(&config,
                           "{\"limits\": {\"payload_bytes\": 1024, \"connections\": 1,"
                           "  \"inbox_messages\": 1, \"dead_letters\": 1, \"dead_letter_bytes\": 1,"
                           "  \"dedup_keys\": 16, \"dedup_ttl_ms\": 1000,"
                           "  \"records\": 16, \"records_ttl_ms\": 1000,"
                           "  \"workflows\": 1, \"workflow_blocks\": 1,"
                           "  \"workflow_ttl_ms\": 1000},"
                           "\"retry\": {\"ack_timeout_ms\": 1, \"base_ms\": 1,"
                           "  \"factor\": 1, \"cap_ms\": 1, \"max\": 0}}"),
                     0);
    al_node_config_init(&runner.node, &memory.alloc);
    al_config_apply(&config, &runner);
    {
        struct al_node *node;

        assert_int_equal(al_node_new(&runner.node, &node), 0);
        al_node_free(node);
    }
    assert_int_equal(memory.live_count, 0);
    al_config_deinit(&config);
}

/* Each is refused, and the text names what a person needs. */
static void mistakes_are_named(void **state)
{
    static const struct {
        const char *text, *names[3];
    } cases[] = {
        {"", {"line 1"}},
        {"[]", {"array", "object"}},
        {"{\n  \"name\": \"a\",\n  oops\n}", {"line 3", "oops"}},
        {"{\"name\": \"a\", \"name\": \"b\"}", {"duplicate", "name"}},
        {"{} trailing", {"line 1"}},
        {"{\"limits\": {\"workflows\": 0}}", {"limits.workflows", "0", "10000000"}},
        {"{\"limits\": {\"workflow_blocks\": 100000001}}", {"workflow_blocks", "100000000"}},
        {"{\"limits\": {\"workflow_ttl_ms\": 999}}", {"limits.workflow_ttl_ms", "1000"}},
        {"{\"colour\": 1}", {"unknown key colour"}},
        {"{\"limits\": {\"payload_byte\": 1}}", {"unknown key limits.payload_byte"}},
        {"{\"limits\": 5}", {"limits", "whole number", "object"}},
        {"{\"limits\": {\"payload_bytes\": \"1M\"}}", {"limits.payload_bytes", "text", "16777216"}},
        {"{\"limits\": {\"payload_bytes\": 1.5}}", {"limits.payload_bytes", "fraction"}},
        {"{\"limits\": {\"payload_bytes\": 16777217}}",
         {"limits.payload_bytes", "16777217", "16777216"}},
        {"{\"limits\": {\"payload_bytes\": 1023}}", {"limits.payload_bytes", "1023", "1024"}},
        {"{\"limits\": {\"connections\": -1}}", {"limits.connections", "-1", "10000"}},
        {"{\"limits\": {\"connections\": 99999999999999999999}}", {"line 1", "integer"}},
        {"{\"limits\": {\"dedup_keys\": 15}}", {"limits.dedup_keys", "15", "16"}},
        {"{\"limits\": {\"records\": 15}}", {"limits.records", "15", "16"}},
        {"{\"retry\": {\"factor\": 11}}", {"retry.factor", "11", "1 to 10"}},
        {"{\"retry\": {\"base_ms\": 50, \"cap_ms\": 40}}", {"retry.cap_ms", "40", "50"}},
        {"{\"retry\": {\"base_ms\": 5000}}", {"retry.cap_ms", "1600", "5000"}},
        {"{\"kinds\": []}", {"kinds", "array", "object"}},
        {"{\"kinds\": {\"no spaces\": {}}}", {"kinds", "no spaces"}},
        {"{\"kinds\": {\"k\": 1}}", {"kinds.k", "whole number", "object"}},
        {"{\"kinds\": {\"k\": {\"max\": 101}}}", {"kinds.k.max", "101", "0 to 100"}},
        {"{\"kinds\": {\"k\": {\"speed\": 1}}}", {"kinds.k.speed"}},
        {"{\"allowed_uids\": [1, \"root\"]}", {"allowed_uids[1]", "text"}},
        {"{\"allowed_uids\": [4294967295]}", {"allowed_uids[0]", "4294967295"}},
        {"{\"allowed_uids\": 7}", {"allowed_uids", "array"}},
        {"{\"name\": \"A\"}", {"name", "\"A\"", "a-z"}},
        {"{\"name\": \"a/b\"}", {"name", "a/b"}},
        {"{\"name\": \"\"}", {"name", "0 bytes"}},
        {"{\"name\": 3}", {"name", "text"}},
        {"{\"data\": \"a\\nb\"}", {"data", "control"}},
        {"{\"data\": \"a\\u0000b\"}", {"line 1"}},
        {"{\"listen\": []}", {"listen", "unix:"}},
        {"{\"listen\": \"unix:/a\"}", {"listen", "array"}},
        {"{\"listen\": [1]}", {"listen", "text"}},
        {"{\"log_level\": \"loud\"}", {"log_level", "loud", "debug"}},
        {"{\"journal\": {\"segment_bytes\": 1048577}}", {"journal.segment_bytes", "4096"}},
        {"{\"journal\": {\"segment_bytes\": 1048576, \"first_segment_bytes\": 2097152}}",
         {"first_segment_bytes", "2097152", "1048576"}},
    };
    struct al_config config;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (parse(&config, cases[i].text) != -AL_E_INVALID)
            fail_msg("accepted: %s", cases[i].text);
        for (size_t j = 0; j < 3 && cases[i].names[j]; j++)
            if (!strstr(why, cases[i].names[j]))
                fail_msg("%s: \"%s\" does not say \"%s\"", cases[i].text, why, cases[i].names[j]);
        al_config_deinit(&config);
    }
}

static void too_much_is_refused(void **state)
{
    struct al_config config;
    size_t size = AL_CONFIG_BYTES_MAX + 1;
    char *text = malloc(size);

    (void)state;
    memset(text, ' ', size);
    memcpy(text, "{}", 2);
    al_config_init(&config);
    assert_int_equal(al_config_parse(&config, text, size, why, sizeof why), -AL_E_TOO_LARGE);
    al_config_deinit(&config);
    al_config_init(&config);
    assert_int_equal(al_config_parse(&config, text, size - 1, why, sizeof why), 0);
    al_config_deinit(&config);
    /* Deep nesting is refused, not followed. */
    memset(text, '[', size);
    al_config_init(&config);
    assert_int_equal(al_config_parse(&config, text, size - 1, why, sizeof why), -AL_E_INVALID);
    al_config_deinit(&config);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_can_be_said),
        cmocka_unit_test(empty_is_default),
        cmocka_unit_test(the_least_of_everything_makes_a_node),
        cmocka_unit_test(mistakes_are_named),
        cmocka_unit_test(too_much_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
