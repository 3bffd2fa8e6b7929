/* api_request.c - requests: messages whose end is awaited, many at once, each with a deadline.
 *
 * A request is a send with a watch. The session tells the request by its `taken` and `end`,
 * wherever they come in, and over reconnects; here they are looked at after every turn of the
 * connection (only when the session has finished something or a deadline has come) and the request
 * is finished: once, with one error, whose text is kept for whichever thread asks.
 *
 * Invariants
 * - While a request is under way its `out` (until there is a receipt) and its watch point into it;
 *   finishing takes both back.
 * - A request is in one of the client's three lists: under way, callback due, done. */
#include "base/errors.h"
#include "base/limits.h"
#include "client/client.h"
#include "os/clock.h"
#include <assert.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>

#define REPLY_BY_DEFAULT_MS 30000u

struct al_request {
    struct al_request *next, **link;
    struct al_client *client;
    al_request_fn *fn;
    al_part_fn *part_fn;
    void *ctx;
    bool wants_parts;
    struct ali_parts parts;
    struct ali_part *part; /* the one that the program looks at */
    uint64_t deadline_ns;
    struct ali_out *out; /* until there is a receipt or refusal */
    bool taken;          /* the out is answered, and ours */
    bool receipted;
    bool done;
    int error; /* done: how it finished */
    struct al_receipt receipt;
    struct al_end *end;
    struct al_message_id id;
    char to[AL_NAME_MAX + 1];
    char detail[ALI_DETAIL_MAX + 1];
};

/* ---- lists ------------------------------------------------------------------------------- */

static void request_link(struct al_request **list, struct al_request *request)
{
    request->next = *list;
    request->link = list;
    if (request->next)
        request->next->link = &request->next;
    *list = request;
}

static void request_unlink(struct al_request *request)
{
    *request->link = request->next;
    if (request->next)
        request->next->link = request->link;
}

/* ---- finishing --------------------------------------------------------------------------- */

static void __attribute__((format(printf, 3, 4)))
finish(struct al_request *request, int error, const char *format, ...)
{
    struct al_client *client = request->client;
    va_list args;

    assert(!request->done);
    va_start(args, format);
    vsnprintf(request->detail, sizeof(request->detail), format, args);
    va_end(args);
    request->done = true;
    request->error = error;
    if (request->out)
        request->out->waiter = NULL; /* the session frees it when it is answered */
    request->out = NULL;
    if (!request->end)
        ali_watch_forget(client->session, &request->id);
    request_unlink(request);
    request_link(request->fn || request->part_fn ? &client->requests_due : &client->requests_done,
                 request);
    client->request_outstanding--;
    client->session->stats.replies += error == 0;
}

/* The message has ended. */
static void ended(struct al_request *request)
{
    const struct al_end *end = request->end;

    switch (end->state) {
    case AL_RECORD_DELIVERED:
    case AL_RECORD_PARTIAL:
        finish(request, 0, "%s", "");
        break;
    case AL_RECORD_EXPIRED:
        finish(request, -AL_E_EXPIRED, "'%s' did not answer in time", request->to);
        break;
    case AL_RECORD_CANCELLED:
        finish(request, -AL_E_CANCELLED, "the request to '%s' was taken back", request->to);
        break;
    case AL_RECORD_ENDED:
        finish(request, -AL_E_UNKNOWN_OUTCOME,
               "the request to '%s' has ended, and the node does not keep its answer any more",
               request->to);
        break;
    default:
        finish(request, -AL_E_DEAD_LETTERED, "'%s' did not do it: %.200s", request->to,
               *end->reason ? end->reason : "no reason given");
    }
}

/* The node has taken or refused the message. */
static void answered(struct al_request *request)
{
    struct ali_csession *session = request->client->session;
    struct ali_out *out = request->out;

    request->out = NULL;
    request->receipt = ali_send_receipt(out);
    request->receipted = out->error == 0;
    if (out->error < 0)
        finish(request, out->error, "to '%s': %.200s", request->to,
               out->detail && *out->detail ? out->detail : al_error_text(out->error));
    ali_out_free(session, out);
}

/* The deadline has passed. */
static void late(struct al_request *request)
{
    struct al_client *client = request->client;

    client->session->stats.no_replies++;
    if (request->receipted) {
        finish(request, -AL_E_NO_REPLY,
               "'%s' has not replied by the deadline; the message was taken (stream %u, sequence "
               "%llu)",
               request->to, request->receipt.stream, (unsigned long long)request->receipt.seq);
    } else if (!ali_csession_withdraw(client->session, request->out)) {
        finish(request, -AL_E_UNKNOWN_OUTCOME,
               "no receipt from the node by the deadline: the request to '%s' may or may not have "
               "been taken; ask again with the same key to be sure",
               request->to);
    } else {
        request->out = NULL;
        finish(request, -AL_E_UNREACHABLE, "the request to '%s' was not sent: %.200s", request->to,
               client->session->link == ALI_LINK_UP ? "the node did not open the stream in time"
               : client->connect_detail[0]          ? client->connect_detail
                                                    : "there is no connection to the node");
    }
}

/* Finishes the request if it is answered or late. */
static void look(struct al_request *request, uint64_t now_ns)
{
    if (request->out && request->taken)
        answered(request);
    if (!request->done && !request->out && request->end)
        ended(request);
    if (!request->done && now_ns >= request->deadline_ns)
        late(request);
}

/* A request with a part to be called back, NULL: none. */
static struct al_request *find_part(struct al_client *client)
{
    struct al_request *request = client->requests;

    while (request && !(request->part_fn && request->parts.head))
        request = request->next;
    return request;
}

void ali_requests_look(struct al_client *client)
{
    const struct al_client_info *stats = &client->session->stats;
    uint64_t seen = stats->ended + stats->receipted + stats->refused + stats->parts, now;
    uint64_t first = AL_NEVER_NS;
    struct al_request *request, *next;

    if (!client->requests)
        return;
    now = al_clock_mono_ns();
    if (seen == client->requests_seen && now < client->requests_ns)
        return;
    client->requests_seen = seen;
    for (request = client->requests; request; request = next) {
        next = request->next;
        look(request, now);
        if (!request->done && request->deadline_ns < first)
            first = request->deadline_ns;
    }
    client->requests_ns = first;
    client->parts_due = find_part(client) != NULL;
}

static void call_part(struct al_client *client, struct al_request *request)
{
    struct ali_part *part = ali_parts_take(&request->parts);
    struct al_part view = {part->attempt, part->number, part->data, part->size};

    client->parts_due = find_part(client) != NULL;
    ali_client_unlock(client);
    request->part_fn(request->ctx, request, &view);
    ali_client_lock(client);
    ali_part_free(client->session, part);
}

bool ali_requests_call(struct al_client *client)
{
    struct al_request *request = client->parts_due ? find_part(client) : NULL;

    if (!request)
        request = client->requests_due;
    if (!request)
        return false;
    while (request->done && request->next) /* the oldest */
        request = request->next;
    if (request->part_fn && request->parts.head) {
        call_part(client, request);
        return true;
    }
    request_unlink(request);
    request_link(&client->requests_done, request);
    if (!request->fn)
        return true;
    ali_client_unlock(client);
    if (request->error < 0)
        ali_client_failed(request->error, request->detail);
    request->fn(request->ctx, request, request->error, request->end);
    ali_client_lock(client);
    return true;
}

/* ---- starting ---------------------------------------------------------------------------- */

/* 0, or why this client cannot have another request with this id. */
static int check(const struct al_client *client, const struct al_message_id *id)
{
    const struct al_request *request = client->requests;

    if (client->request_count >= AL_REQUESTS_MAX)
        return ali_client_fail(-AL_E_LIMIT, "%u requests are not freed, that is the most",
                               client->request_count);
    while (request && al_message_id_compare(&request->id, id) != 0)
        request = request->next;
    if (request)
        return ali_client_fail(-AL_E_EXISTS, "a request with this message id is under way");
    return 0;
}

/* With the lock. Waits for room in the window until queue_ns (0: does not). */
static int start(struct al_client *client, const struct al_message *message,
                 struct al_request *request, uint64_t queue_ns)
{
    struct ali_send send = {.message = message, .waiter = &request->taken};
    int r = check(client, &message->id);

    if (r < 0)
        return r;
    r = ali_send_queue(client, &send, queue_ns, &request->out);
    if (r < 0)
        return r;
    (void)ali_watch_wait(client->session, &message->id, &request->end);
    if (request->wants_parts)
        ali_watch_find(client->session, &message->id)->parts = &request->parts;
    request->id = message->id;
    snprintf(request->to, sizeof(request->to), "%s", message->to);
    request_link(&client->requests, request);
    client->request_count++;
    client->request_outstanding++;
    client->session->stats.requests++;
    if (request->deadline_ns < client->requests_ns)
        client->requests_ns = request->deadline_ns;
    ali_client_flush(client);
    return 0;
}

/* Starts a request; `ttl_ms` is the life time of a message that has none. */
static int request_new(struct al_client *client, const struct al_message *message,
                       struct al_request *request, uint64_t ttl_ms, uint64_t queue_ns)
{
    struct al_message copy = *message;
    int r = 0;

    copy.flags |= AL_MESSAGE_NOTIFY | (request->wants_parts ? AL_MESSAGE_PARTS : 0);
    ali_parts_init(&request->parts);
    if (!copy.ttl_ms)
        copy.ttl_ms = ttl_ms;
    if (al_message_id_is_zero(&copy.id))
        r = al_message_id_random(&copy.id);
    if (r < 0)
        return r;
    ali_client_lock(client);
    request->client = client;
    if (queue_ns == 0 && ali_keeper_start(client) < 0) /* the program may turn to other things */
        r = ali_client_failed(-AL_E_NOMEM, NULL);
    else
        r = start(client, &copy, request, queue_ns);
    ali_client_unlock(client);
    return r;
}

int al_request_start(struct al_client *client, const struct al_message *message,
                     const struct al_request_options *options, struct al_request **ret_request)
{
    static const struct al_request_options defaults;
    struct al_request *request;
    uint32_t reply_by_ms;
    int r;

    options = options ? options : &defaults;
    reply_by_ms = options->reply_by_ms ? options->reply_by_ms : REPLY_BY_DEFAULT_MS;
    if (reply_by_ms > INT_MAX)
        return ali_client_fail(-AL_E_INVALID, "reply_by_ms is %u, at most %d", reply_by_ms,
                               INT_MAX);
    request = al_alloc_zero(&client->alloc, sizeof(*request));
    if (!request)
        return ali_client_failed(-AL_E_NOMEM, NULL);
    request->fn = options->fn;
    request->part_fn = options->part_fn;
    request->wants_parts = options->parts || options->part_fn;
    request->ctx = options->ctx;
    request->deadline_ns = ali_deadline_ns(reply_by_ms);
    r = request_new(client, message, request, reply_by_ms, 0);
    if (r < 0)
        al_alloc_free(&client->alloc, request, sizeof(*request));
    else
        *ret_request = request;
    return r;
}

/* ---- waiting ----------------------------------------------------------------------------- */

/* With the lock: waits until the request is done or the time is over; true: it is done. */
static bool wait_done(struct al_request *request, uint64_t deadline_ns)
{
    struct al_client *client = request->client;

    if (!request->done && al_clock_mono_ns() >= deadline_ns) /* only looks */
        ali_client_io(client, ali_client_may_read(client));
    while (!request->done && al_clock_mono_ns() < deadline_ns) {
        ali_client_wait(client,
                        deadline_ns < request->deadline_ns ? deadline_ns : request->deadline_ns);
        ali_requests_look(client);
    }
    return request->done;
}

int al_request_wait(struct al_request *request, int timeout_ms, const struct al_end **ret_end)
{
    struct al_client *client = request->client;
    bool done;

    ali_client_lock(client);
    done = wait_done(request, ali_deadline_ns(timeout_ms));
    ali_client_unlock(client);
    if (!done)
        return ali_client_failed(-AL_E_TIMEOUT, "the request is still under way");
    if (request->error < 0)
        return ali_client_failed(request->error, request->detail);
    if (ret_end)
        *ret_end = request->end;
    return 0;
}

int al_request_next_part(struct al_request *request, int timeout_ms, struct al_part *ret_part)
{
    struct al_client *client = request->client;
    uint64_t deadline = ali_deadline_ns(timeout_ms);
    struct ali_part *part;
    bool done;

    if (!request->wants_parts || request->part_fn)
        return ali_client_fail(-AL_E_INVALID, "the request does not take its parts like this");
    ali_client_lock(client);
    if (!request->parts.head && !request->done && al_clock_mono_ns() >= deadline)
        ali_client_io(client, ali_client_may_read(client));
    while (!request->parts.head && !request->done && al_clock_mono_ns() < deadline) {
        ali_client_wait(client, deadline < request->deadline_ns ? deadline : request->deadline_ns);
        ali_requests_look(client);
    }
    part = ali_parts_take(&request->parts);
    done = request->done;
    if (part) {
        ali_part_free(client->session, request->part);
        request->part = part;
        *ret_part = (struct al_part){part->attempt, part->number, part->data, part->size};
    }
    ali_client_unlock(client);
    if (part)
        return 0;
    return done ? ali_client_fail(-AL_E_ALREADY_ENDED, "there is no further part")
                : ali_client_failed(-AL_E_TIMEOUT, "the request is still under way");
}

const struct al_end *al_request_end(const struct al_request *request)
{
    const struct al_end *end;

    ali_client_lock(request->client);
    end = request->done ? request->end : NULL;
    ali_client_unlock(request->client);
    return end;
}

bool al_request_receipt(struct al_request *request, struct al_receipt *ret_receipt)
{
    bool receipted;

    ali_client_lock(request->client);
    receipted = request->receipted;
    if (receipted)
        *ret_receipt = request->receipt;
    ali_client_unlock(request->client);
    return receipted;
}

struct al_message_id al_request_id(const struct al_request *request)
{
    return request->id;
}

/* ---- taking back ------------------------------------------------------------------------- */

/* With the lock: 0 if the node is to be asked, 1 if the request is taken back already. */
static int prepare_cancel(struct al_request *request)
{
    struct al_client *client = request->client;
    uint64_t deadline = ali_deadline_ns(client->request_timeout_ms);

    ali_requests_look(client);
    if (!request->done && request->out && ali_csession_withdraw(client->session, request->out)) {
        request->out = NULL;
        finish(request, -AL_E_CANCELLED, "the request to '%s' was taken back unsent", request->to);
        return 1;
    }
    while (!request->done && request->out && al_clock_mono_ns() < deadline) {
        ali_client_wait(client, deadline);
        ali_requests_look(client);
    }
    if (request->done && request->error == -AL_E_CANCELLED)
        return 1;
    if (request->done)
        return ali_client_fail(-AL_E_ALREADY_ENDED, "the request has finished already");
    return request->receipted ? 0
                              : ali_client_fail(-AL_E_TIMEOUT, "no receipt of the request came "
                                                               "in time: it was not taken back");
}

int al_request_cancel(struct al_request *request)
{
    struct al_client *client = request->client;
    int r;

    ali_client_lock(client);
    r = prepare_cancel(request);
    ali_client_unlock(client);
    if (r != 0)
        return r < 0 ? r : 0;
    r = request->receipt.seq ? al_cancel_at(client, request->receipt.stream, request->receipt.seq)
                             : al_cancel(client, &request->id);
    if (r < 0)
        return r;
    ali_client_lock(client);
    ali_requests_look(client);
    if (!request->done)
        finish(request, -AL_E_CANCELLED, "the request to '%s' was taken back", request->to);
    ali_client_unlock(client);
    return 0;
}

/* ---- freeing ----------------------------------------------------------------------------- */

/* With the lock: takes it out of the client, with its out and its watch. */
static void take_out(struct al_request *request)
{
    struct al_client *client = request->client;

    if (!request->done) {
        if (request->out && request->taken)
            answered(request);
        if (!request->done)
            finish(request, -AL_E_CANCELLED, "%s", "nobody waits any more");
    }
    request_unlink(request);
    client->request_count--;
}

static void request_free(struct al_request *request)
{
    struct al_alloc alloc = request->client->alloc;

    ali_parts_deinit(request->client->session, &request->parts);
    ali_part_free(request->client->session, request->part);
    al_end_free(request->end);
    al_alloc_free(&alloc, request, sizeof(*request));
}

void al_request_free(struct al_request *request)
{
    struct al_client *client;

    if (!request)
        return;
    client = request->client;
    ali_client_lock(client);
    take_out(request);
    request_free(request);
    ali_client_unlock(client);
}

void ali_requests_deinit(struct al_client *client)
{
    struct al_request *request;

    while ((request = client->requests       ? client->requests
                      : client->requests_due ? client->requests_due
                                             : client->requests_done)) {
        take_out(request);
        request_free(request);
    }
}

/* ---- one at a time ----------------------------------------------------------------------- */

int al_request(struct al_client *client, const struct al_message *message, int timeout_ms,
               struct al_end **ret_end)
{
    struct al_request *request = al_alloc_zero(&client->alloc, sizeof(*request));
    int r;

    if (!request)
        return ali_client_failed(-AL_E_NOMEM, NULL);
    request->deadline_ns = ali_deadline_ns(timeout_ms);
    r = request_new(client, message, request, timeout_ms > 0 ? (uint64_t)timeout_ms : 0,
                    request->deadline_ns);
    if (r < 0) {
        al_alloc_free(&client->alloc, request, sizeof(*request));
        return r;
    }
    r = al_request_wait(request, -1, NULL);
    if (r == 0) {
        *ret_end = request->end;
        request->end = NULL; /* the caller's */
    }
    if (r == -AL_E_NO_REPLY)
        r = ali_client_failed(-AL_E_TIMEOUT, request->detail);
    al_request_free(request);
    return r;
}
