/* api_records.c - delivery records and dead letters: what became of a message. */
#include "base/errors.h"
#include "base/limits.h"
#include "base/text.h"
#include "client/ask.h"
#include <stddef.h>
#include <stdio.h>

#define PAGE 500u

/* ---- records ----------------------------------------------------------------------------- */

/* A record with its texts and attempts behind it. */
struct record {
    struct al_alloc alloc;
    size_t size;
    struct al_record_info info;
};

void al_record_free(struct al_record_info *record)
{
    struct record *whole;

    if (!record)
        return;
    whole = (struct record *)(void *)((uint8_t *)record - offsetof(struct record, info));
    al_alloc_free(&whole->alloc, whole, whole->size);
}

static int record_new(const struct al_alloc *alloc, const struct al_msg_record *m,
                      struct al_record_info **ret_record)
{
    size_t count, text_size, size;
    struct record *record;
    struct al_attempt *log;
    uint8_t *room;
    int r = ali_attempts_measure(m->attempts_log, &count, &text_size);

    if (r < 0)
        return r;
    size = sizeof(*record) + count * sizeof(*log) + text_size + m->from.n + m->to.n + m->label.n +
           m->reason.n + 4;
    record = al_alloc_zero(alloc, size);
    if (!record)
        return -AL_E_NOMEM;
    record->alloc = *alloc;
    record->size = size;
    log = (struct al_attempt *)(void *)(record + 1);
    room = (uint8_t *)(log + count);
    ali_attempts_fill(m->attempts_log, log, &room);
    memcpy(record->info.id.bytes, m->message_id.b, 16);
    record->info.stream = m->stream;
    record->info.seq = m->seq;
    record->info.state = m->state;
    record->info.attempts = m->attempts;
    record->info.last_attempt_ms = m->last_attempt_ms;
    record->info.due_ms = m->due_ms;
    record->info.end_ms = m->end_ms;
    record->info.from = ali_text_copy(&room, m->from);
    record->info.to = ali_text_copy(&room, m->to);
    record->info.label = ali_text_copy(&room, m->label);
    record->info.reason = ali_text_copy(&room, m->reason);
    record->info.log = count ? log : NULL;
    record->info.log_count = count;
    *ret_record = &record->info;
    return 0;
}

static int record_get(struct al_client *client, struct al_msg_record_get *m,
                      struct al_record_info **ret_record)
{
    struct al_msg_record answer;
    struct al_frame frame;
    struct al_str number;
    struct ali_ask ask;
    int r;

    ali_ask_begin(&ask, client, false);
    m->request = ali_ask_number(&ask);
    r = ali_ask_end(&ask, al_put_record_get(&ask.request.frame, m));
    if (r < 0)
        goto out;
    r = ali_ask_row(&ask, AL_MSG_RECORD, &frame) ? al_decode_record(frame.body, &answer)
                                                 : -AL_E_PROTOCOL;
    if (r >= 0)
        r = record_new(&client->alloc, &answer, ret_record);
    if (r >= 0 &&
        al_ext_find(ali_ext_behind(frame.body, answer.attempts_log), AL_RECORD_EXT_WORKFLOW_SEQ,
                    &number) &&
        number.n == 8)
        (*ret_record)->workflow_seq = al_get64(number.p);
    if (r < 0)
        ali_client_failed(r, NULL);
out:
    ali_ask_deinit(&ask);
    return r;
}

int al_record_get(struct al_client *client, const struct al_message_id *id,
                  struct al_record_info **ret_record)
{
    struct al_msg_record_get m = {0};

    if (al_message_id_is_zero(id))
        return ali_client_fail(-AL_E_INVALID, "the message id is zero");
    memcpy(m.message_id.b, id->bytes, 16);
    return record_get(client, &m, ret_record);
}

int al_record_get_at(struct al_client *client, uint32_t stream, uint64_t seq,
                     struct al_record_info **ret_record)
{
    struct al_msg_record_get m = {.stream = stream, .seq = seq};

    return record_get(client, &m, ret_record);
}

/* ---- dead letters ------------------------------------------------------------------------ */

/* What a dead letter's texts need, and the message in it. */
struct letter_room {
    struct al_msg_envelope envelope;
    size_t header_count, attempt_count, size;
};

static int letter_measure(const struct al_msg_dlq_row *row, struct letter_room *room)
{
    size_t text_size;
    int64_t view_size = 0;
    int r = ali_attempts_measure(row->attempts_log, &room->attempt_count, &text_size);

    if (r >= 0 && row->envelope.n) {
        r = al_decode_envelope(row->envelope, &room->envelope);
        if (r >= 0)
            view_size = ali_message_view_size(&room->envelope, &room->header_count);
        if (view_size < 0)
            r = (int)view_size;
    }
    room->size = room->attempt_count * sizeof(struct al_attempt) + text_size + (size_t)view_size +
                 row->from.n + row->to.n + row->label.n + row->reason.n + 4;
    return r;
}

/* Calls fn with one row in its public form. */
static int letter_call(const struct al_alloc *alloc, const struct al_msg_dlq_row *row,
                       uint32_t bytes, al_dead_letter_fn *fn, void *ctx)
{
    struct al_dead_letter letter = {.position = row->position,
                                    .stream = row->stream,
                                    .seq = row->seq,
                                    .attempts = row->attempts,
                                    .error = row->code,
                                    .dead_ms = row->dead_ms,
                                    .bytes = bytes};
    struct letter_room needs = {.header_count = 0};
    struct al_attempt *log;
    uint8_t *block, *room;
    int r = letter_measure(row, &needs);

    if (r < 0)
        return ali_client_failed(r, NULL);
    block = al_alloc_zero(alloc, needs.size);
    if (!block)
        return ali_client_failed(-AL_E_NOMEM, NULL);
    log = (struct al_attempt *)(void *)block;
    room = (uint8_t *)(log + needs.attempt_count);
    al_message_init(&letter.message);
    if (row->envelope.n) /* first, because its array of headers is aligned */
        room = ali_message_view(&needs.envelope, needs.header_count, room, &letter.message);
    memcpy(letter.message.id.bytes, row->message_id.b, 16);
    letter.message.from = ali_text_copy(&room, row->from);
    letter.message.to = ali_text_copy(&room, row->to);
    letter.message.stream = ali_text_copy(&room, row->label);
    letter.reason = ali_text_copy(&room, row->reason);
    ali_attempts_fill(row->attempts_log, log, &room);
    letter.log = needs.attempt_count ? log : NULL;
    letter.log_count = needs.attempt_count;
    r = fn(ctx, &letter);
    al_alloc_free(alloc, block, needs.size);
    return r;
}

/* Hands on the rows of an answer; *ret_last is the position of the last one. */
static int letter_rows(struct ali_ask *ask, al_dead_letter_fn *fn, void *ctx, uint64_t *ret_last)
{
    struct al_msg_dlq_row row;
    struct al_frame frame;
    struct al_str value;
    int r = 0;

    while (r == 0 && ali_ask_row(ask, AL_MSG_DLQ_ROW, &frame)) {
        uint32_t bytes = 0;

        r = al_decode_dlq_row(frame.body, &row);
        if (r < 0)
            return ali_client_failed(r, NULL);
        if (al_ext_find(ali_ext_behind(frame.body, row.envelope), AL_DLQ_EXT_BYTES, &value) &&
            value.n >= 4)
            bytes = al_get32(value.p);
        *ret_last = row.position;
        r = letter_call(&ask->client->alloc, &row, bytes, fn, ctx);
    }
    return r;
}

static int check_agent(const char *agent)
{
    if (!agent || !*agent || al_name_is_valid(al_str_c(agent)))
        return 0;
    return ali_client_fail(-AL_E_BAD_NAME, "'%.130s' is not the name of an agent", agent);
}

int al_dead_letter_list(struct al_client *client, const char *agent, al_dead_letter_fn *fn,
                        void *ctx)
{
    struct al_msg_dlq_list m = {.limit = PAGE, .agent = al_str_c(agent)};
    uint32_t rows = PAGE;
    int r = check_agent(agent);

    while (r == 0 && rows == PAGE) {
        struct ali_ask ask;

        ali_ask_begin(&ask, client, false);
        m.request = ali_ask_number(&ask);
        r = ali_ask_end(&ask, al_put_dlq_list(&ask.request.frame, &m));
        if (r == 0)
            r = letter_rows(&ask, fn, ctx, &m.after);
        rows = ask.rows;
        ali_ask_deinit(&ask);
    }
    return r;
}

int al_dead_letter_get(struct al_client *client, const struct al_message_id *id,
                       al_dead_letter_fn *fn, void *ctx)
{
    struct al_msg_dlq_get m = {0};
    struct ali_ask ask;
    uint64_t last;
    int r;

    memcpy(m.message_id.b, id->bytes, 16);
    ali_ask_begin(&ask, client, false);
    m.request = ali_ask_number(&ask);
    r = ali_ask_end(&ask, al_put_dlq_get(&ask.request.frame, &m));
    if (r == 0)
        r = letter_rows(&ask, fn, ctx, &last);
    if (r == 0 && ask.rows == 0)
        r = ali_client_fail(-AL_E_NOT_FOUND, "there is no such dead letter");
    ali_ask_deinit(&ask);
    return r;
}

int al_dead_letter_redrive(struct al_client *client, const char *agent,
                           const struct al_message_id *id, uint64_t *ret_count)
{
    struct al_msg_dlq_redrive m = {.agent = al_str_c(agent)};
    struct ali_ask ask;
    int r = check_agent(agent);

    if (r < 0)
        return r;
    if (id)
        memcpy(m.message_id.b, id->bytes, 16);
    ali_ask_begin(&ask, client, true);
    m.request = ali_ask_number(&ask);
    r = ali_ask_end(&ask, al_put_dlq_redrive(&ask.request.frame, &m));
    if (r == 0 && ret_count)
        *ret_count = ask.request.count;
    ali_ask_deinit(&ask);
    return r;
}

int al_dead_letter_purge(struct al_client *client, const char *agent,
                         const struct al_message_id *id, uint64_t *ret_count)
{
    struct al_msg_dlq_purge m = {.agent = al_str_c(agent)};
    struct ali_ask ask;
    int r = check_agent(agent);

    if (r < 0)
        return r;
    if (id)
        memcpy(m.message_id.b, id->bytes, 16);
    ali_ask_begin(&ask, client, true);
    m.request = ali_ask_number(&ask);
    r = ali_ask_end(&ask, al_put_dlq_purge(&ask.request.frame, &m));
    if (r == 0 && ret_count)
        *ret_count = ask.request.count;
    ali_ask_deinit(&ask);
    return r;
}
