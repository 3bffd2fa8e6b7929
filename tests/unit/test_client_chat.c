/* test_client_chat.c - the rules of a conversation: what counts, whatever is posted twice. */
#include "client/chat_fold.h"
#include "support.h"
#include <stdio.h>
#include <string.h>

struct world {
    struct al_test_alloc memory;
    struct ali_chat_fold fold;
    uint64_t seq;
};

static void begin(struct world *w)
{
    memset(w, 0, sizeof(*w));
    al_test_alloc_init(&w->memory);
    ali_chat_fold_init(&w->fold, &w->memory.alloc, "talk");
}

static void end(struct world *w)
{
    ali_chat_fold_deinit(&w->fold);
    assert_int_equal(w->memory.live_bytes, 0);
}

#define H(name, value) ((struct al_header){(name), (value)})

/* The group's next message, with up to two headers. */
static int add(struct world *w, const char *from, const char *kind, struct al_header a,
               struct al_header b)
{
    struct al_header headers[] = {a, b};
    struct al_message message;

    al_message_init(&message);
    message.from = from;
    message.kind = kind;
    message.workflow_id = "talk";
    message.headers = headers;
    message.header_count = (a.name != NULL) + (b.name != NULL);
    return ali_chat_fold_add(&w->fold, ++w->seq, &message);
}

static int add_open(struct world *w, const char *from, const char *policy)
{
    return add(w, from, AL_CHAT_KIND_OPEN, H("chat-policy", policy), H("chat-turns", "3"));
}

static int turn(struct world *w, const char *from, const char *number, const char *speaker)
{
    return add(w, from, AL_CHAT_KIND_TURN, H("chat-turn", number), H("chat-speaker", speaker));
}

static int say(struct world *w, const char *from, const char *number)
{
    return add(w, from, AL_CHAT_KIND_SAY, H("chat-turn", number), H(NULL, NULL));
}

static int answer(struct world *w, const char *from, uint64_t seq)
{
    char text[24];

    snprintf(text, sizeof(text), "%llu", (unsigned long long)seq);
    return add(w, from, AL_CHAT_KIND_SAY, H("chat-answers", text), H(NULL, NULL));
}

static void test_a_turn_is_taken_once(void **state)
{
    struct world w;

    (void)state;
    begin(&w);
    assert_int_equal(turn(&w, "chair", "1", "ann"), ALI_CHAT_NOTHING); /* not open */
    assert_int_equal(add_open(&w, "chair", "2"), ALI_CHAT_OPENED);
    assert_int_equal(add_open(&w, "eve", "2"), ALI_CHAT_NOTHING);
    assert_int_equal(turn(&w, "eve", "1", "eve"), ALI_CHAT_NOTHING);
    assert_int_equal(turn(&w, "chair", "2", "ann"), ALI_CHAT_NOTHING);
    assert_int_equal(turn(&w, "chair", "1", "ann"), ALI_CHAT_TURN);
    assert_int_equal(turn(&w, "chair", "1", "bob"), ALI_CHAT_NOTHING);
    assert_int_equal(turn(&w, "chair", "2", "bob"), ALI_CHAT_NOTHING); /* 1 is open */
    assert_int_equal(say(&w, "bob", "1"), ALI_CHAT_NOTHING);
    assert_int_equal(say(&w, "ann", "2"), ALI_CHAT_NOTHING);
    assert_int_equal(say(&w, "ann", "1"), ALI_CHAT_SAID);
    assert_int_equal(say(&w, "ann", "1"), ALI_CHAT_NOTHING);
    assert_int_equal(turn(&w, "chair", "1", "ann"), ALI_CHAT_NOTHING);
    assert_int_equal(w.fold.state.said, 1);
    assert_int_equal(w.fold.state.ignored, 10);
    end(&w);
}

static void test_a_skipped_turn_comes_too_late(void **state)
{
    struct world w;

    (void)state;
    begin(&w);
    add_open(&w, "chair", "3");
    turn(&w, "chair", "1", "ann");
    assert_int_equal(add(&w, "eve", AL_CHAT_KIND_SKIP, H("chat-turn", "1"), H(NULL, NULL)),
                     ALI_CHAT_NOTHING);
    assert_int_equal(add(&w, "chair", AL_CHAT_KIND_SKIP, H("chat-turn", "1"), H(NULL, NULL)),
                     ALI_CHAT_SKIPPED);
    assert_int_equal(say(&w, "ann", "1"), ALI_CHAT_NOTHING);
    for (unsigned i = 2; i <= 3; i++) {
        assert_int_equal(turn(&w, "chair", i == 2 ? "2" : "3", "bob"), ALI_CHAT_TURN);
        assert_int_equal(say(&w, "bob", i == 2 ? "2" : "3"), ALI_CHAT_SAID);
    }
    assert_int_equal(turn(&w, "chair", "4", "ann"), ALI_CHAT_NOTHING); /* 3 is all */
    assert_int_equal(add(&w, "chair", AL_CHAT_KIND_CLOSE, H(NULL, NULL), H(NULL, NULL)),
                     ALI_CHAT_CLOSED);
    assert_int_equal(add(&w, "chair", AL_CHAT_KIND_CLOSE, H(NULL, NULL), H(NULL, NULL)),
                     ALI_CHAT_NOTHING);
    assert_true(w.fold.state.closed);
    assert_int_equal(w.fold.state.skipped, 1);
    end(&w);
}

static void test_a_free_message_is_answered_once_by_each(void **state)
{
    struct world w;
    uint64_t opened, first;

    (void)state;
    begin(&w);
    add_open(&w, "chair", "1");
    opened = w.seq;
    assert_int_equal(answer(&w, "ann", opened + 9), ALI_CHAT_NOTHING); /* not said yet */
    assert_int_equal(answer(&w, "ann", opened), ALI_CHAT_SAID);
    first = w.seq;
    assert_int_equal(answer(&w, "ann", opened), ALI_CHAT_NOTHING);
    assert_false(ali_chat_counts(&w.fold, w.seq));
    assert_int_equal(answer(&w, "bob", w.seq), ALI_CHAT_NOTHING); /* what does not count */
    assert_int_equal(answer(&w, "bob", opened), ALI_CHAT_SAID);
    assert_int_equal(answer(&w, "bob", first), ALI_CHAT_SAID);
    assert_int_equal(answer(&w, "ann", first + 3), ALI_CHAT_NOTHING); /* three are all */
    assert_int_equal(ali_chat_answered(&w.fold, "bob"), first);
    assert_int_equal(ali_chat_answered(&w.fold, "chair"), 0);
    end(&w);
}

static void test_names_take_turns(void **state)
{
    static const char *const names[] = {"cid", "ann", "bob"};
    struct world w;

    (void)state;
    begin(&w);
    add_open(&w, "chair", "2");
    assert_string_equal(names[ali_chat_next_name(&w.fold, names, 3)], "ann");
    turn(&w, "chair", "1", "ann");
    assert_string_equal(names[ali_chat_next_name(&w.fold, names, 3)], "bob");
    snprintf(w.fold.speaker, sizeof(w.fold.speaker), "bzz"); /* has left since */
    assert_string_equal(names[ali_chat_next_name(&w.fold, names, 3)], "cid");
    snprintf(w.fold.speaker, sizeof(w.fold.speaker), "cid");
    assert_string_equal(names[ali_chat_next_name(&w.fold, names, 3)], "ann");
    end(&w);
}

static void test_numbers_that_are_none(void **state)
{
    struct world w;

    (void)state;
    begin(&w);
    assert_int_equal(add_open(&w, "chair", "0"), ALI_CHAT_NOTHING);
    assert_int_equal(add_open(&w, "chair", "4"), ALI_CHAT_NOTHING);
    assert_int_equal(add_open(&w, "chair", "2x"), ALI_CHAT_NOTHING);
    assert_int_equal(add_open(&w, "chair", "-2"), ALI_CHAT_NOTHING);
    assert_int_equal(add_open(&w, "chair", "99999999999999999999"), ALI_CHAT_NOTHING);
    assert_int_equal(add(&w, "chair", AL_CHAT_KIND_OPEN, H(NULL, NULL), H(NULL, NULL)),
                     ALI_CHAT_NOTHING);
    assert_int_equal(add_open(&w, "chair", "2"), ALI_CHAT_OPENED);
    assert_int_equal(add(&w, "chair", AL_CHAT_KIND_TURN, H("chat-turn", "1"), H(NULL, NULL)),
                     ALI_CHAT_NOTHING);
    end(&w);
}

/* Whatever is repeated and mixed in, turns that count are 1, 2, 3 …, each said or skipped once. */
static void test_random_posts_keep_the_rules(void **state)
{
    static const char *const who[] = {"chair", "ann", "bob"};
    struct al_test_random random = al_test_random_new("posts");

    (void)state;
    for (unsigned round = 0; round < 200; round++) {
        unsigned turns = 0, ends = 0;
        struct world w;

        begin(&w);
        for (unsigned i = 0; i < 200; i++) {
            char number[12];
            unsigned kind = al_test_below(&random, 5);
            const char *from = who[al_test_below(&random, 3)];
            int r;

            snprintf(number, sizeof(number), "%u", (unsigned)al_test_below(&random, 5));
            r = kind == 0   ? add_open(&w, "chair", "2")
                : kind == 1 ? turn(&w, "chair", number, from)
                : kind == 2
                    ? add(&w, from, AL_CHAT_KIND_SKIP, H("chat-turn", number), H(NULL, NULL))
                    : say(&w, from, number);
            turns += r == ALI_CHAT_TURN;
            ends += r == ALI_CHAT_SAID || r == ALI_CHAT_SKIPPED;
            assert_int_equal(turns, w.fold.state.turn);
            assert_int_equal(turns - ends, w.fold.state.turn_open);
            assert_int_equal(ends, w.fold.state.said + w.fold.state.skipped);
            assert_true(turns <= 3);
        }
        end(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_turn_is_taken_once),
        cmocka_unit_test(test_a_skipped_turn_comes_too_late),
        cmocka_unit_test(test_a_free_message_is_answered_once_by_each),
        cmocka_unit_test(test_names_take_turns),
        cmocka_unit_test(test_numbers_that_are_none),
        cmocka_unit_test(test_random_posts_keep_the_rules),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
