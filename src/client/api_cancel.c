/* api_cancel.c - taking a message back. */
#include "base/errors.h"
#include "client/ask.h"

static int cancel(struct al_client *client, struct al_msg_cancel *m)
{
    struct ali_ask ask;
    int r;

    ali_ask_begin(&ask, client, true);
    m->request = ali_ask_number(&ask);
    r = ali_ask_end(&ask, al_put_cancel(&ask.request.frame, m));
    ali_ask_deinit(&ask);
    return r;
}

int al_cancel(struct al_client *client, const struct al_message_id *id)
{
    struct al_msg_cancel m = {.request = 0};

    if (al_message_id_is_zero(id))
        return ali_client_fail(-AL_E_INVALID, "the message id is zero");
    memcpy(m.message_id.b, id->bytes, 16);
    return cancel(client, &m);
}

int al_cancel_at(struct al_client *client, uint32_t stream, uint64_t seq)
{
    struct al_msg_cancel m = {.stream = stream, .seq = seq};

    return cancel(client, &m);
}
