/* api_replay.c - what streams keep, and replay. */
#include "agentlink/replay.h"
#include "base/errors.h"
#include "base/limits.h"
#include "base/text.h"
#include "client/ask.h"

#define PAGE      200u
#define TRIES_MAX 100u /* in a row that found what they asked for on its way elsewhere */

static int check_agent(const char *agent)
{
    if (agent && al_name_is_valid(al_str_c(agent)))
        return 0;
    return ali_client_fail(-AL_E_BAD_NAME, "'%.130s' is not the name of an agent",
                           agent ? agent : "");
}

int al_retain_set(struct al_client *client, const char *agent, const struct al_retention *retention)
{
    struct al_msg_retain_set m = {.off = !retention, .agent = al_str_c(agent)};
    struct ali_ask ask;
    int r = check_agent(agent);

    if (r < 0)
        return r;
    if (retention) {
        m.keep_count = retention->count;
        m.keep_bytes = retention->bytes;
        m.keep_ms = retention->age_ms;
    }
    if (m.keep_count > AL_RETAIN_COUNT_MAX || m.keep_bytes > AL_RETAIN_BYTES_MAX)
        return ali_client_fail(-AL_E_TOO_LARGE, "a stream keeps at most %u messages and %llu bytes",
                               AL_RETAIN_COUNT_MAX, AL_RETAIN_BYTES_MAX);
    ali_ask_begin(&ask, client, false); /* asked twice, it says the same */
    m.request = ali_ask_number(&ask);
    r = ali_ask_end(&ask, al_put_retain_set(&ask.request.frame, &m));
    ali_ask_deinit(&ask);
    return r;
}

/* ---- what is kept ------------------------------------------------------------------------ */

/* Texts in rows stand in the frame without NUL: copies them to `room`. */
static const char *text_at(char room[256], struct al_str text)
{
    uint8_t *at = (uint8_t *)room;

    return ali_text_copy(&at, text);
}

static int tell_history(const struct al_msg_history_row *row, al_history_fn *fn, void *ctx)
{
    char from[256], label[256];
    struct al_history_info info = {.stream = row->stream,
                                   .retention = {row->keep_count, row->keep_bytes, row->keep_ms},
                                   .from = text_at(from, row->from),
                                   .label = text_at(label, row->label),
                                   .priority = row->priority,
                                   .from_seq = row->from_seq,
                                   .first_seq = row->first_seq,
                                   .last_seq = row->last_seq,
                                   .count = row->count,
                                   .bytes = row->bytes,
                                   .first_ms = row->first_ms,
                                   .last_ms = row->last_ms};

    return fn(ctx, &info);
}

int al_history_list(struct al_client *client, const char *agent, al_history_fn *fn, void *ctx)
{
    struct al_msg_history_list m = {.limit = PAGE, .agent = al_str_c(agent)};
    bool more = true;
    int r = check_agent(agent);

    while (r == 0 && more) {
        struct al_msg_history_row row;
        struct al_frame frame;
        struct ali_ask ask;

        ali_ask_begin(&ask, client, false);
        m.request = ali_ask_number(&ask);
        r = ali_ask_end(&ask, al_put_history_list(&ask.request.frame, &m));
        while (r == 0 && ali_ask_row(&ask, AL_MSG_HISTORY_ROW, &frame)) {
            r = al_decode_history_row(frame.body, &row);
            if (r < 0) {
                ali_client_failed(r, NULL);
                break;
            }
            m.after = row.stream;
            r = tell_history(&row, fn, ctx);
        }
        more = ask.request.count == PAGE;
        ali_ask_deinit(&ask);
    }
    return r;
}

/* ---- replay ------------------------------------------------------------------------------ */

/* A replay that is under way. */
struct progress {
    struct al_msg_replay m;
    const struct al_replay_range *range;
    uint64_t left; /* messages that may still be told */
    al_replay_fn *fn;
    void *ctx;
};

/* Calls the program with one message in its public form. */
static int tell_message(const struct al_alloc *alloc, const struct progress *progress,
                        const struct al_msg_replayed *row)
{
    struct al_replayed replayed = {.stream = row->stream,
                                   .seq = row->seq,
                                   .admitted_ms = row->admitted_ms,
                                   .ended_ms = row->end_ms};
    struct al_msg_envelope envelope;
    size_t header_count = 0, size;
    int64_t view_size;
    uint8_t *block, *room;
    int r = al_decode_envelope(row->envelope, &envelope);

    if (r < 0)
        return ali_client_failed(r, NULL);
    view_size = ali_message_view_size(&envelope, &header_count);
    if (view_size < 0)
        return ali_client_failed((int)view_size, NULL);
    size = (size_t)view_size + row->from.n + row->label.n + 2;
    block = al_alloc_new(alloc, size);
    if (!block)
        return ali_client_failed(-AL_E_NOMEM, NULL);
    al_message_init(&replayed.message);
    room = ali_message_view(&envelope, header_count, block, &replayed.message);
    replayed.message.from = ali_text_copy(&room, row->from);
    replayed.message.stream = ali_text_copy(&room, row->label);
    replayed.message.to = progress->range->agent;
    replayed.message.priority = row->priority;
    r = progress->fn(progress->ctx, &replayed);
    al_alloc_free(alloc, block, size);
    return r;
}

static int tell_messages(struct ali_ask *ask, struct progress *progress)
{
    struct al_msg_replayed row;
    struct al_frame frame;
    int r = 0;

    while (r == 0 && progress->left && ali_ask_row(ask, AL_MSG_REPLAYED, &frame)) {
        r = al_decode_replayed(frame.body, &row);
        if (r < 0)
            return ali_client_failed(r, NULL);
        progress->m.first_seq = row.seq + 1;
        if (row.end_ms < progress->range->from_ms)
            continue;
        progress->left--;
        r = tell_message(&ask->client->alloc, progress, &row);
    }
    return r;
}

/* Asks for the next messages: 1: go on; 0: that was all. */
static int replay_page(struct al_client *client, struct progress *progress)
{
    struct ali_ask ask;
    int r;

    ali_ask_begin(&ask, client, false);
    progress->m.request = ali_ask_number(&ask);
    progress->m.limit = progress->left < PAGE ? (uint32_t)progress->left : PAGE;
    r = ali_ask_end(&ask, al_put_replay(&ask.request.frame, &progress->m));
    if (r == 0)
        r = tell_messages(&ask, progress);
    if (r == 0 && ask.rows && progress->left &&
        (!progress->m.last_seq || progress->m.first_seq <= progress->m.last_seq))
        r = 1;
    ali_ask_deinit(&ask);
    return r;
}

int al_replay(struct al_client *client, const struct al_replay_range *range, al_replay_fn *fn,
              void *ctx)
{
    struct progress progress = {.m = {.stream = range->stream,
                                      .first_seq = range->first_seq,
                                      .last_seq = range->last_seq,
                                      .from_ms = range->from_ms,
                                      .until_ms = range->until_ms,
                                      .agent = al_str_c(range->agent)},
                                .range = range,
                                .left = range->limit ? range->limit : UINT64_MAX,
                                .fn = fn,
                                .ctx = ctx};
    uint32_t tries = 0;
    int r = check_agent(range->agent);

    if (r == 0)
        r = 1;
    while (r == 1) {
        r = replay_page(client, &progress);
        /* What was asked for was moved or forgotten while it was being read: the next question
         * finds it in its new place, or says that it is gone. */
        if (r == -AL_E_BUSY && tries++ < TRIES_MAX)
            r = 1;
        else if (r == 1)
            tries = 0;
        /* From the second page on the sequence says where to go on. Were the time said again, what
         * is forgotten meanwhile at the beginning would be missed. */
        if (r == 1 && progress.m.first_seq > range->first_seq)
            progress.m.from_ms = 0;
    }
    return r;
}
