/* listen.c - where connections come from: listening sockets, and socket pairs of this process.
 *
 * Whoever is turned away is told why in a frame of the protocol; the descriptor is closed behind
 * it. When descriptors run out, the ports rest for a moment: an epoll that keeps saying "there is
 * one to accept" would otherwise take the whole processor. */
#include "base/errors.h"
#include "node/runner_internal.h"
#include "os/clock.h"
#include "os/tcp_socket.h"
#include "wire/messages.h"

#include <stdio.h>
#include <unistd.h>

/* Accepted in one go before others get their turn. */
#define ACCEPT_BURST 64

static void turn_away(struct al_runner *runner, int fd, int code, const char *detail)
{
    struct al_msg_error error = {.code = (uint16_t)code, .fatal = 1, .detail = al_str_c(detail)};
    struct al_log_fields fields;
    struct al_buf frame;

    al_buf_init(&frame, &runner->alloc);
    if (al_put_error(&frame, &error) == 0)
        (void)al_socket_write(fd, frame.data, frame.size);
    al_buf_deinit(&frame);
    close(fd);
    runner->turned_away++;
    if (al_clock_mono_ns() < runner->turned_away_log_ns)
        return; /* somebody who keeps knocking must not fill the log */
    runner->turned_away_log_ns = al_clock_mono_ns() + AL_NS_PER_SEC;
    al_log_fields_init(&fields);
    al_log_put_number(&fields, "count", runner->turned_away);
    al_log_put_text(&fields, "error", al_error_name(code));
    al_log_put_text(&fields, "detail", detail);
    ali_runner_log(runner, AL_LOG_WARNING, "connection_refused", &fields);
}

static bool is_allowed(const struct al_runner *runner, uint32_t uid)
{
    if (uid == runner->own_uid || uid == 0)
        return true;
    for (uint32_t i = 0; i < runner->allowed_uid_count; i++) {
        if (runner->allowed_uids[i] == uid)
            return true;
    }
    return false;
}

static void welcome(struct al_runner *runner, int fd)
{
    char detail[128];
    uint32_t uid;

    if (al_socket_peer(fd, &uid)) {
        close(fd);
        return;
    }
    if (uid >= AL_UID_REMOTE) { /* those numbers are the identities' */
        snprintf(detail, sizeof detail,
                 "user %u: users from %u on cannot connect; use one with a smaller number", uid,
                 AL_UID_REMOTE);
        turn_away(runner, fd, AL_E_DENIED, detail);
        return;
    }
    if (!is_allowed(runner, uid)) {
        snprintf(detail, sizeof detail,
                 "user %u is not admitted to this node; add it to allowed_uids", uid);
        turn_away(runner, fd, AL_E_DENIED, detail);
        return;
    }
    if (runner->conn_count >= runner->conns_max) {
        snprintf(detail, sizeof detail, "the node has its %u connections; close some",
                 runner->conns_max);
        turn_away(runner, fd, AL_E_LIMIT, detail);
        return;
    }
    ali_peer_open(runner, fd, uid);
}

static void pause_ports(struct al_runner *runner)
{
    uint64_t now_ns = al_clock_mono_ns();

    if (now_ns >= runner->accept_log_ns) { /* it may last, and is looked at ten times a second */
        ali_runner_log(runner, AL_LOG_WARNING, "out_of_descriptors", NULL);
        runner->accept_log_ns = now_ns + ALI_ACCEPT_LOG_NS;
    }
    for (uint32_t i = 0; i < runner->port_count; i++)
        al_loop_set(&runner->loop, &runner->ports[i].watch, 0);
    runner->accept_retry_ns = now_ns + ALI_ACCEPT_PAUSE_NS;
}

void ali_ports_resume(struct al_runner *runner)
{
    runner->accept_retry_ns = 0;
    for (uint32_t i = 0; i < runner->port_count; i++)
        al_loop_set(&runner->loop, &runner->ports[i].watch, AL_LOOP_READ);
}

static void port_ready(struct al_watch *watch, unsigned ready)
{
    struct ali_port *port = (struct ali_port *)watch;

    (void)ready;
    for (int i = 0; i < ACCEPT_BURST; i++) {
        bool is_tcp = port->tcp_fd >= 0;
        int fd, rc = al_socket_accept(is_tcp ? port->tcp_fd : port->listener.fd, &fd);

        if (rc == 0) {
            if (is_tcp)
                ali_guest_open(port->runner, fd);
            else
                welcome(port->runner, fd);
            continue;
        }
        if (rc != -AL_E_BUSY)
            pause_ports(port->runner);
        return;
    }
}

/* Notes the address that a TCP port really has. */
static int note_address(struct al_runner *runner, const struct ali_port *port)
{
    char address[AL_TCP_ADDRESS_MAX];
    size_t used = strlen(runner->addresses);
    int r = al_tcp_address(port->tcp_fd, address);

    if (r == 0)
        snprintf(runner->addresses + used, ALI_ADDRESSES_ROOM - used, "%s%s", used ? "," : "",
                 address);
    return r;
}

static uint32_t count_of(const char *const *list)
{
    uint32_t count = 0;

    while (list && list[count])
        count++;
    return count;
}

int ali_ports_bind(struct al_runner *runner, const struct al_runner_config *config, char *why,
                   size_t why_size)
{
    uint32_t unixes = count_of(config->unix_paths),
             count = unixes + count_of(config->tls_addresses);
    int rc = 0;

    runner->addresses = al_alloc_zero(&runner->alloc, ALI_ADDRESSES_ROOM);
    if (!runner->addresses)
        return -AL_E_NOMEM;
    if (count == 0)
        return 0;
    runner->ports = al_alloc_zero(&runner->alloc, count * sizeof *runner->ports);
    if (!runner->ports)
        return -AL_E_NOMEM;
    runner->port_count = count;
    for (uint32_t i = 0; i < count; i++) {
        runner->ports[i].runner = runner;
        runner->ports[i].listener.fd = runner->ports[i].listener.lock_fd = -1;
        runner->ports[i].tcp_fd = -1;
    }
    for (uint32_t i = 0; i < count && rc == 0; i++) {
        struct ali_port *port = &runner->ports[i];

        if (i < unixes) {
            rc = al_listener_bind(&port->listener, config->unix_paths[i], why, why_size);
        } else {
            rc = al_tcp_listen(config->tls_addresses[i - unixes], &port->tcp_fd, why, why_size);
            if (rc == 0)
                rc = note_address(runner, port);
        }
    }
    if (rc)
        ali_ports_close(runner);
    return rc;
}

int ali_ports_start(struct al_runner *runner, char *why, size_t why_size)
{
    for (uint32_t i = 0; i < runner->port_count; i++) {
        struct ali_port *port = &runner->ports[i];
        bool is_tcp = port->tcp_fd >= 0;
        int rc = is_tcp ? 0 : al_listener_start(&port->listener, why, why_size);

        if (rc == 0)
            rc = al_loop_add(&runner->loop, &port->watch, is_tcp ? port->tcp_fd : port->listener.fd,
                             AL_LOOP_READ, port_ready);
        if (rc)
            return rc;
    }
    return 0;
}

void ali_ports_close(struct al_runner *runner)
{
    for (uint32_t i = 0; i < runner->port_count; i++) {
        if (runner->ports[i].watch.fn)
            al_loop_remove(&runner->loop, &runner->ports[i].watch);
        al_listener_close(&runner->ports[i].listener);
        if (runner->ports[i].tcp_fd >= 0)
            close(runner->ports[i].tcp_fd);
    }
    al_alloc_free(&runner->alloc, runner->ports, runner->port_count * sizeof *runner->ports);
    runner->ports = NULL;
    runner->port_count = 0;
    runner->accept_retry_ns = 0;
}

int al_runner_connect(struct al_runner *runner, int *ret_fd)
{
    const int room = (int)(sizeof runner->connects / sizeof runner->connects[0]);
    int fds[2], rc = al_socket_pair(fds);

    if (rc)
        return rc;
    pthread_mutex_lock(&runner->lock);
    if (runner->closed)
        rc = -AL_E_CLOSED;
    else if (runner->connect_count == room)
        rc = -AL_E_BUSY;
    else
        runner->connects[runner->connect_count++] = fds[0];
    pthread_mutex_unlock(&runner->lock);
    if (rc) {
        close(fds[0]);
        close(fds[1]);
        return rc;
    }
    al_doorbell_ring(&runner->bell);
    *ret_fd = fds[1];
    return 0;
}

void ali_connects_take(struct al_runner *runner)
{
    int fds[sizeof runner->connects / sizeof runner->connects[0]], count;

    if (atomic_load(&runner->connect_count) == 0)
        return;
    pthread_mutex_lock(&runner->lock);
    count = runner->connect_count;
    memcpy(fds, runner->connects, (size_t)count * sizeof fds[0]);
    runner->connect_count = 0;
    pthread_mutex_unlock(&runner->lock);
    for (int i = 0; i < count; i++) {
        if (runner->stopping || runner->conn_count >= runner->conns_max)
            close(fds[i]);
        else
            ali_peer_open(runner, fds[i], runner->own_uid < AL_UID_REMOTE ? runner->own_uid : 0);
    }
}
