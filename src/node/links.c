/* links.c - connections from elsewhere, until it is known who they are.
 *
 * Whoever connects over TCP is a guest: few at a time, each for a few seconds, at no more memory
 * than a handshake needs. A handshake costs a millisecond of this thread, so only some are carried
 * on in one turn; the rest stays in the sockets, and the loop asks again. When it is done the guest
 * becomes a peer of the core like any other, with the identity of its certificate.
 *
 * Certificates end: a link is closed when the one it came with does, unless it was renewed over
 * this link. */
#include "base/errors.h"
#include "node/network.h"
#include "node/runner_internal.h"
#include "os/clock.h"
#include "os/tcp_socket.h"

#include <unistd.h>

struct ali_guest {
    struct al_watch watch;
    struct al_runner *runner;
    struct al_stream stream;
    uint64_t deadline_ns;
    struct ali_guest *next, **place; /* in the runner's list */
};

/* ---- who did not get in ------------------------------------------------------------------ */

static void log_refused(struct al_runner *runner, const struct al_stream *stream, const char *why)
{
    const struct al_tls_failure *failure = stream->tls ? al_tls_why(stream->tls) : NULL;
    struct al_log_fields fields;

    runner->links_refused++;
    if (al_clock_mono_ns() < runner->refused_log_ns)
        return; /* somebody who keeps knocking must not fill the log */
    runner->refused_log_ns = al_clock_mono_ns() + AL_NS_PER_SEC;
    al_log_fields_init(&fields);
    al_log_put_number(&fields, "count", runner->links_refused);
    al_log_put_text(&fields, "reason", failure ? al_tls_reason_token(failure->reason) : why);
    if (failure)
        al_log_put_text(&fields, "detail", failure->text);
    ali_runner_log(runner, AL_LOG_WARNING, "link_refused", &fields);
}

/* Takes the guest out of the list; its stream is the caller's. */
static struct al_stream part(struct ali_guest *guest)
{
    struct al_runner *runner = guest->runner;
    struct al_stream stream = guest->stream;

    al_loop_remove(&runner->loop, &guest->watch);
    *guest->place = guest->next;
    if (guest->next)
        guest->next->place = guest->place;
    runner->guest_count--;
    al_alloc_free(&runner->alloc, guest, sizeof *guest);
    return stream;
}

static void send_away(struct ali_guest *guest, const char *why)
{
    struct al_runner *runner = guest->runner;
    struct al_stream stream = part(guest);

    log_refused(runner, &stream, why);
    al_stream_close(&stream);
}

/* ---- handshakes -------------------------------------------------------------------------- */

/* The handshake is done: the core hears of it, and of what came with its last bytes. */
static void let_in(struct ali_guest *guest, const uint8_t *first, size_t size)
{
    struct al_runner *runner = guest->runner;
    const struct al_tls_peer *peer = al_tls_peer(guest->stream.tls);
    struct al_event event = {.type = AL_EVENT_OPEN,
                             .now = al_clock_now(),
                             .link = peer->is_join ? AL_LINK_JOIN : AL_LINK_REMOTE,
                             .serial = peer->cert.serial,
                             .data = al_str_c(peer->cert.identity)};
    uint64_t expire_ms = peer->is_join ? event.now.wall_ms + ALI_JOIN_MS : peer->cert.not_after_ms;

    if (runner->conn_count >= runner->conns_max) {
        send_away(guest, "too_many_connections");
        return;
    }
    ali_peer_open_link(runner, part(guest), &event, expire_ms, al_str_of(first, (uint32_t)size));
}

static void guest_ready(struct al_watch *watch, unsigned ready)
{
    struct ali_guest *guest = (struct ali_guest *)(void *)watch;
    struct al_runner *runner = guest->runner;
    int64_t got = -AL_E_BUSY;
    int state;

    if (runner->handshakes_left == 0)
        return; /* the loop asks again */
    runner->handshakes_left--;
    if (ready & AL_LOOP_WRITE)
        (void)al_stream_flush(&guest->stream);
    if (ready & (AL_LOOP_READ | AL_LOOP_HANGUP))
        got = al_stream_read(&guest->stream, runner->input, ALI_INPUT_BYTES);
    state = al_tls_state(guest->stream.tls);
    if (state < 0 || got == 0 || (got < 0 && got != -AL_E_BUSY)) {
        send_away(guest, "closed");
    } else if (state == 1) {
        let_in(guest, runner->input, got > 0 ? (size_t)got : 0);
    } else if (al_loop_set(&runner->loop, &guest->watch,
                           AL_LOOP_READ |
                               (al_stream_is_blocked(&guest->stream) ? AL_LOOP_WRITE : 0u))) {
        send_away(guest, "system");
    }
}

void ali_guest_open(struct al_runner *runner, int fd)
{
    struct ali_guest *guest =
        runner->guest_count < ALI_GUESTS_MAX ? al_alloc_zero(&runner->alloc, sizeof *guest) : NULL;
    struct al_stream plain = {.fd = fd};

    if (!guest || al_tls_open(al_network_context(runner->network), fd, &guest->stream) < 0) {
        log_refused(runner, &plain, "too_many_handshakes");
        al_alloc_free(&runner->alloc, guest, sizeof *guest);
        close(fd);
        return;
    }
    al_tcp_prepare(fd);
    guest->runner = runner;
    guest->deadline_ns = al_clock_mono_ns() + ALI_GUEST_NS;
    guest->next = runner->guests;
    guest->place = &runner->guests;
    if (guest->next)
        guest->next->place = &guest->next;
    runner->guests = guest;
    runner->guest_count++;
    if (al_loop_add(&runner->loop, &guest->watch, fd, AL_LOOP_READ, guest_ready)) {
        guest->watch.fn = NULL;
        send_away(guest, "system");
    }
}

static void issued_free(struct al_runner *runner, struct ali_issued *issued)
{
    al_buf_deinit(&issued->data);
    al_alloc_free(&runner->alloc, issued, sizeof *issued);
}

/* ---- time -------------------------------------------------------------------------------- */

static void renew(struct al_runner *runner, uint64_t wall_ms)
{
    struct al_log_fields fields;
    char why[256];

    al_network_renew(runner->network, wall_ms, why, sizeof why);
    if (!why[0])
        return;
    al_log_fields_init(&fields);
    al_log_put_text(&fields, "detail", why);
    ali_runner_log(runner, AL_LOG_ERROR, "certificate_not_renewed", &fields);
}

uint64_t ali_links_deadline_ns(const struct al_runner *runner)
{
    return runner->network ? runner->links_check_ns : AL_NEVER_NS;
}

void ali_links_run(struct al_runner *runner, struct al_now now)
{
    runner->handshakes_left = ALI_HANDSHAKES_PER_TURN;
    if (!runner->network || now.mono_ns < runner->links_check_ns)
        return;
    /* Wall clocks jump, so what ends by one is looked at often. */
    runner->links_check_ns =
        now.mono_ns +
        (runner->guest_count || runner->link_count ? AL_NS_PER_SEC : ALI_LINKS_IDLE_NS);
    for (struct ali_guest *guest = runner->guests, *next; guest; guest = next) {
        next = guest->next;
        if (now.mono_ns >= guest->deadline_ns)
            send_away(guest, "too_slow");
    }
    ali_peers_expire(runner, now.wall_ms);
    renew(runner, now.wall_ms);
}

void ali_links_close(struct al_runner *runner)
{
    while (runner->guests) {
        struct al_stream stream = part(runner->guests);

        al_stream_close(&stream);
    }
    while (runner->issued) {
        struct ali_issued *issued = runner->issued;

        runner->issued = issued->next;
        issued_free(runner, issued);
    }
}

/* ---- certificates for the core ----------------------------------------------------------- */

void ali_issue(struct al_runner *runner, const struct al_effect *effect, const uint8_t *data)
{
    struct ali_issued *issued = al_alloc_zero(&runner->alloc, sizeof *issued);
    struct al_pki_issue issue = {
        .serial = effect->lsn,
        .now_ms = al_clock_now().wall_ms,
        .identity = al_str_of(data, effect->record_type),
        .request = al_str_of(data + effect->record_type, effect->size - effect->record_type)};

    if (!issued) {
        ali_runner_fail(runner, -AL_E_NOMEM, "the node is out of memory");
        return;
    }
    issued->conn = effect->conn;
    issued->serial = effect->lsn;
    issued->next = runner->issued;
    runner->issued = issued;
    al_buf_init(&issued->data, &runner->alloc);
    issued->status = runner->network ? al_network_issue(runner->network, &issue, &issued->data,
                                                        &issued->not_after_ms)
                                     : -AL_E_UNSUPPORTED;
}

void ali_issued_run(struct al_runner *runner)
{
    while (runner->issued) {
        struct ali_issued *issued = runner->issued;
        struct al_event event = {.type = AL_EVENT_ISSUED,
                                 .now = al_clock_now(),
                                 .conn = issued->conn,
                                 .serial = issued->serial,
                                 .status = issued->status,
                                 .data = al_str_of(issued->data.data, (uint32_t)issued->data.size)};

        runner->issued = issued->next;
        if (issued->status == 0)
            ali_peer_renewed(runner, issued->conn, issued->not_after_ms);
        ali_runner_step(runner, &event);
        issued_free(runner, issued);
    }
}
