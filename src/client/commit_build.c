/* commit_build.c - the parts of a commit: checked and encoded as the program adds them.
 *
 * Each list grows as the node reads it, body behind length; the frame is put together when the
 * commit is queued. Numbers and leases are written into it when it is sent (commit.c). */
#include "base/errors.h"
#include "base/limits.h"
#include "base/text.h"
#include "client/session.h"
#include <assert.h>

#define LEASE_AT 16u /* where an ACK body has its lease */
#define FRAME_ROOM \
    (AL_HEADERS_MAX + AL_EXT_MAX + 4096u) /* the node reads so much beside payload_max */

int ali_commit_new(struct ali_csession *session, const char *agent, struct al_commit **ret_commit)
{
    const struct al_alloc *alloc = &session->config.alloc;
    struct al_commit *commit;

    if (!agent || !al_name_is_valid(al_str_c(agent)))
        return -AL_E_BAD_NAME;
    commit = al_alloc_zero(alloc, sizeof(*commit));
    if (!commit)
        return -AL_E_NOMEM;
    al_buf_init(&commit->acks, alloc);
    al_buf_init(&commit->sends, alloc);
    al_buf_init(&commit->changes, alloc);
    al_buf_init(&commit->frame, alloc);
    commit->ack = al_alloc_zero(alloc, AL_COMMIT_PARTS_MAX * sizeof(*commit->ack));
    commit->receipts = al_alloc_zero(alloc, AL_COMMIT_PARTS_MAX * sizeof(*commit->receipts));
    commit->notify = al_alloc_zero(alloc, AL_COMMIT_PARTS_MAX * sizeof(*commit->notify));
    memcpy(commit->agent, agent, strlen(agent) + 1);
    if (!commit->ack || !commit->receipts || !commit->notify) {
        ali_commit_free(session, commit);
        return -AL_E_NOMEM;
    }
    *ret_commit = commit;
    return 0;
}

/* Nobody is to be called back. */
static void not_due(struct ali_csession *session, struct al_commit *commit)
{
    struct al_commit **link = &session->commits_due;

    while (*link != commit)
        link = &(*link)->next;
    *link = commit->next;
    commit->due = false;
}

void ali_commit_free(struct ali_csession *session, struct al_commit *commit)
{
    const struct al_alloc *alloc = &session->config.alloc;

    if (!commit)
        return;
    if (ali_commit_is_under_way(commit)) {
        commit->abandoned = true;
        return;
    }
    if (commit->due)
        not_due(session, commit);
    for (uint32_t i = 0; i < commit->ack_count; i++)
        if (commit->ack[i].delivery)
            ali_commit_forget(commit->ack[i].delivery);
    al_buf_deinit(&commit->acks);
    al_buf_deinit(&commit->sends);
    al_buf_deinit(&commit->changes);
    al_buf_deinit(&commit->frame);
    al_alloc_free(alloc, commit->ack, AL_COMMIT_PARTS_MAX * sizeof(*commit->ack));
    al_alloc_free(alloc, commit->receipts, AL_COMMIT_PARTS_MAX * sizeof(*commit->receipts));
    al_alloc_free(alloc, commit->notify, AL_COMMIT_PARTS_MAX * sizeof(*commit->notify));
    al_alloc_free(alloc, commit, sizeof(*commit));
}

void ali_commit_forget(struct ali_delivery *delivery)
{
    struct al_commit *commit = delivery->commit;

    delivery->commit = NULL;
    for (uint32_t i = 0; commit && i < commit->ack_count; i++)
        if (commit->ack[i].delivery == delivery)
            commit->ack[i].delivery = NULL;
}

static int check_room(const struct al_commit *commit)
{
    if (commit->state != ALI_COMMIT_BUILT || commit->due)
        return -AL_E_BUSY;
    return commit->ack_count + commit->send_count + commit->change_count < AL_COMMIT_PARTS_MAX
               ? 0
               : -AL_E_LIMIT;
}

/* Room for a body behind its length; *ret_body is where it goes. */
static int add_body(struct al_buf *list, size_t size, uint8_t **ret_body)
{
    int r = al_buf_reserve(list, 4 + size);

    if (r < 0)
        return r;
    al_put32(list->data + list->size, (uint32_t)size);
    *ret_body = list->data + list->size + 4;
    list->size += 4 + size;
    return 0;
}

int ali_commit_add_ack(struct ali_csession *session, struct al_commit *commit,
                       struct ali_delivery *delivery, const struct al_ack_options *options)
{
    struct al_msg_ack m = {.stream = delivery->pub.stream, .seq = delivery->pub.seq};
    struct ali_commit_ack *ack = &commit->ack[commit->ack_count];
    struct al_ack_options wrapped;
    struct al_buf parts;
    int r = check_room(commit);
    uint8_t *body = NULL;

    al_buf_init(&parts, &session->config.alloc);
    if (r == 0 && (m.seq == 0 || delivery->commit || delivery->settled))
        r = -AL_E_INVALID;
    if (r == 0) /* what was said already stands in front of the response: the end mark */
        r = ali_parts_wrap(delivery, options, &parts, &wrapped);
    if (r == 0)
        r = ali_ack_body(session, &wrapped, &m);
    if (r == 0)
        r = add_body(&commit->acks, al_size_ack(&m), &body);
    if (r == 0)
        (void)al_encode_ack(body, &m);
    al_buf_deinit(&parts);
    if (r < 0)
        return r;
    *ack = (struct ali_commit_ack){.delivery = delivery,
                                   .lease_at = (size_t)(body - commit->acks.data) + LEASE_AT};
    delivery->commit = commit;
    commit->ack_count++;
    return 0;
}

static int check_send(const struct ali_csession *session, const struct al_commit *commit,
                      const struct al_message *message)
{
    struct al_str label = al_str_c(message->stream);
    int r = ali_message_check(message, session->payload_max);

    if (r < 0)
        return r;
    if (!message->to || !ali_recipient_is_valid(al_str_c(message->to)))
        return -AL_E_BAD_NAME;
    if ((message->from && *message->from && strcmp(message->from, commit->agent) != 0) ||
        message->flags & (AL_MESSAGE_VOLATILE | AL_MESSAGE_UNORDERED) || label.n > AL_LABEL_MAX ||
        !al_text_is_plain(label) ||
        ali_message_priority(message, AL_PRIORITY_DEFAULT) >= AL_PRIORITY_COUNT)
        return -AL_E_INVALID;
    return 0;
}

int ali_commit_add_send(struct ali_csession *session, struct al_commit *commit,
                        const struct al_message *message, struct al_id fresh, struct al_now now)
{
    struct al_msg_commit_send m = {.priority = ali_message_priority(message, AL_PRIORITY_NONE),
                                   .ttl_ms = message->ttl_ms,
                                   .due_ms = message->deliver_at_ms,
                                   .to = al_str_c(message->to),
                                   .label = al_str_c(message->stream)};
    struct al_msg_envelope envelope;
    uint8_t *body = NULL, *end;
    int r = check_room(commit);

    if (r == 0)
        r = check_send(session, commit, message);
    if (r == 0)
        r = ali_message_envelope(message, &session->scratch_headers, &session->scratch_ext,
                                 &envelope);
    if (r < 0)
        return r;
    if (al_message_id_is_zero(&message->id))
        envelope.message_id = fresh;
    if (envelope.timestamp_ms == 0)
        envelope.timestamp_ms = now.wall_ms;
    m.flags = message->flags & AL_MESSAGE_NOTIFY ? AL_PUBLISH_NOTIFY : 0;
    r = add_body(&commit->sends, al_size_commit_send(&m) + al_size_envelope(&envelope), &body);
    if (r < 0)
        return r;
    end = al_encode_commit_send(body, &m); /* with an empty envelope, and this in its place */
    al_put32(end - 4, (uint32_t)al_size_envelope(&envelope));
    (void)al_encode_envelope(end, &envelope);
    commit->notify[commit->send_count] = m.flags & AL_PUBLISH_NOTIFY;
    memcpy(commit->receipts[commit->send_count].id.bytes, envelope.message_id.b, 16);
    commit->send_count++;
    return 0;
}

int ali_commit_add_change(struct al_commit *commit, unsigned action, struct al_str key,
                          struct al_str value)
{
    struct al_msg_commit_kv m = {.action = (uint8_t)action, .key = key, .value = value};
    int r = check_room(commit);
    uint8_t *body = NULL;

    if (r == 0 && (key.n == 0 || !al_utf8_is_valid(key) || (value.n && !value.p)))
        r = -AL_E_INVALID;
    if (r == 0 && (key.n > 255 || value.n > AL_KV_VALUE_MAX))
        r = -AL_E_TOO_LARGE;
    if (r == 0)
        r = add_body(&commit->changes, al_size_commit_kv(&m), &body);
    if (r < 0)
        return r;
    (void)al_encode_commit_kv(body, &m);
    commit->change_count++;
    return 0;
}

struct al_str ali_commit_body(const struct al_buf *list, uint32_t n)
{
    size_t at = 0;

    while (at < list->size && n--)
        at += 4 + al_get32(list->data + at);
    if (at >= list->size)
        return al_str_of(NULL, 0);
    return al_str_of(list->data + at + 4, al_get32(list->data + at));
}

int ali_commit_encode(const struct ali_csession *session, struct al_commit *commit)
{
    struct al_msg_commit m = {.agent = al_str_c(commit->agent),
                              .acks = al_str_of(commit->acks.data, (uint32_t)commit->acks.size),
                              .sends = al_str_of(commit->sends.data, (uint32_t)commit->sends.size),
                              .changes =
                                  al_str_of(commit->changes.data, (uint32_t)commit->changes.size)};

    if (al_size_commit(&m) > (size_t)session->payload_max + FRAME_ROOM)
        return -AL_E_TOO_LARGE;
    al_buf_clear(&commit->frame);
    return al_put_commit(&commit->frame, &m);
}

void ali_commit_receipts(struct ali_csession *session, struct al_commit *commit)
{
    struct al_str list = al_str_of(NULL, 0);

    (void)al_ext_find(session->committed_ext, AL_COMMITTED_EXT_RECEIPTS, &list);
    for (uint32_t i = 0; i < commit->send_count; i++) {
        const uint8_t *at = list.p + (size_t)i * AL_COMMIT_RECEIPT_SIZE;
        struct al_receipt *receipt = &commit->receipts[i];

        receipt->durability = session->config.durability_volatile ? AL_DURABILITY_CLASS_VOLATILE
                                                                  : AL_DURABILITY_CLASS_LOCAL;
        if (list.n < (i + 1) * AL_COMMIT_RECEIPT_SIZE)
            continue;
        receipt->stream = al_get32(at);
        receipt->seq = al_get64(at + 4);
        receipt->duplicate = at[12];
    }
}
