/* request.c - questions to the node and their answers.
 *
 * A question lives with the caller that waits for it. Rows are collected as frames and read by the
 * caller when the answer is whole, so that no callback runs in the middle of a connection's bytes.
 * A question that changes nothing is asked again after a reconnect; one that changes something and
 * was written is not: its outcome is unknown. */
#include "base/errors.h"
#include "base/limits.h"
#include "client/session.h"
#include <assert.h>

void ali_request_init(struct ali_request *request, const struct al_alloc *alloc)
{
    memset(request, 0, sizeof(*request));
    al_buf_init(&request->frame, alloc);
    al_buf_init(&request->rows, alloc);
}

void ali_request_deinit(struct ali_request *request)
{
    assert(!request->link);
    al_buf_deinit(&request->frame);
    al_buf_deinit(&request->rows);
}

static int request_write(struct ali_csession *session, struct ali_request *request)
{
    int r = al_buf_put(&session->out, request->frame.data, request->frame.size);

    if (r >= 0)
        request->written = true;
    return r;
}

static void request_unlink(struct ali_request *request)
{
    if (!request->link)
        return;
    *request->link = request->next;
    if (request->next)
        request->next->link = request->link;
    request->link = NULL;
}

int ali_csession_ask(struct ali_csession *session, struct ali_request *request)
{
    int r;

    assert(request->number && request->frame.size);
    if (session->link == ALI_LINK_UP) {
        r = request_write(session, request);
        if (r < 0)
            return r;
    }
    request->next = session->requests;
    request->link = &session->requests;
    if (request->next)
        request->next->link = &request->next;
    session->requests = request;
    return 0;
}

void ali_csession_unask(struct ali_csession *session, struct ali_request *request)
{
    (void)session;
    request_unlink(request);
}

static struct ali_request *request_find(struct ali_csession *session, uint32_t number)
{
    struct ali_request *request = session->requests;

    while (request && request->number != number)
        request = request->next;
    return request;
}

static int request_finish(struct ali_csession *session, struct ali_request *request, int error,
                          struct al_str detail)
{
    request_unlink(request);
    request->error = error;
    request->done = true;
    ali_detail_set(request->detail, detail);
    return request->fn ? request->fn(session, request) : 0;
}

int ali_request_answer(struct ali_csession *session, const struct al_frame *frame)
{
    struct ali_request *request;
    struct al_msg_done done;
    uint8_t header[AL_WIRE_HEADER_SIZE];
    int r;

    if (frame->body.n < 4)
        return -AL_E_PROTOCOL;
    request = request_find(session, al_get32(frame->body.p));
    if (!request) /* nobody waits any more */
        return 0;
    if (frame->type == AL_MSG_DONE) {
        r = al_decode_done(frame->body, &done);
        if (r < 0)
            return r;
        request->count = done.count;
        return request_finish(session, request, -(int)done.code, done.detail);
    }
    al_put32(header, frame->body.n);
    al_put32(header + 4, frame->type);
    r = al_buf_put(&request->rows, header, sizeof(header));
    if (r >= 0)
        r = al_buf_put(&request->rows, frame->body.p, frame->body.n);
    if (r < 0)
        return request_finish(session, request, r, al_str_c(NULL));
    if (frame->type == AL_MSG_RECORD || frame->type == AL_MSG_STATUS ||
        frame->type == AL_MSG_IDENTITY_READY || frame->type == AL_MSG_CERTIFICATE)
        return request_finish(session, request, 0, al_str_c(NULL));
    return 0;
}

int ali_request_error(struct ali_csession *session, const struct al_msg_error *m)
{
    struct ali_request *request = request_find(session, m->request);

    if (!request)
        return 0;
    return request_finish(session, request, m->code ? -(int)m->code : -AL_E_PROTOCOL, m->detail);
}

int ali_request_welcome(struct ali_csession *session)
{
    struct ali_request *request;
    int r = 0;

    for (request = session->requests; request && r >= 0; request = request->next)
        r = request_write(session, request);
    return r;
}

void ali_request_disconnected(struct ali_csession *session)
{
    struct ali_request *request = session->requests, *next;

    for (; request; request = next) {
        next = request->next;
        al_buf_clear(&request->rows);
        if (request->fn)
            (void)request_finish(session, request, -AL_E_CLOSED, al_str_c(NULL));
        else if (request->changes && request->written)
            (void)request_finish(session, request, -AL_E_UNKNOWN_OUTCOME,
                                 al_str_c("the connection was lost before the answer"));
    }
}

/* ---- questions of the session's own ------------------------------------------------------ */

int ali_csession_ask_record(struct ali_csession *session, const struct al_msg_record_get *question,
                            const struct al_message_id *about,
                            int (*fn)(struct ali_csession *session, struct ali_request *request))
{
    struct ali_request *request = al_alloc_new(&session->config.alloc, sizeof(*request));
    struct al_msg_record_get m = *question;
    int r;

    if (!request)
        return -AL_E_NOMEM;
    ali_request_init(request, &session->config.alloc);
    request->fn = fn;
    request->about_stream = m.stream;
    request->about_seq = m.seq;
    if (about)
        request->about = *about;
    m.request = request->number = ali_csession_number(session);
    r = al_put_record_get(&request->frame, &m);
    if (r >= 0)
        r = ali_csession_ask(session, request);
    if (r < 0)
        ali_request_free(session, request);
    return r;
}

void ali_request_free(struct ali_csession *session, struct ali_request *request)
{
    ali_request_deinit(request);
    al_alloc_free(&session->config.alloc, request, sizeof(*request));
}

int ali_request_record(const struct ali_request *request, struct al_msg_record *ret_record)
{
    struct al_frame frame;

    if (request->error < 0)
        return request->error;
    if (al_frame_next(al_str_of(request->rows.data, request->rows.size), AL_FRAME_MAX, &frame) <=
            0 ||
        frame.type != AL_MSG_RECORD)
        return -AL_E_PROTOCOL;
    return al_decode_record(frame.body, ret_record);
}
