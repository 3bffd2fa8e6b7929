/* test_os_tcp_socket.c - TCP addresses, listening and connecting, on loopback. */
#include "base/errors.h"
#include "os/tcp_socket.h"
#include "os/unix_socket.h"
#include "support.h"
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

static char why[256];

static void bad_addresses_are_named(void **state)
{
    static const char *const bad[] = {
        "",         "7443",  "host", "host:",     ":7443",   "host:x",  "host:70000", "host:123456",
        "::1:7443", "[::1]", "[]:1", "[::1:7443", "host:-1", "host: 1", "[::1]x:1",   "host:7443/"};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        int fd = -1;

        why[0] = 0;
        assert_int_equal(al_tcp_listen(bad[i], &fd, why, sizeof(why)), -AL_E_INVALID);
        assert_non_null(strstr(why, "address"));
        why[0] = 0;
        assert_int_equal(al_tcp_connect(bad[i], &fd, why, sizeof(why)), -AL_E_INVALID);
        assert_int_equal(fd, -1);
    }
}

static int wait_writable(int fd)
{
    struct pollfd poller = {.fd = fd, .events = POLLOUT};

    assert_int_equal(poll(&poller, 1, 20000), 1);
    return al_tcp_connect_error(fd);
}

static void who_connects_is_accepted(void **state)
{
    char address[AL_TCP_ADDRESS_MAX], text[3];
    struct pollfd poller = {.events = POLLIN};
    int listener, client, server;

    (void)state;
    assert_int_equal(al_tcp_listen("127.0.0.1:0", &listener, why, sizeof(why)), 0);
    assert_int_equal(al_tcp_address(listener, address), 0);
    assert_int_equal(strncmp(address, "127.0.0.1:", 10), 0);
    assert_string_not_equal(address, "127.0.0.1:0");
    assert_int_equal(al_tcp_connect(address, &client, why, sizeof(why)), 0);
    assert_int_equal(wait_writable(client), 0);
    poller.fd = listener;
    assert_int_equal(poll(&poller, 1, 20000), 1);
    assert_int_equal(al_socket_accept(listener, &server), 0);
    assert_int_equal(al_socket_write(client, "abc", 3), 3);
    poller.fd = server;
    assert_int_equal(poll(&poller, 1, 20000), 1);
    assert_int_equal(al_socket_read(server, text, 3), 3);
    close(client);
    close(server);
    close(listener);
}

static void an_address_in_use_is_named(void **state)
{
    char address[AL_TCP_ADDRESS_MAX];
    int first, second;

    (void)state;
    assert_int_equal(al_tcp_listen("127.0.0.1:0", &first, why, sizeof(why)), 0);
    assert_int_equal(al_tcp_address(first, address), 0);
    assert_int_equal(al_tcp_listen(address, &second, why, sizeof(why)), -AL_E_LOCKED);
    assert_non_null(strstr(why, address));
    close(first);
}

static void where_nobody_listens_connecting_fails(void **state)
{
    char address[AL_TCP_ADDRESS_MAX];
    int fd, r;

    (void)state;
    assert_int_equal(al_tcp_listen("127.0.0.1:0", &fd, why, sizeof(why)), 0);
    assert_int_equal(al_tcp_address(fd, address), 0);
    close(fd);
    r = al_tcp_connect(address, &fd, why, sizeof(why));
    if (r == 0) {
        assert_int_equal(wait_writable(fd), ECONNREFUSED);
        close(fd);
    } else {
        assert_int_equal(r, -AL_E_UNREACHABLE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_addresses_are_named),
        cmocka_unit_test(who_connects_is_accepted),
        cmocka_unit_test(an_address_in_use_is_named),
        cmocka_unit_test(where_nobody_listens_connecting_fails),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
