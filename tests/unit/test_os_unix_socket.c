/* test_os_unix_socket.c - listening never steals, and takes over what is dead. */
#include "base/errors.h"
#include "os/unix_socket.h"
#include "support.h"
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static char home[64], path[96], why[256];

static int set_up(void **state)
{
    (void)state;
    snprintf(home, sizeof home, "/tmp/al-test-XXXXXX");
    if (!mkdtemp(home))
        return -1;
    snprintf(path, sizeof path, "%s/s", home);
    why[0] = 0;
    return 0;
}

static int tear_down(void **state)
{
    char lock[128];

    (void)state;
    snprintf(lock, sizeof lock, "%s.lock", path);
    unlink(path);
    unlink(lock);
    return rmdir(home);
}

static struct al_listener open_listener(void)
{
    struct al_listener listener;

    assert_int_equal(al_listener_bind(&listener, path, why, sizeof why), 0);
    assert_int_equal(al_listener_start(&listener, why, sizeof why), 0);
    return listener;
}

static void connects_and_knows_the_peer(void **state)
{
    struct al_listener listener = open_listener();
    int client, server;
    uint32_t uid;
    char text[8];
    struct stat st;

    (void)state;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0666);
    assert_int_equal(al_socket_accept(listener.fd, &server), -AL_E_BUSY);
    assert_int_equal(al_socket_connect_unix(path, &client), 0);
    assert_int_equal(al_socket_accept(listener.fd, &server), 0);
    assert_int_equal(al_socket_peer(server, &uid), 0);
    assert_int_equal(uid, geteuid());
    assert_int_equal(al_socket_read(server, text, sizeof text), -AL_E_BUSY);
    assert_int_equal(al_socket_write(client, "abc", 3), 3);
    assert_int_equal(al_socket_read(server, text, sizeof text), 3);
    close(client);
    assert_int_equal(al_socket_read(server, text, sizeof text), 0);
    assert_int_equal(al_socket_write(server, "x", 1), -AL_E_CLOSED); /* and no SIGPIPE */
    close(server);
    al_listener_close(&listener);
    assert_int_equal(access(path, F_OK), -1);
}

static void full_socket_says_busy(void **state)
{
    static char block[65536];
    int fds[2];
    int64_t put = 0, n;

    (void)state;
    assert_int_equal(al_socket_pair(fds), 0);
    while ((n = al_socket_write(fds[0], block, sizeof block)) > 0)
        put += n;
    assert_int_equal(n, -AL_E_BUSY);
    assert_true(put > 0);
    close(fds[0]);
    close(fds[1]);
}

static void second_listener_is_refused(void **state)
{
    struct al_listener first = open_listener(), second;
    int client;

    (void)state;
    assert_int_equal(al_listener_bind(&second, path, why, sizeof why), -AL_E_LOCKED);
    assert_non_null(strstr(why, path));
    assert_int_equal(al_socket_connect_unix(path, &client), 0); /* the first goes on */
    close(client);
    al_listener_close(&first);
    first = open_listener(); /* and the path is free afterwards */
    al_listener_close(&first);
}

/* Bound and not yet listening: connecting is refused, which must not look dead. */
static void bound_listener_is_not_stolen(void **state)
{
    struct al_listener first, second;

    (void)state;
    assert_int_equal(al_listener_bind(&first, path, why, sizeof why), 0);
    assert_int_equal(al_listener_bind(&second, path, why, sizeof why), -AL_E_LOCKED);
    assert_int_equal(access(path, F_OK), 0);
    al_listener_close(&first);
}

/* A living socket of a program that knows nothing of our lock file. */
static void foreign_socket_is_not_stolen(void **state)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct al_listener listener;
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    (void)state;
    memcpy(address.sun_path, path, strlen(path) + 1);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(al_listener_bind(&listener, path, why, sizeof why), -AL_E_LOCKED);
    assert_int_equal(access(path, F_OK), 0);
    close(fd);
    /* Now it is dead. */
    assert_int_equal(al_listener_bind(&listener, path, why, sizeof why), 0);
    al_listener_close(&listener);
}

static void socket_of_a_killed_process_is_replaced(void **state)
{
    struct al_listener listener;
    pid_t child = fork();
    int status;

    (void)state;
    if (child == 0) {
        if (al_listener_bind(&listener, path, why, sizeof why) == 0 &&
            al_listener_start(&listener, why, sizeof why) == 0)
            kill(getpid(), SIGKILL);
        _exit(1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(access(path, F_OK), 0);
    listener = open_listener();
    al_listener_close(&listener);
}

static void other_files_are_kept(void **state)
{
    struct al_listener listener;
    int fd = open(path, O_CREAT | O_WRONLY, 0600);

    (void)state;
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(al_listener_bind(&listener, path, why, sizeof why), -AL_E_EXISTS);
    assert_non_null(strstr(why, "not a socket"));
    assert_int_equal(access(path, F_OK), 0);
    al_listener_close(&listener); /* harmless */
    assert_int_equal(access(path, F_OK), 0);
}

static void bad_paths(void **state)
{
    struct al_listener listener;
    char text[300];

    (void)state;
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    assert_int_equal(al_listener_bind(&listener, text, why, sizeof why), -AL_E_TOO_LARGE);
    assert_non_null(strstr(why, "299"));
    assert_int_equal(al_listener_bind(&listener, "", why, sizeof why), -AL_E_TOO_LARGE);
    snprintf(text, sizeof text, "%s/none/s", home);
    assert_int_equal(al_listener_bind(&listener, text, why, sizeof why), -AL_E_IO);
    assert_non_null(strstr(why, "No such file"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(connects_and_knows_the_peer, set_up, tear_down),
        cmocka_unit_test(full_socket_says_busy),
        cmocka_unit_test_setup_teardown(second_listener_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bound_listener_is_not_stolen, set_up, tear_down),
        cmocka_unit_test_setup_teardown(foreign_socket_is_not_stolen, set_up, tear_down),
        cmocka_unit_test_setup_teardown(socket_of_a_killed_process_is_replaced, set_up, tear_down),
        cmocka_unit_test_setup_teardown(other_files_are_kept, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bad_paths, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
