/* attach.c - whom this client receives for: asking the node, and asking again after a reconnect.
 *
 * An agent has one receiver. A program that has just been killed may still be one for a moment,
 * until the system has closed its connection; so for the first second of each connection a refusal
 * for that reason is not the end, but asked again. */
#include "base/errors.h"
#include "base/limits.h"
#include "base/text.h"
#include "client/gaps.h"
#include "client/session.h"

#define CREDIT_DEFAULT       64u
#define CREDIT_BYTES_DEFAULT (16u << 20)
#define PATIENCE_MS          1000u /* for another receiver to go */
#define AGAIN_MS             50u

struct ali_attach *ali_attach_find(struct ali_csession *session, const char *agent)
{
    struct ali_attach *attach = session->attaches;

    while (attach && strcmp(attach->agent, agent) != 0)
        attach = attach->next;
    return attach;
}

struct ali_attach *ali_attach_serial(struct ali_csession *session, uint32_t serial)
{
    struct ali_attach *attach = session->attaches;

    while (attach && attach->serial != serial)
        attach = attach->next;
    return attach;
}

struct ali_attach *ali_attach_at(struct ali_csession *session, uint32_t number)
{
    struct ali_attach *attach = session->attaches;

    while (attach && !(attach->state == ALI_ATTACH_DONE && attach->number == number))
        attach = attach->next;
    return attach;
}

static int attach_ask(struct ali_csession *session, struct ali_attach *attach)
{
    const struct al_attach_options *options = &attach->options;
    struct al_msg_attach m = {.credit = options->credit,
                              .credit_bytes = options->credit_bytes,
                              .lease_ms = options->lease_ms,
                              .agent = al_str_c(attach->agent)};
    int r;

    if (m.credit > session->credit_max)
        m.credit = session->credit_max;
    /* Taking over is done once: two that fight for an agent would never end. */
    m.flags = (uint8_t)((options->takeover && !attach->announced ? AL_ATTACH_TAKEOVER : 0) |
                        (options->shared ? AL_ATTACH_SHARED : 0) |
                        (options->no_create ? AL_ATTACH_NO_CREATE : 0));
    m.request = attach->request = ali_csession_number(session);
    r = al_put_attach(&session->out, &m);
    if (r >= 0)
        attach->state = ALI_ATTACH_ASKED;
    return r;
}

/* The first time on this connection. */
static int attach_first(struct ali_csession *session, struct ali_attach *attach)
{
    attach->error = 0;
    attach->patience_ns = session->now.mono_ns + PATIENCE_MS * AL_NS_PER_MS;
    return attach_ask(session, attach);
}

static int check_options(const char *agent, const struct al_attach_options *options)
{
    if (!agent || !al_name_is_valid(al_str_c(agent)))
        return -AL_E_BAD_NAME;
    if (options->credit > AL_CREDIT_MAX || options->credit_bytes > AL_CREDIT_BYTES_MAX ||
        options->lease_ms > AL_LEASE_MAX_MS)
        return -AL_E_INVALID;
    return 0;
}

int ali_csession_attach(struct ali_csession *session, const char *agent,
                        const struct al_attach_options *options, bool pull,
                        struct ali_attach **ret_attach)
{
    static const struct al_attach_options defaults;
    struct ali_attach *attach;
    size_t size;
    int r = check_options(agent, options ? options : &defaults);

    if (r < 0)
        return r;
    attach = ali_attach_find(session, agent);
    if (attach && attach->state != ALI_ATTACH_ENDED)
        return -AL_E_EXISTS;
    if (attach)
        ali_attach_free(session, attach, attach->error);
    size = sizeof(*attach) + strlen(agent) + 1;
    attach = al_alloc_zero(&session->config.alloc, size);
    if (!attach)
        return -AL_E_NOMEM;
    attach->size = size;
    attach->serial = ali_csession_number(session);
    attach->pull = pull;
    attach->options = options ? *options : defaults;
    if (!attach->options.credit)
        attach->options.credit = CREDIT_DEFAULT;
    if (!attach->options.credit_bytes)
        attach->options.credit_bytes = CREDIT_BYTES_DEFAULT;
    attach->credit_most = attach->options.credit;
    memcpy(attach->agent, agent, strlen(agent) + 1);
    if (session->link == ALI_LINK_UP) {
        r = attach_first(session, attach);
        if (r < 0) {
            al_alloc_free(&session->config.alloc, attach, size);
            return r;
        }
    }
    attach->next = session->attaches;
    session->attaches = attach;
    *ret_attach = attach;
    return 0;
}

int ali_csession_credit(struct ali_csession *session, const char *agent, uint32_t credit,
                        uint32_t credit_bytes)
{
    struct ali_attach *attach = ali_attach_find(session, agent);
    struct al_msg_credit m = {.credit = credit, .credit_bytes = credit_bytes};
    int r = 0;

    if (credit > AL_CREDIT_MAX || credit_bytes > AL_CREDIT_BYTES_MAX)
        return -AL_E_INVALID;
    if (!attach || attach->state == ALI_ATTACH_ENDED)
        return -AL_E_NOT_ATTACHED;
    if (!m.credit_bytes)
        m.credit_bytes = attach->options.credit_bytes;
    if (m.credit > session->credit_max && session->link == ALI_LINK_UP)
        m.credit = session->credit_max;
    m.agent = attach->number;
    if (session->link == ALI_LINK_UP && attach->state == ALI_ATTACH_DONE)
        r = al_put_credit(&session->out, &m);
    if (r < 0)
        return r;
    attach->options.credit = credit; /* the next connection asks with it */
    attach->options.credit_bytes = m.credit_bytes;
    if (credit > attach->credit_most)
        attach->credit_most = credit;
    return 0;
}

/* Frees what is queued, lets go of what the program holds. */
static void drop_streams(struct ali_csession *session, struct ali_attach *attach, int error)
{
    struct ali_rstream *stream;
    struct ali_delivery *delivery;

    while ((stream = attach->streams)) {
        while ((delivery = stream->head)) {
            bool keep = delivery->held && !delivery->dropped;

            ali_rstream_remove(session, delivery);
            delivery->detached = error;
            delivery->lost = true;
            if (!keep)
                ali_delivery_free(session, delivery);
        }
        ali_settle_forget(session, stream);
        ali_rstream_free(session, stream);
    }
    ali_commit_detached(session);
}

void ali_attach_free(struct ali_csession *session, struct ali_attach *attach, int error)
{
    struct ali_attach **link = &session->attaches;

    drop_streams(session, attach, error);
    while (*link != attach)
        link = &(*link)->next;
    *link = attach->next;
    al_alloc_free(&session->config.alloc, attach, attach->size);
}

int ali_csession_detach(struct ali_csession *session, const char *agent, bool keep_leases)
{
    struct ali_attach *attach = ali_attach_find(session, agent);
    struct al_msg_detach m = {.flags = keep_leases ? AL_KEEP_LEASES : 0};
    int r;

    if (!attach)
        return -AL_E_NOT_ATTACHED;
    if (session->link == ALI_LINK_UP && attach->state == ALI_ATTACH_DONE) {
        m.agent = attach->number;
        r = al_put_detach(&session->out, &m);
        if (r < 0)
            return r;
    }
    ali_attach_free(session, attach, -AL_E_NOT_ATTACHED);
    return 0;
}

/* Receiving has ended without the program's doing. */
static void attach_end(struct ali_csession *session, struct ali_attach *attach, int error,
                       struct al_str detail)
{
    struct al_notice notice = {.type = AL_NOTICE_DETACHED, .error = error, .agent = attach->agent};

    drop_streams(session, attach, error);
    attach->state = ALI_ATTACH_ENDED;
    attach->error = error;
    ali_detail_set(attach->detail, detail);
    notice.detail = attach->detail;
    if (attach->announced)
        ali_csession_notice(session, &notice);
}

int ali_attach_welcome(struct ali_csession *session)
{
    struct ali_attach *attach;
    int r = 0;

    for (attach = session->attaches; attach && r >= 0; attach = attach->next) {
        if (attach->state == ALI_ATTACH_WANTED)
            r = attach_first(session, attach);
    }
    return r;
}

/* Another receiver has the agent, perhaps for a moment only. */
static void attach_later(struct ali_csession *session, struct ali_attach *attach)
{
    attach->state = ALI_ATTACH_WANTED;
    attach->error = -AL_E_ALREADY_ATTACHED;
    attach->ask_ns = session->now.mono_ns + AGAIN_MS * AL_NS_PER_MS;
    if (attach->ask_ns < session->renew_ns)
        session->renew_ns = attach->ask_ns;
}

int ali_attach_tick(struct ali_csession *session, struct ali_attach *attach)
{
    if (attach->state != ALI_ATTACH_WANTED || session->link != ALI_LINK_UP)
        return 0;
    if (session->now.mono_ns >= attach->ask_ns)
        return attach_ask(session, attach);
    if (attach->ask_ns < session->renew_ns)
        session->renew_ns = attach->ask_ns;
    return 0;
}

void ali_attach_disconnected(struct ali_csession *session)
{
    struct ali_attach *attach;
    struct ali_rstream *stream, *next;

    for (attach = session->attaches; attach; attach = attach->next) {
        if (attach->state == ALI_ATTACH_ENDED)
            continue;
        if (session->fatal == -AL_E_REVOKED) { /* trying again will not help */
            attach_end(session, attach, session->fatal, al_str_c(session->fatal_detail));
            continue;
        }
        attach->state = ALI_ATTACH_WANTED;
        attach->error = 0;
        for (stream = attach->streams; stream; stream = next) {
            next = stream->next;
            stream->done_lease = 0; /* no copy gets from one connection into another */
            ali_rstream_update(session, stream);
        }
    }
    memset(session->done, 0, sizeof(session->done));
    session->renew_ns = AL_NEVER_NS;
}

/* The node has forgotten our leases: what is queued will come again, what the program holds too. */
static void leases_gone(struct ali_csession *session, struct ali_attach *attach)
{
    struct ali_rstream *stream;
    struct ali_delivery *delivery;

    for (stream = attach->streams; stream; stream = stream->next) {
        ali_nack_over(session, stream); /* that attempt has ended without it */
        ali_rstream_void(session, stream, 1);
        ali_gap_recalled(session, stream, 1);
        for (delivery = stream->head; delivery; delivery = delivery->next)
            delivery->lost = delivery->pub.seq != 0;
    }
}

int ali_attach_attached(struct ali_csession *session, const struct al_msg_attached *m)
{
    struct ali_attach *attach = session->attaches;
    struct ali_rstream *stream, *next;
    int r = 0;

    while (attach && !(attach->state == ALI_ATTACH_ASKED && attach->request == m->request))
        attach = attach->next;
    if (!attach) { /* detached before the answer came */
        struct al_msg_detach detach = {.agent = m->agent};

        return al_put_detach(&session->out, &detach);
    }
    attach->state = ALI_ATTACH_DONE;
    attach->number = m->agent;
    attach->announced = true;
    if (!m->resumed)
        leases_gone(session, attach);
    session->renew_ns = session->now.mono_ns;
    for (stream = attach->streams; stream && r >= 0; stream = next) {
        next = stream->next;
        r = ali_settle_resend(session, stream);
        if (r >= 0)
            r = ali_nack_resend(session, stream);
        if (stream->head)
            ali_lease_head(session, stream->head);
        ali_gap_resumed(session, stream);
        ali_rstream_update(session, stream);
    }
    return r;
}

int ali_attach_detached(struct ali_csession *session, const struct al_msg_detached *m)
{
    struct ali_attach *attach = ali_attach_at(session, m->agent);

    if (attach)
        attach_end(session, attach, m->code ? -(int)m->code : -AL_E_CLOSED, m->detail);
    return 0;
}

int ali_attach_error(struct ali_csession *session, const struct al_msg_error *m)
{
    struct ali_attach *attach = session->attaches;

    while (attach && !(attach->state == ALI_ATTACH_ASKED && attach->request == m->request))
        attach = attach->next;
    if (!attach)
        return 0;
    if (m->code == AL_E_ALREADY_ATTACHED && session->now.mono_ns < attach->patience_ns)
        attach_later(session, attach);
    else
        attach_end(session, attach, m->code ? -(int)m->code : -AL_E_PROTOCOL, m->detail);
    return 0;
}
