/* processed.c - the processed-store: one log, one lock, flushes shared by all who wait for one. */
#include "client/processed.h"
#include "base/errors.h"
#include "base/limits.h"
#include "client/client.h"
#include "client/processed_log.h"
#include "wire/messages.h"
#include <pthread.h>
#include <stdlib.h>

#define ENTRIES_DEFAULT 100000u
#define ENTRIES_MAX     10000000u
#define BYTES_DEFAULT   (256ull << 20)
#define BYTES_MIN       (64ull << 10)

struct al_processed {
    pthread_mutex_t lock;
    pthread_cond_t changed; /* a flush has ended */
    struct ali_processed_log log;
    bool flushing;
    int failed; /* the file must not be used any more: why */
};

int al_processed_open(const char *path, const struct al_processed_options *options,
                      struct al_processed **ret_processed)
{
    static const struct al_processed_options defaults;
    struct al_processed *processed;
    uint32_t entries;
    uint64_t bytes;
    int r;

    options = options ? options : &defaults;
    entries = options->entries_max ? options->entries_max : ENTRIES_DEFAULT;
    bytes = options->bytes_max ? options->bytes_max : BYTES_DEFAULT;
    if (!path || !*path || entries > ENTRIES_MAX || bytes < BYTES_MIN)
        return ali_client_fail(-AL_E_INVALID,
                               "a processed-store needs a path, at most %u entries and at least "
                               "%llu bytes",
                               ENTRIES_MAX, (unsigned long long)BYTES_MIN);
    processed = calloc(1, sizeof(*processed));
    if (!processed)
        return ali_client_failed(-AL_E_NOMEM, NULL);
    processed->log.alloc = ali_client_alloc(NULL);
    r = ali_processed_log_open(&processed->log, path, entries, bytes);
    if (r < 0) {
        free(processed);
        return ali_client_fail(r, "processed-store '%.300s': %s%s", path, al_error_text(r),
                               r == -AL_E_DAMAGED ? "; it was left as it is" : "");
    }
    pthread_mutex_init(&processed->lock, NULL);
    pthread_cond_init(&processed->changed, NULL);
    *ret_processed = processed;
    return 0;
}

void al_processed_close(struct al_processed *processed)
{
    if (!processed)
        return;
    ali_processed_log_close(&processed->log);
    pthread_cond_destroy(&processed->changed);
    pthread_mutex_destroy(&processed->lock);
    free(processed);
}

bool al_processed_has(struct al_processed *processed, const struct al_message_id *id)
{
    bool has;

    pthread_mutex_lock(&processed->lock);
    has = ali_processed_log_find(&processed->log, id) != NULL;
    pthread_mutex_unlock(&processed->lock);
    return has;
}

uint32_t al_processed_count(struct al_processed *processed)
{
    uint32_t count;

    pthread_mutex_lock(&processed->lock);
    count = (uint32_t)(processed->log.entries.next - processed->log.entries.first);
    pthread_mutex_unlock(&processed->lock);
    return count;
}

/* ---- writing ----------------------------------------------------------------------------- */

/* With the lock: no flush is under way. */
static void wait_for_flush(struct al_processed *processed)
{
    while (processed->flushing)
        pthread_cond_wait(&processed->changed, &processed->lock);
}

/* With the lock: everything up to `size` is on disk. Whoever comes first flushes for all. */
static int flush_up_to(struct al_processed *processed, uint64_t size)
{
    struct ali_processed_log *log = &processed->log;

    while (!processed->failed && log->durable < size) {
        uint64_t reaches = log->size;
        int r;

        if (processed->flushing) {
            pthread_cond_wait(&processed->changed, &processed->lock);
            continue;
        }
        processed->flushing = true;
        pthread_mutex_unlock(&processed->lock);
        r = al_append_file_flush(log->file);
        pthread_mutex_lock(&processed->lock);
        processed->flushing = false;
        if (r < 0)
            processed->failed = r;
        else
            log->durable = reaches;
        pthread_cond_broadcast(&processed->changed);
    }
    return processed->failed;
}

/* With the lock: keeps the file short; failing to is no harm while the old one is whole. */
static void compact(struct al_processed *processed)
{
    int r;

    if (processed->failed || !ali_processed_log_is_long(&processed->log))
        return;
    wait_for_flush(processed);
    if (processed->failed || !ali_processed_log_is_long(&processed->log))
        return;
    r = ali_processed_log_compact(&processed->log);
    if (r == -AL_E_IO || r == -AL_E_DAMAGED)
        processed->failed = r;
}

/* With the lock. */
static int put(struct al_processed *processed, const struct al_message_id *id, struct al_str ack)
{
    int r;

    if (processed->failed)
        return processed->failed;
    if (!ali_processed_log_find(&processed->log, id)) {
        r = ali_processed_log_append(&processed->log, id, ack);
        if (r == -AL_E_IO || r == -AL_E_DISK_FULL)
            processed->failed = r;
        if (r < 0)
            return r;
    }
    r = flush_up_to(processed, processed->log.size);
    compact(processed);
    return r;
}

int ali_processed_put(struct al_processed *processed, const struct al_message_id *id,
                      const struct al_ack_options *options)
{
    static const struct al_ack_options success;
    struct al_alloc alloc = ali_client_alloc(NULL);
    struct al_msg_ack m = {0};
    struct al_buf headers, body;
    int r;

    options = options ? options : &success;
    al_buf_init(&headers, &alloc);
    al_buf_init(&body, &alloc);
    r = ali_headers_encode(options->metadata, options->metadata_count, &headers);
    m.status = options->status ? (uint8_t)options->status : AL_STATUS_SUCCESS;
    m.reason = al_str_c(options->reason);
    m.response_type = al_str_c(options->response_type);
    m.metadata = al_str_of(headers.data, headers.size);
    m.response = al_str_of(options->response, options->response_size);
    if (r == 0)
        r = al_buf_reserve(&body, al_size_ack(&m));
    if (r == 0) {
        body.size = (size_t)(al_encode_ack(body.data, &m) - body.data);
        pthread_mutex_lock(&processed->lock);
        r = put(processed, id, al_str_of(body.data, body.size));
        pthread_mutex_unlock(&processed->lock);
    }
    al_buf_deinit(&headers);
    al_buf_deinit(&body);
    return r;
}

/* ---- finding ----------------------------------------------------------------------------- */

static int count_headers(struct al_str headers, size_t *ret_count, size_t *ret_bytes)
{
    struct al_str name, value;
    int r;

    *ret_count = *ret_bytes = 0;
    while ((r = al_headers_next(&headers, &name, &value)) == 1) {
        ++*ret_count;
        *ret_bytes += name.n + value.n + 2;
    }
    return r < 0 ? -AL_E_DAMAGED : 0;
}

/* The public form of an ACK body, in one block. */
static int make_answer(struct al_str ack, struct ali_processed_answer **ret_answer)
{
    struct ali_processed_answer *answer;
    struct al_header *list;
    struct al_msg_ack m;
    struct al_str name, value;
    size_t count, bytes, size;
    uint8_t *room;

    if (al_decode_ack(ack, &m) < 0 || count_headers(m.metadata, &count, &bytes) < 0)
        return -AL_E_DAMAGED;
    size = sizeof(*answer) + count * sizeof(*list) + bytes + m.reason.n + m.response_type.n + 2 +
           m.response.n;
    answer = calloc(1, size);
    if (!answer)
        return -AL_E_NOMEM;
    list = (struct al_header *)(void *)(answer + 1);
    room = (uint8_t *)(list + count);
    for (size_t i = 0; al_headers_next(&m.metadata, &name, &value) == 1; i++) {
        list[i].name = ali_text_copy(&room, name);
        list[i].value = ali_text_copy(&room, value);
    }
    answer->size = size;
    answer->options = (struct al_ack_options){.status = m.status,
                                              .metadata = list,
                                              .metadata_count = count,
                                              .response_size = m.response.n};
    answer->options.reason = ali_text_copy(&room, m.reason);
    answer->options.response_type = ali_text_copy(&room, m.response_type);
    if (m.response.n)
        memcpy(room, m.response.p, m.response.n);
    answer->options.response = room;
    *ret_answer = answer;
    return 1;
}

int ali_processed_find(struct al_processed *processed, const struct al_message_id *id,
                       struct ali_processed_answer **ret_answer)
{
    const struct ali_processed_entry *entry;
    struct al_str ack = {NULL, 0};
    struct al_buf buf;
    int r = 0;

    al_buf_init(&buf, &processed->log.alloc);
    pthread_mutex_lock(&processed->lock);
    entry = ali_processed_log_find(&processed->log, id);
    if (entry) /* nothing may be said before it is on disk */
        r = flush_up_to(processed, processed->log.size);
    if (r == 0)
        entry = ali_processed_log_find(&processed->log, id); /* they may have moved */
    if (r == 0 && entry)
        r = ali_processed_log_read(&processed->log, entry, &buf, &ack);
    pthread_mutex_unlock(&processed->lock);
    if (r == 0 && entry)
        r = make_answer(ack, ret_answer);
    al_buf_deinit(&buf);
    return r;
}

void ali_processed_answer_free(struct ali_processed_answer *answer)
{
    free(answer);
}
