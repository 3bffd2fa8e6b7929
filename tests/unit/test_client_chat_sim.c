/* test_client_chat_sim.c - conversations simulated: the library's chat.c on a group in memory.
 *
 * What chat.c calls of the library, and its clock, is defined here. Each of these calls may let
 * other programs go on first, refuse, keep a post back until later, or be the last one of its
 * program: killed, and started again, with the old one still in the middle of a call now and then.
 * Behind the faults everybody is well, and the conversation must come to its end in the time that
 * it may take.
 *
 * The rules are written here a second time, from chat.h: every program's state must be what they
 * make of the history as far as it has read, and it has heard every word that counts, once. */
#include "agentlink/chat.h"
#include "base/errors.h"
#include "client/client.h"
#include "client/groups.h"
#include "os/clock.h"
#include "support.h"
#include <stdio.h>
#include <string.h>

#define AGENTS    4 /* the manager, and three who speak */
#define SLOTS     8
#define POSTS_MAX 6000
#define LATE_MAX  16
#define DEPTH_MAX 3 /* programs in the middle of a call */

static const char *const names[AGENTS] = {"chair", "ann", "bob", "cid"};

struct post {
    enum al_group_what what;
    char from[8], kind[16], names[2][16], values[2][24], text[24];
    unsigned header_count;
};

/* The rules once more. */
struct rules {
    bool opened, closed, turn_open;
    unsigned turns_max, turn, said, skipped, ignored;
    enum al_chat_policy policy;
    char manager[8], speaker[8];
};

/* An agent: its place in the group, and the program that receives for it. */
struct agent {
    bool member, done;
    uint64_t joined, acked, again_ms;
    struct program *program; /* NULL: none */
};

/* A program that runs, or is in the middle of a call although it was killed or fenced off. */
struct program {
    struct al_client client; /* what the library gives back to us */
    struct world *w;
    unsigned who;
    struct al_chat *chat;
    bool running, killed, fenced, has_out;
    unsigned heard;
    struct al_group_place place;
    struct al_delivery delivery;
    struct al_header headers[2];
};

/* Accepted by its program's library, not by the group yet. */
struct late {
    struct program *program;
    struct post post;
};

struct world {
    struct al_test_alloc memory;
    struct al_test_random random;
    enum al_chat_policy policy;
    unsigned turns_max, timeout_ms, depth;
    bool faulty, moved;
    uint64_t now_ms;
    struct agent agents[AGENTS];
    struct program programs[SLOTS];
    struct post posts[POSTS_MAX + 1];   /* by their sequences, from 1 */
    struct rules states[POSTS_MAX + 1]; /* behind each of them */
    uint64_t answered[AGENTS];          /* free: up to where */
    bool counts[POSTS_MAX + 1];         /* free: may be answered */
    uint64_t words[POSTS_MAX];          /* sequences of what counts */
    unsigned word_count, post_count;
    struct late late[LATE_MAX];
    unsigned late_count;
};

static struct world world;

/* Copies a text into an array that has room for it. */
#define COPY(field, text) copy((field), sizeof(field), (text))
static void copy(char *field, size_t size, const char *text)
{
    assert_true(strlen(text) < size);
    memcpy(field, text, strlen(text) + 1);
}

static bool one_in(struct world *w, unsigned n)
{
    return al_test_below(&w->random, n) == 0;
}

static unsigned agent_of(const char *name)
{
    for (unsigned i = 0; i < AGENTS; i++)
        if (strcmp(names[i], name) == 0)
            return i;
    fail_msg("nobody is called %s", name);
    return 0;
}

/* ---- the rules --------------------------------------------------------------------------- */

static uint64_t number_in(const struct post *post, const char *name)
{
    unsigned long long value = 0;

    for (unsigned i = 0; i < post->header_count; i++)
        if (strcmp(post->names[i], name) == 0)
            assert_int_equal(sscanf(post->values[i], "%llu", &value), 1);
    return value;
}

static bool rule_open(struct world *w, struct rules *now, const struct post *post)
{
    if (now->opened)
        return false;
    now->opened = w->counts[w->post_count] = true;
    now->policy = (enum al_chat_policy)number_in(post, "chat-policy");
    now->turns_max = (unsigned)number_in(post, "chat-turns");
    COPY(now->manager, post->from);
    return true;
}

static bool rule_turn(struct world *w, struct rules *now, const struct post *post)
{
    unsigned before = now->turn ? agent_of(now->speaker) : 0;

    if (now->policy == AL_CHAT_FREE || now->turn_open || strcmp(post->from, now->manager) != 0 ||
        number_in(post, "chat-turn") != now->turn + 1 || now->turn == now->turns_max)
        return false;
    if (w->policy == AL_CHAT_ROUND_ROBIN && !w->moved) /* the names are in their order */
        assert_string_equal(post->values[1], names[before % (AGENTS - 1) + 1]);
    now->turn++;
    now->turn_open = true;
    COPY(now->speaker, post->values[1]);
    return true;
}

static bool rule_answer(struct world *w, struct rules *now, const struct post *post)
{
    uint64_t to = number_in(post, "chat-answers");
    unsigned who = agent_of(post->from);

    if (to == 0 || to >= w->post_count || !w->counts[to] || to <= w->answered[who] ||
        now->said == now->turns_max)
        return false;
    w->answered[who] = to;
    w->counts[w->post_count] = true;
    now->turn++;
    COPY(now->speaker, post->from);
    return true;
}

static void words_for(char text[24], unsigned who, uint64_t number)
{
    snprintf(text, 24, "%s %llu", names[who], (unsigned long long)number);
}

static bool rule_say(struct world *w, struct rules *now, const struct post *post)
{
    if (now->policy == AL_CHAT_FREE) {
        if (!rule_answer(w, now, post))
            return false;
    } else if (!now->turn_open || number_in(post, "chat-turn") != now->turn ||
               strcmp(post->from, now->speaker) != 0) {
        return false;
    }
    now->turn_open = false;
    now->said++;
    w->words[w->word_count++] = w->post_count;
    if (*post->text &&
        strcmp(post->text, "rude") != 0) { /* it was said for this and nothing else */
        char text[24];

        words_for(text, agent_of(post->from), number_in(post, post->names[0]));
        assert_string_equal(post->text, text);
    }
    return true;
}

static bool rule(struct world *w, struct rules *now, const struct post *post)
{
    bool managed = strcmp(post->from, now->manager) == 0;

    if (strcmp(post->kind, AL_CHAT_KIND_OPEN) == 0)
        return rule_open(w, now, post);
    if (!now->opened || now->closed)
        return false;
    if (strcmp(post->kind, AL_CHAT_KIND_TURN) == 0)
        return rule_turn(w, now, post);
    if (strcmp(post->kind, AL_CHAT_KIND_SAY) == 0)
        return rule_say(w, now, post);
    if (strcmp(post->kind, AL_CHAT_KIND_SKIP) == 0) {
        if (!managed || !now->turn_open || number_in(post, "chat-turn") != now->turn)
            return false;
        now->turn_open = false;
        now->skipped++;
        return true;
    }
    now->closed = managed;
    now->turn_open = now->turn_open && !managed;
    return managed;
}

/* The group takes a post. */
static void take(struct world *w, const struct post *post)
{
    struct rules now = w->states[w->post_count];

    assert_true(w->post_count < POSTS_MAX);
    w->posts[++w->post_count] = *post;
    if (post->what == AL_GROUP_SAID && !rule(w, &now, post))
        now.ignored++;
    w->states[w->post_count] = now;
    assert_true(now.turn <= now.turns_max);
    if (now.policy != AL_CHAT_FREE && !now.closed)
        assert_int_equal(now.said + now.skipped + now.turn_open, now.turn);
}

/* Joining and leaving stand in the history too. */
static void move(struct world *w, unsigned who, bool member)
{
    struct post post = {.what = member ? AL_GROUP_JOIN : AL_GROUP_LEAVE};
    struct agent *agent = &w->agents[who];

    COPY(post.from, names[who]);
    take(w, &post);
    agent->member = member;
    if (member) {
        agent->joined = w->post_count;
        agent->acked = w->post_count - 1;
    }
}

/* ---- programs ---------------------------------------------------------------------------- */

static void check(const struct program *program)
{
    struct al_chat_state state;
    const struct rules *now;

    al_chat_get_state(program->chat, &state);
    now = &program->w->states[state.seq];
    assert_int_equal(state.opened, now->opened);
    assert_int_equal(state.closed, now->closed);
    assert_int_equal(state.turn, now->turn);
    assert_int_equal(state.turn_open, now->turn_open);
    assert_int_equal(state.said, now->said);
    assert_int_equal(state.skipped, now->skipped);
    assert_int_equal(state.ignored, now->ignored);
    assert_string_equal(state.manager, now->manager);
    assert_string_equal(state.speaker, now->speaker);
    assert_int_equal(program->heard, now->said);
}

static void hear(void *ctx, const struct al_chat_said *said)
{
    struct program *program = ctx;
    const struct world *w = program->w;

    assert_true(program->heard < w->word_count);
    assert_int_equal(said->seq, w->words[program->heard]);
    assert_string_equal(said->author, w->posts[said->seq].from);
    assert_string_equal(said->text, w->posts[said->seq].text);
    program->heard++;
}

static void go_on(struct world *w);

static uint64_t opening(const struct world *w)
{
    uint64_t seq = 1;

    while (!w->states[seq].opened)
        seq++;
    return seq;
}

static int speak(void *ctx, struct al_chat *chat, const struct al_chat_said *last)
{
    struct program *program = ctx;
    struct world *w = program->w;
    struct al_chat_state state;
    char text[24];

    al_chat_get_state(chat, &state);
    if (state.policy == AL_CHAT_FREE) {
        assert_true(!last || strcmp(last->author, names[program->who]) != 0);
    } else {
        assert_true(state.turn_open);
        assert_string_equal(state.speaker, names[program->who]);
    }
    go_on(w);
    if (w->faulty && state.policy != AL_CHAT_FREE && one_in(w, 6)) {
        w->now_ms += al_test_below(&w->random, 3 * w->timeout_ms); /* thinks for too long */
        go_on(w);
    }
    if (state.policy != AL_CHAT_FREE && one_in(w, 8))
        return 0; /* passes */
    if (state.policy != AL_CHAT_FREE)
        words_for(text, program->who, state.turn);
    else /* NULL: only the opening is not said by anybody */
        words_for(text, program->who, last ? last->seq : opening(w));
    return al_chat_say(chat, text, strlen(text) + 1);
}

static int choose(void *ctx, const struct al_chat_state *state, const char *const *members,
                  size_t count)
{
    struct program *program = ctx;

    assert_false(state->turn_open);
    for (size_t i = 0; i < count; i++)
        assert_string_not_equal(members[i], names[0]);
    if (one_in(program->w, 40))
        return one_in(program->w, 2) ? -1 : (int)count;
    return (int)al_test_below(&program->w->random, count);
}

static void kill_program(struct program *program)
{
    struct world *w = program->w;
    struct agent *agent = &w->agents[program->who];

    program->killed = true;
    for (unsigned i = 0; i < w->late_count;) {
        if (w->late[i].program != program) {
            i++;
            continue;
        }
        if (one_in(w, 2) && agent->member) /* it was on its way already */
            take(w, &w->late[i].post);
        memmove(&w->late[i], &w->late[i + 1], (--w->late_count - i) * sizeof(w->late[0]));
    }
    if (agent->program == program) {
        agent->program = NULL;
        if (agent->acked >= agent->joined && one_in(w, 2))
            agent->acked--; /* its last ack was not on disk */
    }
}

static void end_program(struct program *program)
{
    if (!program->killed)
        kill_program(program);
    al_chat_free(program->chat);
    memset(program, 0, sizeof(*program));
}

static void start_program(struct world *w, unsigned who)
{
    struct al_chat_options options = {.group = "team",
                                      .agent = names[who],
                                      .chat = "talk",
                                      .heard = hear,
                                      .speak = speak,
                                      .manage = who == 0,
                                      .policy = w->policy,
                                      .turns_max = w->turns_max,
                                      .turn_timeout_ms = w->timeout_ms,
                                      .topic = "what to do",
                                      .choose = choose};
    struct program *program = w->programs;
    int r;

    while (program < w->programs + SLOTS && program->w)
        program++;
    if (program == w->programs + SLOTS)
        return; /* later */
    program->w = w;
    program->who = who;
    program->client.alloc = w->memory.alloc;
    if (w->agents[who].program)
        w->agents[who].program->fenced = true;
    w->agents[who].program = program;
    program->running = true;
    options.ctx = program;
    r = al_chat_new(&program->client, &options, &program->chat);
    program->running = false;
    if (r == 0)
        return;
    assert_true(r == -AL_E_UNREACHABLE || r == -AL_E_CANCELLED || r == -AL_E_NOT_MEMBER);
    program->chat = NULL;
    end_program(program);
}

/* Lets a program take part for a while. */
static void run_program(struct program *program)
{
    struct world *w = program->w;
    int r = -AL_E_CANCELLED;

    if (!program->killed) {
        program->running = true;
        r = al_chat_run(program->chat, 1 + (int)al_test_below(&w->random, 900));
        program->running = false;
    }
    if (program->chat)
        check(program);
    if (r == -AL_E_TIMEOUT)
        return;
    assert_true(r == 0 || r == -AL_E_CANCELLED || r == -AL_E_FENCED || r == -AL_E_NOT_MEMBER);
    if (r == 0)
        w->agents[program->who].done = true;
    end_program(program);
}

/* Somebody posts what does not count, or only if it happens to be right. */
static void be_rude(struct world *w)
{
    static const char *const kinds[] = {AL_CHAT_KIND_OPEN, AL_CHAT_KIND_TURN, AL_CHAT_KIND_SAY,
                                        AL_CHAT_KIND_SKIP, AL_CHAT_KIND_CLOSE};
    struct post post = {.what = AL_GROUP_SAID, .header_count = 2};
    const struct rules *now = &w->states[w->post_count];
    unsigned who = (unsigned)al_test_below(&w->random, AGENTS),
             kind = who ? (unsigned)al_test_below(&w->random, 5) : 1;
    unsigned number = (unsigned)al_test_below(&w->random, now->turn + 2);

    if (!now->opened || !w->agents[who].member)
        return;
    if (!who) /* the manager's, but not what comes next */
        number = now->turn + (now->turn_open || now->turn == now->turns_max ? 1 : 2);
    COPY(post.from, names[who]);
    COPY(post.kind, kinds[kind]);
    COPY(post.names[0], kind == 0                     ? "chat-policy"
                        : now->policy == AL_CHAT_FREE ? "chat-answers"
                                                      : "chat-turn");
    COPY(post.names[1], kind == 0 ? "chat-turns" : "chat-speaker");
    if (now->policy == AL_CHAT_FREE)
        number = (unsigned)al_test_below(&w->random, w->post_count + 1);
    snprintf(post.values[0], sizeof(post.values[0]), "%u", number);
    COPY(post.values[1], kind == 0 ? "3" : names[1]);
    COPY(post.text, "rude");
    take(w, &post);
}

static void disturb(struct world *w)
{
    unsigned who = (unsigned)al_test_below(&w->random, AGENTS), members = 0;
    struct agent *agent = &w->agents[who];

    for (unsigned i = 1; i < AGENTS; i++)
        members += w->agents[i].member;
    if (one_in(w, 3))
        be_rude(w);
    else if (one_in(w, 3) && agent->program)
        kill_program(agent->program);
    else if (one_in(w, 6) && agent->member && !agent->done)
        start_program(w, who); /* and fences off the one that is there */
    else if (one_in(w, 8) && who && w->policy != AL_CHAT_FREE && (!agent->member || members > 1)) {
        w->moved = true;
        move(w, who, !agent->member);
    }
}

/* Something happens elsewhere. */
static void go_on(struct world *w)
{
    unsigned at = (unsigned)al_test_below(&w->random, SLOTS);
    unsigned who = (unsigned)al_test_below(&w->random, AGENTS);
    struct program *program = &w->programs[at];

    if (w->depth == DEPTH_MAX)
        return;
    w->depth++;
    if (w->late_count && one_in(w, 4)) {
        struct late late = w->late[0];

        memmove(&w->late[0], &w->late[1], --w->late_count * sizeof(w->late[0]));
        if (w->agents[late.program->who].member)
            take(w, &late.post);
    }
    if (w->faulty && one_in(w, 12))
        disturb(w);
    if (!w->agents[who].program && w->agents[who].member && !w->agents[who].done)
        start_program(w, who);
    else if (program->w && !program->running)
        run_program(program);
    w->depth--;
}

/* ---- what the library calls -------------------------------------------------------------- */

static struct program *program_of(struct al_client *client)
{
    return (struct program *)client;
}

/* The beginning of every call. */
static int enter(struct program *program)
{
    struct world *w = program->w;

    if (one_in(w, 3))
        go_on(w);
    if (w->faulty && one_in(w, 60) && !program->killed)
        kill_program(program);
    if (program->killed)
        return -AL_E_CANCELLED;
    if (!w->agents[program->who].member)
        return -AL_E_NOT_MEMBER;
    return w->faulty && one_in(w, 20) ? -AL_E_UNREACHABLE : 0;
}

uint64_t al_clock_mono_ns(void)
{
    return world.now_ms * 1000000;
}

uint64_t ali_deadline_ns(int64_t timeout_ms)
{
    return (world.now_ms + (uint64_t)timeout_ms) * 1000000;
}

int ali_group_name(const char *group, char ret_name[AL_GROUP_NAME_MAX + 1])
{
    snprintf(ret_name, AL_GROUP_NAME_MAX + 1, "group:%s", group);
    return 0;
}

static void message_of(const struct post *post, struct al_header headers[2],
                       struct al_message *ret_message)
{
    al_message_init(ret_message);
    ret_message->from = post->from;
    ret_message->kind = post->kind;
    ret_message->workflow_id = post->what == AL_GROUP_SAID ? "talk" : "";
    for (unsigned i = 0; i < post->header_count; i++)
        headers[i] = (struct al_header){post->names[i], post->values[i]};
    ret_message->headers = headers;
    ret_message->header_count = post->header_count;
    ret_message->payload = post->text;
    ret_message->payload_size = strlen(post->text);
}

int al_group_history(struct al_client *client, const struct al_group_query *query,
                     al_group_entry_fn *fn, void *ctx)
{
    struct program *program = program_of(client);
    const struct world *w = program->w;
    int r = enter(program);

    for (uint64_t seq = query->first_seq; r == 0 && seq <= w->post_count; seq++) {
        struct al_group_entry entry = {.seq = seq, .what = w->posts[seq].what};
        struct al_header headers[2];

        message_of(&w->posts[seq], headers, &entry.message);
        r = fn(ctx, &entry);
        if (r == 0 && w->faulty && one_in(program->w, 100))
            r = -AL_E_UNREACHABLE;
    }
    return r;
}

int al_group_members(struct al_client *client, const char *group, al_group_member_fn *fn, void *ctx)
{
    struct program *program = program_of(client);
    int r = enter(program);

    (void)group;
    for (unsigned i = 0; r == 0 && i < AGENTS; i++) {
        struct al_group_member member = {.agent = names[i]};

        if (program->w->agents[i].member)
            r = fn(ctx, &member);
    }
    return r;
}

/* What this client sent before comes first. */
static void take_late(struct world *w, const struct program *program)
{
    unsigned left = 0;

    for (unsigned i = 0; i < w->late_count; i++)
        if (w->late[i].program == program)
            take(w, &w->late[i].post);
        else
            w->late[left++] = w->late[i];
    w->late_count = left;
}

int al_group_post(struct al_client *client, const char *group, const struct al_message *message,
                  int timeout_ms, struct al_receipt *ret_receipt)
{
    struct program *program = program_of(client);
    struct world *w = program->w;
    struct post post = {.what = AL_GROUP_SAID};
    int r = enter(program);

    (void)group, (void)timeout_ms, (void)ret_receipt;
    if (r < 0)
        return r;
    COPY(post.from, message->from);
    COPY(post.kind, message->kind);
    for (; post.header_count < message->header_count; post.header_count++) {
        COPY(post.names[post.header_count], message->headers[post.header_count].name);
        COPY(post.values[post.header_count], message->headers[post.header_count].value);
    }
    if (message->payload_size)
        memcpy(post.text, message->payload, message->payload_size);
    if (w->faulty && one_in(w, 12))
        return one_in(w, 2) ? -AL_E_INBOX_FULL : -AL_E_TIMEOUT;
    if (w->faulty && one_in(w, 8) && w->late_count < LATE_MAX) {
        w->late[w->late_count++] = (struct late){.program = program, .post = post};
        return -AL_E_UNKNOWN_OUTCOME;
    }
    take_late(w, program);
    take(w, &post);
    return w->faulty && one_in(w, 12) ? -AL_E_UNKNOWN_OUTCOME : 0;
}

int al_attach(struct al_client *client, const char *agent, const struct al_attach_options *options)
{
    (void)agent, (void)options;
    return enter(program_of(client));
}

int al_client_flush(struct al_client *client, int timeout_ms)
{
    (void)client, (void)timeout_ms;
    return 0;
}

int al_receive(struct al_client *client, int timeout_ms, struct al_delivery **ret_delivery)
{
    struct program *program = program_of(client);
    struct world *w = program->w;
    struct agent *agent = &w->agents[program->who];

    go_on(w);
    w->now_ms++;
    if (program->killed || program->fenced)
        return program->killed ? -AL_E_CANCELLED : -AL_E_FENCED;
    if (program->has_out || agent->acked == w->post_count || w->now_ms < agent->again_ms ||
        !agent->member) {
        w->now_ms += (uint64_t)timeout_ms / 2;
        return -AL_E_TIMEOUT;
    }
    program->place.name = "group:team";
    program->delivery = (struct al_delivery){
        .agent = names[program->who], .seq = agent->acked + 1, .group = &program->place};
    message_of(&w->posts[agent->acked + 1], program->headers, &program->delivery.message);
    program->has_out = true;
    *ret_delivery = &program->delivery;
    return 0;
}

/* Free: what is acknowledged does not come again, so it is answered. */
static void assert_answered(const struct world *w, unsigned who, uint64_t seq)
{
    const struct rules *now = &w->states[w->post_count];

    if (now->policy == AL_CHAT_FREE && who && w->counts[seq] && !now->closed &&
        strcmp(w->posts[seq].from, names[who]) != 0 && now->said < now->turns_max)
        assert_true(w->answered[who] >= seq);
}

/* Ends a delivery; false: the message is somebody else's now. */
static bool settle(struct al_delivery *delivery, uint64_t wait_ms, bool done)
{
    struct program *program =
        (struct program *)((char *)delivery - offsetof(struct program, delivery));
    struct agent *agent = &program->w->agents[program->who];

    program->has_out = false;
    if (program->killed || program->fenced)
        return false;
    if (done) {
        assert_answered(program->w, program->who, delivery->seq);
        agent->acked = delivery->seq;
    }
    agent->again_ms = program->w->now_ms + wait_ms;
    return true;
}

int al_ack(struct al_delivery *delivery, const struct al_ack_options *options)
{
    (void)options;
    return settle(delivery, 0, true) ? 0 : -AL_E_FENCED;
}

int al_nack(struct al_delivery *delivery, uint32_t retry_after_ms, const char *reason)
{
    (void)reason;
    return settle(delivery, retry_after_ms, false) ? 0 : -AL_E_FENCED;
}

void al_delivery_drop(struct al_delivery *delivery)
{
    if (delivery)
        (void)settle(delivery, 1000, false);
}

/* ---- conversations ----------------------------------------------------------------------- */

static bool all_done(const struct world *w)
{
    for (unsigned i = 0; i < AGENTS; i++)
        if (w->agents[i].member && !w->agents[i].done)
            return false;
    return true;
}

static void converse(enum al_chat_policy policy, struct al_test_random *random)
{
    struct world *w = &world;
    unsigned faults = (unsigned)al_test_below(random, 1500);
    const struct rules *end;
    uint64_t limit_ms;

    memset(w, 0, sizeof(*w));
    w->random.state = al_test_random64(random);
    al_test_alloc_init(&w->memory);
    w->policy = policy;
    w->turns_max = 1 + (unsigned)al_test_below(random, 20);
    w->timeout_ms = policy == AL_CHAT_FREE ? 100000000 : 2000;
    w->now_ms = 1000;
    for (unsigned i = 0; i < AGENTS; i++)
        move(w, i, true);
    w->faulty = true;
    for (unsigned i = 0; i < faults && !all_done(w); i++)
        go_on(w);
    w->faulty = false;
    limit_ms = w->now_ms + 100000 + w->turns_max * 20000;
    while (!all_done(w)) {
        go_on(w);
        assert_true(w->now_ms < limit_ms); /* no wait is for ever */
    }
    for (unsigned i = 0; i < SLOTS; i++)
        if (w->programs[i].w)
            end_program(&w->programs[i]);
    assert_int_equal(w->memory.live_bytes, 0);
    end = &w->states[w->post_count];
    assert_true(end->closed);
    if (policy == AL_CHAT_FREE) /* nobody was silent */
        assert_int_equal(end->said, w->turns_max);
    if (policy == AL_CHAT_ROUND_ROBIN)
        assert_int_equal(end->turn, w->turns_max);
}

static void test_conversations_end_as_their_rules_say(void **state)
{
    struct al_test_random random = al_test_random_new("conversations");

    (void)state;
    for (unsigned i = 0; i < 600; i++)
        converse((enum al_chat_policy)(AL_CHAT_FREE + i % 3), &random);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conversations_end_as_their_rules_say),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
