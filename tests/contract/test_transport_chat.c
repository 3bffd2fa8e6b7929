/* test_transport_chat.c - conversations over every transport: policies, a manager and members that
 * are killed, posts that come twice. test_transport_chat inproc|file|unix [FILTER]. */
#include "transport.h"
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define TURNS    6
#define LOG_SIZE 2000

/* One side of a conversation, on a thread of its own. */
struct side {
    const struct bus *bus;
    const char *name;
    bool manage, is_silent, repeats;
    unsigned leave_after; /* al_client_abort() when so much was heard; 0: stay */
    enum al_chat_policy policy;
    uint32_t turn_timeout_ms; /* 0: one that is never reached */
    struct al_client *client;
    unsigned heard, choices;
    char log[LOG_SIZE];
    struct al_chat_state end;
    int result;
    pthread_t thread;
};

static void hear(void *ctx, const struct al_chat_said *said)
{
    struct side *side = ctx;
    size_t at = strlen(side->log);

    snprintf(side->log + at, LOG_SIZE - at, "%llu %u %s %.*s;", (unsigned long long)said->seq,
             said->turn, said->author, (int)said->size, (const char *)said->text);
    side->heard++;
    if (side->leave_after && side->heard >= side->leave_after)
        al_client_stop(side->client);
}

/* What a member says that does not know whether it has said it: the same once more. */
static void repeat(struct side *side, unsigned turn)
{
    char number[12];
    struct al_header header = {"chat-turn", number};
    struct al_message message = text_message(side->name, "", "twice");

    snprintf(number, sizeof(number), "%u", turn);
    message.kind = AL_CHAT_KIND_SAY;
    message.workflow_id = "talk";
    message.headers = &header;
    message.header_count = 1;
    ok(al_group_post(side->client, "team", &message, 5000, NULL));
}

static int speak(void *ctx, struct al_chat *chat, const struct al_chat_said *last)
{
    struct side *side = ctx;
    struct al_chat_state state;
    char text[64];

    al_chat_get_state(chat, &state);
    if (side->is_silent)
        return -AL_ERR_CANCELLED; /* dies in its turn */
    if (side->repeats)
        repeat(side, state.turn);
    snprintf(text, sizeof(text), "%s:%s%s", side->name, last ? "on " : "",
             last ? last->author : "");
    return al_chat_say(chat, text, strlen(text));
}

static int choose(void *ctx, const struct al_chat_state *state, const char *const *members,
                  size_t count)
{
    struct side *side = ctx;

    (void)members;
    side->choices++;
    assert_int_equal(count, 2);
    return state->turn == 4 ? -1 : (int)(state->turn / 2); /* ann, ann, bob, bob, the end */
}

static struct al_chat_options options_of(struct side *side)
{
    return (struct al_chat_options){.group = "team",
                                    .agent = side->name,
                                    .chat = "talk",
                                    .ctx = side,
                                    .heard = hear,
                                    .speak = speak,
                                    .manage = side->manage,
                                    .policy = side->policy,
                                    .turns_max = TURNS,
                                    .turn_timeout_ms =
                                        side->turn_timeout_ms ? side->turn_timeout_ms : 25000,
                                    .topic = "what to do",
                                    .choose = choose};
}

static void *run(void *ctx)
{
    struct side *side = ctx;
    struct al_chat_options options = options_of(side);
    struct al_chat *chat;

    side->result = al_chat_new(side->client, &options, &chat);
    if (side->result < 0)
        return NULL;
    side->result = al_chat_run(chat, 30000);
    al_chat_get_state(chat, &side->end);
    side->end.manager = side->end.speaker = NULL; /* they go with the chat */
    al_chat_free(chat);
    return NULL;
}

static void start(struct side *side, const struct bus *bus, const char *name)
{
    side->bus = bus;
    side->name = name;
    side->client = bus_open(bus);
    side->log[0] = 0;
    side->heard = 0;
    assert_int_equal(pthread_create(&side->thread, NULL, run, side), 0);
}

static int finish(struct side *side)
{
    assert_int_equal(pthread_join(side->thread, NULL), 0);
    if (side->result == 0)
        bus_close(side->client);
    else
        al_client_abort(side->client);
    return side->result;
}

static void make_team(const struct bus *bus)
{
    const char *const names[] = {"ann", "bob", "chair"};
    struct al_client *client = bus_open(bus);

    ok(al_group_create(client, "team", NULL));
    for (unsigned i = 0; i < 3; i++) {
        ok(al_agent_add(client, names[i]));
        ok(al_group_join(client, "team", names[i], 0, NULL));
    }
    bus_close(client);
}

/* All have the same state and have heard the same. */
static void assert_agree(const struct side sides[3])
{
    for (unsigned i = 0; i < 3; i++) {
        assert_true(sides[i].end.closed);
        assert_string_equal(sides[i].log, sides[0].log);
        assert_int_equal(sides[i].end.said, sides[0].end.said);
        assert_int_equal(sides[i].end.turn, sides[0].end.turn);
        assert_int_equal(sides[i].end.skipped, sides[0].end.skipped);
    }
}

static void converse(const struct bus *bus, struct side sides[3])
{
    make_team(bus);
    sides[2].manage = true;
    start(&sides[0], bus, "ann");
    start(&sides[1], bus, "bob");
    start(&sides[2], bus, "chair");
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(finish(&sides[i]), 0);
    assert_agree(sides);
}

/* ---- policies ---------------------------------------------------------------------------- */

static void test_one_after_the_other(void **state)
{
    struct side sides[3] = {{.heard = 0}};

    converse(*state, sides);
    assert_int_equal(sides[0].end.said, TURNS);
    assert_int_equal(sides[0].end.ignored, 0);
    assert_non_null(strstr(sides[0].log, " 1 ann ann:;"));
    assert_non_null(strstr(sides[0].log, " 2 bob bob:;"));
    assert_non_null(strstr(sides[0].log, " 6 bob bob:;"));
}

static void test_a_moderator_chooses_and_ends(void **state)
{
    struct side sides[3] = {{.heard = 0}, {.heard = 0}, {.policy = AL_CHAT_MODERATOR}};

    converse(*state, sides);
    assert_int_equal(sides[2].end.said, 4);
    assert_int_equal(sides[2].choices, 5);
    assert_non_null(strstr(sides[0].log, " 2 ann ann:;"));
    assert_non_null(strstr(sides[0].log, " 3 bob bob:;"));
}

static void test_a_free_conversation(void **state)
{
    struct side sides[3] = {{.heard = 0}, {.heard = 0}, {.policy = AL_CHAT_FREE}};

    converse(*state, sides);
    assert_int_equal(sides[0].end.said, TURNS);
    assert_non_null(strstr(sides[0].log, "ann:on bob"));
    assert_non_null(strstr(sides[0].log, "bob:on ann"));
}

/* ---- what goes wrong --------------------------------------------------------------------- */

static void test_what_is_said_twice_counts_once(void **state)
{
    struct side sides[3] = {{.repeats = true}};

    converse(*state, sides);
    assert_int_equal(sides[0].end.said, TURNS);
    assert_int_equal(sides[0].end.ignored, TURNS / 2);
    assert_non_null(strstr(sides[0].log, " 1 ann twice;"));
}

static void test_a_silent_member_is_passed_over(void **state)
{
    const struct bus *bus = *state;
    struct side sides[3] = {
        {.heard = 0}, {.is_silent = true}, {.manage = true, .turn_timeout_ms = 1000}};

    make_team(bus);
    start(&sides[0], bus, "ann");
    start(&sides[1], bus, "bob");
    start(&sides[2], bus, "chair");
    assert_int_equal(finish(&sides[1]), -AL_ERR_CANCELLED);
    assert_int_equal(finish(&sides[0]), 0);
    assert_int_equal(finish(&sides[2]), 0);
    assert_int_equal(sides[2].end.said + sides[2].end.skipped, TURNS);
    assert_true(sides[2].end.skipped >= TURNS / 2); /* more where ann is very slow */
    assert_null(strstr(sides[2].log, "bob:"));
    assert_string_equal(sides[0].log, sides[2].log);
}

/* A manager and a member that are gone in the middle go on where they were. */
static void test_a_killed_manager_and_member_go_on(void **state)
{
    const struct bus *bus = *state;
    struct side sides[3] = {{.heard = 0}, {.leave_after = 3}, {.manage = true, .leave_after = 2}};

    make_team(bus);
    start(&sides[0], bus, "ann");
    start(&sides[1], bus, "bob");
    start(&sides[2], bus, "chair");
    assert_int_equal(finish(&sides[2]), -AL_ERR_CANCELLED);
    sides[2].leave_after = 0;
    start(&sides[2], bus, "chair");
    assert_int_equal(finish(&sides[1]), -AL_ERR_CANCELLED);
    sides[1].leave_after = 0;
    start(&sides[1], bus, "bob");
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(finish(&sides[i]), 0);
    assert_agree(sides);
    assert_int_equal(sides[0].end.said, TURNS);
}

static void test_a_conversation_that_is_over_is_read(void **state)
{
    struct side sides[3] = {{.heard = 0}}, late = {.heard = 0};

    converse(*state, sides);
    start(&late, *state, "ann");
    assert_int_equal(finish(&late), 0);
    assert_string_equal(late.log, sides[0].log);
}

static void test_options_that_make_no_sense(void **state)
{
    struct al_client *client = bus_open(*state);
    struct al_chat_options options = {.group = "team", .agent = "ann"};
    struct al_chat *chat;

    make_team(*state);
    assert_int_equal(al_chat_new(client, &options, &chat), -AL_ERR_INVALID);
    options.chat = "talk";
    options.manage = true;
    options.policy = AL_CHAT_MODERATOR;
    assert_int_equal(al_chat_new(client, &options, &chat), -AL_ERR_INVALID);
    options.policy = 0;
    options.agent = "dan";
    assert_int_equal(al_chat_new(client, &options, &chat), -AL_ERR_NOT_MEMBER);
    options.agent = "default/ann";
    options.group = "none";
    assert_int_equal(al_chat_new(client, &options, &chat), -AL_ERR_UNKNOWN_GROUP);
    options.group = "default/team";
    options.manage = false;
    ok(al_chat_new(client, &options, &chat));
    assert_int_equal(al_chat_say(chat, "x", 1), -AL_ERR_INVALID);
    assert_int_equal(al_chat_run(chat, 100), -AL_ERR_TIMEOUT);
    al_chat_free(chat);
    al_chat_free(NULL);
    bus_close(client);
}

int main(int argc, char **argv)
{
#define T(name) cmocka_unit_test_setup_teardown(test_##name, bus_setup, bus_teardown)
    const struct CMUnitTest tests[] = {
        T(one_after_the_other),
        T(a_moderator_chooses_and_ends),
        T(a_free_conversation),
        T(what_is_said_twice_counts_once),
        T(a_silent_member_is_passed_over),
        T(a_killed_manager_and_member_go_on),
        T(a_conversation_that_is_over_is_read),
        T(options_that_make_no_sense),
    };

    if (argc > 1)
        bus_transport = argv[1];
    if (argc > 2)
        cmocka_set_test_filter(argv[2]);
    return cmocka_run_group_tests_name(bus_transport, tests, NULL, NULL);
}
