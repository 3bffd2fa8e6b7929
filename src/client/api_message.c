/* api_message.c - message ids and messages, without a client. */
#include "agentlink/message.h"
#include "base/errors.h"
#include "base/id.h"
#include "client/client.h"
#include "os/entropy.h"

int al_message_id_random(struct al_message_id *ret_id)
{
    uint8_t random[16];
    struct al_id id;
    int r = al_entropy_fill(random, sizeof(random));

    if (r < 0)
        return ali_client_failed(r, "the system has no source of randomness");
    id = al_id_from_random(random);
    memcpy(ret_id->bytes, id.b, 16);
    return 0;
}

int al_message_id_parse(const char *text, struct al_message_id *ret_id)
{
    struct al_id id;
    int r = al_id_parse(al_str_c(text), &id);

    if (r < 0)
        return ali_client_fail(r,
                               "'%.64s' is not a message id: 36 characters like "
                               "01234567-89ab-4cde-8f01-23456789abcd",
                               text ? text : "");
    memcpy(ret_id->bytes, id.b, 16);
    return 0;
}

void al_message_id_format(const struct al_message_id *id, char ret_text[AL_MESSAGE_ID_TEXT_SIZE])
{
    struct al_id copy;

    memcpy(copy.b, id->bytes, 16);
    al_id_format(&copy, ret_text);
}

int al_message_id_compare(const struct al_message_id *a, const struct al_message_id *b)
{
    struct al_id x, y;

    memcpy(x.b, a->bytes, 16);
    memcpy(y.b, b->bytes, 16);
    return al_id_compare(&x, &y);
}

bool al_message_id_is_zero(const struct al_message_id *id)
{
    return (al_get64(id->bytes) | al_get64(id->bytes + 8)) == 0;
}

void al_message_init(struct al_message *message)
{
    memset(message, 0, sizeof(*message));
    message->priority = AL_MESSAGE_PRIORITY_OF_KIND;
}

const char *al_message_header(const struct al_message *message, const char *name)
{
    size_t i;

    for (i = 0; i < message->header_count; i++) {
        if (strcmp(message->headers[i].name, name) == 0)
            return message->headers[i].value;
    }
    return NULL;
}

const char *al_record_state_name(enum al_record_state state)
{
    static const char *const names[] = {"UNKNOWN",   "WAITING", "LEASED",   "DELAYED",
                                        "DELIVERED", "PARTIAL", "FAILED",   "DEAD",
                                        "EXPIRED",   "ENDED",   "CANCELLED"};

    return (unsigned)state < sizeof(names) / sizeof(names[0]) ? names[state] : names[0];
}
