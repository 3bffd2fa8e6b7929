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
    else if (why->reason != reason || why->by_peer != by_peer)
        fail_msg("%s expected, not %s: %s", al_tls_reason_token(reason),
                 al_tls_reason_token(why->reason), why->text);
    assert_true(al_tls_state(stream->tls) < 0);
    assert_true(why && strlen(why->text) > 10);
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

/* ---- clocks -----------------------------------------------------------------------------------
 */

static void clock_jumps_refuse_new_links_and_keep_old_ones(void **state)
{
    static const struct {
        int64_t jump_ms;
        enum al_tls_reason reason;
    } rows[] = {
        {-24 * HOUR, AL_TLS_NOT_YET_VALID},
        {-(int64_t)AL_PKI_SKEW_MS - 1000, AL_TLS_NOT_YET_VALID},
        {-(int64_t)AL_PKI_SKEW_MS, AL_TLS_NONE},
        {24 * HOUR - 1000, AL_TLS_NONE},
        {24 * HOUR + 1000, AL_TLS_EXPIRED},
    };
    struct world_link old = world_link_new(server_context(), client_context());
    char text[4];

    (void)state;
    world_link_open(&old);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct world_link link = world_link_new(server_context(), client_context());

        world_wall_ms = WORLD_START_MS + (uint64_t)rows[i].jump_ms;
        world_link_run(&link);
        if (rows[i].reason == AL_TLS_NONE)
            assert_int_equal(al_tls_state(link.server.tls), 1);
        else
            assert_failed(&link.client, rows[i].reason, false); /* it sees the other one's first */
        world_link_close(&link);
        assert_int_equal(al_stream_write(&old.client, "abc", 3), 3);
        assert_int_equal(al_stream_read(&old.server, text, sizeof text), 3);
    }
    world_link_close(&old);
}

/* ---- new certificates -------------------------------------------------------------------------
 */

static struct al_tls_context *bundled(enum al_tls_side side, const struct world_party *party,
                                      const struct world_ca *first, const struct world_ca *second)
{
    struct al_tls_config config = world_config(party, NULL);
    struct al_tls_context *context = NULL;
    struct al_pki_cert *bundle;
    struct al_buf der;
    struct al_test_alloc memory;

    al_test_alloc_init(&memory);
    al_buf_init(&der, &memory.alloc);
    assert_int_equal(al_pki_cert_der(first->cert, 0, &der), 0);
    assert_int_equal(al_pki_cert_parse(al_str_of(der.data, der.size), &bundle), 0);
    al_buf_deinit(&der);
    assert_int_equal(al_pki_cert_append(bundle, second->cert), 0);
    assert_int_equal(al_pki_cert_count(bundle), 2);
    config.authorities = bundle;
    assert_int_equal(al_tls_context_new(&config, side, &context, NULL, 0), 0);
    al_pki_cert_free(bundle);
    return context;
}

static void new_leaf_is_for_new_links(void **state)
{
    struct world_link old = world_link_new(server_context(), client_context()), link;
    struct world_party next;
    uint64_t serial;
    char text[4];

    (void)state;
    world_link_open(&old);
    serial = al_tls_peer(old.client.tls)->cert.serial;
    next = world_party_new(&ca, NODE);
    link = world_link_new(world_context(AL_TLS_SERVER, &next, &ca), client_context());
    world_link_open(&link);
    assert_true(al_tls_peer(link.client.tls)->cert.serial > serial);
    assert_int_equal(al_tls_peer(old.client.tls)->cert.serial, serial);
    world_link_close(&link);
    world_party_free(&next);
    assert_int_equal(al_stream_write(&old.server, "abc", 3), 3); /* its context is long gone */
    assert_int_equal(al_stream_read(&old.client, text, sizeof text), 3);
    world_link_close(&old);
}

static void two_authorities_while_one_takes_over(void **state)
{
    struct world_party new_node = world_party_new(&other_ca, NODE);
    struct world_party new_agent = world_party_new(&other_ca, AGENT);
    struct world_link link;

    (void)state;
    /* Both trust both: old and new leaves go together. */
    link = world_link_new(bundled(AL_TLS_SERVER, &new_node, &ca, &other_ca),
                          bundled(AL_TLS_CLIENT, &agent, &ca, &other_ca));
    world_link_open(&link);
    world_link_close(&link);
    link = world_link_new(bundled(AL_TLS_SERVER, &node, &ca, &other_ca),
                          bundled(AL_TLS_CLIENT, &new_agent, &other_ca, &ca));
    world_link_open(&link);
    world_link_close(&link);
    /* One that was not told of the new authority. */
    link = world_link_new(bundled(AL_TLS_SERVER, &new_node, &ca, &other_ca), client_context());
    world_link_run(&link);
    assert_failed(&link.client, AL_TLS_UNKNOWN_CA, false);
    assert_failed(&link.server, AL_TLS_UNKNOWN_CA, true);
    world_link_close(&link);
    /* One that the other end was told of, but not the reverse. */
    link = world_link_new(server_context(), bundled(AL_TLS_CLIENT, &new_agent, &ca, &other_ca));
    world_link_run(&link);
    assert_failed(&link.server, AL_TLS_UNKNOWN_CA, false);
    assert_failed(&link.client, AL_TLS_UNKNOWN_CA, true);
    world_link_close(&link);
    world_party_free(&new_node);
    world_party_free(&new_agent);
}

/* An authority below the trusted one: its certificate comes with the leaf, or the leaf is unknown.
 */
static void authorities_in_between(void **state)
{
    struct world_party between =
        world_odd_new(&ca, &(struct world_odd){.basic = "critical,CA:TRUE"});
    struct world_ca lower = {between.key, between.chain};
    struct world_party leaf = world_party_new(&lower, NODE);
    struct world_link link;

    (void)state;
    link = world_link_new(world_context(AL_TLS_SERVER, &leaf, &ca), client_context());
    world_link_run(&link);
    assert_failed(&link.client, AL_TLS_UNKNOWN_CA, false);
    world_link_close(&link);
    assert_int_equal(al_pki_cert_append(leaf.chain, between.chain), 0);
    /* The built-in authority allows none below it. */
    link = world_link_new(world_context(AL_TLS_SERVER, &leaf, &ca), client_context());
    world_link_run(&link);
    assert_failed(&link.client, AL_TLS_BAD_CERTIFICATE, false);
    world_link_close(&link);
    /* But who trusts the lower one itself takes its leaves. */
    link = world_link_new(world_context(AL_TLS_SERVER, &leaf, &ca),
                          world_context(AL_TLS_CLIENT, &agent, &lower));
    world_link_run(&link);
    assert_int_equal(al_tls_state(link.client.tls), 1);
    world_link_close(&link);
    world_party_free(&leaf);
    world_party_free(&between);
}

/* ---- joining ----------------------------------------------------------------------------------
 */

static struct al_tls_context *join_server(bool allows)
{
    struct al_tls_config config = world_config(&node, &ca);
    struct al_tls_context *context = NULL;

    config.allows_join = allows;
    assert_int_equal(al_tls_context_new(&config, AL_TLS_SERVER, &context, NULL, 0), 0);
    return context;
}

static struct al_tls_context *joiner(const struct al_pki_cert *authority, const char *network)
{
    struct al_tls_config config = world_config(NULL, NULL);
    struct al_tls_context *context = NULL;
    struct al_pki_info info;

    assert_int_equal(al_pki_cert_info(authority, 0, &info), 0);
    config.fingerprint = info.fingerprint;
    config.network = al_str_c(network);
    assert_int_equal(al_tls_context_new(&config, AL_TLS_JOINER, &context, NULL, 0), 0);
    return context;
}

static void joiner_needs_no_certificate(void **state)
{
    struct world_link link = world_link_new(join_server(true), joiner(ca.cert, NULL));
    struct al_pki_cert *authority;
    struct al_pki_info wanted, got;
    char text[4];

    (void)state;
    assert_int_equal(al_tls_peer_authority(link.client.tls, &authority), -AL_E_NOT_FOUND);
    world_link_open(&link);
    assert_true(al_tls_peer(link.server.tls)->is_join);
    assert_string_equal(al_tls_peer(link.server.tls)->cert.identity, "");
    assert_true(al_tls_peer(link.client.tls)->is_join);
    assert_string_equal(al_tls_peer(link.client.tls)->cert.identity, NODE);
    assert_int_equal(al_tls_peer_authority(link.server.tls, &authority), -AL_E_NOT_FOUND);
    assert_int_equal(al_tls_peer_authority(link.client.tls, &authority), 0);
    assert_int_equal(al_pki_cert_info(authority, 0, &got), 0);
    assert_int_equal(al_pki_cert_info(ca.cert, 0, &wanted), 0);
    assert_memory_equal(got.fingerprint, wanted.fingerprint, 32);
    al_pki_cert_free(authority);
    assert_int_equal(al_stream_write(&link.client, "abc", 3), 3);
    assert_int_equal(al_stream_read(&link.server, text, sizeof text), 3);
    world_link_close(&link);
    /* The same server lets nobody else in without one. */
    link = world_link_new(join_server(true), client_context());
    world_link_open(&link);
    assert_false(al_tls_peer(link.server.tls)->is_join);
    assert_string_equal(al_tls_peer(link.server.tls)->cert.identity, AGENT);
    world_link_close(&link);
}

static void joiner_is_not_fooled(void **state)
{
    struct world_party odd;
    struct world_link link;

    (void)state;
    link = world_link_new(join_server(true), joiner(other_ca.cert, NULL));
    world_link_run(&link);
    assert_failed(&link.client, AL_TLS_UNKNOWN_CA, false);
    assert_failed(&link.server, AL_TLS_UNKNOWN_CA, true);
    world_link_close(&link);
    link = world_link_new(join_server(true), joiner(node.chain, NULL)); /* a leaf is no authority */
    world_link_run(&link);
    assert_failed(&link.client, AL_TLS_UNKNOWN_CA, false);
    world_link_close(&link);
    link = world_link_new(join_server(true), joiner(ca.cert, "net.other"));
    world_link_run(&link);
    assert_failed(&link.client, AL_TLS_WRONG_NETWORK, false);
    world_link_close(&link);
    link = world_link_new(join_server(false), joiner(ca.cert, NULL));
    world_link_run(&link);
    assert_failed(&link.server, AL_TLS_NO_PROTOCOL, false);
    assert_failed(&link.client, AL_TLS_NO_PROTOCOL, true);
    world_link_close(&link);
    /* Somebody shows the right authority beside a leaf that it has not signed. */
    odd = world_odd_new(&other_ca, &(struct world_odd){"URI:" NODE, BOTH});
    assert_int_equal(al_pki_cert_append(odd.chain, ca.cert), 0);
    {
        struct al_tls_config config = world_config(&odd, &ca);
        struct al_tls_context *context = NULL;

        config.allows_join = true;
        assert_int_equal(al_tls_context_new(&config, AL_TLS_SERVER, &context, NULL, 0), 0);
        link = world_link_new(context, joiner(ca.cert, NULL));
    }
    world_link_run(&link);
    assert_failed(&link.client, AL_TLS_UNKNOWN_CA, false);
    world_link_close(&link);
    world_party_free(&odd);
    world_wall_ms += 25 * WORLD_HOUR_MS;
    link = world_link_new(join_server(true), joiner(ca.cert, NULL));
    world_link_run(&link);
    assert_failed(&link.client, AL_TLS_EXPIRED, false);
    world_link_close(&link);
}

/* ---- mistakes of one's own --------------------------------------------------------------------
 */

static void own_mistakes_are_found_at_once(void **state)
{
    struct world_party mixed = {agent.key, node.chain}, odd;
    struct world_ca leaf_as_ca = {node.key, node.chain};
    struct al_tls_config configs[8];
    static const enum al_tls_side sides[8] = {AL_TLS_SERVER, AL_TLS_SERVER, AL_TLS_CLIENT,
                                              AL_TLS_CLIENT, AL_TLS_JOINER, AL_TLS_CLIENT,
                                              AL_TLS_CLIENT, AL_TLS_SERVER};
    static const char *const words[8] = {
        "key",         "node's",   "network",    "not an authority",
        "fingerprint", "identity", "not a name", "needed"};

    (void)state;
    odd = world_odd_new(&ca, &(struct world_odd){"DNS:net.test", BOTH});
    configs[0] = world_config(&mixed, &ca);
    configs[1] = world_config(&agent, &ca);
    configs[2] = world_config(&agent, &ca);
    configs[2].network = al_str_c("net.other");
    configs[3] = world_config(&agent, &leaf_as_ca);
    configs[4] = world_config(NULL, NULL);
    configs[5] = world_config(&odd, &ca);
    configs[6] = world_config(&agent, &ca);
    configs[6].network = al_str_c("Net/");
    configs[7] = world_config(&node, NULL);
    for (int i = 0; i < 8; i++) {
        struct al_tls_context *context = NULL;
        char why[256] = "";

        assert_int_equal(al_tls_context_new(&configs[i], sides[i], &context, why, sizeof why),
                         -AL_E_INVALID);
        assert_null(context);
        if (!strstr(why, words[i]))
            fail_msg("%d: %s", i, why);
    }
    world_party_free(&odd);
}

static void tokens_are_stable(void **state)
{
    (void)state;
    assert_string_equal(al_tls_reason_token(AL_TLS_NONE), "none");
    assert_string_equal(al_tls_reason_token(AL_TLS_UNKNOWN_CA), "unknown_ca");
    assert_string_equal(al_tls_reason_token(AL_TLS_INTERNAL), "internal");
    assert_string_equal(al_tls_reason_token((enum al_tls_reason)99), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(both_know_each_other, reset_clock),
        cmocka_unit_test_setup(each_mistake_has_its_name_at_both_ends, reset_clock),
        cmocka_unit_test_setup(purpose_belongs_to_an_end, reset_clock),
        cmocka_unit_test_setup(agent_is_no_node, reset_clock),
        cmocka_unit_test_setup(clock_jumps_refuse_new_links_and_keep_old_ones, reset_clock),
        cmocka_unit_test_setup(new_leaf_is_for_new_links, reset_clock),
        cmocka_unit_test_setup(two_authorities_while_one_takes_over, reset_clock),
        cmocka_unit_test_setup(authorities_in_between, reset_clock),
        cmocka_unit_test_setup(joiner_needs_no_certificate, reset_clock),
        cmocka_unit_test_setup(joiner_is_not_fooled, reset_clock),
        cmocka_unit_test_setup(own_mistakes_are_found_at_once, reset_clock),
        cmocka_unit_test(tokens_are_stable),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
