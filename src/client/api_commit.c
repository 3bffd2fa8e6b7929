/* api_commit.c - al_commit() and the calls that build one. */
#include "agentlink/commit.h"
#include "base/errors.h"
#include "base/limits.h"
#include "client/client.h"
#include "os/clock.h"

static struct ali_delivery *whole(struct al_delivery *delivery)
{
    return (struct ali_delivery *)(void *)delivery; /* its first member */
}

/* ---- building ---------------------------------------------------------------------------- */

int al_commit_begin(struct al_client *client, const char *agent, struct al_commit **ret_commit)
{
    struct al_commit *commit = NULL;
    int r;

    ali_client_lock(client);
    r = ali_commit_new(client->session, agent, &commit);
    ali_client_unlock(client);
    if (r < 0)
        return ali_client_fail(r, "a commit of '%.130s': %s", agent ? agent : "", al_error_text(r));
    commit->client = client;
    *ret_commit = commit;
    return 0;
}

static int add_failed(int error, const char *what, const char *name, const char *why)
{
    if (error == -AL_E_LIMIT)
        why = "a commit has at most 256 parts";
    else if (error == -AL_E_BUSY)
        why = "the commit is under way or applied";
    return ali_client_fail(error, "%s '%.130s': %s", what, name ? name : "",
                           why ? why : al_error_text(error));
}

int al_commit_ack(struct al_commit *commit, struct al_delivery *delivery,
                  const struct al_ack_options *options)
{
    struct al_client *client = commit->client;
    int r;

    if (whole(delivery)->client != client)
        return ali_client_fail(-AL_E_INVALID, "the delivery belongs to another client");
    ali_client_lock(client);
    r = ali_commit_add_ack(client->session, commit, whole(delivery), options);
    ali_client_unlock(client);
    return r < 0 ? add_failed(r, "the ack of a message to", delivery->agent,
                              r == -AL_E_INVALID ? "a commit acknowledges a message that is not "
                                                   "volatile, not settled and in no other commit"
                                                 : NULL)
                 : 0;
}

int al_commit_send(struct al_commit *commit, const struct al_message *message)
{
    struct al_client *client = commit->client;
    const char *why = NULL;
    struct al_id fresh;
    int r;

    ali_client_lock(client);
    r = ali_client_random(client, fresh.b);
    fresh = al_id_from_random(fresh.b);
    if (r == 0)
        r = ali_commit_add_send(client->session, commit, message, fresh, al_clock_now());
    ali_client_unlock(client);
    if (r == -AL_E_INVALID)
        why = ali_message_flaw(message);
    if (r == -AL_E_INVALID && !why)
        why = "a message of a commit is from its agent and not volatile";
    return r < 0 ? add_failed(r, "the message to", message->to, why) : 0;
}

static int change(struct al_commit *commit, unsigned action, const char *key, struct al_str value)
{
    struct al_client *client = commit->client;
    int r;

    ali_client_lock(client);
    r = ali_commit_add_change(commit, action, al_str_c(key), value);
    ali_client_unlock(client);
    return r < 0 ? add_failed(r, "the key", key,
                              r == -AL_E_TOO_LARGE ? "a key has at most 255 bytes, a value 16384"
                              : r == -AL_E_INVALID ? "a key is UTF-8 text and not empty"
                                                   : NULL)
                 : 0;
}

int al_commit_put(struct al_commit *commit, const char *key, const void *value, size_t value_size)
{
    if (value_size > AL_KV_VALUE_MAX)
        return add_failed(-AL_E_TOO_LARGE, "the key", key, "a value has at most 16384 bytes");
    return change(commit, AL_KV_SET, key, al_str_of(value, (uint32_t)value_size));
}

int al_commit_delete(struct al_commit *commit, const char *key)
{
    return change(commit, AL_KV_DELETE, key, al_str_of(NULL, 0));
}

/* ---- committing -------------------------------------------------------------------------- */

enum al_commit_part al_commit_bad_part(const struct al_commit *commit, size_t *ret_index)
{
    uint32_t bad = commit->bad,
             lists[3] = {commit->ack_count, commit->send_count, commit->change_count};

    if (commit->error == 0)
        return AL_COMMIT_PART_NONE;
    for (unsigned i = 0; i < 3; i++) {
        if (bad < lists[i]) {
            if (ret_index)
                *ret_index = bad;
            return (enum al_commit_part)(i + 1);
        }
        bad -= lists[i];
    }
    return AL_COMMIT_PART_NONE;
}

/* The error of a commit, in words that name the part. */
static int explain(struct al_commit *commit, int error, const char *detail)
{
    const char *why = detail && *detail ? detail : al_error_text(error);
    struct al_msg_commit_send send;
    struct al_msg_commit_kv kv;
    struct al_msg_ack ack;
    size_t index = 0;
    unsigned number;

    commit->error = error;
    switch (al_commit_bad_part(commit, &index)) {
    case AL_COMMIT_PART_ACK:
        number = (unsigned)index + 1;
        if (al_decode_ack(ali_commit_body(&commit->acks, (uint32_t)index), &ack) < 0)
            break;
        return ali_client_fail(error, "ack %u (stream %u, sequence %llu): %s", number, ack.stream,
                               (unsigned long long)ack.seq, why);
    case AL_COMMIT_PART_MESSAGE:
        number = (unsigned)index + 1;
        if (al_decode_commit_send(ali_commit_body(&commit->sends, (uint32_t)index), &send) < 0)
            break;
        return ali_client_fail(error, "message %u to '%.*s': %s", number, (int)send.to.n,
                               (const char *)send.to.p, why);
    case AL_COMMIT_PART_CHANGE:
        number = (unsigned)index + 1;
        if (al_decode_commit_kv(ali_commit_body(&commit->changes, (uint32_t)index), &kv) < 0)
            break;
        return ali_client_fail(error, "change %u of key '%.*s': %s", number, (int)kv.key.n,
                               (const char *)kv.key.p, why);
    default:
        break;
    }
    return ali_client_fail(error, "commit of '%s': %s", commit->agent, why);
}

/* No answer came in time. */
static int gave_up(struct al_client *client, struct al_commit *commit)
{
    bool parked = commit->state == ALI_COMMIT_PARKED;

    if (commit->fn || !ali_commit_withdraw(client->session, commit))
        return ali_client_fail(-AL_E_UNKNOWN_OUTCOME,
                               "no answer came in time: the commit of '%s' may or may not have "
                               "been applied; wait for it with al_commit()",
                               commit->agent);
    commit->bad = UINT32_MAX;
    if (parked)
        return explain(commit, -AL_E_LEASE_LOST, NULL);
    if (client->session->link != ALI_LINK_UP)
        return explain(commit, -AL_E_UNREACHABLE, client->connect_detail);
    return explain(commit, -AL_E_TIMEOUT, "not sent: the node did not answer in time");
}

/* With the lock: queues it. 0, or why not, explained. */
static int queue(struct al_client *client, struct al_commit *commit)
{
    bool empty = commit->ack_count + commit->send_count + commit->change_count == 0;
    uint32_t bad;
    int r = ali_commit_queue(client->session, commit, al_clock_now(), &bad);

    commit->bad = bad;
    if (r < 0)
        return explain(commit, r, empty ? "it has no part" : NULL);
    ali_client_flush(client);
    return 0;
}

int al_commit(struct al_commit *commit, int timeout_ms)
{
    struct al_client *client = commit->client;
    uint64_t deadline = ali_deadline_ns(timeout_ms);
    int r = 0;

    ali_client_lock(client);
    if (commit->state == ALI_COMMIT_BUILT && !commit->due)
        r = queue(client, commit);
    if (r < 0) {
        ali_client_unlock(client);
        return r;
    }
    while (ali_commit_is_under_way(commit) && al_clock_mono_ns() < deadline)
        ali_client_wait(client, deadline);
    if (ali_commit_is_under_way(commit))
        r = gave_up(client, commit);
    else if (commit->state != ALI_COMMIT_DONE)
        r = explain(commit, commit->error, commit->detail);
    ali_client_unlock(client);
    return r;
}

int al_commit_async(struct al_commit *commit, al_commit_fn *fn, void *ctx)
{
    struct al_client *client = commit->client;
    int r;

    ali_client_lock(client);
    if (commit->state == ALI_COMMIT_BUILT && !commit->due) {
        commit->fn = fn; /* its outcome may come with the first write */
        commit->ctx = ctx;
        r = queue(client, commit);
        if (r < 0)
            commit->fn = NULL;
    } else {
        r = add_failed(-AL_E_BUSY, "the commit of", commit->agent, NULL);
    }
    ali_client_unlock(client);
    return r;
}

bool ali_commit_call(struct al_client *client)
{
    struct al_commit *commit = ali_commit_take_due(client->session);
    al_commit_fn *fn;
    int error;

    if (!commit)
        return false;
    fn = commit->fn;
    commit->fn = NULL;
    error = commit->state == ALI_COMMIT_DONE ? 0 : commit->error;
    ali_client_unlock(client);
    if (error < 0)
        explain(commit, error, commit->detail);
    fn(commit->ctx, commit, error);
    ali_client_lock(client);
    return true;
}

size_t al_commit_receipts(const struct al_commit *commit, const struct al_receipt **ret_receipts)
{
    if (commit->state != ALI_COMMIT_DONE)
        return 0;
    *ret_receipts = commit->receipts;
    return commit->send_count;
}

void al_commit_free(struct al_commit *commit)
{
    struct al_client *client;

    if (!commit)
        return;
    client = commit->client;
    ali_client_lock(client);
    ali_commit_free(client->session, commit);
    ali_client_unlock(client);
}
