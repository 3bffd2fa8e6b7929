/* chat_fold.c - the rules of a conversation.
 *
 * They look at nothing but the messages in the group's order, so every side that has read as far
 * has the same state. The first `open` counts; a turn counts if it is the manager's, has the next
 * number and none is open; a word counts if it is the speaker's for the open turn, in a free
 * conversation if its author has not answered that message or a later one yet. */
#include "client/chat_fold.h"
#include "base/errors.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void ali_chat_fold_init(struct ali_chat_fold *fold, const struct al_alloc *alloc, const char *chat)
{
    memset(fold, 0, sizeof(*fold));
    fold->alloc = *alloc;
    al_buf_init(&fold->counted, &fold->alloc);
    snprintf(fold->chat, sizeof(fold->chat), "%s", chat);
    fold->state.manager = fold->manager;
    fold->state.speaker = fold->speaker;
}

void ali_chat_fold_deinit(struct ali_chat_fold *fold)
{
    al_buf_deinit(&fold->counted);
    al_alloc_free(&fold->alloc, fold->voices, fold->voice_cap * sizeof(*fold->voices));
}

/* A header that is a number; 0: none, or no number. */
static uint64_t number_of(const struct al_message *message, const char *name)
{
    const char *text = al_message_header(message, name);
    char *end;
    uint64_t value;

    if (!text || *text < '0' || *text > '9')
        return 0;
    value = strtoull(text, &end, 10);
    return *end ? 0 : value;
}

static struct ali_chat_voice *voice_of(const struct ali_chat_fold *fold, const char *name)
{
    for (uint32_t i = 0; i < fold->voice_count; i++)
        if (strcmp(fold->voices[i].name, name) == 0)
            return &fold->voices[i];
    return NULL;
}

uint64_t ali_chat_answered(const struct ali_chat_fold *fold, const char *name)
{
    const struct ali_chat_voice *voice = voice_of(fold, name);

    return voice ? voice->answered_seq : 0;
}

bool ali_chat_counts(const struct ali_chat_fold *fold, uint64_t seq)
{
    for (size_t at = fold->counted.size; at >= 8; at -= 8) /* mostly one of the last */
        if (al_get64(fold->counted.data + at - 8) <= seq)
            return al_get64(fold->counted.data + at - 8) == seq;
    return false;
}

static int count(struct ali_chat_fold *fold, uint64_t seq)
{
    uint8_t number[8];

    al_put64(number, seq);
    return al_buf_put(&fold->counted, number, sizeof(number));
}

static int voice_add(struct ali_chat_fold *fold, const char *name,
                     struct ali_chat_voice **ret_voice)
{
    if (fold->voice_count == fold->voice_cap) {
        uint32_t cap = fold->voice_cap ? fold->voice_cap * 2 : 8;
        struct ali_chat_voice *voices =
            fold->alloc.realloc_fn(fold->alloc.ctx, fold->voices, fold->voice_cap * sizeof(*voices),
                                   cap * sizeof(*voices));

        if (!voices)
            return -AL_E_NOMEM;
        fold->voices = voices;
        fold->voice_cap = cap;
    }
    *ret_voice = &fold->voices[fold->voice_count++];
    memset(*ret_voice, 0, sizeof(**ret_voice));
    snprintf((*ret_voice)->name, sizeof((*ret_voice)->name), "%s", name);
    return 0;
}

static int add_open(struct ali_chat_fold *fold, uint64_t seq, const struct al_message *message)
{
    uint64_t policy = number_of(message, "chat-policy"), turns = number_of(message, "chat-turns");

    if (fold->state.opened || policy < AL_CHAT_FREE || policy > AL_CHAT_MODERATOR || turns == 0 ||
        turns > UINT32_MAX)
        return ALI_CHAT_NOTHING;
    if (count(fold, seq) < 0)
        return -AL_E_NOMEM;
    fold->state.opened = true;
    fold->state.policy = (enum al_chat_policy)policy;
    fold->state.turns_max = (uint32_t)turns;
    snprintf(fold->manager, sizeof(fold->manager), "%s", message->from);
    return ALI_CHAT_OPENED;
}

static int add_turn(struct ali_chat_fold *fold, const struct al_message *message)
{
    const char *speaker = al_message_header(message, "chat-speaker");

    if (fold->state.policy == AL_CHAT_FREE || fold->state.turn_open || !speaker ||
        number_of(message, "chat-turn") != (uint64_t)fold->state.turn + 1 ||
        fold->state.turn >= fold->state.turns_max || strlen(speaker) > AL_NAME_MAX)
        return ALI_CHAT_NOTHING;
    fold->state.turn++;
    fold->state.turn_open = true;
    snprintf(fold->speaker, sizeof(fold->speaker), "%s", speaker);
    return ALI_CHAT_TURN;
}

static int add_free_word(struct ali_chat_fold *fold, uint64_t seq, const struct al_message *message)
{
    uint64_t answers = number_of(message, "chat-answers");
    struct ali_chat_voice *voice = voice_of(fold, message->from);
    int r;

    if (answers >= seq || !ali_chat_counts(fold, answers) ||
        fold->state.said >= fold->state.turns_max || (voice && answers <= voice->answered_seq))
        return ALI_CHAT_NOTHING;
    if (!voice) {
        r = voice_add(fold, message->from, &voice);
        if (r < 0)
            return r;
    }
    r = count(fold, seq);
    if (r < 0)
        return r;
    voice->answered_seq = answers;
    fold->state.said++;
    fold->state.turn++;
    snprintf(fold->speaker, sizeof(fold->speaker), "%s", message->from);
    return ALI_CHAT_SAID;
}

static int add_word(struct ali_chat_fold *fold, uint64_t seq, const struct al_message *message)
{
    if (fold->state.policy == AL_CHAT_FREE)
        return add_free_word(fold, seq, message);
    if (!fold->state.turn_open || number_of(message, "chat-turn") != fold->state.turn ||
        strcmp(message->from, fold->speaker) != 0)
        return ALI_CHAT_NOTHING;
    fold->state.turn_open = false;
    fold->state.said++;
    return ALI_CHAT_SAID;
}

static int add_skip(struct ali_chat_fold *fold, const struct al_message *message)
{
    if (!fold->state.turn_open || number_of(message, "chat-turn") != fold->state.turn)
        return ALI_CHAT_NOTHING;
    fold->state.turn_open = false;
    fold->state.skipped++;
    return ALI_CHAT_SKIPPED;
}

static int add_own(struct ali_chat_fold *fold, uint64_t seq, const struct al_message *message)
{
    bool managed = strcmp(message->from, fold->manager) == 0;

    if (strcmp(message->kind, AL_CHAT_KIND_OPEN) == 0)
        return add_open(fold, seq, message);
    if (!fold->state.opened || fold->state.closed)
        return ALI_CHAT_NOTHING;
    if (strcmp(message->kind, AL_CHAT_KIND_SAY) == 0)
        return add_word(fold, seq, message);
    if (managed && strcmp(message->kind, AL_CHAT_KIND_TURN) == 0)
        return add_turn(fold, message);
    if (managed && strcmp(message->kind, AL_CHAT_KIND_SKIP) == 0)
        return add_skip(fold, message);
    if (managed && strcmp(message->kind, AL_CHAT_KIND_CLOSE) == 0) {
        fold->state.closed = true;
        fold->state.turn_open = false;
        return ALI_CHAT_CLOSED;
    }
    return ALI_CHAT_NOTHING;
}

int ali_chat_fold_add(struct ali_chat_fold *fold, uint64_t seq, const struct al_message *message)
{
    int r;

    if (strcmp(message->workflow_id, fold->chat) != 0 || strncmp(message->kind, "chat.", 5) != 0) {
        fold->state.seq = seq;
        return ALI_CHAT_NOTHING;
    }
    r = add_own(fold, seq, message);
    if (r < 0)
        return r;
    fold->state.seq = seq;
    if (r == ALI_CHAT_NOTHING)
        fold->state.ignored++;
    return r;
}

size_t ali_chat_next_name(const struct ali_chat_fold *fold, const char *const *names, size_t count)
{
    size_t first = 0, next = count;

    for (size_t i = 0; i < count; i++) {
        if (strcmp(names[i], names[first]) < 0)
            first = i;
        if (strcmp(names[i], fold->speaker) > 0 &&
            (next == count || strcmp(names[i], names[next]) < 0))
            next = i;
    }
    return next < count ? next : first;
}
