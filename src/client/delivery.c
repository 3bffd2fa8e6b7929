/* delivery.c - a received message in memory: one block with everything the program may look at. */
#include "base/errors.h"
#include "client/gaps.h"
#include "client/session.h"
#include <assert.h>

/* A block for a delivery with `size` bytes behind it, listed with its session. */
static struct ali_delivery *take_block(struct ali_csession *session, size_t size)
{
    struct ali_delivery *delivery;

    size += sizeof(*delivery);
    delivery = al_alloc_new(&session->config.alloc, size);
    if (!delivery)
        return NULL;
    memset(delivery, 0, sizeof(*delivery));
    delivery->size = size;
    delivery->client = session->config.client;
    delivery->all_next = session->deliveries;
    delivery->all_link = &session->deliveries;
    if (delivery->all_next)
        delivery->all_next->all_link = &delivery->all_next;
    session->deliveries = delivery;
    return delivery;
}

/* The fields that are numbers. */
static void fill_numbers(const struct ali_csession *session, const struct al_msg_deliver *m,
                         struct ali_delivery *delivery)
{
    struct al_str missing, number;

    delivery->pub.message.priority = m->priority;
    delivery->pub.stream = m->stream;
    delivery->pub.seq = m->seq;
    delivery->pub.prev_seq = m->prev_seq;
    delivery->pub.attempt = m->attempt;
    delivery->pub.redelivered = m->flags & AL_DELIVER_REDELIVERED;
    delivery->pub.lease_ms = m->lease_ms;
    delivery->pub.admitted_ms = m->admitted_ms;
    if (m->flags & AL_DELIVER_GAP &&
        al_ext_find(session->deliver_ext, AL_DELIVER_EXT_GAP, &missing) && missing.n == 2)
        delivery->pub.missing = al_get16(missing.p);
    if (al_ext_find(session->deliver_ext, AL_DELIVER_EXT_WORKFLOW_SEQ, &number) && number.n == 8)
        delivery->pub.workflow_seq = al_get64(number.p);
    al_buf_init(&delivery->parts, &session->config.alloc);
    delivery->lease = m->lease;
    delivery->after = ali_deliver_after(m);
    delivery->lease_ms = m->lease_ms;
}

int ali_delivery_new(struct ali_csession *session, const struct al_msg_deliver *m,
                     const char *agent, struct ali_delivery **ret_delivery)
{
    struct al_msg_envelope envelope;
    struct ali_delivery *delivery;
    struct al_group_place place;
    struct al_str group = {NULL, 0}, parts;
    size_t header_count;
    int64_t size;
    uint8_t *room;
    int r;

    r = al_decode_envelope(m->envelope, &envelope);
    if (r == 0)
        r = ali_group_place(session, m, envelope.kind, &place, &group);
    if (r < 0)
        return r;
    size = ali_message_view_size(&envelope, &header_count);
    if (size < 0)
        return (int)size;
    size += (int64_t)(strlen(agent) + m->from.n + m->label.n + 3);
    size += group.n ? (int64_t)(sizeof(place) + group.n + 1) : 0;
    delivery = take_block(session, (size_t)size);
    if (!delivery)
        return -AL_E_NOMEM;
    room = (uint8_t *)(delivery + 1);
    if (group.n) { /* in front: it is aligned */
        delivery->pub.group = memcpy(room, &place, sizeof(place));
        room += sizeof(place);
    }
    room = ali_message_view(&envelope, header_count, room, &delivery->pub.message);
    delivery->pub.message.from = ali_text_copy(&room, m->from);
    delivery->pub.message.stream = ali_text_copy(&room, m->label);
    delivery->pub.agent = ali_text_copy(&room, al_str_c(agent));
    delivery->pub.message.to = delivery->pub.agent;
    if (group.n) {
        delivery->pub.message.to = ali_text_copy(&room, group);
        ((struct al_group_place *)(void *)(delivery + 1))->name = delivery->pub.message.to;
    }
    assert(room <= (uint8_t *)delivery + delivery->size);
    fill_numbers(session, m, delivery);
    delivery->pub.wants_parts =
        m->seq && !group.n && al_ext_find(envelope.ext, AL_EXT_PARTS, &parts) && parts.n;
    *ret_delivery = delivery;
    return 0;
}

void ali_delivery_free(struct ali_csession *session, struct ali_delivery *delivery)
{
    if (!delivery)
        return;
    assert(!delivery->stream);
    ali_commit_forget(delivery);
    *delivery->all_link = delivery->all_next;
    if (delivery->all_next)
        delivery->all_next->all_link = delivery->all_link;
    al_buf_deinit(&delivery->parts);
    al_alloc_free(&session->config.alloc, delivery, delivery->size);
}
