/* client.c - opening and closing, information. */
#include "client/client.h"
#include "base/errors.h"
#include "base/limits.h"
#include "os/clock.h"
#include "os/entropy.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define CONNECT_TIMEOUT_MS 5000u
#define REQUEST_TIMEOUT_MS 10000u
#define PING_INTERVAL_MS   10000u
#define PING_TIMEOUT_MS    10000u
#define WINDOW             4096u
#define OUTBOX_BYTES       (64u << 20)
#define CONNECT_PAUSE_MS   10u
#define GOODBYE_TIMEOUT_MS 1000

/* ---- which node -------------------------------------------------------------------------- */

/* The default socket of the daemon. 0, -AL_E_INVALID. */
static int default_node(char *ret_url, size_t size)
{
    const char *dir = getenv("XDG_RUNTIME_DIR");

    if (geteuid() == 0)
        snprintf(ret_url, size, "unix:/run/agentlink/agentlink.sock");
    else if (dir && *dir && strlen(dir) + 24 < size)
        snprintf(ret_url, size, "unix:%s/agentlink.sock", dir);
    else
        return ali_client_fail(-AL_E_INVALID,
                               "no node given, and XDG_RUNTIME_DIR is not set to find the "
                               "daemon's default socket; set AGENTLINK_NODE, for instance to "
                               "unix:/run/agentlink/agentlink.sock");
    return 0;
}

static int resolve(struct al_client *client, const struct al_client_options *options)
{
    const char *url = options->node && *options->node ? options->node : getenv("AGENTLINK_NODE");
    char buffer[512] = "";
    int r;

    if (!url || !*url) {
        r = default_node(buffer, sizeof(buffer));
        if (r < 0)
            return r;
        url = buffer;
    }
    if (strncmp(url, "file:", 5) == 0 || strncmp(url, "inproc:", 7) == 0)
        return ali_embedded_get(url, options, &client->embedded);
    if (strncmp(url, "tls:", 4) == 0) {
        struct ali_remote_config link = {.address = url + 4, .identity = options->identity};

        return ali_remote_open(&link, &client->remote);
    }
    if (strncmp(url, "unix:", 5) != 0)
        return ali_client_fail(-AL_E_INVALID,
                               "'%.200s' names no node: use unix:PATH, tls:HOST:PORT, file:DIR or "
                               "inproc:NAME",
                               url);
    url += 5;
    if (!*url || strlen(url) >= sizeof(client->path))
        return ali_client_fail(-AL_E_INVALID,
                               "the socket path of unix:%.200s must have 1 to %zu bytes", url,
                               sizeof(client->path) - 1);
    memcpy(client->path, url, strlen(url) + 1);
    return 0;
}

/* ---- opening ----------------------------------------------------------------------------- */

static uint32_t or_default(uint32_t value, uint32_t fallback)
{
    return value ? value : fallback;
}

static int check_options(const struct al_client_options *options)
{
    if (options->window > AL_PUBLISH_WINDOW)
        return ali_client_fail(-AL_E_INVALID, "window is %u, at most %u", options->window,
                               AL_PUBLISH_WINDOW);
    if ((unsigned)options->gaps > AL_GAP_FAIL)
        return ali_client_fail(-AL_E_INVALID, "gaps is not a value of al_gap_policy");
    if (options->refusals != AL_REFUSAL_REPORT && options->refusals != AL_REFUSAL_RETRY)
        return ali_client_fail(-AL_E_INVALID, "refusals is not a value of al_refusal_mode");
    if (options->name && strlen(options->name) > 255)
        return ali_client_fail(-AL_E_INVALID, "the client's name is longer than 255 bytes");
    return 0;
}

static int session_new(struct al_client *client, const struct al_client_options *options)
{
    const char *name = options->name && *options->name ? options->name : "libagentlink " AL_VERSION;
    struct ali_csession_config config = {
        .alloc = client->alloc,
        .ping_interval_ms = or_default(options->ping_interval_ms, PING_INTERVAL_MS),
        .ping_timeout_ms = or_default(options->ping_timeout_ms, PING_TIMEOUT_MS),
        .window = or_default(options->window, WINDOW),
        .outbox_bytes = options->outbox_bytes ? options->outbox_bytes : OUTBOX_BYTES,
        .gaps = options->gaps,
        .lease_cap_ms = or_default(options->lease_cap_ms, AL_LEASE_MAX_MS),
        .refusals = options->refusals,
        .durability_volatile = client->embedded && ali_embedded_is_memory(client->embedded),
        .client = client,
    };
    uint8_t random[16];
    int r;

    client->name = al_alloc_new(&client->alloc, strlen(name) + 1);
    if (!client->name)
        return -AL_E_NOMEM;
    memcpy(client->name, name, strlen(name) + 1);
    config.client_name = client->name;
    r = ali_client_random(client, random);
    if (r < 0)
        return r;
    config.instance = al_id_from_random(random);
    client->jitter = al_get64(random);
    return ali_csession_new(&config, &client->session);
}

static int descriptors_open(struct al_client *client)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = 2};

    client->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    client->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (client->epoll_fd < 0 || client->event_fd < 0 ||
        epoll_ctl(client->epoll_fd, EPOLL_CTL_ADD, client->event_fd, &event) < 0)
        return ali_client_fail(-AL_E_IO, "cannot open descriptors: %s", strerror(errno));
    return 0;
}

static int locks_init(struct al_client *client)
{
    pthread_condattr_t attr;

    /* On Linux none of these can fail: they allocate nothing. */
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&client->lock, NULL);
    pthread_cond_init(&client->changed, &attr);
    pthread_cond_init(&client->keeper_wake, &attr);
    pthread_condattr_destroy(&attr);
    return 0;
}

/* Frees what there is of a client. */
static void client_free(struct al_client *client)
{
    struct al_alloc alloc = client->alloc;
    struct ali_embedded *embedded = client->embedded;

    al_stream_close(&client->stream);
    if (client->timer_fd >= 0)
        close(client->timer_fd);
    if (client->event_fd >= 0)
        close(client->event_fd);
    if (client->epoll_fd >= 0)
        close(client->epoll_fd);
    ali_requests_deinit(client);
    ali_remote_free(client->remote); /* it may have a question open */
    ali_csession_free(client->session);
    al_alloc_free(&alloc, client->in, client->in_cap);
    if (client->name)
        al_alloc_free(&alloc, client->name, strlen(client->name) + 1);
    pthread_cond_destroy(&client->changed);
    pthread_cond_destroy(&client->keeper_wake);
    pthread_mutex_destroy(&client->lock);
    al_alloc_free(&alloc, client, sizeof(*client));
    ali_embedded_put(embedded);
}

/* Is it of no use to try again? */
static bool is_hopeless(int error)
{
    return error == -AL_E_DENIED || error == -AL_E_VERSION || error == -AL_E_TOO_LARGE ||
           error == -AL_E_REVOKED;
}

static int await_welcome(struct al_client *client)
{
    uint64_t deadline = ali_deadline_ns(client->connect_timeout_ms);
    int r = 0;

    ali_client_lock(client);
    ali_client_io(client, false);
    while (client->session->link != ALI_LINK_UP && !is_hopeless(client->connect_error) &&
           al_clock_mono_ns() < deadline)
        ali_client_wait(client, deadline);
    if (client->session->link != ALI_LINK_UP) {
        r = is_hopeless(client->connect_error) ? client->connect_error : -AL_E_UNREACHABLE;
        if (!client->connect_error)
            r = ali_client_fail(-AL_E_TIMEOUT,
                                "the node took the connection but said nothing for "
                                "%u ms",
                                client->connect_timeout_ms);
        else
            ali_client_failed(r, client->connect_detail);
    }
    ali_client_unlock(client);
    return r;
}

/* `remote` may be NULL: what the options say. */
static int open_client(const struct al_client_options *options, struct ali_remote *remote,
                       struct al_client **ret_client)
{
    struct al_alloc alloc = ali_client_alloc(options->memory);
    struct al_client *client = al_alloc_zero(&alloc, sizeof(*client));
    int r;

    if (!client) {
        ali_remote_free(remote);
        return ali_client_failed(-AL_E_NOMEM, NULL);
    }
    client->alloc = alloc;
    client->remote = remote;
    client->remote_ns = AL_NEVER_NS;
    client->stream.fd = client->epoll_fd = client->event_fd = client->timer_fd = -1;
    client->pause_ms = CONNECT_PAUSE_MS;
    client->requests_ns = AL_NEVER_NS;
    client->connect_timeout_ms = or_default(options->connect_timeout_ms, CONNECT_TIMEOUT_MS);
    client->request_timeout_ms = or_default(options->request_timeout_ms, REQUEST_TIMEOUT_MS);
    (void)locks_init(client);
    r = remote ? 0 : resolve(client, options);
    if (r < 0)
        goto fail;
    r = descriptors_open(client);
    if (r < 0)
        goto fail;
    r = session_new(client, options);
    if (r < 0) {
        ali_client_failed(r, NULL);
        goto fail;
    }
    if (!options->connect_later)
        r = await_welcome(client);
    if (r < 0)
        goto fail;
    *ret_client = client;
    return 0;
fail:
    client_free(client);
    return r;
}

int al_client_open(const struct al_client_options *options, struct al_client **ret_client)
{
    static const struct al_client_options defaults;
    int r;

    options = options ? options : &defaults;
    r = check_options(options);
    return r < 0 ? r : open_client(options, NULL, ret_client);
}

int ali_client_open_remote(const struct al_client_options *options, struct ali_remote *remote,
                           struct al_client **ret_client)
{
    return open_client(options, remote, ret_client);
}

/* ---- closing ----------------------------------------------------------------------------- */

static bool is_settled(const struct al_client *client)
{
    return client->session->unreceipted == 0 && client->session->unconfirmed == 0 &&
           client->session->commit_count == 0;
}

/* Waits until everything has its answer; without callbacks. */
static void await_answers(struct al_client *client, uint64_t deadline)
{
    struct al_end *end;
    struct ali_out *out;
    struct ali_notice *notice;

    ali_client_io(client, false);
    for (;;) {
        while ((out = ali_csession_take_result(client->session)))
            ali_out_free(client->session, out);
        while ((end = ali_csession_take_end(client->session)))
            al_end_free(end);
        while ((notice = ali_csession_take_notice(client->session)))
            ali_notice_free(client->session, notice);
        if (is_settled(client) || al_clock_mono_ns() >= deadline)
            return;
        ali_client_wait(client, deadline);
    }
}

/* Tells the node, and waits a moment for its answer: it has then heard everything before. */
static void say_goodbye(struct al_client *client)
{
    uint64_t deadline = ali_deadline_ns(GOODBYE_TIMEOUT_MS);

    if (ali_csession_goodbye(client->session, false) < 0)
        return;
    ali_client_io(client, false);
    while (client->stream.fd >= 0 && !client->session->goodbye_seen &&
           al_clock_mono_ns() < deadline)
        ali_client_wait(client, deadline);
}

int al_client_close(struct al_client *client, int timeout_ms)
{
    uint64_t deadline = ali_deadline_ns(timeout_ms);
    bool settled;

    if (!client)
        return 0;
    ali_keeper_stop(client);
    ali_client_lock(client);
    if (client->session->link != ALI_LINK_UP && is_settled(client))
        deadline = 0;
    await_answers(client, deadline);
    settled = is_settled(client);
    if (client->session->link == ALI_LINK_UP)
        say_goodbye(client);
    pthread_mutex_unlock(&client->lock);
    client_free(client);
    return settled ? 0
                   : ali_client_fail(-AL_E_UNKNOWN_OUTCOME,
                                     "closed before every send and ack had its answer");
}

void al_client_abort(struct al_client *client)
{
    if (!client)
        return;
    ali_keeper_stop(client);
    client_free(client);
}

/* ---- information ------------------------------------------------------------------------- */

void al_client_get_info(struct al_client *client, struct al_client_info *ret_info)
{
    const struct ali_csession *session = client->session;
    const struct ali_attach *attach;
    const struct ali_rstream *stream;

    ali_client_lock(client);
    *ret_info = session->stats;
    ret_info->connected = session->link == ALI_LINK_UP;
    ret_info->node_epoch = session->node_epoch;
    ret_info->payload_max = session->payload_max;
    ret_info->uid = session->uid;
    memcpy(ret_info->node, session->node, sizeof(ret_info->node));
    ret_info->unreceipted = session->unreceipted;
    ret_info->unconfirmed = session->unconfirmed;
    ret_info->uncommitted = session->commit_count;
    ret_info->outstanding = client->request_outstanding;
    ret_info->queued = ret_info->held = 0;
    for (attach = session->attaches; attach; attach = attach->next) {
        ret_info->queued += attach->queued;
        for (stream = attach->streams; stream; stream = stream->next)
            ret_info->held += stream->held_count;
    }
    ali_client_unlock(client);
}

int al_client_fd(struct al_client *client)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = 3};

    ali_client_lock(client);
    if (client->timer_fd < 0) {
        client->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
        if (client->timer_fd >= 0)
            (void)epoll_ctl(client->epoll_fd, EPOLL_CTL_ADD, client->timer_fd, &event);
        client->timer_ns = AL_NEVER_NS;
    }
    ali_client_unlock(client);
    return client->epoll_fd;
}
