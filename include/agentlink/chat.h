/* agentlink/chat.h - conversations with turns, in a group.
 *
 * One member, the manager, opens the conversation, gives out turns and closes it; the others speak.
 * Who speaks when, says the policy. Everything that counts stands in the group's history, as
 * messages whose workflow_id is the name of the conversation: every side computes its state from
 * them by the same rules, so all agree on it, and a manager or member that was killed goes on from
 * there when it is started again. What is posted twice, or by somebody whose turn it is not, is
 * passed over by all alike: a turn is taken once.
 *
 * A callback may run twice for one turn (killed before what it said was posted); what counts is
 * one of the two. A conversation must be younger than what the group's history keeps.
 *
 * Threads: one at a time per conversation. */
#ifndef AGENTLINK_CHAT_H
#define AGENTLINK_CHAT_H

#include <agentlink/groups.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Who speaks when. */
enum al_chat_policy {
    AL_CHAT_FREE = 1,        /* everybody may answer every message once */
    AL_CHAT_ROUND_ROBIN = 2, /* one after the other, in the order of their names */
    AL_CHAT_MODERATOR = 3    /* the manager's `choose` says */
};

/* The kinds of the messages of a conversation. Numbers and names are in headers: chat-turn,
 * chat-speaker, chat-policy, chat-turns, chat-answers. */
#define AL_CHAT_KIND_OPEN  "chat.open"  /* payload: the topic */
#define AL_CHAT_KIND_TURN  "chat.turn"  /* the speaker has the turn */
#define AL_CHAT_KIND_SAY   "chat.say"   /* payload: what is said; none: the speaker passes */
#define AL_CHAT_KIND_SKIP  "chat.skip"  /* the turn ended without a word */
#define AL_CHAT_KIND_CLOSE "chat.close" /* the end */

/* What a conversation has come to; the same for all who have read as far. Texts are valid until
 * the next call that is about this conversation. */
struct al_chat_state {
    uint64_t seq; /* of the group's last message that is in it */
    bool opened, closed;
    enum al_chat_policy policy;
    uint32_t turns_max;  /* turns (free: messages) after which it is closed */
    uint32_t turn;       /* number of the newest turn; 0: none yet */
    bool turn_open;      /* `speaker` has not spoken yet */
    uint32_t said;       /* messages that count */
    uint32_t skipped;    /* turns that ended without a word */
    uint32_t ignored;    /* messages of it that do not count: repeated, out of turn, too late */
    const char *manager; /* who opened it; "" */
    const char *speaker; /* whose turn it is or was last; "" */
};

/* Something that was said and counts. */
struct al_chat_said {
    uint64_t seq;  /* in the group */
    uint32_t turn; /* free: how many messages there are with it */
    const char *author;
    const void *text;
    size_t size;
};

struct al_chat;

/* Called for everything that counts, once and in order; from the beginning of the conversation on
 * also when a program was started again, so that it knows what was said. */
typedef void al_chat_heard_fn(void *ctx, const struct al_chat_said *said);
/* It is this member's turn; free: `last` was said (NULL: the conversation was opened) and may be
 * answered. The callback says something by al_chat_say(), once, or nothing. Negative: ends
 * al_chat_run() with this error. */
typedef int al_chat_speak_fn(void *ctx, struct al_chat *chat, const struct al_chat_said *last);
/* Moderator: which of the members has the next turn; negative: nobody, the end. */
typedef int al_chat_choose_fn(void *ctx, const struct al_chat_state *state,
                              const char *const *members, size_t count);

/* One side of a conversation. Texts are copied. */
struct al_chat_options {
    const char *group;       /* with or without "group:" */
    const char *agent;       /* who this is: a member of the group */
    const char *chat;        /* name of the conversation, at most 128 bytes: the workflow id */
    void *ctx;               /* for the callbacks */
    al_chat_heard_fn *heard; /* may be NULL */
    al_chat_speak_fn *speak; /* members */
    /* The rest is the manager's. */
    bool manage;                /* this is the manager */
    enum al_chat_policy policy; /* default AL_CHAT_ROUND_ROBIN */
    uint32_t turns_max;         /* default 10 */
    uint32_t turn_timeout_ms;   /* a turn without a word ends after this long; free: the
                                   conversation without one; default 60000 */
    const char *topic;          /* may be NULL */
    al_chat_choose_fn *choose;  /* AL_CHAT_MODERATOR */
};

/* Begins to take part, with what the history says. -AL_ERR_INVALID, -AL_ERR_NOT_MEMBER,
 * -AL_ERR_UNKNOWN_GROUP, -AL_ERR_BAD_NAME, -AL_ERR_NOMEM and the errors of questions. */
AL_API int al_chat_new(struct al_client *client, const struct al_chat_options *options,
                       struct al_chat **ret_chat);
/* Takes part until the conversation is closed: attaches to the agent's inbox if need be, receives,
 * speaks, manages. Nobody else should receive for this client meanwhile; messages that are not of
 * the group are given back (al_nack()). A lost connection is waited for. 0: closed;
 * -AL_ERR_TIMEOUT: not closed in time, may be called again; -AL_ERR_CANCELLED: al_client_stop();
 * what a callback returned; errors of al_attach() and al_receive(). */
AL_API int al_chat_run(struct al_chat *chat, int timeout_ms);
/* For a program with a loop of its own, instead of al_chat_run(): a received message of the group,
 * which the caller settles after the call; NULL: nothing came, look at what time it is. Times are
 * the manager's turn_timeout_ms only. 0, or an error as above; -AL_ERR_BUSY (free): what was said
 * in answer is not in the group yet, call again with the same message, which is not settled yet. */
AL_API int al_chat_handle(struct al_chat *chat, const struct al_delivery *delivery);
/* Says something, from the speak callback only; the text is copied. -AL_ERR_INVALID: elsewhere, or
 * twice; -AL_ERR_NOMEM. */
AL_API int al_chat_say(struct al_chat *chat, const void *text, size_t size);
/* What it has come to. */
AL_API void al_chat_get_state(const struct al_chat *chat, struct al_chat_state *ret_state);
/* Frees it; the conversation goes on without this program until it is started again. NULL is
 * accepted. */
AL_API void al_chat_free(struct al_chat *chat);

#ifdef __cplusplus
}
#endif

#endif
