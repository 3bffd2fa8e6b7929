/* test_os_log.c - log lines are one JSON object each, whatever is in them; and the allocator. */
#include "base/errors.h"
#include "os/log.h"
#include "os/memory.h"
#include "support.h"
#include <jansson.h>
#include <stdio.h>
#include <unistd.h>

/* What the logger writes for one event, without the newline. */
static void capture(struct al_logger *logger, enum al_log_level level,
                    const struct al_log_fields *fields, char *ret_line, size_t cap)
{
    int fds[2];
    ssize_t n;

    assert_int_equal(pipe(fds), 0);
    logger->fd = fds[1];
    al_logger_write(logger, level, "an_event", fields->text);
    close(fds[1]);
    n = read(fds[0], ret_line, cap - 1);
    assert_true(n >= 0);
    ret_line[n] = 0;
    close(fds[0]);
}

static void hostile_texts_stay_inside_their_field(void **state)
{
    static const char *const texts[] = {"plain",
                                        "a\"b\\c",
                                        "line\nbreak\r\t\x01\x1b[31m",
                                        "\x7f",
                                        "umlaut \xc3\xa4",
                                        "broken \xc3",
                                        "\xff\xfe",
                                        ""};
    struct al_logger logger = {.level = AL_LOG_INFO};
    char line[4096];

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct al_log_fields fields;
        json_t *object, *value;

        al_log_fields_init(&fields);
        al_log_put_text(&fields, "text", texts[i]);
        al_log_put_number(&fields, "n", UINT64_MAX / 2);
        capture(&logger, AL_LOG_WARNING, &fields, line, sizeof line);
        assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
        assert_null(strchr(line, '\x1b'));
        object = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
        assert_non_null(object);
        value = json_object_get(object, "text");
        assert_true(json_is_string(value));
        if (i < 5) /* valid texts come back as they were */
            assert_string_equal(json_string_value(value), texts[i]);
        assert_int_equal(json_integer_value(json_object_get(object, "n")), UINT64_MAX / 2);
        assert_string_equal(json_string_value(json_object_get(object, "level")), "warning");
        assert_string_equal(json_string_value(json_object_get(object, "event")), "an_event");
        json_decref(object);
    }
}

static void what_does_not_fit_is_left_out_whole(void **state)
{
    struct al_log_fields fields;
    char big[2000];
    json_t *object;
    char text[2100];

    (void)state;
    memset(big, '\n', sizeof big - 1);
    big[sizeof big - 1] = 0;
    al_log_fields_init(&fields);
    al_log_put_text(&fields, "a", "1");
    al_log_put_text(&fields, "big", big);
    al_log_put_text(&fields, "b", "2");
    snprintf(text, sizeof text, "{%s}", fields.text);
    object = json_loads(text, 0, NULL);
    assert_non_null(object);
    assert_int_equal(json_object_size(object), 2);
    json_decref(object);
}

static void levels(void **state)
{
    struct al_logger logger = {.level = AL_LOG_WARNING};
    struct al_log_fields fields;
    enum al_log_level level;
    char line[256];

    (void)state;
    al_log_fields_init(&fields);
    capture(&logger, AL_LOG_INFO, &fields, line, sizeof line);
    assert_string_equal(line, "");
    for (int i = AL_LOG_DEBUG; i <= AL_LOG_ERROR; i++) {
        assert_int_equal(al_log_level_parse(al_log_level_name((enum al_log_level)i), &level), 0);
        assert_int_equal(level, i);
    }
    assert_int_equal(al_log_level_parse("loud", &level), -AL_E_INVALID);
}

static void readable_lines(void **state)
{
    struct al_logger logger = {.level = AL_LOG_INFO, .readable = true};
    struct al_log_fields fields;
    char line[512];

    (void)state;
    al_log_fields_init(&fields);
    al_log_put_text(&fields, "who", "a, \"b\": c");
    al_log_put_number(&fields, "n", 7);
    capture(&logger, AL_LOG_INFO, &fields, line, sizeof line);
    assert_non_null(strstr(line, "an_event  who=\"a, \\\"b\\\": c\" n=7"));
}

/* Nobody reads: the writer goes on, and says later how much was lost. */
static void a_full_pipe_holds_nobody_up(void **state)
{
    struct al_logger logger = {.level = AL_LOG_INFO};
    char text[4096];
    unsigned lines = 0, told = 0;
    int fds[2];
    FILE *in;

    (void)state;
    assert_int_equal(pipe(fds), 0);
    logger.fd = fds[1];
    alarm(60);
    for (unsigned i = 0; i < 5000; i++)
        al_logger_write(&logger, AL_LOG_INFO, "an_event", "\"n\":1");
    alarm(0);
    assert_in_range(logger.lost, 1, 4999);
    in = fdopen(fds[0], "r");
    assert_non_null(in);
    for (unsigned left = 5000 - (unsigned)logger.lost; left > 0; left--, lines++)
        assert_non_null(fgets(text, sizeof text, in));
    al_logger_write(&logger, AL_LOG_INFO, "an_event", "\"n\":2");
    close(fds[1]);
    assert_non_null(fgets(text, sizeof text, in));
    assert_non_null(strstr(text, "log_lines_lost"));
    assert_int_equal(sscanf(strstr(text, "\"count\":"), "\"count\":%u", &told), 1);
    assert_int_equal(lines + told, 5000);
    assert_non_null(fgets(text, sizeof text, in));
    assert_non_null(strstr(text, "\"n\":2"));
    fclose(in);
}

static void allocator_accounts_and_limits(void **state)
{
    static struct al_memory memory;
    struct al_alloc alloc = al_memory_alloc(&memory);
    void *p = al_alloc_zero(&alloc, 100), *q;

    (void)state;
    assert_non_null(p);
    assert_int_equal(memory.bytes, 100);
    memory.limit = 200;
    q = alloc.realloc_fn(alloc.ctx, p, 100, 200);
    assert_non_null(q);
    assert_null(al_alloc_new(&alloc, 1));
    assert_null(alloc.realloc_fn(alloc.ctx, q, 200, 300));
    assert_int_equal(memory.bytes, 200);
    q = alloc.realloc_fn(alloc.ctx, q, 200, 50);
    assert_int_equal(memory.bytes, 50);
    al_alloc_free(&alloc, q, 50);
    assert_int_equal(memory.bytes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hostile_texts_stay_inside_their_field),
        cmocka_unit_test(what_does_not_fit_is_left_out_whole),
        cmocka_unit_test(levels),
        cmocka_unit_test(readable_lines),
        cmocka_unit_test(a_full_pipe_holds_nobody_up),
        cmocka_unit_test(allocator_accounts_and_limits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
