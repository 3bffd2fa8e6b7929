/* test_client_api.c - the public calls that need no node, and opening without memory. */
#include "agentlink/agentlink.h"
#include "base/errors.h"
#include "base/limits.h"
#include "client/session.h"
#include "support.h"
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* ---- ids --------------------------------------------------------------------------------- */

static void test_ids(void **state)
{
    const char *text = "01234567-89ab-4cde-8f01-23456789abcd";
    char formatted[AL_MESSAGE_ID_TEXT_SIZE];
    struct al_message_id a, b, zero = {{0}};

    (void)state;
    assert_int_equal(al_message_id_random(&a), 0);
    assert_int_equal(al_message_id_random(&b), 0);
    assert_int_not_equal(al_message_id_compare(&a, &b), 0);
    assert_int_equal(al_message_id_compare(&a, &b) < 0, al_message_id_compare(&b, &a) > 0);
    assert_int_equal(a.bytes[6] >> 4, 4); /* version */
    assert_int_equal(a.bytes[8] >> 6, 2); /* variant */
    assert_true(al_message_id_is_zero(&zero));
    assert_false(al_message_id_is_zero(&a));
    assert_int_equal(al_message_id_parse(text, &a), 0);
    al_message_id_format(&a, formatted);
    assert_string_equal(formatted, text);
    assert_int_equal(al_message_id_parse("01234567-89AB-4CDE-8F01-23456789ABCD", &b), 0);
    assert_int_equal(al_message_id_compare(&a, &b), 0);
    assert_int_equal(al_message_id_parse("01234567", &b), -AL_ERR_INVALID);
    assert_non_null(strstr(al_last_error(), "'01234567'"));
    assert_int_equal(al_message_id_parse(NULL, &b), -AL_ERR_INVALID);
}

/* ---- errors ------------------------------------------------------------------------------ */

static void *other_thread(void *ctx)
{
    struct al_message_id id;

    assert_string_equal(al_last_error(), "");
    assert_int_equal(al_message_id_parse("other", &id), -AL_ERR_INVALID);
    assert_non_null(strstr(al_last_error(), "other"));
    return ctx;
}

static void test_errors(void **state)
{
    struct al_message_id id;
    pthread_t thread;

    (void)state;
    assert_string_equal(al_error_name(-AL_ERR_INBOX_FULL), "INBOX_FULL");
    assert_true(al_error_is_retryable(-AL_ERR_INBOX_FULL));
    assert_false(al_error_is_retryable(-AL_ERR_TOO_LARGE));
    assert_string_equal(al_version(), AL_VERSION);
    assert_int_equal(al_message_id_parse("mine", &id), -AL_ERR_INVALID);
    assert_int_equal(pthread_create(&thread, NULL, other_thread, NULL), 0);
    pthread_join(thread, NULL);
    assert_non_null(strstr(al_last_error(), "mine")); /* each thread has its own */
    assert_string_equal(al_record_state_name(AL_RECORD_DEAD), "DEAD");
    assert_string_equal(al_record_state_name((enum al_record_state)99), "UNKNOWN");
}

/* ---- messages ---------------------------------------------------------------------------- */

static void test_message_defaults(void **state)
{
    struct al_message message;

    (void)state;
    memset(&message, 0xff, sizeof(message));
    al_message_init(&message);
    assert_int_equal(message.priority, AL_MESSAGE_PRIORITY_OF_KIND);
    assert_int_equal(AL_MESSAGE_PRIORITY_DEFAULT, AL_PRIORITY_DEFAULT);
    assert_int_equal(AL_MESSAGE_PRIORITY_MAX, AL_PRIORITY_COUNT - 1);
    assert_int_equal(AL_MESSAGE_NAME_MAX, AL_NAME_MAX);
    assert_int_equal(AL_MESSAGE_STREAM_MAX, AL_LABEL_MAX);
    assert_int_equal(AL_MESSAGE_KIND_MAX, AL_KIND_MAX);
    assert_int_equal(AL_MESSAGE_KEY_MAX, AL_KEY_MAX);
    assert_int_equal(AL_MESSAGE_CONTENT_TYPE_MAX, AL_CONTENT_TYPE_MAX);
    assert_int_equal(AL_MESSAGE_REASON_MAX, AL_REASON_MAX);
    assert_int_equal(AL_MESSAGE_HEADERS_MAX, AL_HEADERS_MAX);
    assert_null(message.payload);
    assert_null(al_message_header(&message, "x"));
}

static void test_message_checks(void **state)
{
    struct al_header no_name = {"", "x"}, no_utf8 = {"a", "\xff"};
    static char big[AL_HEADERS_MAX + 1];
    struct al_header too_big = {"a", big};
    struct al_message good, m;
    struct al_test_alloc memory;
    struct al_buf headers, ext;
    struct al_msg_envelope envelope;

    (void)state;
    al_test_alloc_init(&memory);
    al_buf_init(&headers, &memory.alloc);
    al_buf_init(&ext, &memory.alloc);
    memset(big, 'a', AL_HEADERS_MAX);
    al_message_init(&good);
    assert_int_equal(ali_message_check(&good, 10), 0);
#define CHECK(field, value, error) \
    m = good;                      \
    m.field = (value);             \
    assert_int_equal(ali_message_check(&m, 10), -(error))
#define INVALID(field, value)              \
    CHECK(field, value, AL_E_INVALID);     \
    assert_non_null(ali_message_flaw(&m)); \
    assert_non_null(strstr(ali_message_flaw(&m), #field))
    assert_null(ali_message_flaw(&good));
    CHECK(payload_size, 11, AL_E_TOO_LARGE);
    INVALID(payload_size, 1); /* of a NULL payload */
    INVALID(kind, "no spaces");
    INVALID(key, "line\nbreak");
    INVALID(content_type, "\x80");
    CHECK(reply_to, "Not/A/Name", AL_E_BAD_NAME);
    INVALID(flags, 16);
    CHECK(flags, AL_MESSAGE_NOTIFY | AL_MESSAGE_VOLATILE, AL_E_INVALID);
    assert_non_null(strstr(ali_message_flaw(&m), "VOLATILE"));
    INVALID(ttl_ms, AL_TTL_MAX_MS + 1);
#define ENCODE(field, value, error)     \
    m = good;                           \
    m.field = (value);                  \
    m.header_count = m.headers ? 1 : 0; \
    assert_int_equal(ali_message_envelope(&m, &headers, &ext, &envelope), -(error))
    ENCODE(headers, &no_name, AL_E_INVALID);
    assert_non_null(strstr(ali_message_flaw(&m), "headers"));
    ENCODE(headers, &no_utf8, AL_E_INVALID);
    assert_non_null(strstr(ali_message_flaw(&m), "headers"));
    ENCODE(headers, &too_big, AL_E_TOO_LARGE);
    ENCODE(correlation_id, big, AL_E_TOO_LARGE);
    ENCODE(workflow_id, "\xc0\x80", AL_E_INVALID);
    assert_non_null(strstr(ali_message_flaw(&m), "workflow_id"));
    m = good;
    m.stream = "line\nbreak"; /* these two are the channel's to check */
    assert_non_null(strstr(ali_message_flaw(&m), "stream"));
    m = good;
    m.priority = 10;
    assert_non_null(strstr(ali_message_flaw(&m), "priority"));
    al_buf_deinit(&headers);
    al_buf_deinit(&ext);
}

/* Text of random length, without NUL. */
static const char *random_text(struct al_test_random *random, char *room, size_t max)
{
    size_t n = al_test_below(random, 3) ? al_test_below(random, max) : 0, i;

    for (i = 0; i < n; i++)
        room[i] = (char)('a' + al_test_below(random, 26));
    room[n] = 0;
    return room;
}

/* What is encoded and viewed again is the same. */
static void check_round_trip(const struct al_message *m, struct al_buf *headers, struct al_buf *ext)
{
    struct al_message back;
    struct al_msg_envelope envelope;
    size_t count, i;
    int64_t size;
    uint8_t *room;

    assert_int_equal(ali_message_envelope(m, headers, ext, &envelope), 0);
    size = ali_message_view_size(&envelope, &count);
    assert_true(size > 0);
    assert_int_equal(count, m->header_count);
    room = malloc((size_t)size); /* exact: a sanitizer sees one byte too many */
    assert_non_null(room);
    al_message_init(&back);
    assert_true(ali_message_view(&envelope, count, room, &back) <= room + size);
    assert_memory_equal(back.id.bytes, m->id.bytes, 16);
    assert_int_equal(back.timestamp_ms, m->timestamp_ms);
    assert_string_equal(back.kind, m->kind);
    assert_string_equal(back.key, m->key);
    assert_string_equal(back.content_type, m->content_type);
    assert_string_equal(back.correlation_id, m->correlation_id);
    assert_string_equal(back.workflow_id, m->workflow_id);
    assert_string_equal(back.reply_to, m->reply_to);
    assert_string_equal(back.traceparent, m->traceparent);
    assert_string_equal(back.tracestate, m->tracestate);
    assert_int_equal(back.payload_size, m->payload_size);
    assert_memory_equal(back.payload, m->payload, m->payload_size);
    for (i = 0; i < m->header_count; i++) {
        assert_string_equal(back.headers[i].name, m->headers[i].name);
        assert_string_equal(back.headers[i].value, m->headers[i].value);
    }
    free(room);
}

static void test_round_trip(void **state)
{
    struct al_test_random random = al_test_random_new("message round trip");
    struct al_test_alloc memory;
    struct al_buf headers, ext;
    unsigned round, i;

    (void)state;
    al_test_alloc_init(&memory);
    al_buf_init(&headers, &memory.alloc);
    al_buf_init(&ext, &memory.alloc);
    for (round = 0; round < 500; round++) {
        char text[9][64], names[8][16], values[8][64], payload[300];
        struct al_header list[8];
        struct al_message m;

        al_message_init(&m);
        al_test_fill(&random, m.id.bytes, 16);
        al_test_fill(&random, payload, sizeof(payload));
        m.timestamp_ms = al_test_random64(&random);
        m.kind = random_text(&random, text[0], 60);
        m.key = random_text(&random, text[1], 60);
        m.content_type = random_text(&random, text[2], 60);
        m.correlation_id = random_text(&random, text[3], 60);
        m.workflow_id = random_text(&random, text[4], 60);
        m.reply_to = random_text(&random, text[5], 60);
        m.traceparent = random_text(&random, text[6], 60);
        m.tracestate = random_text(&random, text[7], 60);
        m.payload = payload;
        m.payload_size = al_test_below(&random, sizeof(payload));
        m.headers = list;
        m.header_count = al_test_below(&random, 8);
        for (i = 0; i < m.header_count; i++) {
            names[i][0] = 'n';
            random_text(&random, names[i] + 1, 10);
            list[i] =
                (struct al_header){names[i], random_text(&random, values[i], sizeof(values[i]))};
        }
        check_round_trip(&m, &headers, &ext);
    }
    al_buf_deinit(&headers);
    al_buf_deinit(&ext);
    assert_int_equal(memory.live_count, 0);
}

/* ---- opening ----------------------------------------------------------------------------- */

static void test_options(void **state)
{
    struct al_client_options options = {.node = "inproc:options"};
    struct al_client *client = NULL;

    (void)state;
    options.window = AL_PUBLISH_WINDOW + 1;
    assert_int_equal(al_client_open(&options, &client), -AL_ERR_INVALID);
    assert_non_null(strstr(al_last_error(), "window"));
    options.window = 0;
    options.refusals = (enum al_refusal_mode)9;
    assert_int_equal(al_client_open(&options, &client), -AL_ERR_INVALID);
    options.refusals = AL_REFUSAL_REPORT;
    options.node = "file:";
    assert_int_equal(al_client_open(&options, &client), -AL_ERR_INVALID);
    options.node = "file:/proc/no-such-directory";
    assert_true(al_client_open(&options, &client) < 0);
    assert_non_null(strstr(al_last_error(), "/proc/no-such-directory"));
    options.node = "unix:";
    assert_int_equal(al_client_open(&options, &client), -AL_ERR_INVALID);
    options.node = "nowhere";
    assert_int_equal(al_client_open(&options, &client), -AL_ERR_INVALID);
    assert_non_null(strstr(al_last_error(), "unix:PATH"));
    assert_null(client);
    assert_int_equal(al_client_close(NULL, 0), 0);
    al_client_abort(NULL);
    al_delivery_drop(NULL);
    al_end_free(NULL);
    al_record_free(NULL);
}

static void test_default_node(void **state)
{
    struct al_client *client;

    (void)state;
    assert_int_equal(setenv("AGENTLINK_NODE", "inproc:environment", 1), 0);
    assert_int_equal(al_client_open(NULL, &client), 0);
    assert_int_equal(al_client_close(client, 1000), 0);
    assert_int_equal(setenv("AGENTLINK_NODE", "nonsense", 1), 0);
    assert_int_equal(al_client_open(NULL, &client), -AL_ERR_INVALID);
    unsetenv("AGENTLINK_NODE");
}

/* ---- nodes that misbehave ---------------------------------------------------------------- */

/* A socket whose connections are answered by a script. */
struct script {
    char path[64];
    int listen_fd;
    void (*answer)(struct script *script, int fd);
    atomic_uint connections;
    atomic_bool go, done, stop;
};

static uint64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void pause_ms(unsigned ms)
{
    struct timespec time = {ms / 1000, (long)(ms % 1000) * 1000000};

    nanosleep(&time, NULL);
}

static void *play(void *ctx)
{
    struct script *script = ctx;

    while (!atomic_load(&script->stop)) {
        struct pollfd pollfd = {.fd = script->listen_fd, .events = POLLIN};
        int fd = poll(&pollfd, 1, 10) > 0 ? accept(script->listen_fd, NULL, NULL) : -1;

        if (fd < 0)
            continue;
        atomic_fetch_add(&script->connections, 1);
        script->answer(script, fd);
        close(fd);
    }
    return NULL;
}

static void put_frame(int fd, const struct al_buf *frame)
{
    assert_int_equal(send(fd, frame->data, frame->size, MSG_NOSIGNAL), frame->size);
}

static void put_welcome(int fd)
{
    static const struct al_msg_welcome welcome = {
        .version = 1, .payload_max = 1000, .publish_window = 100, .credit_max = 100};
    struct al_test_alloc memory;
    struct al_buf frame;

    al_test_alloc_init(&memory);
    al_buf_init(&frame, &memory.alloc);
    assert_int_equal(al_put_welcome(&frame, &welcome), 0);
    put_frame(fd, &frame);
    al_buf_deinit(&frame);
}

static void put_fatal(int fd, int code)
{
    struct al_msg_error error = {
        .code = (uint16_t)code, .fatal = 1, .detail = al_str_c("in so many words")};
    struct al_test_alloc memory;
    struct al_buf frame;

    al_test_alloc_init(&memory);
    al_buf_init(&frame, &memory.alloc);
    assert_int_equal(al_put_error(&frame, &error), 0);
    put_frame(fd, &frame);
    al_buf_deinit(&frame);
}

static pthread_t script_begin(struct script *script, void (*answer)(struct script *script, int fd))
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    pthread_t thread;

    memset(script, 0, sizeof(*script));
    script->answer = answer;
    snprintf(script->path, sizeof(script->path), "unix:/tmp/al-script-%d", (int)getpid());
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", script->path + 5);
    unlink(address.sun_path);
    script->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(script->listen_fd >= 0);
    assert_int_equal(bind(script->listen_fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(script->listen_fd, 10), 0);
    assert_int_equal(pthread_create(&thread, NULL, play, script), 0);
    return thread;
}

static void script_end(struct script *script, pthread_t thread)
{
    atomic_store(&script->stop, true);
    pthread_join(thread, NULL);
    close(script->listen_fd);
    unlink(script->path + 5);
}

static void refuse_and_stay(struct script *script, int fd)
{
    put_fatal(fd, AL_E_DENIED);
    while (!atomic_load(&script->stop))
        pause_ms(1);
}

/* A node that says no and does not close: no is no. */
static void test_refused_without_a_close(void **state)
{
    struct al_client_options options = {.connect_timeout_ms = 20000};
    struct al_client *client;
    struct script script;
    pthread_t thread = script_begin(&script, refuse_and_stay);
    uint64_t begin = now_ms();

    (void)state;
    options.node = script.path;
    assert_int_equal(al_client_open(&options, &client), -AL_ERR_DENIED);
    assert_string_equal(al_last_error(), "in so many words");
    assert_true(now_ms() - begin < 10000);
    script_end(&script, thread);
}

static void welcome_and_fence(struct script *script, int fd)
{
    put_welcome(fd);
    while (!atomic_load(&script->go))
        pause_ms(1);
    put_fatal(fd, AL_E_FENCED);
    shutdown(fd, SHUT_RDWR);
    atomic_store(&script->done, true);
    while (!atomic_load(&script->stop))
        pause_ms(1);
}

static void note_disconnect(void *ctx, const struct al_notice *notice)
{
    if (notice->type == AL_NOTICE_DISCONNECTED)
        *(int *)ctx = notice->error;
}

/* The node has closed its end, and what it said before is not read yet: a write that fails must not
 * make it unheard. */
static void test_last_words(void **state)
{
    struct al_client_options options = {.connect_timeout_ms = 20000};
    struct al_message message;
    struct al_client *client;
    struct script script;
    pthread_t thread = script_begin(&script, welcome_and_fence);
    int error = 0;

    (void)state;
    options.node = script.path;
    assert_int_equal(al_client_open(&options, &client), 0);
    al_on_notice(client, note_disconnect, &error);
    atomic_store(&script.go, true);
    while (!atomic_load(&script.done))
        pause_ms(1);
    al_message_init(&message);
    message.from = "a";
    message.to = "b";
    assert_true(al_send(client, &message, 0, NULL) < 0);
    (void)al_client_dispatch(client, 0);
    assert_int_equal(error, -AL_ERR_FENCED);
    al_client_abort(client);
    script_end(&script, thread);
}

static void welcome_and_close(struct script *script, int fd)
{
    (void)script;
    put_welcome(fd);
}

/* Every connection ends at once: the pauses grow although each one had its greeting. */
static void test_no_reconnect_storm(void **state)
{
    struct al_client_options options = {.connect_later = true};
    struct al_client *client;
    struct script script;
    pthread_t thread = script_begin(&script, welcome_and_close);
    uint64_t begin = now_ms();

    (void)state;
    options.node = script.path;
    assert_int_equal(al_client_open(&options, &client), 0);
    while (now_ms() - begin < 1500)
        (void)al_client_dispatch(client, 100);
    assert_in_range(atomic_load(&script.connections), 2, 20); /* at 10 ms each it would be 150 */
    al_client_abort(client);
    script_end(&script, thread);
}

/* An allocator that several threads use; call number fail_at fails. */
struct shared_memory {
    pthread_mutex_t lock;
    struct al_test_alloc test;
};

static void *shared_realloc(void *ctx, void *ptr, size_t old_size, size_t new_size)
{
    struct shared_memory *memory = ctx;
    void *p;

    pthread_mutex_lock(&memory->lock);
    p = memory->test.alloc.realloc_fn(memory->test.alloc.ctx, ptr, old_size, new_size);
    pthread_mutex_unlock(&memory->lock);
    return p;
}

/* Every allocation of opening a client, its node included, fails once: an error, and no leak. */
static void test_open_without_memory(void **state)
{
    struct shared_memory memory = {.lock = PTHREAD_MUTEX_INITIALIZER};
    struct al_client_memory hook = {shared_realloc, &memory};
    struct al_client_options options = {
        .node = "inproc:memory", .memory = &hook, .connect_timeout_ms = 500};
    unsigned n, failures = 0;
    bool failed = true;

    (void)state;
    for (n = 1; failed; n++) {
        struct al_client *client;
        int r;

        al_test_alloc_init(&memory.test);
        memory.test.fail_at = n;
        memory.test.fail_once = true;
        r = al_client_open(&options, &client);
        failed = r < 0;
        if (failed) {
            failures++;
            /* A node that has no memory for a flush poisons its journal, as for any failed write.
             */
            if (r != -AL_ERR_POISONED && r != -AL_ERR_UNREACHABLE)
                assert_int_equal(r, -AL_ERR_NOMEM);
            assert_string_not_equal(al_last_error(), "");
        } else {
            failed = memory.test.calls >= n; /* it was in a place that could go without */
            assert_int_equal(al_client_close(client, 1000), 0);
        }
        assert_int_equal(memory.test.live_count, 0);
        assert_true(n < 10000);
    }
    assert_true(failures > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ids),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_message_defaults),
        cmocka_unit_test(test_message_checks),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_default_node),
        cmocka_unit_test(test_refused_without_a_close),
        cmocka_unit_test(test_last_words),
        cmocka_unit_test(test_no_reconnect_storm),
        cmocka_unit_test(test_open_without_memory),
    };

    return cmocka_run_group_tests_name("client_api", tests, NULL, NULL);
}
