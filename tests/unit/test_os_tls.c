/* test_os_tls.c - who is let in, who is not and what both sides are told. */
#include "base/errors.h"
#include "tls_world.h"
#include <stdio.h>
#include <string.h>

#define NODE  "spiffe://net.test/default/node/n1"
#define AGENT "spiffe://net.test/team/agent/worker"

static struct world_ca ca, other_ca;
static struct world_party node, agent;

static int set_up(void **state)
{
    (void)state;
    world_wall_ms = WORLD_START_MS;
    ca = world_ca_new("net.test");
    other_ca = world_ca_new("net.test");
    node = world_party_new(&ca, NODE);
    agent = world_party_new(&ca, AGENT);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    world_ca_free(&ca);
    world_ca_free(&other_ca);
    world_party_free(&node);
    world_party_free(&agent);
    return 0;
}

static int reset_clock(void **state)
{
    (void)state;
    world_wall_ms = WORLD_START_MS;
    return 0;
}

static struct al_tls_context *server_context(void)
{
    return world_context(AL_TLS_SERVER, &node, &ca);
}

static struct al_tls_context *client_context(void)
{
    return world_context(AL_TLS_CLIENT, &agent, &ca);
}

static void assert_failed(const struct al_stream *stream, enum al_tls_reason reason, bool by_peer)
{
    const struct al_tls_failure *why = al_tls_why(stream->tls);

    if (!why)
        fail_msg("no failure, %s expected", al_tls_reason_token(reason));
    if (why->reason != reason || why->by_peer != by_peer)
        fail_msg("%s expected, not %s: %s", al_tls_reason_token(reason),
                 al_tls_reason_token(why->reason), why->text);
    assert_true(al_tls_state(stream->tls) < 0);
    assert_true(strlen(why->text) > 10);
}

static void both_know_each_other(void **state)
{
    struct world_link link = world_link_new(server_context(), client_context());
    const struct al_tls_peer *peer;
    struct al_pki_info info;
    char text[8];

    (void)state;
    assert_null(al_tls_peer(link.server.tls));
    assert_int_equal(al_tls_state(link.server.tls), 0);
    world_link_open(&link);
    peer = al_tls_peer(link.server.tls);
    assert_string_equal(peer->cert.identity, AGENT);
    assert_false(peer->is_join);
    assert_int_equal(al_pki_cert_info(agent.chain, 0, &info), 0);
    assert_int_equal(peer->cert.serial, info.serial);
    assert_int_equal(peer->cert.not_after_ms, world_wall_ms + 24 * WORLD_HOUR_MS);
    assert_int_equal(peer->cert.not_before_ms, world_wall_ms - AL_PKI_SKEW_MS);
    assert_memory_equal(peer->cert.fingerprint, info.fingerprint, 32);
    assert_string_equal(al_tls_peer(link.client.tls)->cert.identity, NODE);
    assert_null(al_tls_why(link.client.tls));
    assert_int_equal(al_stream_write(&link.client, "hello", 5), 5);
    assert_int_equal(al_stream_read(&link.server, text, sizeof text), 5);
    assert_memory_equal(text, "hello", 5);
    assert_int_equal(al_stream_read(&link.server, text, sizeof text), -AL_E_BUSY);
    world_link_close(&link);
}

/* ---- mistakes ---------------------------------------------------------------------------------
 */

#define HOUR ((int64_t)WORLD_HOUR_MS)
#define BOTH "clientAuth,serverAuth"

/* A leaf that is wrong in one point: who sees it, and what its holder is told. */
static const struct mistake {
    const char *title;
    bool of_other_ca;
    struct world_odd odd;
    enum al_tls_reason seen, told;
} mistakes[] = {
    {"unknown authority", true, {"URI:" NODE, BOTH}, AL_TLS_UNKNOWN_CA, AL_TLS_UNKNOWN_CA},
    {"self-signed",
     false,
     {"URI:" NODE, BOTH, .self_signed = true},
     AL_TLS_UNKNOWN_CA,
     AL_TLS_UNKNOWN_CA},
    {"expired",
     false,
     {"URI:" NODE, BOTH, .from_ms = -48 * HOUR, .to_ms = -1000},
     AL_TLS_EXPIRED,
     AL_TLS_EXPIRED},
    {"not yet valid",
     false,
     {"URI:" NODE, BOTH, .from_ms = 2000, .to_ms = 24 * HOUR},
     AL_TLS_NOT_YET_VALID,
     AL_TLS_NOT_YET_VALID},
    {"no name", false, {NULL, BOTH}, AL_TLS_WRONG_NAME, AL_TLS_WRONG_NAME},
    {"host name", false, {"DNS:net.test", BOTH}, AL_TLS_WRONG_NAME, AL_TLS_WRONG_NAME},
    {"two names", false, {"URI:" NODE ",URI:" NODE, BOTH}, AL_TLS_WRONG_NAME, AL_TLS_WRONG_NAME},
    {"another scheme",
     false,
     {"URI:https://net.test/", BOTH},
     AL_TLS_WRONG_NAME,
     AL_TLS_WRONG_NAME},
    {"upper case",
     false,
     {"URI:spiffe://net.test/default/node/N1", BOTH},
     AL_TLS_WRONG_NAME,
     AL_TLS_WRONG_NAME},
    {"another network",
     false,
     {"URI:spiffe://net.other/default/node/n1", BOTH},
     AL_TLS_WRONG_NETWORK,
     AL_TLS_WRONG_NAME},
    {"no purpose", false, {"URI:" NODE, NULL}, AL_TLS_WRONG_PURPOSE, AL_TLS_WRONG_PURPOSE},
    {"another purpose",
     false,
     {"URI:" NODE, "codeSigning"},
     AL_TLS_WRONG_PURPOSE,
     AL_TLS_WRONG_PURPOSE},
    {"an authority",
     false,
     {"URI:" NODE, BOTH, "critical,CA:TRUE"},
     AL_TLS_WRONG_PURPOSE,
     AL_TLS_WRONG_PURPOSE},
};

static void run_mistake(const struct mistake *mistake, const struct world_party *odd,
                        bool of_client)
{
    struct al_tls_context *server =
        of_client ? server_context() : world_context_odd(AL_TLS_SERVER, &node, &ca, odd);
    struct al_tls_context *client =
        of_client ? world_context_odd(AL_TLS_CLIENT, &agent, &ca, odd) : client_context();
    struct world_link link = world_link_new(server, client);
    const struct al_stream *judge = of_client ? &link.server : &link.client;
    struct al_stream *holder = of_client ? &link.client : &link.server;
    char byte;

    print_message("# %s, of the %s\n", mistake->title, of_client ? "client" : "server");
    world_link_run(&link);
    assert_failed(judge, mistake->seen, false);
    assert_null(al_tls_peer(judge->tls));
    assert_failed(holder, mistake->told, true);
    assert_int_equal(al_stream_read(holder, &byte, 1), -AL_E_DENIED);
    assert_int_equal(al_stream_write(holder, "x", 1), -AL_E_DENIED);
    world_link_close(&link);
}

static void each_mistake_has_its_name_at_both_ends(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof mistakes / sizeof mistakes[0]; i++) {
        struct world_party odd =
            world_odd_new(mistakes[i].of_other_ca ? &other_ca : &ca, &mistakes[i].odd);

        run_mistake(&mistakes[i], &odd, true);
        run_mistake(&mistakes[i], &odd, false);
        world_party_free(&odd);
    }
}

/* A leaf for one end does not do for the other. */
static void purpose_belongs_to_an_end(void **state)
{
    struct world_party odd = world_odd_new(&ca, &(struct world_odd){"URI:" NODE, "clientAuth"});
    struct world_link link =
        world_link_new(world_context_odd(AL_TLS_SERVER, &node, &ca, &odd), client_context());

    (void)state;
    world_link_run(&link);
    assert_failed(&link.client, AL_TLS_WRONG_PURPOSE, false);
    world_link_close(&link);
    link = world_link_new(server_context(), world_context_odd(AL_TLS_CLIENT, &agent, &ca, &odd));
    world_link_open(&link);
    world_link_close(&link);
    world_party_free(&odd);
}

static void agent_is_no_node(void **state)
{
    struct world_link link =
        world_link_new(world_context_odd(AL_TLS_SERVER, &node, &ca, &agent), client_context());

    (void)state;
    world_link_run(&link);
    assert_failed(&link.client, AL_TLS_WRONG_ROLE, false);
    assert_failed(&link.server, AL_TLS_WRONG_NAME, true);
    world_link_close(&link);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(both_know_each_other, reset_clock),
        cmocka_unit_test_setup(each_mistake_has_its_name_at_both_ends, reset_clock),
        cmocka_unit_test_setup(purpose_belongs_to_an_end, reset_clock),
        cmocka_unit_test_setup(agent_is_no_node, reset_clock),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
