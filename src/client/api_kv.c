/* api_kv.c - reading an agent's own state. */
#include "agentlink/commit.h"
#include "base/errors.h"
#include "base/limits.h"
#include "base/text.h"
#include "client/ask.h"

#define PAGE 200u

static int check(const char *agent)
{
    if (agent && al_name_is_valid(al_str_c(agent)))
        return 0;
    return ali_client_fail(-AL_E_BAD_NAME,
                           "'%.130s' is not a name: [namespace/]name, each part 1 to 64 of a-z 0-9 "
                           ". _ -",
                           agent ? agent : "");
}

/* Hands the rows of an answer to `fn`; the last key goes to `last`. */
static int tell_rows(struct ali_ask *ask, char last[256], al_state_fn *fn, void *ctx)
{
    struct al_msg_kv_row row = {0};
    struct al_frame frame;
    int r = 0;

    while (r == 0 && ali_ask_row(ask, AL_MSG_KV_ROW, &frame)) {
        uint8_t *at = (uint8_t *)last;
        struct al_state_value value = {.key = last};

        r = al_decode_kv_row(frame.body, &row);
        if (r < 0)
            return ali_client_failed(r, NULL);
        (void)ali_text_copy(&at, row.key);
        value.value = row.value.p;
        value.value_size = row.value.n;
        r = fn(ctx, &value);
    }
    return r;
}

int al_state_get(struct al_client *client, const char *agent, const char *key, al_state_fn *fn,
                 void *ctx)
{
    struct al_msg_kv_get m = {.agent = al_str_c(agent), .key = al_str_c(key)};
    char last[256] = "";
    struct ali_ask ask;
    int r = check(agent);

    if (r < 0)
        return r;
    if (m.key.n == 0 || m.key.n > AL_STATE_KEY_MAX)
        return ali_client_fail(-AL_E_NOT_FOUND, "a key has 1 to 255 bytes");
    ali_ask_begin(&ask, client, false);
    m.request = ali_ask_number(&ask);
    r = ali_ask_end(&ask, al_put_kv_get(&ask.request.frame, &m));
    if (r == 0)
        r = tell_rows(&ask, last, fn, ctx);
    else if (r == -AL_E_NOT_FOUND)
        r = ali_client_fail(r, "'%.130s' has no key '%.255s'", agent, key);
    ali_ask_deinit(&ask);
    return r;
}

int al_state_list(struct al_client *client, const char *agent, al_state_fn *fn, void *ctx)
{
    char after[256] = "";
    uint32_t rows = PAGE;
    int r = check(agent);

    while (r == 0 && rows == PAGE) {
        struct al_msg_kv_list m = {
            .limit = PAGE, .agent = al_str_c(agent), .after = al_str_c(after)};
        struct ali_ask ask;

        ali_ask_begin(&ask, client, false);
        m.request = ali_ask_number(&ask);
        r = ali_ask_end(&ask, al_put_kv_list(&ask.request.frame, &m));
        if (r == 0)
            r = tell_rows(&ask, after, fn, ctx);
        rows = ask.rows;
        ali_ask_deinit(&ask);
    }
    return r;
}
