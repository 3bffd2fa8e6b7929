/* api_schedule.c - schedules: setting, removing, listing. */
#include "agentlink/schedule.h"
#include "base/errors.h"
#include "base/limits.h"
#include "base/text.h"
#include "client/ask.h"

#define PAGE 200u

static int explain(const struct al_schedule *schedule, int error)
{
    switch (-error) {
    case AL_E_BAD_SCHEDULE:
        return ali_client_fail(error,
                               "'%.120s' is not a schedule: 'MINUTE HOUR DAY MONTH WEEKDAY' in "
                               "UTC, or '@every 10s'",
                               schedule->when ? schedule->when : "");
    case AL_E_BAD_NAME:
        return ali_client_fail(error,
                               "'%.130s' is not a name: [namespace/]name, each part 1 to "
                               "64 of a-z 0-9 . _ -",
                               schedule->name ? schedule->name : "");
    default:
        return ali_client_failed(error, NULL);
    }
}

/* What the node would refuse anyway, and what does not fit into the frame. */
static int check(const struct al_schedule *schedule)
{
    const struct al_message *message = schedule->message;
    int r;

    if (!schedule->name || !al_name_is_valid(al_str_c(schedule->name)))
        return -AL_E_BAD_NAME;
    if (!schedule->when || strlen(schedule->when) > AL_SCHEDULE_TEXT_MAX)
        return -AL_E_BAD_SCHEDULE;
    if (!message || message->flags || message->deliver_at_ms || (message->key && *message->key) ||
        (message->stream && strlen(message->stream) > AL_LABEL_MAX))
        return ali_client_fail(-AL_E_INVALID, "the message of a schedule has no key, no "
                                              "deliver_at_ms and no flags");
    r = ali_message_check(message, AL_SCHEDULE_BYTES_MAX);
    if (r == 0 && (!message->from || !al_name_is_valid(al_str_c(message->from)) || !message->to ||
                   !al_name_is_valid(al_str_c(message->to))))
        return ali_client_fail(-AL_E_BAD_NAME, "`from` or `to` of the message is not a name");
    return r;
}

/* Puts the frame with its envelope. */
static int put_set(struct ali_ask *ask, struct al_msg_schedule_set *m,
                   const struct al_message *message)
{
    struct al_buf headers, ext, body;
    struct al_msg_envelope envelope;
    int r;

    al_buf_init(&headers, ask->request.frame.alloc);
    al_buf_init(&ext, ask->request.frame.alloc);
    al_buf_init(&body, ask->request.frame.alloc);
    r = ali_message_envelope(message, &headers, &ext, &envelope);
    if (r == 0)
        r = al_buf_reserve(&body, al_size_envelope(&envelope));
    if (r == 0) {
        (void)al_encode_envelope(body.data, &envelope);
        m->envelope = al_str_of(body.data, al_size_envelope(&envelope));
        r = al_put_schedule_set(&ask->request.frame, m);
    }
    al_buf_deinit(&headers);
    al_buf_deinit(&ext);
    al_buf_deinit(&body);
    return r;
}

int al_schedule_set(struct al_client *client, const struct al_schedule *schedule)
{
    const struct al_message *message = schedule->message;
    struct al_msg_schedule_set m = {.flags = schedule->replace ? AL_SCHEDULE_REPLACE : 0,
                                    .until_ms = schedule->until_ms};
    struct ali_ask ask;
    int r = check(schedule);

    if (r < 0)
        return explain(schedule, r);
    m.priority = ali_message_priority(message, AL_PRIORITY_NONE);
    m.ttl_ms = message->ttl_ms;
    m.name = al_str_c(schedule->name);
    m.from = al_str_c(message->from);
    m.to = al_str_c(message->to);
    m.label = al_str_c(message->stream);
    m.text = al_str_c(schedule->when);
    ali_ask_begin(&ask, client, true);
    m.request = ali_ask_number(&ask);
    r = ali_ask_end(&ask, put_set(&ask, &m, message));
    ali_ask_deinit(&ask);
    return r == -AL_E_BAD_SCHEDULE ? explain(schedule, r) : r;
}

int al_schedule_remove(struct al_client *client, const char *name)
{
    struct al_msg_schedule_remove m = {.name = al_str_c(name)};
    struct al_schedule about = {.name = name};
    struct ali_ask ask;
    int r;

    if (!name || !al_name_is_valid(m.name))
        return explain(&about, -AL_E_BAD_NAME);
    ali_ask_begin(&ask, client, true);
    m.request = ali_ask_number(&ask);
    r = ali_ask_end(&ask, al_put_schedule_remove(&ask.request.frame, &m));
    ali_ask_deinit(&ask);
    return r;
}

/* ---- listing ----------------------------------------------------------------------------- */

/* Texts in rows stand in the frame without NUL: copies them to `room`. */
static const char *text_at(char room[256], struct al_str text)
{
    uint8_t *at = (uint8_t *)room;

    return ali_text_copy(&at, text);
}

static int tell_row(const struct al_msg_schedule_row *row, al_schedule_fn *fn, void *ctx)
{
    char texts[6][256];
    struct al_schedule_info info = {.name = text_at(texts[0], row->name),
                                    .when = text_at(texts[1], row->text),
                                    .from = text_at(texts[2], row->from),
                                    .to = text_at(texts[3], row->to),
                                    .stream = text_at(texts[4], row->label),
                                    .kind = text_at(texts[5], row->kind),
                                    .priority = row->priority,
                                    .uid = row->uid,
                                    .set_ms = row->set_ms,
                                    .last_ms = row->last_ms,
                                    .next_ms = row->next_ms,
                                    .until_ms = row->until_ms,
                                    .ttl_ms = row->ttl_ms,
                                    .error = row->code};

    return fn(ctx, &info);
}

/* One page; `after` is moved to the last name. */
static int page(struct ali_ask *ask, struct al_msg_schedule_list *m, char after[256],
                al_schedule_fn *fn, void *ctx)
{
    struct al_msg_schedule_row row = {0};
    struct al_frame frame;
    int r;

    m->request = ali_ask_number(ask);
    r = ali_ask_end(ask, al_put_schedule_list(&ask->request.frame, m));
    while (r == 0 && ali_ask_row(ask, AL_MSG_SCHEDULE_ROW, &frame)) {
        r = al_decode_schedule_row(frame.body, &row);
        if (r < 0)
            return ali_client_failed(r, NULL);
        (void)text_at(after, row.name);
        r = tell_row(&row, fn, ctx);
    }
    return r;
}

int al_schedule_list(struct al_client *client, al_schedule_fn *fn, void *ctx)
{
    char after[256] = "";
    uint32_t rows = PAGE;
    int r = 0;

    while (r == 0 && rows == PAGE) {
        struct al_msg_schedule_list m = {.limit = PAGE, .after = al_str_c(after)};
        struct ali_ask ask;

        ali_ask_begin(&ask, client, false);
        r = page(&ask, &m, after, fn, ctx);
        rows = ask.rows;
        ali_ask_deinit(&ask);
    }
    return r;
}
