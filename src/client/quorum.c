/* quorum.c - requests to a group that wait for the replies of so many members.
 *
 * A message to a group is delivered to every member in a stream of its own, with a delivery record
 * of its own. So the replies are the ends of the deliveries at (stream of the member, sequence in
 * the group), and they are awaited like any end (watch.c): over reconnects and restarts, and also
 * when they came before anybody asked. */
#include "base/errors.h"
#include "client/client.h"
#include "client/groups.h"
#include "os/clock.h"
#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* One member that was asked. */
struct asked {
    struct al_message_id watch; /* the id under which its end is awaited */
    uint32_t stream;
    uint64_t joined_seq, left_seq;
    bool watched, counted;
    struct al_end *end;
    char agent[AL_NAME_MAX + 1];
};

struct group_request {
    struct al_replies pub; /* first: the program's pointer is this one */
    struct al_client *client;
    const char *author;
    struct al_alloc alloc;
    struct asked *asked; /* AL_GROUP_MEMBERS_MAX of them */
    struct al_reply *replies;
};

static size_t asked_size(void)
{
    return AL_GROUP_MEMBERS_MAX * sizeof(struct asked);
}

static size_t replies_size(void)
{
    return AL_GROUP_MEMBERS_MAX * sizeof(struct al_reply);
}

void al_replies_free(struct al_replies *replies)
{
    struct group_request *request = (struct group_request *)(void *)replies;
    struct al_alloc alloc;

    if (!request)
        return;
    alloc = request->alloc;
    for (uint32_t i = 0; request->asked && i < request->pub.members; i++)
        al_end_free(request->asked[i].end);
    al_alloc_free(&alloc, request->asked, asked_size());
    al_alloc_free(&alloc, request->replies, replies_size());
    al_alloc_free(&alloc, request, sizeof(*request));
}

static struct group_request *request_new(struct al_client *client, const char *author)
{
    struct group_request *request = al_alloc_zero(&client->alloc, sizeof(*request));

    if (!request)
        return NULL;
    request->alloc = client->alloc;
    request->client = client;
    request->author = author;
    request->asked = al_alloc_zero(&client->alloc, asked_size());
    request->replies = al_alloc_zero(&client->alloc, replies_size());
    request->pub.replies = request->replies;
    if (request->asked && request->replies)
        return request;
    al_replies_free(&request->pub);
    return NULL;
}

/* A name without the default namespace, as the node tells it. */
static const char *normal(const char *name)
{
    static const char prefix[] = "default/";

    return strncmp(name, prefix, sizeof(prefix) - 1) == 0 ? name + sizeof(prefix) - 1 : name;
}

/* ---- who is asked ------------------------------------------------------------------------ */

static int take_member(void *ctx, const struct al_group_member *member)
{
    struct group_request *request = ctx;
    struct asked *asked = &request->asked[request->pub.members];

    if (strcmp(normal(member->agent), normal(request->author)) == 0 ||
        request->pub.members >= AL_GROUP_MEMBERS_MAX)
        return 0;
    /* Before the post: who is there. After it: who of them was there when it was posted. */
    if (request->pub.seq ? member->joined_seq > request->pub.seq ||
                               (member->left_seq && member->left_seq < request->pub.seq)
                         : member->left_seq != 0)
        return 0;
    snprintf(asked->agent, sizeof(asked->agent), "%s", member->agent);
    asked->stream = member->stream;
    request->pub.members++;
    return 0;
}

/* The members as of now. */
static int take_roster(struct group_request *request, const char *group)
{
    request->pub.members = 0;
    return al_group_members(request->client, group, take_member, request);
}

/* ---- waiting ----------------------------------------------------------------------------- */

/* With the lock: begins to wait for every member's end. */
static int watch_all(struct group_request *request)
{
    int r = 0;

    for (uint32_t i = 0; i < request->pub.members && r >= 0; i++) {
        struct asked *asked = &request->asked[i];

        r = ali_client_random(request->client, asked->watch.bytes);
        if (r >= 0)
            r = ali_watch_at(request->client->session, &asked->watch, asked->stream,
                             request->pub.seq, &asked->end);
        asked->watched = r >= 0;
    }
    return r < 0 ? ali_client_failed(r, NULL) : 0;
}

static void forget_all(struct group_request *request)
{
    for (uint32_t i = 0; i < request->pub.members; i++) {
        if (request->asked[i].watched && !request->asked[i].end)
            ali_watch_forget(request->client->session, &request->asked[i].watch);
    }
}

/* Counts what has come. */
static void count(struct group_request *request)
{
    for (uint32_t i = 0; i < request->pub.members; i++) {
        struct asked *asked = &request->asked[i];

        if (!asked->end || asked->counted)
            continue;
        asked->counted = true;
        asked->end->id = request->pub.id;
        if (asked->end->state == AL_RECORD_DELIVERED || asked->end->state == AL_RECORD_PARTIAL)
            request->replies[request->pub.count++] = (struct al_reply){asked->agent, asked->end};
        else
            request->pub.failed++;
    }
}

/* With the lock: waits for the quorum. */
static int await(struct group_request *request, uint64_t deadline)
{
    struct al_replies *replies = &request->pub;
    int r = watch_all(request);

    ali_client_flush(request->client);
    count(request);
    while (r >= 0 && replies->count < replies->quorum &&
           replies->members - replies->failed >= replies->quorum && al_clock_mono_ns() < deadline) {
        ali_client_wait(request->client, deadline);
        count(request);
    }
    forget_all(request);
    if (r >= 0 && replies->count < replies->quorum)
        r = ali_client_fail(
            -AL_E_NO_QUORUM, "%u of %u members have replied and %u have failed%s; %u were wanted",
            replies->count, replies->members, replies->failed,
            al_clock_mono_ns() >= deadline ? " by the deadline" : "", replies->quorum);
    return r;
}

/* ---- asking ------------------------------------------------------------------------------ */

/* The time that is left of a deadline. */
static int left_ms(uint64_t deadline)
{
    uint64_t now = al_clock_mono_ns();

    if (deadline == AL_NEVER_NS)
        return -1;
    return deadline > now ? (int)((deadline - now) / AL_NS_PER_MS) : 0;
}

/* Finds out whether the quorum can be reached, and posts. */
static int post(struct group_request *request, const char *group, const struct al_message *message,
                uint64_t deadline)
{
    struct al_replies *replies = &request->pub;
    struct al_receipt receipt;
    int r = take_roster(request, group);

    if (r < 0)
        return r;
    if (replies->quorum > replies->members || replies->members == 0)
        return ali_client_fail(-AL_E_INVALID,
                               "a quorum of %u cannot be reached: the group has %u members beside "
                               "the author",
                               replies->quorum, replies->members);
    if (!replies->quorum)
        replies->quorum = replies->members;
    r = al_group_post(request->client, group, message, left_ms(deadline), &receipt);
    if (r < 0)
        return r;
    replies->id = receipt.id;
    replies->seq = receipt.seq;
    return take_roster(request, group); /* somebody may have come or gone meanwhile */
}

int al_request_group(struct al_client *client, const char *group, const struct al_message *message,
                     uint32_t quorum, int timeout_ms, struct al_replies **ret_replies)
{
    uint64_t deadline = ali_deadline_ns(timeout_ms);
    struct group_request *request;
    int r;

    if (!message->from)
        return ali_client_fail(-AL_E_BAD_NAME, "a request to a group has an author: `from`");
    request = request_new(client, message->from);
    if (!request)
        return ali_client_failed(-AL_E_NOMEM, NULL);
    request->pub.quorum = quorum;
    r = post(request, group, message, deadline);
    if (r >= 0) {
        ali_client_lock(client);
        r = await(request, deadline);
        ali_client_unlock(client);
    }
    if (r < 0 && r != -AL_E_NO_QUORUM)
        al_replies_free(&request->pub);
    else
        *ret_replies = &request->pub;
    return r;
}
