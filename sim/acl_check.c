/* acl_check.c - the checker of the permissions: nothing that the rules forbid is admitted or given
 * out, and nothing dies as DENIED that they allow.
 *
 * Rules, names and streams are followed from the records that the node hands out; what they mean is
 * acl_model.c's, which is written apart from the core. */
#include "acl_model.h"
#include "base/errors.h"
#include "roles.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAMES   4096u /* agents and groups by number; streams */
#define STREAMS 16384u

struct sim_acl {
    struct acl_model model;
    char names[NAMES][24];
    uint32_t from[STREAMS], to[STREAMS];
};

void sim_acl_free(struct sim *sim)
{
    if (sim->acl)
        acl_model_deinit(&sim->acl->model);
    free(sim->acl);
    sim->acl = NULL;
}

static bool is_allowed(struct sim *sim, const char *from, const char *to, struct al_str kind)
{
    char text[AL_KIND_MAX + 1] = "";
    struct acl_model_question question = {
        .now_ms = sim_now(sim).wall_ms, .subject = from, .object = to, .kind = text, .action = 1};
    uint64_t rule;

    if (kind.n)
        memcpy(text, kind.p, kind.n);
    return acl_model_decide(&sim->acl->model, &question, &rule);
}

static const char *from_of(const struct sim *sim, uint32_t stream)
{
    return sim->acl->names[sim->acl->from[stream % STREAMS]];
}

static const char *to_of(const struct sim *sim, uint32_t stream)
{
    return sim->acl->names[sim->acl->to[stream % STREAMS]];
}

static bool is_group(const char *text)
{
    return strncmp(text, "group:", 6) == 0;
}

static void check_admitted(struct sim *sim, uint32_t stream, struct al_str body)
{
    struct al_msg_envelope envelope;

    if (al_decode_envelope(body, &envelope) == 0 &&
        !is_allowed(sim, from_of(sim, stream), to_of(sim, stream), envelope.kind))
        sim_fail(sim, "a message from %s to %s is admitted and the rules forbid it",
                 from_of(sim, stream), to_of(sim, stream));
}

/* A message died because it was forbidden: then some kind of message between these two is. */
static void check_dead(struct sim *sim, const struct ali_rec_dead *dead)
{
    static const char *const kinds[] = {"", "task", "note/short", "a.b-c:d", "sim.tick"};
    const char *from = from_of(sim, dead->stream), *to = to_of(sim, dead->stream);

    if (dead->code != AL_E_DENIED || is_group(from))
        return;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (!is_allowed(sim, from, to, al_str_c(kinds[i])))
            return;
    sim_fail(sim, "a message from %s to %s is denied and the rules allow it", from, to);
}

static void name(struct sim *sim, uint32_t number, struct al_str text)
{
    snprintf(sim->acl->names[number % NAMES], sizeof(sim->acl->names[0]), "%.*s", (int)text.n,
             (const char *)text.p);
}

static void follow(struct sim *sim, uint32_t type, struct al_str payload)
{
    union {
        struct ali_rec_rule_set set;
        struct ali_rec_rule_remove remove;
        struct ali_rec_agent_add agent;
        struct ali_rec_group_add group;
        struct ali_rec_stream_open stream;
        struct ali_rec_group_post post;
    } r;

    if (!sim->acl) {
        sim->acl = sim_xrealloc(NULL, sizeof(*sim->acl));
        memset(sim->acl, 0, sizeof(*sim->acl));
    }
    if (type == ALI_REC_RULE_SET && ali_decode_rec_rule_set(payload, &r.set) == 0)
        acl_model_set(&sim->acl->model, &r.set);
    if (type == ALI_REC_RULE_REMOVE && ali_decode_rec_rule_remove(payload, &r.remove) == 0)
        acl_model_remove(&sim->acl->model, &r.remove);
    if (type == ALI_REC_AGENT_ADD && ali_decode_rec_agent_add(payload, &r.agent) == 0)
        name(sim, r.agent.agent, r.agent.name);
    if (type == ALI_REC_GROUP_ADD && ali_decode_rec_group_add(payload, &r.group) == 0)
        name(sim, r.group.group, r.group.name);
    if (type == ALI_REC_STREAM_OPEN && ali_decode_rec_stream_open(payload, &r.stream) == 0) {
        sim->acl->from[r.stream.stream % STREAMS] = r.stream.from % NAMES;
        sim->acl->to[r.stream.stream % STREAMS] = r.stream.to % NAMES;
    }
    if (type == ALI_REC_GROUP_POST && ali_decode_rec_group_post(payload, &r.post) == 0 &&
        r.post.what == AL_GROUP_JOINED) { /* it makes the stream to the new member */
        sim->acl->from[r.post.stream % STREAMS] = r.post.group % NAMES;
        sim->acl->to[r.post.stream % STREAMS] = r.post.agent % NAMES;
    }
}

void sim_acl_record(struct sim *sim, uint32_t type, struct al_str payload)
{
    union {
        struct ali_rec_publish publish;
        struct ali_rec_group_post post;
        struct ali_rec_dead dead;
    } r;

    follow(sim, type, payload);
    if (type == ALI_REC_NUMBERED && payload.n > ALI_NUMBERED_HEAD) {
        payload = al_str_of(payload.p + ALI_NUMBERED_HEAD, payload.n - ALI_NUMBERED_HEAD);
        type = ALI_REC_PUBLISH;
    }
    if (type == ALI_REC_PUBLISH && ali_decode_rec_publish(payload, &r.publish) == 0)
        check_admitted(sim, r.publish.stream, r.publish.envelope);
    if (type == ALI_REC_GROUP_POST && ali_decode_rec_group_post(payload, &r.post) == 0 &&
        r.post.what == AL_GROUP_MESSAGE)
        check_admitted(sim, r.post.stream, r.post.envelope);
    if (type == ALI_REC_DEAD && ali_decode_rec_dead(payload, &r.dead) == 0)
        check_dead(sim, &r.dead);
}

void sim_acl_rebuild(struct sim *sim)
{
    sim_acl_free(sim);
    for (size_t i = 0; i < sim->shadow.count; i++) {
        const struct sim_record *record = &sim->shadow.list[i];

        follow(sim, record->type, al_str_of(sim->shadow.bytes.data + record->offset, record->size));
    }
}

void sim_acl_deliver(struct sim *sim, const struct al_msg_deliver *m)
{
    struct al_msg_envelope envelope;
    const char *from = from_of(sim, m->stream), *to = to_of(sim, m->stream);
    char author[32];

    if (al_decode_envelope(m->envelope, &envelope) < 0)
        return;
    if (is_group(from)) { /* it came through the group: who may post there? */
        if (envelope.kind.n > 10 && memcmp(envelope.kind.p, "agentlink.", 10) == 0)
            return;
        snprintf(author, sizeof(author), "%.*s", (int)m->from.n, (const char *)m->from.p);
        to = from;
        from = author;
    }
    if (!is_allowed(sim, from, to, envelope.kind))
        sim_fail(sim, "%u:%llu from %s to %s is given out and the rules forbid it", m->stream,
                 (unsigned long long)m->seq, from, to);
}
