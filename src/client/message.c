/* message.c - between the public form of a message and the envelope on the wire. */
#include "base/errors.h"
#include "base/limits.h"
#include "base/text.h"
#include "client/session.h"

static bool text_fits(const char *text, size_t max)
{
    size_t n = text ? strlen(text) : 0;

    return n <= max && al_text_is_plain(al_str_of(text, n));
}

int ali_message_check(const struct al_message *message, uint32_t payload_max)
{
    const uint32_t flags =
        AL_MESSAGE_NOTIFY | AL_MESSAGE_VOLATILE | AL_MESSAGE_PARTS | AL_MESSAGE_UNORDERED;
    const bool is_volatile = message->flags & AL_MESSAGE_VOLATILE;

    if (message->payload_size > payload_max)
        return -AL_E_TOO_LARGE;
    if (message->payload_size && !message->payload)
        return -AL_E_INVALID;
    if ((message->flags & ~flags) || message->ttl_ms > AL_TTL_MAX_MS)
        return -AL_E_INVALID;
    if (message->kind && *message->kind && !al_kind_is_valid(al_str_c(message->kind)))
        return -AL_E_INVALID;
    if (!text_fits(message->key, AL_KEY_MAX) ||
        !text_fits(message->content_type, AL_CONTENT_TYPE_MAX))
        return -AL_E_INVALID;
    if (message->reply_to && *message->reply_to && !al_name_is_valid(al_str_c(message->reply_to)))
        return -AL_E_BAD_NAME;
    if (is_volatile && ((message->flags & AL_MESSAGE_NOTIFY) || message->ttl_ms ||
                        message->deliver_at_ms || (message->key && *message->key)))
        return -AL_E_INVALID;
    return 0;
}

bool ali_recipient_is_valid(struct al_str name)
{
    return al_name_is_valid(name) || al_group_name_is_valid(name);
}

static bool utf8_fits(const char *text)
{
    return al_utf8_is_valid(al_str_c(text));
}

static bool headers_fit(const struct al_message *message)
{
    size_t i;

    if (message->header_count && !message->headers)
        return false;
    for (i = 0; i < message->header_count; i++) {
        const struct al_header *header = &message->headers[i];

        if (!header->name || !*header->name || !utf8_fits(header->name) ||
            !utf8_fits(header->value))
            return false;
    }
    return true;
}

uint8_t ali_message_priority(const struct al_message *message, uint8_t of_kind)
{
    if (message->priority != AL_MESSAGE_PRIORITY_OF_KIND)
        return message->priority;
    return message->kind && *message->kind ? of_kind : AL_PRIORITY_DEFAULT;
}

const char *ali_message_flaw(const struct al_message *message)
{
    const struct {
        bool is_fine;
        const char *text;
    } rows[] = {
        {!message->kind || !*message->kind || al_kind_is_valid(al_str_c(message->kind)),
         "`kind` must be 1 to 64 of A-Z a-z 0-9 . _ - : /"},
        {text_fits(message->stream, AL_LABEL_MAX),
         "`stream` must have at most 128 bytes of UTF-8 without control characters"},
        {text_fits(message->key, AL_KEY_MAX),
         "`key` must have at most 128 bytes of UTF-8 without control characters"},
        {text_fits(message->content_type, AL_CONTENT_TYPE_MAX),
         "`content_type` must have at most 127 bytes of UTF-8 without control characters"},
        {message->priority < AL_PRIORITY_COUNT || message->priority == AL_MESSAGE_PRIORITY_OF_KIND,
         "`priority` must be 0 to 9 or AL_MESSAGE_PRIORITY_OF_KIND"},
        {message->ttl_ms <= AL_TTL_MAX_MS, "`ttl_ms` must not be more than ten years"},
        {headers_fit(message), "`headers` need a name each, and UTF-8 in names and values"},
        {utf8_fits(message->correlation_id) && utf8_fits(message->workflow_id) &&
             utf8_fits(message->traceparent) && utf8_fits(message->tracestate),
         "`correlation_id`, `workflow_id`, `traceparent` and `tracestate` must be UTF-8"},
        {!message->payload_size || message->payload,
         "`payload` is NULL and `payload_size` is not 0"},
        {(message->flags & ~(uint32_t)(AL_MESSAGE_NOTIFY | AL_MESSAGE_VOLATILE | AL_MESSAGE_PARTS |
                                       AL_MESSAGE_UNORDERED)) == 0,
         "`flags` has bits that mean nothing"},
        {!(message->flags & AL_MESSAGE_VOLATILE) ||
             !((message->flags & AL_MESSAGE_NOTIFY) || message->ttl_ms || message->deliver_at_ms ||
               (message->key && *message->key)),
         "AL_MESSAGE_VOLATILE goes with none of AL_MESSAGE_NOTIFY, `key`, `ttl_ms` and "
         "`deliver_at_ms`"},
    };
    size_t i;

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (!rows[i].is_fine)
            return rows[i].text;
    }
    return NULL;
}

int ali_headers_encode(const struct al_header *headers, size_t count, struct al_buf *buf)
{
    size_t i;
    int r;

    if (count && !headers)
        return -AL_E_INVALID;
    for (i = 0; i < count; i++) {
        struct al_str name = al_str_c(headers[i].name), value = al_str_c(headers[i].value);

        if (name.n == 0 || !al_utf8_is_valid(name) || !al_utf8_is_valid(value))
            return -AL_E_INVALID;
        if (buf->size + 4 + name.n + value.n > AL_HEADERS_MAX)
            return -AL_E_TOO_LARGE;
        r = al_headers_put(buf, name, value);
        if (r < 0)
            return r;
    }
    return 0;
}

static int put_ext(struct al_buf *ext, uint16_t tag, const char *text)
{
    struct al_str value = al_str_c(text);

    if (value.n == 0)
        return 0;
    if (!al_utf8_is_valid(value))
        return -AL_E_INVALID;
    if (ext->size + 4 + value.n > AL_EXT_MAX)
        return -AL_E_TOO_LARGE;
    return al_ext_put(ext, tag, value);
}

int ali_message_envelope(const struct al_message *message, struct al_buf *headers,
                         struct al_buf *ext, struct al_msg_envelope *ret_envelope)
{
    int r;

    al_buf_clear(headers);
    al_buf_clear(ext);
    r = ali_headers_encode(message->headers, message->header_count, headers);
    if (r >= 0)
        r = put_ext(ext, AL_EXT_CORRELATION_ID, message->correlation_id);
    if (r >= 0)
        r = put_ext(ext, AL_EXT_WORKFLOW_ID, message->workflow_id);
    if (r >= 0)
        r = put_ext(ext, AL_EXT_REPLY_TO, message->reply_to);
    if (r >= 0)
        r = put_ext(ext, AL_EXT_TRACEPARENT, message->traceparent);
    if (r >= 0)
        r = put_ext(ext, AL_EXT_TRACESTATE, message->tracestate);
    if (r >= 0 && message->flags & AL_MESSAGE_PARTS)
        r = put_ext(ext, AL_EXT_PARTS, "1");
    if (r < 0)
        return r;
    *ret_envelope = (struct al_msg_envelope){
        .timestamp_ms = message->timestamp_ms,
        .kind = al_str_c(message->kind),
        .key = al_str_c(message->key),
        .content_type = al_str_c(message->content_type),
        .headers = al_str_of(headers->data, headers->size),
        .ext = al_str_of(ext->data, ext->size),
        .payload = al_str_of(message->payload, message->payload_size),
    };
    memcpy(ret_envelope->message_id.b, message->id.bytes, 16);
    return 0;
}

/* ---- and back ---------------------------------------------------------------------------- */

int64_t ali_message_view_size(const struct al_msg_envelope *envelope, size_t *ret_header_count)
{
    struct al_str headers = envelope->headers, name, value;
    size_t size, count = 0;
    int r;

    size = (size_t)envelope->kind.n + envelope->key.n + envelope->content_type.n + 3;
    /* Each optional text needs one NUL, and they are at most as long as their frame. */
    size += (size_t)envelope->ext.n + 5 + envelope->payload.n;
    while ((r = al_headers_next(&headers, &name, &value)) == 1) {
        size += sizeof(struct al_header) + name.n + value.n + 2;
        count++;
    }
    if (r < 0 || al_wire_check_optional(envelope->ext.p, envelope->ext.p + envelope->ext.n) < 0)
        return -AL_E_PROTOCOL;
    *ret_header_count = count;
    return (int64_t)size;
}

char *ali_text_copy(uint8_t **room, struct al_str text)
{
    uint8_t *copy = *room;

    if (text.n)
        memcpy(copy, text.p, text.n);
    copy[text.n] = 0;
    *room = copy + text.n + 1;
    return (char *)copy;
}

static const char *copy_ext(uint8_t **room, struct al_str ext, uint16_t tag)
{
    struct al_str value = {NULL, 0};

    (void)al_ext_find(ext, tag, &value);
    return ali_text_copy(room, value);
}

uint8_t *ali_message_view(const struct al_msg_envelope *envelope, size_t header_count,
                          uint8_t *room, struct al_message *ret_message)
{
    struct al_header *list = (struct al_header *)(void *)room;
    struct al_str headers = envelope->headers, name, value;
    size_t i;

    room += header_count * sizeof(*list);
    for (i = 0; i < header_count && al_headers_next(&headers, &name, &value) == 1; i++) {
        list[i].name = ali_text_copy(&room, name);
        list[i].value = ali_text_copy(&room, value);
    }
    memcpy(ret_message->id.bytes, envelope->message_id.b, 16);
    ret_message->timestamp_ms = envelope->timestamp_ms;
    ret_message->kind = ali_text_copy(&room, envelope->kind);
    ret_message->key = ali_text_copy(&room, envelope->key);
    ret_message->content_type = ali_text_copy(&room, envelope->content_type);
    ret_message->correlation_id = copy_ext(&room, envelope->ext, AL_EXT_CORRELATION_ID);
    ret_message->workflow_id = copy_ext(&room, envelope->ext, AL_EXT_WORKFLOW_ID);
    ret_message->reply_to = copy_ext(&room, envelope->ext, AL_EXT_REPLY_TO);
    ret_message->traceparent = copy_ext(&room, envelope->ext, AL_EXT_TRACEPARENT);
    ret_message->tracestate = copy_ext(&room, envelope->ext, AL_EXT_TRACESTATE);
    ret_message->headers = header_count ? list : NULL;
    ret_message->header_count = header_count;
    if (envelope->payload.n)
        memcpy(room, envelope->payload.p, envelope->payload.n);
    ret_message->payload = room;
    ret_message->payload_size = envelope->payload.n;
    return room + envelope->payload.n;
}
