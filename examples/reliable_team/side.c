/* side.c - the team builder, and one side of the conversation: what an agent program looks like. */
#include "side.h"
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

const char *const side_names[SIDES] = {"writer", "critic", "editor", "chair"};

static const char *const lines[3][TURNS / 3] = {
    {"We ship the parser on Monday.", "Then on Tuesday, with the fuzz run.",
     "Good: Tuesday, fuzzed, with a fallback.", "Agreed."},
    {"Who tests it on damaged files?", "And if the run finds something?",
     "The fallback needs an owner.", "No objections."},
    {"Noted: Monday, tests open.", "Noted: Tuesday, fuzzed.", "Noted: fallback, owner writer.",
     "The plan stands."},
};

struct side {
    unsigned index, heard, crash_after;
    struct al_client *client;
    FILE *log;
};

/* ---- the team ---------------------------------------------------------------------------- */

static int fine(int result)
{
    return result == -AL_ERR_EXISTS ? 0 : result;
}

int team_build(const char *url)
{
    struct al_client *client;
    int r = al_client_open(&(struct al_client_options){.node = url}, &client);

    if (r < 0)
        return r;
    r = fine(al_group_create(client, TEAM, NULL));
    for (unsigned i = 0; i < SIDES && r == 0; i++) {
        r = fine(al_agent_add(client, side_names[i]));
        if (r == 0)
            r = fine(al_group_join(client, TEAM, side_names[i], 0, NULL));
    }
    (void)al_client_close(client, 1000);
    return r;
}

/* ---- callbacks --------------------------------------------------------------------------- */

static void hear(void *ctx, const struct al_chat_said *said)
{
    struct side *side = ctx;

    fprintf(side->log, "%u %s: %.*s\n", said->turn, said->author, (int)said->size,
            (const char *)said->text);
    fflush(side->log);
    if (side->crash_after && ++side->heard == side->crash_after)
        al_client_stop(side->client);
}

/* The editor is a program that is not sure whether it has spoken, and says it once more. */
static int stutter(struct side *side, const char *text, unsigned turn)
{
    char number[12];
    struct al_header header = {"chat-turn", number};
    struct al_message message;

    snprintf(number, sizeof(number), "%u", turn);
    al_message_init(&message);
    message.from = side_names[side->index];
    message.kind = AL_CHAT_KIND_SAY;
    message.workflow_id = TALK;
    message.headers = &header;
    message.header_count = 1;
    message.payload = text;
    message.payload_size = strlen(text);
    return al_group_post(side->client, TEAM, &message, 10000, NULL);
}

static int speak(void *ctx, struct al_chat *chat, const struct al_chat_said *last)
{
    const struct timespec thought = {.tv_nsec = 60000000}; /* a model would think here */
    struct side *side = ctx;
    struct al_chat_state state;
    const char *text;

    (void)last;
    nanosleep(&thought, NULL);
    al_chat_get_state(chat, &state);
    text = lines[side->index][(state.turn - 1) / 3 % (TURNS / 3)];
    if (side->index == 2)
        (void)stutter(side, text, state.turn); /* if it is lost, there is one less */
    return al_chat_say(chat, text, strlen(text));
}

/* ---- a side ------------------------------------------------------------------------------ */

/* What it has come to, and proof that nothing of it is missing. */
static int write_end(struct side *side, struct al_chat *chat)
{
    const struct timespec moment = {.tv_nsec = 100000000};
    struct al_chat_state state;
    struct al_group_proof proof = {0};
    int r = al_group_verify(side->client, TEAM, side_names[side->index], &proof);

    for (unsigned tries = 0; r == -AL_ERR_UNREACHABLE && tries < 100; tries++) {
        nanosleep(&moment, NULL); /* the node was killed just now */
        r = al_group_verify(side->client, TEAM, side_names[side->index], &proof);
    }
    al_chat_get_state(chat, &state);
    fprintf(side->log, "end said=%u skipped=%u ignored=%u proven=%llu-%llu hash=", state.said,
            state.skipped, state.ignored, (unsigned long long)proof.first_seq,
            (unsigned long long)proof.last_seq);
    for (unsigned i = 0; i < 8; i++)
        fprintf(side->log, "%02x", proof.hash[i]);
    fprintf(side->log, "%s\n", r < 0 ? " BROKEN" : "");
    return r;
}

static int converse(struct side *side)
{
    struct al_chat_options options = {.group = TEAM,
                                      .agent = side_names[side->index],
                                      .chat = TALK,
                                      .ctx = side,
                                      .heard = hear,
                                      .speak = speak,
                                      .manage = side->index == SIDES - 1,
                                      .policy = AL_CHAT_ROUND_ROBIN,
                                      .turns_max = TURNS,
                                      .turn_timeout_ms = 30000,
                                      .topic = "what do we ship, and when?"};
    struct al_chat *chat;
    int r = al_chat_new(side->client, &options, &chat);

    if (r < 0)
        return r;
    r = al_chat_run(chat, 50000);
    if (r == 0)
        r = write_end(side, chat);
    al_chat_free(chat);
    return r;
}

int side_run(const char *url, unsigned index, const char *log, unsigned crash_after)
{
    struct side side = {.index = index, .crash_after = crash_after, .log = fopen(log, "we")};
    int r = -AL_ERR_IO;

    if (!side.log) {
        perror(log);
        return r;
    }
    r = al_client_open(&(struct al_client_options){.node = url}, &side.client);
    if (r == 0)
        r = converse(&side);
    if (r < 0 && r != -AL_ERR_CANCELLED)
        fprintf(stderr, "%s: %s\n", side_names[index], al_last_error());
    fclose(side.log);
    if (r == -AL_ERR_CANCELLED) {
        al_client_abort(side.client); /* no goodbye: as if it had been killed */
        return 1;
    }
    if (side.client)
        (void)al_client_close(side.client, 5000);
    return r;
}

/* ---- all as threads ---------------------------------------------------------------------- */

struct thread {
    pthread_t thread;
    const char *url;
    char log[600];
    unsigned index, crash_after;
    int result;
};

static void *run_thread(void *ctx)
{
    struct thread *t = ctx;

    t->result = side_run(t->url, t->index, t->log, t->crash_after);
    if (t->result == 1) /* it died, and is started again */
        t->result = side_run(t->url, t->index, t->log, 0);
    return NULL;
}

int team_run(const char *url, const char *dir, int crash)
{
    struct thread threads[SIDES];
    struct al_client *keep; /* the node in this process lives as long as a client does */
    unsigned started = 0;
    int bad = 0;

    if (al_client_open(&(struct al_client_options){.node = url}, &keep) < 0 ||
        team_build(url) < 0) {
        fprintf(stderr, "%s: %s\n", url, al_last_error());
        return 1;
    }
    for (; started < SIDES; started++) {
        struct thread *t = &threads[started];

        *t = (struct thread){.url = url, .index = started};
        t->crash_after = !crash ? 0 : started == 0 ? 3 : started == SIDES - 1 ? 5 : 0;
        snprintf(t->log, sizeof(t->log), "%s/%s.said", dir, side_names[started]);
        if (pthread_create(&t->thread, NULL, run_thread, t)) {
            bad = 1;
            break;
        }
    }
    while (started > 0) {
        (void)pthread_join(threads[--started].thread, NULL);
        bad |= threads[started].result != 0;
    }
    (void)al_client_close(keep, 1000);
    return bad;
}
