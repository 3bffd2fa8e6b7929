/* api_kinds.c - kinds of messages: list, register, remove. */
#include "base/errors.h"
#include "base/limits.h"
#include "base/text.h"
#include "client/ask.h"

_Static_assert(AL_KIND_LATENCY_COUNTS == AL_LATENCY_BUCKETS, "the public header says so");
_Static_assert(AL_KIND_NO_PRIORITY == AL_PRIORITY_NONE, "the public header says so");

/* ---- settings ---------------------------------------------------------------------------- */

#define DEFAULTS                                                                                  \
    .title = "", .priority = AL_PRIORITY_NONE, .ack_timeout_ms = AL_ACK_TIMEOUT_DEFAULT_MS,       \
    .retry_base_ms = AL_RETRY_BASE_DEFAULT_MS, .retry_factor = AL_RETRY_FACTOR_DEFAULT,           \
    .retry_cap_ms = AL_RETRY_CAP_DEFAULT_MS, .retry_max = AL_RETRY_COUNT_DEFAULT,                 \
    .breaker_percent = AL_BREAKER_PERCENT_DEFAULT, .breaker_samples = AL_BREAKER_SAMPLES_DEFAULT, \
    .call_timeout_ms = AL_BREAKER_CALL_DEFAULT_MS, .breaker_open_ms = AL_BREAKER_OPEN_DEFAULT_MS

void al_kind_info_init(struct al_kind_info *kind_info, const char *kind)
{
    *kind_info = (struct al_kind_info){DEFAULTS, .kind = kind};
}

#define GENERIC(name, text, level, ack_ms, retries)                                              \
    {                                                                                            \
        .kind = "generic." name, .title = text, .priority = (level), .ack_timeout_ms = (ack_ms), \
        .retry_max = (retries), .retry_base_ms = AL_RETRY_BASE_DEFAULT_MS,                       \
        .retry_factor = AL_RETRY_FACTOR_DEFAULT, .retry_cap_ms = AL_RETRY_CAP_DEFAULT_MS,        \
        .breaker_percent = AL_BREAKER_PERCENT_DEFAULT,                                           \
        .breaker_samples = AL_BREAKER_SAMPLES_DEFAULT, .call_timeout_ms = (ack_ms),              \
        .breaker_open_ms = AL_BREAKER_OPEN_DEFAULT_MS                                            \
    }

/* Short leases where somebody waits, more retries where a loss would hurt. */
static const struct al_kind_info generic[] = {
    GENERIC("command", "Command: do this now", 7, 2000, 5),
    GENERIC("query", "Query: somebody waits for the answer", 6, 1000, 2),
    GENERIC("task", "Task: a piece of work", 4, 10000, 5),
    GENERIC("event", "Event: this has happened", 4, 5000, 3),
    GENERIC("stream", "Stream: one of many updates", 3, 3000, 2),
    GENERIC("bulk", "Bulk: large and in no hurry", 1, 10000, 5),
};

const struct al_kind_info *al_kind_generic(unsigned index)
{
    return index < sizeof(generic) / sizeof(generic[0]) ? &generic[index] : NULL;
}

uint32_t al_kind_latency_bound_ms(unsigned index)
{
    static const uint32_t bounds[AL_LATENCY_BUCKETS] = {
        1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 30000, 60000};

    return index < AL_LATENCY_BUCKETS ? bounds[index] : 0;
}

static int check_kind(const char *kind)
{
    if (kind && *kind && al_kind_is_valid(al_str_c(kind)))
        return 0;
    return ali_client_fail(-AL_E_INVALID, "'%.70s' is not a kind: 1 to %u of A-Z a-z 0-9 . _ : / -",
                           kind ? kind : "", AL_KIND_MAX);
}

/* ---- list -------------------------------------------------------------------------------- */

static const char *text_at(char room[256], struct al_str text)
{
    uint8_t *at = (uint8_t *)room;

    return ali_text_copy(&at, text);
}

static int give_row(const struct al_msg_kind_row *row, al_kind_fn *fn, void *ctx)
{
    char kind[256], title[256];
    struct al_kind_info info = {.kind = text_at(kind, row->kind),
                                .title = text_at(title, row->title),
                                .priority = row->priority,
                                .ack_timeout_ms = row->ack_timeout_ms,
                                .retry_base_ms = row->retry_base_ms,
                                .retry_factor = row->retry_factor,
                                .retry_cap_ms = row->retry_cap_ms,
                                .retry_max = row->retry_max,
                                .breaker_own = row->breaker_own,
                                .breaker_percent = row->breaker_percent,
                                .breaker_samples = row->breaker_samples,
                                .call_timeout_ms = row->call_timeout_ms,
                                .breaker_open_ms = row->breaker_open_ms,
                                .configured = row->flags & 1,
                                .registered = row->flags & 2,
                                .seen = row->flags & 4,
                                .sent = row->sent,
                                .success = row->success,
                                .failure = row->failure,
                                .retries = row->retries,
                                .latency_sum_ms = row->latency_sum_ms};

    for (unsigned i = 0; i < AL_LATENCY_BUCKETS && (i + 1) * 8 <= row->latency.n; i++)
        info.latency_counts[i] = al_get64(row->latency.p + (size_t)i * 8);
    return fn(ctx, &info);
}

static int list(struct al_client *client, const char *kind, al_kind_fn *fn, void *ctx)
{
    struct al_msg_kind_list m = {.kind = al_str_c(kind)};
    struct al_msg_kind_row row = {0};
    struct al_frame frame;
    struct ali_ask ask;
    int r;

    ali_ask_begin(&ask, client, false);
    m.request = ali_ask_number(&ask);
    r = ali_ask_end(&ask, al_put_kind_list(&ask.request.frame, &m));
    while (r == 0 && ali_ask_row(&ask, AL_MSG_KIND_ROW, &frame)) {
        if (al_decode_kind_row(frame.body, &row) < 0)
            r = ali_client_failed(-AL_E_PROTOCOL, NULL);
        else
            r = give_row(&row, fn, ctx);
    }
    ali_ask_deinit(&ask);
    return r;
}

int al_kind_list(struct al_client *client, al_kind_fn *fn, void *ctx)
{
    return list(client, "", fn, ctx);
}

int al_kind_show(struct al_client *client, const char *kind, al_kind_fn *fn, void *ctx)
{
    int r = check_kind(kind);

    return r < 0 ? r : list(client, kind, fn, ctx);
}

/* ---- circuit breakers -------------------------------------------------------------------- */

int al_breaker_list(struct al_client *client, const char *agent, bool all, al_breaker_fn *fn,
                    void *ctx)
{
    struct al_msg_breaker_list m = {.flags = all, .agent = al_str_c(agent ? agent : "")};
    struct al_msg_breaker_row row = {0};
    char name[256], kind[256];
    struct al_frame frame;
    struct ali_ask ask;
    int r;

    if (agent && !al_name_is_valid(m.agent))
        return ali_client_fail(-AL_E_BAD_NAME, "'%.130s' is not the name of an agent", agent);
    ali_ask_begin(&ask, client, false);
    m.request = ali_ask_number(&ask);
    r = ali_ask_end(&ask, al_put_breaker_list(&ask.request.frame, &m));
    while (r == 0 && ali_ask_row(&ask, AL_MSG_BREAKER_ROW, &frame)) {
        struct al_breaker_info info;

        if (al_decode_breaker_row(frame.body, &row) < 0) {
            r = ali_client_failed(-AL_E_PROTOCOL, NULL);
            break;
        }
        info = (struct al_breaker_info){.agent = text_at(name, row.agent),
                                        .kind = text_at(kind, row.kind),
                                        .state = row.state,
                                        .since_ms = row.since_ms,
                                        .left_ms = row.left_ms,
                                        .successes = row.successes,
                                        .errors = row.errors,
                                        .opened = row.opened,
                                        .waiting = row.waiting};
        r = fn(ctx, &info);
    }
    ali_ask_deinit(&ask);
    return r;
}

/* ---- changes ----------------------------------------------------------------------------- */

int al_kind_set(struct al_client *client, const struct al_kind_info *kind)
{
    struct al_msg_kind_set m = {.priority = (uint8_t)kind->priority,
                                .ack_timeout_ms = kind->ack_timeout_ms,
                                .retry_base_ms = kind->retry_base_ms,
                                .retry_factor = kind->retry_factor,
                                .retry_cap_ms = kind->retry_cap_ms,
                                .retry_max = kind->retry_max,
                                .breaker_own = kind->breaker_own,
                                .breaker_percent = (uint8_t)kind->breaker_percent,
                                .breaker_samples = kind->breaker_samples,
                                .call_timeout_ms = kind->call_timeout_ms,
                                .breaker_open_ms = kind->breaker_open_ms,
                                .kind = al_str_c(kind->kind ? kind->kind : ""),
                                .title = al_str_c(kind->title ? kind->title : "")};
    struct ali_ask ask;
    int r = check_kind(kind->kind);

    if (r < 0)
        return r;
    if (m.title.n > AL_KIND_TITLE_MAX)
        return ali_client_fail(-AL_E_INVALID, "the title has %u bytes, at most %u", m.title.n,
                               AL_KIND_TITLE_MAX);
    if (kind->priority > UINT8_MAX || kind->breaker_percent > 100)
        return ali_client_fail(-AL_E_INVALID, "a priority is 0 to 9, a percentage 0 to 100");
    ali_ask_begin(&ask, client, true);
    m.request = ali_ask_number(&ask);
    r = ali_ask_end(&ask, al_put_kind_set(&ask.request.frame, &m));
    ali_ask_deinit(&ask);
    return r;
}

int al_kind_remove(struct al_client *client, const char *kind)
{
    struct al_msg_kind_remove m = {.kind = al_str_c(kind ? kind : "")};
    struct ali_ask ask;
    int r = check_kind(kind);

    if (r < 0)
        return r;
    ali_ask_begin(&ask, client, true);
    m.request = ali_ask_number(&ask);
    r = ali_ask_end(&ask, al_put_kind_remove(&ask.request.frame, &m));
    ali_ask_deinit(&ask);
    return r;
}
