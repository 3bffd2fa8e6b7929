/* json.c - JSON lines: one object per line, written with jansson. */
#include "base/text.h"
#include "cli/node.h"
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

void ali_json_print(const struct ali_cli *cli, json_t *value)
{
    size_t flags = JSON_COMPACT | JSON_ENCODE_ANY | (cli->out_terminal ? JSON_ENSURE_ASCII : 0);
    char *line = json_dumps(value, flags);

    json_decref(value);
    if (!line) {
        ali_say(cli, "out of memory");
        exit(ALI_EXIT_REFUSED);
    }
    for (const char *p = line; *p;) {
        size_t n = strcspn(p, "\x7f"); /* jansson lets DEL through */

        fwrite(p, 1, n, stdout);
        p += n;
        if (*p) {
            fputs("\\u007f", stdout);
            p++;
        }
    }
    putchar('\n');
    free(line);
}

static json_t *json_bytes(struct al_str text)
{
    char *clean;
    size_t size = 0;
    json_t *value;

    if (al_utf8_is_valid(text))
        return json_stringn((const char *)text.p, text.n);
    clean = ali_alloc(3 * (size_t)text.n);
    for (uint32_t i = 0; i < text.n;) {
        uint32_t len = 1;

        while (len < 4 && i + len < text.n && (text.p[i + len] & 0xc0) == 0x80)
            len++;
        if (al_utf8_is_valid(al_str_of(text.p + i, len))) {
            memcpy(clean + size, text.p + i, len);
            size += len;
        } else {
            len = 1;
            memcpy(clean + size, "\xef\xbf\xbd", 3);
            size += 3;
        }
        i += len;
    }
    value = json_stringn(clean, size);
    free(clean);
    return value;
}

json_t *ali_json_text(const char *text)
{
    return json_bytes(al_str_c(text));
}

json_t *ali_json_count(uint64_t value)
{
    return json_integer(value > INT64_MAX ? INT64_MAX : (json_int_t)value);
}

json_t *ali_json_time(uint64_t wall_ms)
{
    char text[ALI_TIME_CAP];

    return wall_ms ? json_string(ali_format_time(wall_ms, text)) : json_null();
}

json_t *ali_json_id(const struct al_message_id *id)
{
    return al_message_id_is_zero(id) ? json_null() : json_string(ali_id_text(id));
}

void ali_json_data(json_t *object, const char *name, const void *data, size_t size)
{
    struct al_str bytes = al_str_of(data, size);
    size_t cap = sodium_base64_encoded_len(size, sodium_base64_VARIANT_ORIGINAL);
    char key[64];
    char *text;

    if (size == 0 || al_utf8_is_valid(bytes)) {
        json_object_set_new(object, name, json_stringn(size ? data : "", size));
        return;
    }
    snprintf(key, sizeof key, "%s_base64", name);
    text = ali_alloc(cap);
    sodium_bin2base64(text, cap, data, size, sodium_base64_VARIANT_ORIGINAL);
    json_object_set_new(object, key, json_string(text));
    free(text);
}

/* Name to value; a name that stands more than once gets an array of its values. */
static json_t *json_headers(const struct al_message *message)
{
    json_t *object = json_object();

    for (size_t i = 0; i < message->header_count; i++) {
        json_t *value = ali_json_text(message->headers[i].value);
        json_t *name = ali_json_text(message->headers[i].name);
        json_t *before = json_object_get(object, json_string_value(name));

        if (!before) {
            json_object_set_new(object, json_string_value(name), value);
        } else if (json_is_array(before)) {
            json_array_append_new(before, value);
        } else {
            json_t *list = json_array();

            json_array_append(list, before);
            json_array_append_new(list, value);
            json_object_set_new(object, json_string_value(name), list);
        }
        json_decref(name);
    }
    return object;
}

static void set_if(json_t *object, const char *name, const char *text)
{
    if (text && *text)
        json_object_set_new(object, name, ali_json_text(text));
}

json_t *ali_json_message(const struct al_message *message, uint32_t stream, uint64_t seq)
{
    json_t *object = json_object();

    json_object_set_new(object, "message_id", ali_json_id(&message->id));
    json_object_set_new(object, "from", ali_json_text(message->from));
    json_object_set_new(object, "to", ali_json_text(message->to));
    json_object_set_new(object, "kind", ali_json_text(message->kind));
    json_object_set_new(object, "stream", ali_json_count(stream));
    json_object_set_new(object, "seq", ali_json_count(seq));
    json_object_set_new(object, "label", ali_json_text(message->stream));
    json_object_set_new(object, "priority", ali_json_count(message->priority));
    json_object_set_new(object, "timestamp", ali_json_time(message->timestamp_ms));
    set_if(object, "key", message->key);
    set_if(object, "correlation_id", message->correlation_id);
    set_if(object, "workflow_id", message->workflow_id);
    set_if(object, "reply_to", message->reply_to);
    set_if(object, "traceparent", message->traceparent);
    set_if(object, "tracestate", message->tracestate);
    json_object_set_new(object, "headers", json_headers(message));
    json_object_set_new(object, "content_type", ali_json_text(message->content_type));
    ali_json_data(object, "data", message->payload, message->payload_size);
    return object;
}

json_t *ali_json_attempts(const struct al_attempt *log, size_t count)
{
    json_t *list = json_array();

    for (size_t i = 0; i < count; i++) {
        json_t *row = json_object();

        json_object_set_new(row, "attempt", ali_json_count(log[i].attempt));
        json_object_set_new(row, "error", json_string(al_error_name(log[i].error)));
        json_object_set_new(row, "at", ali_json_time(log[i].at_ms));
        json_object_set_new(row, "reason", ali_json_text(log[i].reason));
        json_array_append_new(list, row);
    }
    return list;
}
