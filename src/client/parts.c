/* parts.c - replies in parts, on both sides.
 *
 * The recipient sends each part as it has it (PART), and the node passes it on to the sender of the
 * request, if that one is there just now, without writing it down (REPLY_PART). The ack then has
 * all parts in its response, in a PARTS body, and that is what is stored and told in END. So parts
 * cost no record of their own, what is lost on the way comes with the end, and a reply that is
 * stored (idempotency keys, the processed-store) is whole.
 *
 * The sender takes a part only behind the one before it; a hole is filled by the end, at the
 * latest. An attempt is named by the lease under which its first part was sent: a recipient that
 * keeps a message over a lost lease goes on with its parts; one that begins anew has another name,
 * and begins with part 1. The node refuses the parts of a lease that is not the current one, so
 * nothing of an older attempt follows a newer one. */
#include "base/errors.h"
#include "base/limits.h"
#include "client/session.h"
#include <assert.h>

/* ---- sending ----------------------------------------------------------------------------- */

#define WRAPPING 512u /* so much at most stands around the parts in the ack, without a response */

/* 0, or why this delivery takes no such part. What was said must fit into an ack in any case. */
static int check(const struct ali_csession *session, const struct ali_delivery *delivery,
                 struct al_str data)
{
    size_t most = AL_RESPONSE_MAX;

    if (session->payload_max && session->payload_max < most)
        most = session->payload_max;
    if (!delivery->stream)
        return delivery->detached ? delivery->detached : -AL_E_INVALID;
    if (!delivery->held || delivery->dropped || delivery->commit || data.n == 0)
        return -AL_E_INVALID;
    if (!delivery->pub.wants_parts)
        return -AL_E_UNSUPPORTED;
    if (delivery->prev)
        return -AL_E_OUT_OF_ORDER;
    if (data.n > AL_PART_MAX || delivery->part_count >= AL_PARTS_MAX ||
        delivery->parts.size + data.n + 4 + WRAPPING > most)
        return -AL_E_TOO_LARGE;
    return 0;
}

int ali_csession_part(struct ali_csession *session, struct ali_delivery *delivery,
                      struct al_str data, struct al_now now)
{
    struct al_msg_part m = {.stream = delivery->pub.stream,
                            .seq = delivery->pub.seq,
                            .lease = delivery->lease,
                            .data = data};
    int r = check(session, delivery, data);

    session->now = now;
    if (r == 0)
        r = al_buf_reserve(&delivery->parts, 4 + data.n);
    if (r < 0)
        return r;
    al_put32(delivery->parts.data + delivery->parts.size, data.n);
    memcpy(delivery->parts.data + delivery->parts.size + 4, data.p, data.n);
    delivery->parts.size += 4 + data.n;
    if (delivery->part_count++ == 0)
        delivery->parts_attempt = delivery->lease;
    session->stats.parts_sent++;
    if (delivery->lost || session->link != ALI_LINK_UP ||
        delivery->stream->attach->state != ALI_ATTACH_DONE)
        return 0; /* it goes with the ack */
    m.agent = delivery->stream->attach->number;
    m.attempt = delivery->parts_attempt;
    m.part = delivery->part_count;
    (void)al_put_part(&session->out, &m); /* without memory likewise */
    return 0;
}

int ali_parts_wrap(const struct ali_delivery *delivery, const struct al_ack_options *options,
                   struct al_buf *buf, struct al_ack_options *ret_options)
{
    static const struct al_ack_options success;
    struct al_msg_parts m = {.attempt = delivery->parts_attempt, .count = delivery->part_count};
    size_t size;
    int r;

    *ret_options = options ? *options : success;
    if (!delivery->part_count)
        return 0;
    if (ret_options->response_size > AL_RESPONSE_MAX)
        return -AL_E_TOO_LARGE;
    m.parts = al_str_of(delivery->parts.data, (uint32_t)delivery->parts.size);
    m.response_type = al_str_c(ret_options->response_type);
    m.response = al_str_of(ret_options->response, (uint32_t)ret_options->response_size);
    if (m.response_type.n > AL_CONTENT_TYPE_MAX)
        return -AL_E_TOO_LARGE;
    size = al_size_parts(&m);
    r = al_buf_reserve(buf, size);
    if (r < 0)
        return r;
    (void)al_encode_parts(buf->data, &m);
    ret_options->response = buf->data;
    ret_options->response_size = size;
    ret_options->response_type = AL_PARTS_TYPE;
    return 0;
}

#define NO_LEASE 1u /* names parts that were not said under a lease: leases are larger */

int ali_parts_wrap_texts(const char *const *texts, size_t count, struct al_buf *buf,
                         struct al_str *response, struct al_str *type)
{
    struct al_msg_parts m = {.attempt = NO_LEASE,
                             .count = (uint32_t)count,
                             .response = *response,
                             .response_type = *type};
    size_t size = 0;
    uint8_t *at;
    int r;

    for (size_t i = 0; i < count; i++) {
        struct al_str text = al_str_c(texts[i]);

        size += 4 + text.n;
        if (text.n == 0)
            return -AL_E_INVALID;
        if (text.n > AL_PART_MAX || size > AL_RESPONSE_MAX || count > AL_PARTS_MAX)
            return -AL_E_TOO_LARGE;
    }
    r = al_buf_reserve(buf, 2 * size + response->n + 512);
    if (r < 0)
        return r;
    at = buf->data;
    for (size_t i = 0; i < count; i++) {
        struct al_str text = al_str_c(texts[i]);

        al_put32(at, text.n);
        memcpy(at + 4, text.p, text.n);
        at += 4 + text.n;
    }
    m.parts = al_str_of(buf->data, (uint32_t)size);
    *response = al_str_of(at, (uint32_t)(al_encode_parts(at, &m) - at));
    *type = al_str_c(AL_PARTS_TYPE);
    return response->n > AL_RESPONSE_MAX ? -AL_E_TOO_LARGE : 0;
}

/* ---- taking ------------------------------------------------------------------------------ */

void ali_parts_init(struct ali_parts *parts)
{
    memset(parts, 0, sizeof(*parts));
    parts->tail = &parts->head;
}

struct ali_part *ali_parts_take(struct ali_parts *parts)
{
    struct ali_part *part = parts->head;

    if (part) {
        parts->head = part->next;
        if (!parts->head)
            parts->tail = &parts->head;
    }
    return part;
}

void ali_part_free(struct ali_csession *session, struct ali_part *part)
{
    if (part)
        al_alloc_free(&session->config.alloc, part, sizeof(*part) + part->size);
}

void ali_parts_deinit(struct ali_csession *session, struct ali_parts *parts)
{
    while (parts->head)
        ali_part_free(session, ali_parts_take(parts));
}

/* Another attempt: what is not taken of the one before is void. */
static void begin(struct ali_csession *session, struct ali_parts *parts, uint64_t attempt_id)
{
    ali_parts_deinit(session, parts);
    parts->attempt_id = attempt_id;
    parts->attempt++;
    parts->last = parts->size = 0;
}

static int add(struct ali_csession *session, struct ali_parts *parts, struct al_str data)
{
    struct ali_part *part = al_alloc_new(&session->config.alloc, sizeof(*part) + data.n);

    if (!part)
        return -AL_E_NOMEM;
    part->next = NULL;
    part->attempt = parts->attempt;
    part->number = ++parts->last;
    part->size = data.n;
    memcpy(part->data, data.p, data.n);
    parts->size += data.n;
    *parts->tail = part;
    parts->tail = &part->next;
    session->stats.parts++;
    return 0;
}

int ali_parts_came(struct ali_csession *session, const struct al_msg_reply_part *m)
{
    struct al_message_id id;
    struct ali_watch *watch;
    struct ali_parts *parts;

    if (m->part == 0 || m->data.n == 0 || m->attempt == 0)
        return -AL_E_PROTOCOL;
    memcpy(id.bytes, m->message_id.b, 16);
    watch = ali_watch_find(session, &id);
    parts = watch ? watch->parts : NULL;
    if (!parts || (m->attempt != parts->attempt_id && m->part != 1))
        return 0;
    if (m->attempt != parts->attempt_id)
        begin(session, parts, m->attempt);
    if (m->part == parts->last + 1 && parts->size + m->data.n <= AL_RESPONSE_MAX)
        (void)add(session, parts, m->data); /* if not, it comes with the end */
    return 0;
}

/* Takes the next part off; 1, 0 at the end, -AL_E_PROTOCOL. */
static int next_part(struct al_str *list, struct al_str *ret_data)
{
    uint32_t size;

    if (list->n == 0)
        return 0;
    size = list->n < 4 ? 0 : al_get32(list->p);
    if (size == 0 || size > list->n - 4)
        return -AL_E_PROTOCOL;
    *ret_data = al_str_of(list->p + 4, size);
    *list = al_str_of(list->p + 4 + size, list->n - 4 - size);
    return 1;
}

/* False: not a reply in parts, or a malformed one, which is then a response like any other. */
static bool decode(const struct al_msg_end *end, struct al_msg_parts *ret_parts)
{
    struct al_str type = al_str_c(AL_PARTS_TYPE), list, data;
    uint32_t count = 0;
    int r;

    if (end->response_type.n != type.n || memcmp(end->response_type.p, type.p, type.n) != 0 ||
        al_decode_parts(end->response, ret_parts) < 0)
        return false;
    list = ret_parts->parts;
    while ((r = next_part(&list, &data)) == 1)
        count++;
    return r == 0 && count == ret_parts->count && ret_parts->attempt;
}

int ali_parts_end(struct ali_csession *session, struct ali_parts *parts, struct al_msg_end *end,
                  uint32_t *ret_count)
{
    struct al_msg_parts m;
    struct al_str list, data;
    uint32_t number = 0;
    int r = 0;

    if (!decode(end, &m)) {
        if (parts) /* what came is void: it was of attempts that ended otherwise */
            ali_parts_deinit(session, parts);
        return 0;
    }
    if (parts && parts->attempt_id != m.attempt)
        begin(session, parts, m.attempt);
    list = m.parts;
    while (parts && r >= 0 && next_part(&list, &data) == 1) {
        if (++number > parts->last)
            r = add(session, parts, data);
    }
    end->response_type = m.response_type;
    end->response = m.response;
    *ret_count = m.count;
    return r;
}
