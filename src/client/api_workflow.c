/* api_workflow.c - numbers of workflows. */
#include "agentlink/workflow.h"
#include "base/errors.h"
#include "base/limits.h"
#include "base/text.h"
#include "client/ask.h"

#define PAGE 200u

const char *al_number_state_name(enum al_number_state state)
{
    static const char *const names[] = {"UNKNOWN", "PENDING", "FAILED",
                                        "DEAD",    "EXPIRED", "CANCELLED"};
    unsigned i = (unsigned)state;

    return names[i < sizeof(names) / sizeof(names[0]) ? i : 0];
}

static void fill_info(const struct al_msg_workflow_row *row, struct al_workflow_info *info)
{
    *info =
        (struct al_workflow_info){.allocated = row->allocated,
                                  .processed = row->processed,
                                  .pending = row->pending,
                                  .failed = row->failed,
                                  .dead = row->dead,
                                  .expired = row->expired,
                                  .cancelled = row->cancelled,
                                  .used_ms = row->used_ms,
                                  .complete = row->allocated && row->processed == row->allocated};
}

static int check(const char *space, const char *workflow_id)
{
    if (space && (!al_name_is_valid(al_str_c(space)) || strchr(space, '/')))
        return ali_client_fail(-AL_E_BAD_NAME, "'%.130s' is not the name of a namespace", space);
    if (!workflow_id || !*workflow_id || strlen(workflow_id) > AL_WORKFLOW_ID_MAX)
        return ali_client_fail(-AL_E_INVALID, "a workflow id has 1 to %u bytes",
                               AL_WORKFLOW_ID_MAX);
    return 0;
}

/* Tells the ranges of one answer; *first is where the next one goes on. */
static int tell_ranges(struct ali_ask *ask, uint64_t *first, al_workflow_range_fn *fn, void *ctx)
{
    struct al_frame frame;
    int r = 0;

    while (r == 0 && ali_ask_row(ask, AL_MSG_WORKFLOW_RANGE, &frame)) {
        struct al_msg_workflow_range row;
        struct al_workflow_range range;

        r = al_decode_workflow_range(frame.body, &row);
        if (r < 0)
            return ali_client_failed(r, NULL);
        range = (struct al_workflow_range){row.first, row.last, (enum al_number_state)row.state};
        *first = row.last + 1;
        r = fn(ctx, &range);
    }
    return r;
}

int al_workflow_get(struct al_client *client, const char *space, const char *workflow_id,
                    struct al_workflow_info *ret_info, al_workflow_range_fn *fn, void *ctx)
{
    struct al_msg_workflow_get m = {.limit = fn ? PAGE : 1};
    struct al_workflow_info info = {0};
    bool more = true;
    int r = check(space, workflow_id);

    m.space = al_str_c(space);
    m.workflow = al_str_c(workflow_id);
    while (r == 0 && more) {
        struct al_msg_workflow_row row = {0};
        struct al_frame frame;
        struct ali_ask ask;

        ali_ask_begin(&ask, client, false);
        m.request = ali_ask_number(&ask);
        r = ali_ask_end(&ask, al_put_workflow_get(&ask.request.frame, &m));
        if (r == 0 && (!ali_ask_row(&ask, AL_MSG_WORKFLOW_ROW, &frame) ||
                       al_decode_workflow_row(frame.body, &row) < 0))
            r = ali_client_failed(-AL_E_PROTOCOL, NULL);
        if (r == 0 && !m.first)
            fill_info(&row, &info);
        if (r == 0 && fn)
            r = tell_ranges(&ask, &m.first, fn, ctx);
        more = fn && ask.request.count == PAGE;
        ali_ask_deinit(&ask);
    }
    if (r)
        return r;
    info.space = space ? space : "default";
    info.workflow_id = workflow_id;
    *ret_info = info;
    return 0;
}

/* Texts in rows stand in the frame without NUL: copies them to `room`. */
static const char *text_at(char room[256], struct al_str text)
{
    uint8_t *at = (uint8_t *)room;

    return ali_text_copy(&at, text);
}

int al_workflow_list(struct al_client *client, const char *space, al_workflow_fn *fn, void *ctx)
{
    struct al_msg_workflow_list m = {.limit = PAGE, .space = al_str_c(space)};
    bool more = true;
    int r = check(space, "any");

    while (r == 0 && more) {
        struct al_msg_workflow_row row = {0};
        struct al_workflow_info info;
        char space_text[256], id_text[256];
        struct al_frame frame;
        struct ali_ask ask;

        ali_ask_begin(&ask, client, false);
        m.request = ali_ask_number(&ask);
        r = ali_ask_end(&ask, al_put_workflow_list(&ask.request.frame, &m));
        while (r == 0 && ali_ask_row(&ask, AL_MSG_WORKFLOW_ROW, &frame)) {
            r = al_decode_workflow_row(frame.body, &row);
            if (r < 0) {
                ali_client_failed(r, NULL);
                break;
            }
            m.after = row.number;
            fill_info(&row, &info);
            info.space = text_at(space_text, row.space);
            info.workflow_id = text_at(id_text, row.workflow);
            r = fn(ctx, &info);
        }
        more = ask.request.count == PAGE;
        ali_ask_deinit(&ask);
    }
    return r;
}
