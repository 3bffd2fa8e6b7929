/* fuzz_config.c - the configuration file on hostile text.
 *
 * What is accepted must be within the limits that the file promises to check; what is refused must
 * come with a text. */
#include "base/limits.h"
#include "fuzz.h"
#include "node/config.h"
#include <assert.h>
#include <string.h>

static void check_policy(const struct al_policy *policy)
{
    assert(policy->ack_timeout_ms >= 1 && policy->ack_timeout_ms <= AL_LEASE_MAX_MS);
    assert(policy->retry_base_ms <= policy->retry_cap_ms);
    assert(policy->retry_cap_ms <= AL_RETRY_CAP_MAX_MS);
    assert(policy->retry_factor >= 1 && policy->retry_factor <= 10);
    assert(policy->retry_max <= AL_RETRY_COUNT_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct al_config config;
    struct al_runner_config runner;
    char why[512] = "";

    memset(&runner, 0, sizeof runner);
    al_config_init(&config);
    if (al_config_parse(&config, (const char *)data, size, why, sizeof why)) {
        assert(why[0] && strlen(why) < sizeof why);
    } else {
        al_config_apply(&config, &runner);
        assert(runner.node.payload_max >= 1024 && runner.node.payload_max <= AL_PAYLOAD_MAX);
        assert(runner.connections_max >= 1 && runner.connections_max <= AL_CONNECTIONS_MAX);
        check_policy(&runner.node.policy);
        for (uint32_t i = 0; i < runner.node.kind_count; i++)
            check_policy(&runner.node.kinds[i].policy);
        assert(runner.store.segment_bytes % AL_DISK_BLOCK == 0);
    }
    al_config_deinit(&config);
    return 0;
}
