/* api_groups.c - groups: creating, joining, leaving, listing, posting. */
#include "base/errors.h"
#include "base/text.h"
#include "client/ask.h"
#include "client/groups.h"
#include <stdio.h>

#define PAGE 200u

/* ---- what went wrong --------------------------------------------------------------------- */

int ali_group_failed(const char *name, const char *agent, int error)
{
    switch (-error) {
    case AL_E_UNKNOWN_GROUP:
        return ali_client_fail(error,
                               "there is no group '%s' at this node; create it with 'agentlink "
                               "group create %s'",
                               name + 6, name + 6);
    case AL_E_UNKNOWN_AGENT:
        return ali_client_fail(error,
                               "there is no agent '%.130s' at this node; create it with 'agentlink "
                               "agents add %.130s'",
                               agent ? agent : "", agent ? agent : "");
    case AL_E_NOT_MEMBER:
        return agent ? ali_client_fail(error, "'%.130s' is not a member of '%s'", agent, name)
                     : ali_client_fail(error, "neither '%s' nor one of its members is yours", name);
    case AL_E_NOT_OWNER:
        return ali_client_fail(error, "'%s' belongs to another user", name);
    default:
        return error;
    }
}

static int check_agent(const char *agent)
{
    if (agent && al_name_is_valid(al_str_c(agent)))
        return 0;
    return ali_client_fail(-AL_E_BAD_NAME,
                           "'%.130s' is not the name of an agent: [namespace/]name, each part 1 to "
                           "64 of a-z 0-9 . _ -",
                           agent ? agent : "");
}

/* ---- changes ----------------------------------------------------------------------------- */

int al_group_create(struct al_client *client, const char *group,
                    const struct al_group_options *options)
{
    static const struct al_group_options defaults;
    char name[AL_GROUP_NAME_MAX + 1];
    struct al_msg_group_add m;
    struct ali_ask ask;
    int r = ali_group_name(group, name);

    if (r < 0)
        return r;
    options = options ? options : &defaults;
    ali_ask_begin(&ask, client, true);
    m = (struct al_msg_group_add){.request = ali_ask_number(&ask),
                                  .keep_ms = options->keep_ms,
                                  .keep_count = options->keep_count,
                                  .keep_bytes = options->keep_bytes,
                                  .group = al_str_c(name)};
    r = ali_ask_end(&ask, al_put_group_add(&ask.request.frame, &m));
    ali_ask_deinit(&ask);
    return r == -AL_E_EXISTS ? ali_client_fail(r, "there is a group '%s' already", name) : r;
}

int al_group_remove(struct al_client *client, const char *group, bool force)
{
    char name[AL_GROUP_NAME_MAX + 1];
    struct al_msg_group_remove m;
    struct ali_ask ask;
    int r = ali_group_name(group, name);

    if (r < 0)
        return r;
    ali_ask_begin(&ask, client, true);
    m = (struct al_msg_group_remove){
        .request = ali_ask_number(&ask), .flags = force, .group = al_str_c(name)};
    r = ali_ask_end(&ask, al_put_group_remove(&ask.request.frame, &m));
    ali_ask_deinit(&ask);
    if (r == -AL_E_BUSY)
        return ali_client_fail(r,
                               "'%s' is in use: somebody posts to it, or its members have not read "
                               "everything or have dead letters of it (lost with force)",
                               name);
    return ali_group_failed(name, NULL, r);
}

static int join_failed(const char *name, const char *agent, int error)
{
    switch (-error) {
    case AL_E_EXISTS:
        return ali_client_fail(error, "'%s' is a member of '%s' already", agent, name);
    case AL_E_BUSY:
        return ali_client_fail(error,
                               "'%s' was a member of '%s' and has not read everything of that "
                               "time; it can join without a hole when it has",
                               agent, name);
    case AL_E_INVALID:
        return ali_client_fail(error, "'%s' has no message of that number yet", name);
    default:
        return ali_group_failed(name, agent, error);
    }
}

int al_group_join(struct al_client *client, const char *group, const char *agent, uint64_t from_seq,
                  uint64_t *ret_seq)
{
    char name[AL_GROUP_NAME_MAX + 1];
    struct al_msg_group_join m;
    struct ali_ask ask;
    int r = ali_group_name(group, name);

    if (r == 0)
        r = check_agent(agent);
    if (r < 0)
        return r;
    ali_ask_begin(&ask, client, true);
    m = (struct al_msg_group_join){.request = ali_ask_number(&ask),
                                   .from_seq = from_seq,
                                   .group = al_str_c(name),
                                   .agent = al_str_c(agent)};
    r = ali_ask_end(&ask, al_put_group_join(&ask.request.frame, &m));
    if (r == 0 && ret_seq)
        *ret_seq = ask.request.count;
    ali_ask_deinit(&ask);
    return r < 0 ? join_failed(name, agent, r) : 0;
}

int al_group_leave(struct al_client *client, const char *group, const char *agent,
                   uint64_t *ret_seq)
{
    char name[AL_GROUP_NAME_MAX + 1];
    struct al_msg_group_leave m;
    struct ali_ask ask;
    int r = ali_group_name(group, name);

    if (r == 0)
        r = check_agent(agent);
    if (r < 0)
        return r;
    ali_ask_begin(&ask, client, true);
    m = (struct al_msg_group_leave){
        .request = ali_ask_number(&ask), .group = al_str_c(name), .agent = al_str_c(agent)};
    r = ali_ask_end(&ask, al_put_group_leave(&ask.request.frame, &m));
    if (r == 0 && ret_seq)
        *ret_seq = ask.request.count;
    ali_ask_deinit(&ask);
    return ali_group_failed(name, agent, r);
}

/* ---- lists ------------------------------------------------------------------------------- */

/* Texts in rows stand in the frame without NUL: copies them to `room`. */
static const char *text_at(char room[256], struct al_str text)
{
    uint8_t *at = (uint8_t *)room;

    return ali_text_copy(&at, text);
}

static int tell_group(const struct al_msg_group_row *row, const char *name, al_group_fn *fn,
                      void *ctx)
{
    struct al_group_info info = {.name = name,
                                 .uid = row->uid,
                                 .members = row->members,
                                 .created_ms = row->created_ms,
                                 .first_seq = row->first_seq,
                                 .next_seq = row->next_seq,
                                 .keep_ms = row->keep_ms,
                                 .keep_count = row->keep_count,
                                 .keep_bytes = row->keep_bytes,
                                 .bytes = row->bytes};

    if (row->hash.n != AL_GROUP_HASH_SIZE)
        return ali_client_failed(-AL_E_PROTOCOL, NULL);
    memcpy(info.hash, row->hash.p, AL_GROUP_HASH_SIZE);
    return fn(ctx, &info);
}

/* One page; `after` is moved to the last name. */
static int page(struct ali_ask *ask, struct al_msg_group_list *m, char after[256], al_group_fn *fn,
                void *ctx)
{
    struct al_msg_group_row row = {0};
    struct al_frame frame;
    char name[256];
    int r;

    m->request = ali_ask_number(ask);
    r = ali_ask_end(ask, al_put_group_list(&ask->request.frame, m));
    while (r == 0 && ali_ask_row(ask, AL_MSG_GROUP_ROW, &frame)) {
        r = al_decode_group_row(frame.body, &row);
        if (r < 0)
            return ali_client_failed(r, NULL);
        memcpy(after, text_at(name, row.name), row.name.n + 1);
        r = tell_group(&row, name, fn, ctx);
    }
    return r;
}

int al_group_list(struct al_client *client, al_group_fn *fn, void *ctx)
{
    char after[256] = "";
    uint32_t rows = PAGE;
    int r = 0;

    while (r == 0 && rows == PAGE) {
        struct al_msg_group_list m = {.limit = PAGE, .after = al_str_c(after)};
        struct ali_ask ask;

        ali_ask_begin(&ask, client, false);
        r = page(&ask, &m, after, fn, ctx);
        rows = ask.rows;
        ali_ask_deinit(&ask);
    }
    return r;
}

int al_group_show(struct al_client *client, const char *group, al_group_fn *fn, void *ctx)
{
    char name[AL_GROUP_NAME_MAX + 1], after[256];
    struct al_msg_group_list m = {.limit = 1, .exact = 1};
    struct ali_ask ask;
    int r = ali_group_name(group, name);

    if (r < 0)
        return r;
    m.after = al_str_c(name);
    ali_ask_begin(&ask, client, false);
    r = page(&ask, &m, after, fn, ctx);
    ali_ask_deinit(&ask);
    return r < 0 ? ali_group_failed(name, NULL, r) : r;
}

static int tell_members(struct ali_ask *ask, al_group_member_fn *fn, void *ctx)
{
    struct al_msg_group_member row;
    struct al_frame frame;
    char agent[256];
    int r = 0;

    while (r == 0 && ali_ask_row(ask, AL_MSG_GROUP_MEMBER, &frame)) {
        struct al_group_member member;

        r = al_decode_group_member(frame.body, &row);
        if (r < 0)
            return ali_client_failed(r, NULL);
        member = (struct al_group_member){.agent = text_at(agent, row.agent),
                                          .stream = row.stream,
                                          .joined_seq = row.joined_seq,
                                          .left_seq = row.left_seq,
                                          .acked_seq = row.acked_seq,
                                          .pending = row.pending,
                                          .dead = row.dead};
        r = fn(ctx, &member);
    }
    return r;
}

int al_group_members(struct al_client *client, const char *group, al_group_member_fn *fn, void *ctx)
{
    char name[AL_GROUP_NAME_MAX + 1];
    struct al_msg_group_members m = {0};
    struct ali_ask ask;
    int r = ali_group_name(group, name);

    if (r < 0)
        return r;
    ali_ask_begin(&ask, client, false);
    m.request = ali_ask_number(&ask);
    m.group = al_str_c(name);
    r = ali_ask_end(&ask, al_put_group_members(&ask.request.frame, &m));
    r = r < 0 ? ali_group_failed(name, NULL, r) : tell_members(&ask, fn, ctx);
    ali_ask_deinit(&ask);
    return r;
}

/* ---- posting ----------------------------------------------------------------------------- */

int al_group_post(struct al_client *client, const char *group, const struct al_message *message,
                  int timeout_ms, struct al_receipt *ret_receipt)
{
    char name[AL_GROUP_NAME_MAX + 1];
    struct al_message copy = *message;
    int r = ali_group_name(group, name);

    if (r < 0)
        return r;
    copy.to = name;
    r = al_send(client, &copy, timeout_ms, ret_receipt);
    return ali_group_failed(name, message->from, r);
}
