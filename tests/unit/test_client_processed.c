/* test_client_processed.c - the processed-store: its file through crashes, rot and compaction, and
 * a program that is killed between its ack and the node's confirmation. */
#include "base/bytes.h"
#include "base/errors.h"
#include "client/processed.h"
#include "support.h"
#include <agentlink/agentlink.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[64], path[96], copy[96];

static int make_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/al-processed-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/store", dir);
    snprintf(copy, sizeof(copy), "%s/copy", dir);
    return 0;
}

static int remove_dir(void **state)
{
    char command[128];

    (void)state;
    snprintf(command, sizeof(command), "rm -rf %s", dir);
    return system(command);
}

static struct al_message_id id_of(uint32_t n)
{
    struct al_message_id id = {{0}};

    al_put32(id.bytes, n);
    id.bytes[15] = 1;
    return id;
}

static void put(struct al_processed *store, uint32_t n)
{
    struct al_message_id id = id_of(n);
    struct al_header header = {"n", "value"};
    char response[256];
    struct al_ack_options options = {.reason = "as asked",
                                     .response_type = "text/plain",
                                     .response = response,
                                     .metadata = &header,
                                     .metadata_count = 1};

    memset(response, 'a' + (int)(n % 26), sizeof(response));
    options.response_size = n % sizeof(response);
    assert_int_equal(ali_processed_put(store, &id, &options), 0);
}

static void has(struct al_processed *store, uint32_t n)
{
    struct al_message_id id = id_of(n);
    struct ali_processed_answer *answer;

    assert_int_equal(ali_processed_find(store, &id, &answer), 1);
    assert_int_equal(answer->options.status, AL_ACK_SUCCESS);
    assert_string_equal(answer->options.reason, "as asked");
    assert_string_equal(answer->options.response_type, "text/plain");
    assert_int_equal(answer->options.response_size, n % 256);
    for (size_t i = 0; i < n % 256; i++)
        assert_int_equal(((const char *)answer->options.response)[i], 'a' + (int)(n % 26));
    assert_int_equal(answer->options.metadata_count, 1);
    assert_string_equal(answer->options.metadata[0].value, "value");
    ali_processed_answer_free(answer);
}

static struct al_processed *open_store(const struct al_processed_options *options)
{
    struct al_processed *store;

    assert_int_equal(al_processed_open(path, options, &store), 0);
    return store;
}

static void what_was_put_is_there_again(void **state)
{
    struct al_processed *store = open_store(NULL), *second;
    struct al_message_id unknown = id_of(99);

    (void)state;
    for (uint32_t n = 0; n < 20; n++)
        put(store, n);
    put(store, 3); /* twice changes nothing */
    assert_int_equal(al_processed_count(store), 20);
    assert_int_equal(al_processed_open(path, NULL, &second), -AL_E_LOCKED);
    al_processed_close(store);
    store = open_store(NULL);
    assert_int_equal(al_processed_count(store), 20);
    for (uint32_t n = 0; n < 20; n++)
        has(store, n);
    assert_false(al_processed_has(store, &unknown));
    al_processed_close(store);
    al_processed_close(NULL);
}

static void the_oldest_go_and_the_file_stays_short(void **state)
{
    struct al_processed_options options = {.entries_max = 100, .bytes_max = 128u << 10};
    struct al_processed *store = open_store(&options);
    struct al_message_id old = id_of(100);
    struct stat st;

    (void)state;
    for (uint32_t n = 0; n < 700; n++) {
        put(store, n);
        if (n % 140 == 139) { /* also what was compacted can be read again */
            al_processed_close(store);
            store = open_store(&options);
        }
    }
    assert_int_equal(al_processed_count(store), 100);
    assert_false(al_processed_has(store, &old));
    for (uint32_t n = 600; n < 700; n++)
        has(store, n);
    assert_int_equal(stat(path, &st), 0);
    assert_true(st.st_size < 256 << 10);
    al_processed_close(store);
}

/* ---- crashes and rot --------------------------------------------------------------------- */

static uint8_t *read_file(size_t *ret_size)
{
    uint8_t *data = malloc(1 << 20);
    FILE *file = fopen(path, "rb");

    assert_non_null(file);
    *ret_size = fread(data, 1, 1 << 20, file);
    fclose(file);
    return data;
}

static void write_file(const uint8_t *data, size_t size)
{
    FILE *file = fopen(path, "wb");

    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    fclose(file);
}

/* Cut off anywhere, a file opens with whole entries only, the first ones, and goes on. */
static void a_torn_end_is_cut_off(void **state)
{
    struct al_processed *store = open_store(NULL);
    size_t size;
    uint8_t *data;

    (void)state;
    for (uint32_t n = 0; n < 4; n++)
        put(store, n);
    al_processed_close(store);
    data = read_file(&size);
    for (size_t cut = 0; cut < size; cut++) {
        uint32_t count;

        write_file(data, cut);
        store = open_store(NULL);
        count = al_processed_count(store);
        assert_true(count < 4);
        for (uint32_t n = 0; n < count; n++)
            has(store, n);
        put(store, 7);
        al_processed_close(store);
        store = open_store(NULL);
        assert_int_equal(al_processed_count(store), count + 1);
        has(store, 7);
        al_processed_close(store);
    }
    free(data);
}

/* Any changed byte of an entry that a later one knows to be on disk is damage, and the file is left
 * as it is; in the last entry it cannot be told from a crash. Padding may be anything. */
static void rot_is_damage(void **state)
{
    struct al_processed *store = open_store(NULL);
    size_t size, last;
    uint8_t *data;
    unsigned found = 0;

    (void)state;
    for (uint32_t n = 0; n < 3; n++)
        put(store, n);
    (void)al_processed_count(store);
    al_processed_close(store);
    data = read_file(&last);
    free(data);
    store = open_store(NULL);
    put(store, 3);
    al_processed_close(store);
    data = read_file(&size);
    for (size_t at = 0; at < last; at++) {
        int r;

        data[at] ^= 0x10;
        write_file(data, size);
        r = al_processed_open(path, NULL, &store);
        if (r == 0) {
            assert_int_equal(al_processed_count(store), 4); /* padding */
            al_processed_close(store);
        } else {
            size_t now;
            uint8_t *left = read_file(&now);

            assert_true(r == -AL_E_DAMAGED || (at < 8 && r == -AL_E_FORMAT));
            assert_true(now == size && memcmp(left, data, size) == 0);
            free(left);
            found++;
        }
        data[at] ^= 0x10;
    }
    assert_true(found >= last - 3 * 7);
    free(data);
}

static void something_else_is_refused(void **state)
{
    struct al_processed_options options = {.bytes_max = 5};
    struct al_processed *store;

    (void)state;
    write_file((const uint8_t *)"a letter to my mother, who is not a processed-store", 51);
    assert_int_equal(al_processed_open(path, NULL, &store), -AL_E_FORMAT);
    write_file((const uint8_t *)"short", 5);
    assert_int_equal(al_processed_open(path, NULL, &store), -AL_E_FORMAT);
    assert_int_equal(al_processed_open(path, &options, &store), -AL_E_INVALID);
    assert_int_equal(al_processed_open("", NULL, &store), -AL_E_INVALID);
    assert_int_equal(al_processed_open("/nowhere/at/all", NULL, &store), -AL_E_NOT_FOUND);
    assert_non_null(strstr(al_last_error(), "/nowhere/at/all"));
}

/* ---- with a node ------------------------------------------------------------------------- */

struct worker {
    struct al_processed *store;
    int calls;
    bool die; /* in the middle of al_ack(): the store knows, the node does not hear of it */
};

static int work(void *ctx, struct al_delivery *delivery)
{
    struct al_ack_options options = {.response = "done once", .response_size = 9};
    struct worker *worker = ctx;

    worker->calls++;
    if (worker->die) {
        assert_int_equal(ali_processed_put(worker->store, &delivery->message.id, &options), 0);
        _exit(17);
    }
    return al_ack(delivery, &options);
}

static struct al_client *open_client(const char *what)
{
    char url[128];
    struct al_client_options options = {.node = url, .name = what};
    struct al_client *client;

    snprintf(url, sizeof(url), "file:%s/node", dir);
    assert_int_equal(al_client_open(&options, &client), 0);
    return client;
}

/* A process of its own handles what waits, and may die in it. Its exit code: 17, or the calls of
 * the handler and 50 for each message that the store answered. */
static int run_worker(bool die)
{
    pid_t pid = fork();
    int status;

    assert_true(pid >= 0);
    if (pid == 0) {
        struct worker worker = {.store = open_store(NULL), .die = die};
        struct al_attach_options attach = {.processed = worker.store};
        struct al_client *client = open_client("worker");
        struct al_client_info stats;

        if (al_handle(client, "worker", &attach, work, &worker) < 0)
            _exit(99);
        for (int i = 0; i < 5; i++)
            (void)al_client_dispatch(client, 200);
        (void)al_client_flush(client, 5000);
        al_client_get_info(client, &stats);
        al_client_close(client, 5000);
        al_processed_close(worker.store);
        _exit(worker.calls + 50 * (int)stats.suppressed);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void a_killed_program_does_not_work_twice(void **state)
{
    struct al_client *client = open_client("boss");
    struct al_message message;
    struct al_receipt receipt;
    struct al_record_info *record;

    (void)state;
    assert_int_equal(al_agent_add(client, "worker"), 0);
    al_message_init(&message);
    message.from = "boss";
    message.to = "worker";
    message.payload = "work";
    message.payload_size = 4;
    assert_int_equal(al_send(client, &message, 5000, &receipt), 0);
    al_client_close(client, 5000);

    assert_int_equal(run_worker(true), 17);
    assert_int_equal(run_worker(false), 50); /* the handler was not called again */
    assert_int_equal(run_worker(false), 0);  /* and the node knows that it is done */

    client = open_client("boss");
    assert_int_equal(al_record_get(client, &receipt.id, &record), 0);
    assert_int_equal(record->state, AL_RECORD_DELIVERED);
    al_record_free(record);
    al_client_close(client, 5000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_put_is_there_again, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(the_oldest_go_and_the_file_stays_short, make_dir,
                                        remove_dir),
        cmocka_unit_test_setup_teardown(a_torn_end_is_cut_off, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(rot_is_damage, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(something_else_is_refused, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(a_killed_program_does_not_work_twice, make_dir, remove_dir),
    };

    return cmocka_run_group_tests_name("client_processed", tests, NULL, NULL);
}
