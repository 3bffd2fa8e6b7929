/* effects.c - what comes out of the core: a list of effects and one stretch of bytes. */
#include "core/internal.h"
#include <assert.h>

void al_effects_init(struct al_effects *effects, const struct al_alloc *alloc)
{
    *effects = (struct al_effects){.alloc = alloc};
    al_buf_init(&effects->data, alloc);
}

void al_effects_deinit(struct al_effects *effects)
{
    al_alloc_free(effects->alloc, effects->list, effects->cap * sizeof(*effects->list));
    al_buf_deinit(&effects->data);
    *effects = (struct al_effects){.alloc = effects->alloc};
}

void al_effects_clear(struct al_effects *effects)
{
    effects->count = 0;
    effects->consumed = 0;
    effects->failed = false;
    al_buf_clear(&effects->data);
}

static int grow(struct al_effects *effects)
{
    size_t cap = effects->cap ? effects->cap * 2 : 64;
    struct al_effect *list = effects->alloc->realloc_fn(
        effects->alloc->ctx, effects->list, effects->cap * sizeof(*list), cap * sizeof(*list));

    if (!list)
        return -AL_E_NOMEM;
    effects->list = list;
    effects->cap = cap;
    return 0;
}

int ali_effects_room(struct al_node *node, size_t bytes)
{
    struct al_effects *effects = node->v.effects;

    if ((effects->count == effects->cap && grow(effects) < 0) ||
        al_buf_reserve(&effects->data, bytes) < 0) {
        effects->failed = true;
        return -AL_E_NOMEM;
    }
    return 0;
}

void ali_effect_send(struct al_node *node, uint32_t conn, size_t from)
{
    struct al_effects *effects = node->v.effects;
    struct al_effect *last = effects->count ? &effects->list[effects->count - 1] : NULL;
    uint32_t size = (uint32_t)(effects->data.size - from);

    if (last && last->type == AL_EFFECT_SEND && last->conn == conn &&
        last->offset + last->size == from) {
        last->size += size;
        return;
    }
    assert(effects->list && effects->count < effects->cap); /* ali_effects_room came before */
    effects->list[effects->count++] =
        (struct al_effect){.type = AL_EFFECT_SEND, .conn = conn, .offset = from, .size = size};
}

void ali_effect_send_ext(struct al_node *node, uint32_t conn, size_t from, struct al_str ext)
{
    struct al_buf *data = &node->v.effects->data;

    (void)al_buf_put(data, ext.p, ext.n);
    al_put32(data->data + from, (uint32_t)(data->size - from - AL_WIRE_HEADER_SIZE));
    ali_effect_send(node, conn, from);
}

int ali_effect_issue(struct al_node *node, uint32_t conn, uint64_t serial, struct al_str identity,
                     struct al_str csr)
{
    struct al_effects *effects = node->v.effects;
    size_t from = effects->data.size;

    if (ali_effects_room(node, (size_t)identity.n + csr.n) < 0)
        return -AL_E_NOMEM;
    (void)al_buf_put(&effects->data, identity.p, identity.n);
    (void)al_buf_put(&effects->data, csr.p, csr.n);
    effects->list[effects->count++] = (struct al_effect){.type = AL_EFFECT_ISSUE,
                                                         .conn = conn,
                                                         .lsn = serial,
                                                         .record_type = identity.n,
                                                         .offset = from,
                                                         .size = identity.n + csr.n};
    return 0;
}

int al_issued_encode(struct al_buf *out, const struct al_issued *issued)
{
    uint8_t size[4];
    int r;

    al_put32(size, issued->certificate.n);
    r = al_buf_put(out, size, sizeof(size));
    if (r == 0)
        r = al_buf_put(out, issued->certificate.p, issued->certificate.n);
    return r < 0 ? r : al_buf_put(out, issued->authorities.p, issued->authorities.n);
}

int al_issued_decode(struct al_str data, struct al_issued *ret_issued)
{
    uint32_t n = data.n >= 4 ? al_get32(data.p) : 0;

    if (!n || n > data.n - 4)
        return -AL_E_INVALID;
    ret_issued->certificate = al_str_of(data.p + 4, n);
    ret_issued->authorities = al_str_of(data.p + 4 + n, data.n - 4 - n);
    return 0;
}

void ali_effect_close(struct al_node *node, uint32_t conn)
{
    struct al_effects *effects = node->v.effects;

    if (ali_effects_room(node, 0) < 0)
        return;
    effects->list[effects->count++] = (struct al_effect){.type = AL_EFFECT_CLOSE, .conn = conn};
}

int ali_effect_read(struct al_node *node, struct ali_read *read, const uint64_t *lsns,
                    uint32_t count)
{
    struct al_effects *effects = node->v.effects;
    size_t from = effects->data.size;
    uint32_t place;
    int r = al_pool_reserve(&node->v.reads, 1);

    if (r == 0)
        r = ali_effects_room(node, count * sizeof(*lsns));
    if (r < 0)
        return r;
    (void)al_buf_put(&effects->data, lsns, count * sizeof(*lsns));
    place = al_pool_take(&node->v.reads);
    read->request = ++node->v.read_count << 32 | (place + 1); /* never 0 */
    *(struct ali_read *)al_pool_at(&node->v.reads, place) = *read;
    effects->list[effects->count++] = (struct al_effect){.type = AL_EFFECT_READ,
                                                         .lsn = read->request,
                                                         .offset = from,
                                                         .size = (uint32_t)(count * sizeof(*lsns))};
    return 0;
}

const char *al_node_notice_name(unsigned notice)
{
    static const char *const names[] = {"",
                                        "breaker_open",
                                        "breaker_half_open",
                                        "breaker_closed",
                                        "health_changed",
                                        "alert_firing",
                                        "alert_over",
                                        "dead_letter",
                                        "dead_letters_not_logged"};

    return notice < sizeof(names) / sizeof(names[0]) ? names[notice] : "";
}

void ali_effect_notice(struct al_node *node, enum al_node_notice notice, struct al_str subject,
                       struct al_str detail, uint64_t number)
{
    struct al_effects *effects = node->v.effects;
    size_t from = effects->data.size;

    if (ali_effects_room(node, (size_t)subject.n + detail.n) < 0)
        return;
    (void)al_buf_put(&effects->data, subject.p, subject.n);
    (void)al_buf_put(&effects->data, detail.p, detail.n);
    effects->list[effects->count++] = (struct al_effect){.type = AL_EFFECT_NOTICE,
                                                         .conn = subject.n,
                                                         .lsn = number,
                                                         .record_type = notice,
                                                         .offset = from,
                                                         .size = subject.n + detail.n};
}

void ali_send_error_detail(struct al_node *node, struct ali_conn *conn, uint8_t about,
                           uint32_t request, int error, const char *detail)
{
    struct al_msg_error msg = {.request = request,
                               .code = (uint16_t)(error < 0 ? -error : error),
                               .about = about,
                               .detail =
                                   detail ? al_str_c(detail) : ali_acl_error_text(node, error)};

    ALI_SEND(node, conn->number, error, &msg);
}

void ali_send_error(struct al_node *node, struct ali_conn *conn, uint8_t about, uint32_t request,
                    int error)
{
    ali_send_error_detail(node, conn, about, request, error, NULL);
}

void ali_send_fatal(struct al_node *node, struct ali_conn *conn, uint8_t about, int error,
                    const char *detail)
{
    struct al_msg_error msg = {.code = (uint16_t)(error < 0 ? -error : error),
                               .about = about,
                               .fatal = 1,
                               .detail = al_str_c(detail ? detail : al_error_text(error))};

    ALI_SEND(node, conn->number, error, &msg);
    conn->closing = true;
    ali_session_lost(node, conn); /* nothing more may be given to it */
    ali_effect_close(node, conn->number);
}

void ali_send_done(struct al_node *node, struct ali_conn *conn, uint32_t request, int error,
                   uint64_t count)
{
    struct al_msg_done msg = {.request = request,
                              .code = (uint16_t)(error < 0 ? -error : error),
                              .count = count,
                              .detail = error ? ali_acl_error_text(node, error) : al_str_c("")};

    ALI_SEND(node, conn->number, done, &msg);
}
