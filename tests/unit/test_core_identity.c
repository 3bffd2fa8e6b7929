/* test_core_identity.c - who comes from beyond this machine: tokens, certificates, revocation. */
#include "core_driver.h"
#include "crypto/hash.h"
#include "support.h"

#define WORKER "spiffe://net/default/agent/worker"

static void configure(struct al_node_config *config)
{
    config->network = al_str_c("net");
    config->addresses = al_str_c("127.0.0.1:7443");
}

static void begin(struct driver *d)
{
    driver_init(d, configure);
    driver_open(d, 0, 1000, 1);
}

static void end(struct driver *d)
{
    driver_check_replay(d);
    driver_snapshot_begin(d);
    while (driver_snapshot_step(d, 64))
        ;
    driver_check_snapshot(d);
    driver_deinit(d);
}

static struct al_str token_of(uint8_t what, uint8_t room[32])
{
    memset(room, what, 32);
    return al_str_of(room, 32);
}

static void make(struct driver *d, uint32_t conn, const char *agent, uint8_t what,
                 const char *expected)
{
    uint8_t token[32], digest[32];
    struct al_str text = token_of(what, token);
    struct al_msg_identity_new m = {.request = 1, .agent = al_str_c(agent)};

    al_digest256(&text, 1, digest);
    m.token = al_str_of(digest, 32);
    assert_int_equal(al_put_identity_new(&d->in, &m), 0);
    driver_send(d, conn);
    driver_expect(d, expected);
}

static void join(struct driver *d, uint32_t conn, uint8_t what, const char *expected)
{
    uint8_t token[32], key[32];
    struct al_msg_join m = {.request = 2,
                            .token = token_of(what, token),
                            .key = token_of(77, key),
                            .csr = al_str_c("csr")};

    assert_int_equal(al_put_join(&d->in, &m), 0);
    driver_send(d, conn);
    driver_expect(d, expected);
}

/* The worker has joined over connection 1, which is closed; returns its serial. */
static uint64_t enroll(struct driver *d, uint8_t what)
{
    make(d, 0, "worker", what,
         "0: IDENTITY_READY " WORKER " for 3600000 ms, at '127.0.0.1:7443'\n");
    driver_link(d, 1, NULL, 0);
    driver_forget(d);
    join(d, 1, what, "1: issue " WORKER " 'csr'\n");
    driver_issued(d, 1, d->serial, 0);
    driver_expect(d, "1: CERTIFICATE issued " WORKER " 'cert' of 'root'\n");
    driver_close(d, 1);
    return d->serial;
}

static void revoke(struct driver *d, uint32_t conn, const char *agent, uint8_t flags,
                   const char *expected)
{
    struct al_msg_identity_revoke m = {.request = 3, .flags = flags, .agent = al_str_c(agent)};

    assert_int_equal(al_put_identity_revoke(&d->in, &m), 0);
    driver_send(d, conn);
    driver_expect(d, expected);
}

static void list(struct driver *d, const char *expected)
{
    struct al_msg_identity_list m = {.request = 4};

    assert_int_equal(al_put_identity_list(&d->in, &m), 0);
    driver_send(d, 0);
    driver_expect(d, expected);
}

static void a_token_is_used_once(void **state)
{
    struct driver d;

    (void)state;
    begin(&d);
    enroll(&d, 1);
    list(&d, "0: IDENTITY 1 of 1000 worker state 2, no token, 0 links, key 77\n0: DONE OK 1\n");
    driver_link(&d, 1, NULL, 0);
    driver_forget(&d);
    join(&d, 1, 1, "1: ERROR BAD_TOKEN about JOIN\n");
    join(&d, 1, 2, "1: ERROR BAD_TOKEN about JOIN\n");
    end(&d);
}

static void a_token_ends(void **state)
{
    struct driver d;

    (void)state;
    begin(&d);
    make(&d, 0, "worker", 1, "0: IDENTITY_READY " WORKER " for 3600000 ms, at '127.0.0.1:7443'\n");
    d.now.wall_ms += 3600000;
    driver_link(&d, 1, NULL, 0);
    driver_forget(&d);
    join(&d, 1, 1, "1: ERROR BAD_TOKEN about JOIN\n");
    end(&d);
}

static void a_link_without_certificate_may_only_join(void **state)
{
    struct driver d;
    struct al_msg_ping ping = {.token = 1};

    (void)state;
    begin(&d);
    driver_link(&d, 1, NULL, 0);
    driver_forget(&d);
    assert_int_equal(al_put_ping(&d.in, &ping), 0);
    driver_send(&d, 1);
    driver_expect(&d, "1: ERROR DENIED about PING fatal\n1: closed\n");
    end(&d);
}

static void a_certificate_is_for_one_agent(void **state)
{
    struct driver d;
    struct al_msg_attach attach = {.request = 1, .agent = al_str_c("other"), .credit = 1};
    uint64_t serial;

    (void)state;
    begin(&d);
    serial = enroll(&d, 1);
    driver_link(&d, 2, WORKER, serial);
    driver_forget(&d);
    assert_int_equal(al_put_attach(&d.in, &attach), 0);
    driver_send(&d, 2);
    driver_expect(&d, "2: ERROR NOT_OWNER about ATTACH\n");
    driver_attach(&d, 2, "worker", 10);
    driver_channel(&d, 0, "boss", "worker");
    driver_forget(&d);
    driver_publish(&d, 0, 1, 1);
    driver_expect(&d, "2: DELIVER 1:1 after 0 attempt 1 'm1'\n"
                      "0: RECEIPT 1 x1 -> 1:1\n");
    end(&d);
}

static void revoking_ends_links_and_certificates(void **state)
{
    struct driver d;
    uint64_t first, second;

    (void)state;
    begin(&d);
    first = enroll(&d, 1);
    driver_link(&d, 2, WORKER, first);
    driver_forget(&d);
    revoke(&d, 0, "worker", 0, "2: ERROR REVOKED about ? fatal\n2: closed\n0: DONE OK 1\n");
    driver_close(&d, 2);
    driver_link(&d, 2, WORKER, first);
    driver_expect(&d, "2: ERROR REVOKED about ? fatal\n2: closed\n");
    driver_close(&d, 2);
    driver_restart(&d, false);
    driver_open(&d, 0, 1000, 1);
    driver_link(&d, 2, WORKER, first);
    driver_expect(&d, "2: ERROR REVOKED about ? fatal\n2: closed\n");
    driver_close(&d, 2);
    second = enroll(&d, 2); /* back with a new token; the old certificate stays void */
    driver_link(&d, 2, WORKER, first);
    driver_expect(&d, "2: ERROR REVOKED about ? fatal\n2: closed\n");
    driver_close(&d, 2);
    driver_link(&d, 3, WORKER, second);
    driver_expect(&d, "3: WELCOME\n");
    revoke(&d, 0, "worker", 1, "3: ERROR REVOKED about ? fatal\n3: closed\n0: DONE OK 1\n");
    list(&d, "0: DONE OK 0\n");
    end(&d);
}

static void nobody_else_makes_or_revokes(void **state)
{
    struct driver d;

    (void)state;
    begin(&d);
    enroll(&d, 1);
    driver_open(&d, 4, 2000, 4);
    make(&d, 4, "worker", 9, "4: ERROR NOT_OWNER about IDENTITY_NEW\n");
    revoke(&d, 4, "worker", 0, "4: DONE NOT_OWNER 0\n");
    driver_link(&d, 2, WORKER, d.serial);
    driver_forget(&d);
    make(&d, 2, "worker2", 9, "2: ERROR DENIED about IDENTITY_NEW\n");
    end(&d);
}

static void renewal_keeps_the_link_and_the_old_certificate(void **state)
{
    struct driver d;
    struct al_msg_cert_renew m = {.request = 5, .csr = al_str_c("more")};
    uint64_t first;

    (void)state;
    begin(&d);
    first = enroll(&d, 1);
    driver_link(&d, 2, WORKER, first);
    driver_forget(&d);
    assert_int_equal(al_put_cert_renew(&d.in, &m), 0);
    driver_send(&d, 2);
    driver_expect(&d, "2: issue " WORKER " 'more'\n");
    assert_true(d.serial > first);
    driver_issued(&d, 2, d.serial, 0);
    driver_expect(&d, "2: CERTIFICATE issued " WORKER " 'cert' of 'root'\n");
    driver_link(&d, 3, WORKER, first);
    driver_link(&d, 4, WORKER, d.serial);
    driver_expect(&d, "3: WELCOME\n4: WELCOME\n");
    driver_link(&d, 5, WORKER, d.serial + 1); /* nobody has issued that */
    driver_expect(&d, "5: ERROR REVOKED about ? fatal\n5: closed\n");
    end(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_is_used_once),
        cmocka_unit_test(a_token_ends),
        cmocka_unit_test(a_link_without_certificate_may_only_join),
        cmocka_unit_test(a_certificate_is_for_one_agent),
        cmocka_unit_test(revoking_ends_links_and_certificates),
        cmocka_unit_test(nobody_else_makes_or_revokes),
        cmocka_unit_test(renewal_keeps_the_link_and_the_old_certificate),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
