/* gaps.c - what was lost on the way between here and the node, in either direction. */
#include "base/errors.h"
#include "client/session.h"

int ali_outbox_gap_nack(struct ali_csession *session, const struct al_msg_gap_nack *m)
{
    struct ali_channel *channel = ali_channel_find(session, m->number);
    struct ali_out *out;
    int r = 0;

    if (!channel)
        return 0; /* closed meanwhile */
    for (out = channel->head; out != channel->unsent && r >= 0; out = out->next) {
        if (!out->inflight || out->pseq < m->start || out->pseq > m->end)
            continue;
        channel->repaired = true;
        session->stats.resent++;
        r = al_buf_put(&session->out, out->frame, out->frame_size);
    }
    return r;
}
