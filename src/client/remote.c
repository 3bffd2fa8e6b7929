/* remote.c - a client's link over the network: its identity, its certificate, TLS.
 *
 * An identity is a directory that al_join() has made: key.pem (0600), certificate.pem, and
 * authorities.pem. The certificate is renewed over the link at half of its life, a tenth more or
 * less, with the same key, so that one file changes and that by rename. A link goes on with the
 * certificate that it began with; the node lets it, until the new one ends. What is connected later
 * shows the new one. Another process that uses the same identity finds the renewed file when its
 * own is due. */
#include "base/errors.h"
#include "base/limits.h"
#include "client/client.h"
#include "os/clock.h"
#include "os/entropy.h"
#include "os/tcp_socket.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define RETRY_MS   (60u * 1000)
#define PATH_ROOM  4096
#define FILE_ROOM  (PATH_ROOM + 32)
#define LOOK_AGAIN (60 * AL_NS_PER_SEC) /* wall clocks jump */

struct ali_remote {
    char addresses[1024];
    size_t next; /* where in them the next connection goes */
    char dir[PATH_ROOM];
    char address[AL_TCP_ADDRESS_MAX]; /* of the connection under way */
    bool connecting;                  /* TCP: not known yet whether it is there */
    int connect_errno;
    struct al_pki_key *key;
    struct al_pki_cert *chain, *authorities;
    struct al_tls_context *context;
    uint64_t not_after_ms, renew_ms;
    struct ali_request renewal;
    bool renewing;
};

/* ---- files ------------------------------------------------------------------------------- */

int ali_identity_dir(const char *dir, char *ret_path, size_t size)
{
    const char *home = getenv("HOME");
    int n;

    if (!dir || !*dir)
        dir = getenv("AGENTLINK_IDENTITY");
    if (dir && *dir)
        n = snprintf(ret_path, size, "%s", dir);
    else if (home && *home)
        n = snprintf(ret_path, size, "%s/.config/agentlink/identity", home);
    else
        return ali_client_fail(-AL_E_INVALID, "HOME is not set to find the identity; set "
                                              "AGENTLINK_IDENTITY to its directory");
    return n > 0 && (size_t)n < size
               ? 0
               : ali_client_fail(-AL_E_INVALID, "the path of the identity is too long");
}

static void file_of(const struct ali_remote *remote, const char *name, char path[FILE_ROOM])
{
    snprintf(path, FILE_ROOM, "%s/%s", remote->dir, name);
}

/* When to renew a certificate: at half of its life ± 10 %; what it says begins earlier than it was
 * issued, which is no matter. */
static uint64_t renewal_ms(const struct al_pki_info *info)
{
    uint64_t life = info->not_after_ms - info->not_before_ms, tenth = life / 10, random = 0;

    (void)al_entropy_fill(&random, sizeof(random));
    return info->not_before_ms + life / 2 - tenth + random % (2 * tenth + 1);
}

/* Uses this certificate from the next connection on. */
static int use(struct ali_remote *remote, struct al_pki_cert *chain, char *ret_why, size_t why_size)
{
    struct al_tls_config config = {
        .key = remote->key, .chain = chain, .authorities = remote->authorities};
    struct al_tls_context *context = NULL;
    struct al_pki_info info;
    int r = al_pki_cert_info(chain, 0, &info);

    if (r == 0)
        r = al_tls_context_new(&config, AL_TLS_CLIENT, &context, ret_why, why_size);
    if (r < 0)
        return r;
    al_tls_context_unref(remote->context);
    al_pki_cert_free(remote->chain);
    remote->context = context;
    remote->chain = chain;
    remote->not_after_ms = info.not_after_ms;
    remote->renew_ms = renewal_ms(&info);
    return 0;
}

static int read_identity(struct ali_remote *remote, char *ret_why, size_t why_size)
{
    struct al_pki_cert *chain = NULL;
    char path[FILE_ROOM];
    int r;

    file_of(remote, "key.pem", path);
    r = al_pki_key_read(path, &remote->key, ret_why, why_size);
    file_of(remote, "authorities.pem", path);
    if (r == 0)
        r = al_pki_cert_read(path, &remote->authorities, ret_why, why_size);
    file_of(remote, "certificate.pem", path);
    if (r == 0)
        r = al_pki_cert_read(path, &chain, ret_why, why_size);
    if (r == 0)
        r = use(remote, chain, ret_why, why_size);
    if (r < 0)
        al_pki_cert_free(chain);
    return r;
}

/* ---- opening ----------------------------------------------------------------------------- */

static int open_member(struct ali_remote *remote, const struct ali_remote_config *config)
{
    char why[256] = "";
    int r = ali_identity_dir(config->identity, remote->dir, sizeof(remote->dir));

    if (r < 0)
        return r;
    r = read_identity(remote, why, sizeof(why));
    if (r == -AL_E_NOT_FOUND)
        return ali_client_fail(r,
                               "there is no identity in %.200s: ask for a token (agentlink "
                               "identity new) and use it with agentlink join",
                               remote->dir);
    return r < 0 ? ali_client_failed(r, why) : 0;
}

static int open_joiner(struct ali_remote *remote, const struct ali_remote_config *config)
{
    struct al_tls_config tls = {.fingerprint = config->fingerprint};
    char why[256] = "";
    int r = al_tls_context_new(&tls, AL_TLS_JOINER, &remote->context, why, sizeof(why));

    remote->renew_ms = UINT64_MAX;
    return r < 0 ? ali_client_failed(r, why) : 0;
}

int ali_remote_open(const struct ali_remote_config *config, struct ali_remote **ret_remote)
{
    struct ali_remote *remote;
    int r;

    if (!*config->address || strlen(config->address) >= sizeof(remote->addresses))
        return ali_client_fail(-AL_E_INVALID, "tls:%.80s: say tls:HOST:PORT", config->address);
    remote = calloc(1, sizeof(*remote));
    if (!remote)
        return ali_client_failed(-AL_E_NOMEM, NULL);
    snprintf(remote->addresses, sizeof(remote->addresses), "%s", config->address);
    r = config->fingerprint ? open_joiner(remote, config) : open_member(remote, config);
    if (r < 0) {
        ali_remote_free(remote);
        return r;
    }
    *ret_remote = remote;
    return 0;
}

void ali_remote_free(struct ali_remote *remote)
{
    if (!remote)
        return;
    if (remote->renewing) {
        ali_csession_unask(NULL, &remote->renewal);
        ali_request_deinit(&remote->renewal);
    }
    al_tls_context_unref(remote->context);
    al_pki_cert_free(remote->chain);
    al_pki_cert_free(remote->authorities);
    al_pki_key_free(remote->key);
    free(remote);
}

/* ---- connecting -------------------------------------------------------------------------- */

/* The next of the addresses. */
static void take_address(struct ali_remote *remote)
{
    const char *from = remote->addresses + remote->next;
    size_t n = strcspn(from, ",");

    snprintf(remote->address, sizeof(remote->address), "%.*s", (int)n, from);
    remote->next = from[n] == ',' ? remote->next + n + 1 : 0;
}

int ali_remote_connect(struct ali_remote *remote, struct al_stream *ret_stream, char *ret_why,
                       size_t why_size)
{
    int fd, r;

    take_address(remote);
    remote->connecting = true;
    remote->connect_errno = 0;
    r = al_tcp_connect(remote->address, &fd, ret_why, why_size);
    if (r < 0)
        return r;
    r = al_tls_open(remote->context, fd, ret_stream);
    if (r < 0) {
        close(fd);
        snprintf(ret_why, why_size, "%s", al_error_text(r));
    }
    return r;
}

int ali_remote_check(struct ali_remote *remote, const struct al_stream *stream)
{
    if (!remote->connecting)
        return 0;
    remote->connect_errno = al_tcp_connect_error(stream->fd);
    remote->connecting = al_tls_state(stream->tls) != 1;
    return remote->connect_errno ? -AL_E_UNREACHABLE : 0;
}

bool ali_remote_failure(const struct ali_remote *remote, const struct al_stream *stream,
                        char *ret_why, size_t why_size)
{
    const struct al_tls_failure *failure = al_tls_why(stream->tls);

    if (remote->connect_errno)
        snprintf(ret_why, why_size, "cannot connect to tls:%s: %s", remote->address,
                 strerror(remote->connect_errno));
    else if (failure)
        snprintf(ret_why, why_size, "%s tls:%s: %s", failure->by_peer ? "refused by" : "refusing",
                 remote->address, failure->text);
    return remote->connect_errno || failure;
}

/* ---- renewal ----------------------------------------------------------------------------- */

static int ask(struct al_client *client)
{
    struct ali_remote *remote = client->remote;
    struct al_msg_cert_renew m;
    struct al_buf csr;
    int r;

    ali_request_init(&remote->renewal, &client->alloc);
    remote->renewing = true;
    al_buf_init(&csr, &client->alloc);
    r = al_pki_request_new(remote->key, &csr);
    m.request = remote->renewal.number = ali_csession_number(client->session);
    m.csr = al_str_of(csr.data, (uint32_t)csr.size);
    if (r == 0)
        r = al_put_cert_renew(&remote->renewal.frame, &m);
    al_buf_deinit(&csr);
    return r < 0 ? r : ali_csession_ask(client->session, &remote->renewal);
}

/* Takes the new certificate into use, and then to disk: if that fails, the next start shows the
 * old one, which still counts. */
static int take(struct ali_remote *remote)
{
    struct al_msg_certificate m = {0};
    struct al_pki_cert *chain = NULL;
    struct al_frame frame;
    char path[FILE_ROOM], why[256];
    int r = remote->renewal.error;

    if (r == 0 &&
        (al_frame_next(al_str_of(remote->renewal.rows.data, (uint32_t)remote->renewal.rows.size),
                       AL_FRAME_MAX, &frame) <= 0 ||
         al_decode_certificate(frame.body, &m) < 0))
        r = -AL_E_PROTOCOL;
    if (r == 0)
        r = al_pki_cert_parse(m.certificate, &chain);
    if (r < 0)
        return r;
    r = use(remote, chain, why, sizeof(why));
    if (r < 0) {
        al_pki_cert_free(chain);
        return r;
    }
    file_of(remote, "certificate.pem", path);
    (void)al_pki_cert_write(remote->chain, path, true, why, sizeof(why));
    return 0;
}

static void finish(struct al_client *client, struct al_now now, int error)
{
    struct ali_remote *remote = client->remote;

    ali_csession_unask(client->session, &remote->renewal);
    ali_request_deinit(&remote->renewal);
    remote->renewing = false;
    if (error < 0)
        remote->renew_ms = now.wall_ms + RETRY_MS;
}

uint64_t ali_remote_tick(struct al_client *client, struct al_now now)
{
    struct ali_remote *remote = client->remote;
    uint64_t wait_ms;
    int r;

    if (remote->renewing && remote->renewal.done)
        finish(client, now, take(remote));
    if (!remote->renewing && client->session->link == ALI_LINK_UP &&
        now.wall_ms >= remote->renew_ms) {
        r = ask(client);
        if (r < 0)
            finish(client, now, r);
        else
            ali_client_flush(client);
    }
    wait_ms = remote->renew_ms > now.wall_ms ? remote->renew_ms - now.wall_ms : RETRY_MS;
    return now.mono_ns +
           (wait_ms < LOOK_AGAIN / AL_NS_PER_MS ? wait_ms * AL_NS_PER_MS : LOOK_AGAIN);
}
