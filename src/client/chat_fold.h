/* chat_fold.h - what a conversation has come to: a fold over the messages of its group. */
#ifndef AL_CLIENT_CHAT_FOLD_H
#define AL_CLIENT_CHAT_FOLD_H

#include "agentlink/chat.h"
#include "base/bytes.h"
#include "base/limits.h"

#define ALI_CHAT_NAME_MAX 128u

/* How far a member has answered in a free conversation. */
struct ali_chat_voice {
    char name[AL_NAME_MAX + 1];
    uint64_t answered_seq;
};

struct ali_chat_fold {
    struct al_alloc alloc;
    struct al_chat_state state; /* manager and speaker point to the texts here */
    char chat[ALI_CHAT_NAME_MAX + 1];
    char manager[AL_NAME_MAX + 1], speaker[AL_NAME_MAX + 1];
    struct ali_chat_voice *voices; /* who has spoken in a free conversation */
    uint32_t voice_count, voice_cap;
    struct al_buf counted; /* free: u64 sequences of what may be answered, in order */
};

/* What a message did. */
enum ali_chat_effect {
    ALI_CHAT_NOTHING, /* not of the conversation, or passed over */
    ALI_CHAT_OPENED,
    ALI_CHAT_TURN,
    ALI_CHAT_SAID,
    ALI_CHAT_SKIPPED,
    ALI_CHAT_CLOSED
};

/* An empty conversation of this name, which is at most ALI_CHAT_NAME_MAX bytes long. */
void ali_chat_fold_init(struct ali_chat_fold *fold, const struct al_alloc *alloc, const char *chat);
/* Frees what it owns. */
void ali_chat_fold_deinit(struct ali_chat_fold *fold);
/* The group's next message, which is at `seq`. One effect, or -AL_E_NOMEM. */
int ali_chat_fold_add(struct ali_chat_fold *fold, uint64_t seq, const struct al_message *message);
/* Up to where a member has answered in a free conversation. */
uint64_t ali_chat_answered(const struct ali_chat_fold *fold, const char *name);
/* Free: true if the message at this sequence counts, so that it may be answered. */
bool ali_chat_counts(const struct ali_chat_fold *fold, uint64_t seq);
/* The index of the name that follows the last speaker in the order of names, wrapping around. */
size_t ali_chat_next_name(const struct ali_chat_fold *fold, const char *const *names, size_t count);

#endif
