/* chat.c - taking part in a conversation: reading, speaking, managing.
 *
 * The state is the fold of the group's messages. Before anything is posted the newest ones are read
 * from the history, and after it again: what a predecessor of this program posted, or this program
 * without learning of it, is seen before it is posted once more. A post whose outcome is unknown
 * may still come; the rules pass over the second one. */
#include "agentlink/chat.h"
#include "base/errors.h"
#include "base/text.h"
#include "client/chat_fold.h"
#include "client/client.h"
#include "client/groups.h"
#include "os/clock.h"
#include <stdio.h>

#define POST_TIMEOUT_MS 5000
#define WAIT_MS         500u /* how long at most until it is looked at the time again */

struct al_chat {
    struct al_client *client;
    struct al_alloc alloc;
    struct al_chat_options options; /* texts: group, agent, topic below */
    struct ali_chat_fold fold;
    char group[AL_GROUP_NAME_MAX + 1], agent[AL_NAME_MAX + 1];
    char *topic;
    bool attached;
    uint64_t active_ns; /* when the turn was given or a word was said, as this program saw it */
    bool speaking;      /* in the callback */
    struct al_buf words;
    bool has_words;
    uint64_t words_number; /* turn or message that they are for: said again if it was in vain */
};

/* ---- reading ----------------------------------------------------------------------------- */

static int add(struct al_chat *chat, uint64_t seq, const struct al_message *message)
{
    int r = ali_chat_fold_add(&chat->fold, seq, message);
    struct al_chat_said said = {.seq = seq,
                                .turn = chat->fold.state.turn,
                                .author = message->from,
                                .text = message->payload,
                                .size = message->payload_size};

    if (r < 0)
        return ali_client_failed(r, NULL);
    if (r != ALI_CHAT_NOTHING)
        chat->active_ns = al_clock_mono_ns();
    if (r == ALI_CHAT_SAID && chat->options.heard)
        chat->options.heard(chat->options.ctx, &said);
    return 0;
}

static int add_entry(void *ctx, const struct al_group_entry *entry)
{
    return add(ctx, entry->seq, &entry->message);
}

/* Reads what the group has more than the state. */
static int catch_up(struct al_chat *chat)
{
    struct al_group_query query = {
        .group = chat->group, .agent = chat->agent, .first_seq = chat->fold.state.seq + 1};

    return al_group_history(chat->client, &query, add_entry, chat);
}

/* ---- posting ----------------------------------------------------------------------------- */

/* Posts a message of the conversation, and reads on. An error that may pass is none: the state
 * says later whether it has to be posted again. */
static int post(struct al_chat *chat, const char *kind, const struct al_header *headers,
                size_t count, struct al_str payload)
{
    struct al_message message;
    int r;

    al_message_init(&message);
    message.from = chat->agent;
    message.kind = kind;
    message.workflow_id = chat->fold.chat;
    message.headers = headers;
    message.header_count = count;
    message.payload = payload.p;
    message.payload_size = payload.n;
    r = al_group_post(chat->client, chat->group, &message, POST_TIMEOUT_MS, NULL);
    if (r < 0 && r != -AL_E_UNKNOWN_OUTCOME && !al_error_is_retryable(r))
        return r;
    return catch_up(chat);
}

static int post_number(struct al_chat *chat, const char *kind, const char *name, uint64_t number,
                       const char *speaker)
{
    char text[24];
    struct al_header headers[] = {{name, text}, {"chat-speaker", speaker}};

    snprintf(text, sizeof(text), "%llu", (unsigned long long)number);
    return post(chat, kind, headers, speaker ? 2 : 1, al_str_of(NULL, 0));
}

/* ---- speaking ---------------------------------------------------------------------------- */

int al_chat_say(struct al_chat *chat, const void *text, size_t size)
{
    int r;

    if (!chat->speaking || chat->has_words)
        return ali_client_fail(-AL_E_INVALID, "al_chat_say() is for the speak callback, once");
    al_buf_clear(&chat->words);
    r = al_buf_put(&chat->words, text, size);
    if (r < 0)
        return ali_client_failed(r, NULL);
    chat->has_words = true;
    return 0;
}

/* Lets the program speak and posts what it says, under this number. */
static int speak(struct al_chat *chat, const char *header, uint64_t number,
                 const struct al_chat_said *last)
{
    char text[24];
    struct al_header headers[] = {{header, text}};
    int r = 0;

    if (chat->words_number != number) {
        chat->has_words = false;
        chat->speaking = true;
        if (chat->options.speak)
            r = chat->options.speak(chat->options.ctx, chat, last);
        chat->speaking = false;
        if (r < 0)
            return r;
        chat->words_number = number;
    }
    if (!chat->has_words) {
        if (chat->fold.state.policy == AL_CHAT_FREE)
            return 0;
        al_buf_clear(&chat->words); /* the speaker passes */
    }
    snprintf(text, sizeof(text), "%llu", (unsigned long long)number);
    return post(chat, AL_CHAT_KIND_SAY, headers, 1, al_str_of(chat->words.data, chat->words.size));
}

static bool has_turn(const struct al_chat *chat)
{
    const struct al_chat_state *state = &chat->fold.state;

    return state->turn_open && strcmp(state->speaker, chat->agent) == 0;
}

static bool may_answer(const struct al_chat *chat, uint64_t seq)
{
    const struct al_chat_state *state = &chat->fold.state;

    return !state->closed && state->said < state->turns_max &&
           ali_chat_answered(&chat->fold, chat->agent) < seq;
}

/* Free: answers a message that was given out, unless that was done. */
static int answer(struct al_chat *chat, const struct al_delivery *delivery)
{
    const struct al_message *message = &delivery->message;
    struct al_chat_said said = {.seq = delivery->seq,
                                .turn = chat->fold.state.turn,
                                .author = message->from,
                                .text = message->payload,
                                .size = message->payload_size};
    bool opens = strcmp(message->kind, AL_CHAT_KIND_OPEN) == 0;
    int r;

    if (strcmp(message->workflow_id, chat->fold.chat) != 0 ||
        !ali_chat_counts(&chat->fold, delivery->seq) || strcmp(message->from, chat->agent) == 0 ||
        !may_answer(chat, delivery->seq))
        return 0;
    r = speak(chat, "chat-answers", delivery->seq, opens ? NULL : &said);
    if (r == 0 && chat->has_words && may_answer(chat, delivery->seq)) /* only this message asks */
        return ali_client_fail(-AL_E_BUSY, "what was said is not in the group yet");
    return r;
}

static int take_part(struct al_chat *chat, const struct al_delivery *delivery)
{
    const struct al_chat_state *state = &chat->fold.state;
    int r = 0;

    if (!state->opened || state->closed)
        return 0;
    if (state->policy == AL_CHAT_FREE)
        return delivery ? answer(chat, delivery) : 0;
    if (has_turn(chat))
        r = catch_up(chat); /* was it taken by a predecessor? */
    return r == 0 && has_turn(chat) ? speak(chat, "chat-turn", state->turn, NULL) : r;
}

/* ---- managing ---------------------------------------------------------------------------- */

/* The members that may speak. */
struct roster {
    const struct al_chat *chat;
    char (*names)[AL_NAME_MAX + 1];
    const char **list;
    size_t count, cap;
};

static int note_member(void *ctx, const struct al_group_member *member)
{
    struct roster *roster = ctx;

    if (!member->left_seq && strcmp(member->agent, roster->chat->agent) != 0 &&
        roster->count < roster->cap) {
        snprintf(roster->names[roster->count], AL_NAME_MAX + 1, "%s", member->agent);
        roster->list[roster->count] = roster->names[roster->count];
        roster->count++;
    }
    return 0;
}

static int close_it(struct al_chat *chat)
{
    return post(chat, AL_CHAT_KIND_CLOSE, NULL, 0, al_str_of(NULL, 0));
}

/* Chooses among the members and gives the next turn; without members it waits for some. */
static int next_turn(struct al_chat *chat, struct roster *roster)
{
    const struct al_chat_state *state = &chat->fold.state;
    int at, r = al_group_members(chat->client, chat->group, note_member, roster);

    if (r < 0 || roster->count == 0)
        return r;
    if (state->policy == AL_CHAT_MODERATOR)
        at = chat->options.choose(chat->options.ctx, state, roster->list, roster->count);
    else
        at = (int)ali_chat_next_name(&chat->fold, roster->list, roster->count);
    if (at < 0 || (size_t)at >= roster->count)
        return close_it(chat);
    return post_number(chat, AL_CHAT_KIND_TURN, "chat-turn", (uint64_t)state->turn + 1,
                       roster->list[at]);
}

static int give_turn(struct al_chat *chat)
{
    struct roster roster = {.chat = chat, .cap = AL_GROUP_MEMBERS_MAX};
    const struct al_alloc *alloc = &chat->alloc;
    int r = -AL_E_NOMEM;

    roster.names = al_alloc_new(alloc, roster.cap * sizeof(*roster.names));
    roster.list = al_alloc_new(alloc, roster.cap * sizeof(*roster.list));
    if (roster.names && roster.list)
        r = next_turn(chat, &roster);
    else
        (void)ali_client_failed(r, NULL);
    al_alloc_free(alloc, roster.names, roster.cap * sizeof(*roster.names));
    al_alloc_free(alloc, roster.list, roster.cap * sizeof(*roster.list));
    return r;
}

static int open_it(struct al_chat *chat)
{
    char policy[12], turns[12];
    struct al_header headers[] = {{"chat-policy", policy}, {"chat-turns", turns}};

    snprintf(policy, sizeof(policy), "%u", (unsigned)chat->options.policy);
    snprintf(turns, sizeof(turns), "%u", chat->options.turns_max);
    return post(chat, AL_CHAT_KIND_OPEN, headers, 2, al_str_c(chat->topic));
}

/* Does the next thing that is due. */
static int manage(struct al_chat *chat)
{
    const struct al_chat_state *state = &chat->fold.state;
    uint64_t silent_ms = (al_clock_mono_ns() - chat->active_ns) / 1000000;
    bool late = silent_ms >= chat->options.turn_timeout_ms;

    if (!state->opened)
        return open_it(chat);
    if (state->closed || strcmp(state->manager, chat->agent) != 0)
        return 0;
    if (state->policy == AL_CHAT_FREE)
        return state->said >= state->turns_max || late ? close_it(chat) : 0;
    if (state->turn_open)
        return late ? post_number(chat, AL_CHAT_KIND_SKIP, "chat-turn", state->turn, NULL) : 0;
    return state->turn >= state->turns_max ? close_it(chat) : give_turn(chat);
}

/* ---- both -------------------------------------------------------------------------------- */

int al_chat_handle(struct al_chat *chat, const struct al_delivery *delivery)
{
    uint64_t seq = chat->fold.state.seq;
    int r = 0;

    if (delivery && (!delivery->group || strcmp(delivery->group->name, chat->group) != 0))
        return ali_client_fail(-AL_E_INVALID, "the message is not of '%s'", chat->group);
    if (delivery && delivery->seq == seq + 1)
        r = add(chat, delivery->seq, &delivery->message);
    else if (delivery && delivery->seq > seq) /* it was given out before it got to us, or not */
        r = catch_up(chat);
    if (r == 0 && chat->options.manage)
        return manage(chat);
    return r == 0 ? take_part(chat, delivery) : r;
}

/* True for what is over by itself: the connection comes back, a full inbox is read. */
static bool passes(int r)
{
    return r == -AL_E_UNREACHABLE || r == -AL_E_TIMEOUT || r == -AL_E_BUSY;
}

/* Receives one message, if one comes in time, and deals with it. `held` is one that could not be
 * dealt with yet: nothing of the group comes behind it, and it spends no attempt. */
static int run_once(struct al_chat *chat, int wait_ms, struct al_delivery **held)
{
    struct al_delivery *delivery = NULL;
    int r = al_receive(chat->client, wait_ms, &delivery);

    if (r < 0 && r != -AL_E_TIMEOUT)
        return r;
    if (delivery && (!delivery->group || strcmp(delivery->group->name, chat->group) != 0)) {
        r = al_nack(delivery, 1000, "the agent is in a conversation");
        if (r < 0)
            al_delivery_drop(delivery);
        return r;
    }
    if (delivery)
        al_delivery_drop(*held); /* it was given out again */
    else
        delivery = *held;
    *held = NULL;
    r = al_chat_handle(chat, delivery);
    if (delivery && r == 0)
        r = al_ack(delivery, NULL);
    if (passes(r))
        *held = delivery;
    else if (r < 0)
        al_delivery_drop(delivery);
    return r;
}

static int attach(struct al_chat *chat)
{
    int r = chat->attached ? 0 : al_attach(chat->client, chat->agent, NULL);

    if (r == -AL_E_EXISTS)
        r = 0; /* by the program itself */
    chat->attached = r == 0;
    return r;
}

int al_chat_run(struct al_chat *chat, int timeout_ms)
{
    uint64_t deadline = ali_deadline_ns(timeout_ms);
    struct al_delivery *held = NULL;
    int r = 0;

    while (r == 0 && !chat->fold.state.closed) {
        uint64_t now = al_clock_mono_ns();
        uint64_t left_ms = now < deadline ? (deadline - now) / 1000000 + 1 : 0;

        if (!left_ms) {
            al_delivery_drop(held);
            return ali_client_fail(-AL_E_TIMEOUT, "the conversation '%s' was not closed in time",
                                   chat->fold.chat);
        }
        r = attach(chat);
        if (r == 0)
            r = al_chat_handle(chat, NULL);
        if (r == 0 && !chat->fold.state.closed)
            r = run_once(chat, (int)(left_ms < WAIT_MS ? left_ms : WAIT_MS), &held);
        if (passes(r))
            r = 0;
    }
    if (held && (r < 0 || al_ack(held, NULL) < 0))
        al_delivery_drop(held);
    return r < 0 ? r : al_client_flush(chat->client, POST_TIMEOUT_MS);
}

void al_chat_get_state(const struct al_chat *chat, struct al_chat_state *ret_state)
{
    *ret_state = chat->fold.state;
}

static const char *flaw_of(const struct al_chat_options *options)
{
    if (!options->chat || !*options->chat || strlen(options->chat) > ALI_CHAT_NAME_MAX)
        return "`chat` needs 1 to 128 bytes";
    if (options->policy > AL_CHAT_MODERATOR)
        return "`policy` is none that there is";
    if (options->manage && options->policy == AL_CHAT_MODERATOR && !options->choose)
        return "a moderator needs `choose`";
    if (!options->agent || !al_name_is_valid(al_str_c(options->agent)))
        return "`agent` is not the name of an agent";
    return NULL;
}

/* Without the namespace that goes without saying: so names come with messages. */
static void copy_name(const char *name, size_t prefix, char *ret_name)
{
    const char *rest =
        strncmp(name + prefix, "default/", 8) == 0 ? name + prefix + 8 : name + prefix;

    memcpy(ret_name, name, prefix);
    memcpy(ret_name + prefix, rest, strlen(rest) + 1);
}

/* Fills a new one in; al_chat_free() in any case. */
static int begin(struct al_chat *chat, const struct al_chat_options *options)
{
    size_t topic_size = options->topic ? strlen(options->topic) + 1 : 1;
    char group[AL_GROUP_NAME_MAX + 1];
    int r = ali_group_name(options->group, group);

    if (r < 0)
        return r;
    copy_name(group, 6, chat->group);
    copy_name(options->agent, 0, chat->agent);
    chat->topic = al_alloc_zero(&chat->alloc, topic_size);
    if (!chat->topic)
        return ali_client_failed(-AL_E_NOMEM, NULL);
    memcpy(chat->topic, options->topic ? options->topic : "", topic_size);
    chat->active_ns = al_clock_mono_ns();
    if (!chat->options.policy)
        chat->options.policy = AL_CHAT_ROUND_ROBIN;
    if (!chat->options.turns_max)
        chat->options.turns_max = 10;
    if (!chat->options.turn_timeout_ms)
        chat->options.turn_timeout_ms = 60000;
    return catch_up(chat);
}

int al_chat_new(struct al_client *client, const struct al_chat_options *options,
                struct al_chat **ret_chat)
{
    const char *flaw = flaw_of(options);
    struct al_chat *chat;
    int r;

    if (flaw)
        return ali_client_failed(-AL_E_INVALID, flaw);
    chat = al_alloc_zero(&client->alloc, sizeof(*chat));
    if (!chat)
        return ali_client_failed(-AL_E_NOMEM, NULL);
    chat->client = client;
    chat->alloc = client->alloc;
    chat->options = *options;
    ali_chat_fold_init(&chat->fold, &chat->alloc, options->chat);
    al_buf_init(&chat->words, &chat->alloc);
    r = begin(chat, options);
    if (r < 0) {
        al_chat_free(chat);
        return r;
    }
    *ret_chat = chat;
    return 0;
}

void al_chat_free(struct al_chat *chat)
{
    struct al_alloc alloc;

    if (!chat)
        return;
    alloc = chat->alloc;
    ali_chat_fold_deinit(&chat->fold);
    al_buf_deinit(&chat->words);
    if (chat->topic)
        al_alloc_free(&alloc, chat->topic, strlen(chat->topic) + 1);
    al_alloc_free(&alloc, chat, sizeof(*chat));
}
