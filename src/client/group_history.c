/* group_history.c - reading a group's history, and proving that it is whole. */
#include "base/errors.h"
#include "base/text.h"
#include "client/ask.h"
#include "client/groups.h"

#define ASK_AGAIN 100u /* times that a part is asked for that was moved while it was read */

struct reading {
    struct al_client *client;
    const struct al_group_query *query;
    const char *name;
    al_group_entry_fn *fn;
    void *ctx;
    uint64_t next_seq;
    bool done;
};

/* Lays the message out, and calls back with the entry. */
static int call(const struct al_alloc *alloc, const struct al_group_entry *raw,
                al_group_entry_fn *fn, void *ctx)
{
    struct al_group_entry entry = *raw;
    struct al_msg_envelope envelope;
    size_t header_count = 0;
    int64_t size = 0;
    uint8_t *block;
    int r = al_decode_envelope(al_str_of(raw->envelope, raw->envelope_size), &envelope);

    if (r == 0)
        size = ali_message_view_size(&envelope, &header_count);
    if (r < 0 || size < 0)
        return ali_client_failed(-AL_E_PROTOCOL, "the envelope is not the one of a message");
    block = al_alloc_new(alloc, (size_t)size + 1); /* there is a byte in an empty one too */
    if (!block)
        return ali_client_failed(-AL_E_NOMEM, NULL);
    al_message_init(&entry.message);
    (void)ali_message_view(&envelope, header_count, block, &entry.message);
    al_group_entry_hash(&entry, entry.hash);
    entry.message.from = entry.author;
    entry.message.to = raw->message.to;
    entry.message.stream = "";
    r = fn(ctx, &entry);
    al_alloc_free(alloc, block, (size_t)size + 1);
    return r;
}

int al_group_entry_read(const struct al_group_entry *entry, al_group_entry_fn *fn, void *ctx)
{
    struct al_alloc alloc = ali_client_alloc(NULL);

    if (!entry->author || strlen(entry->author) > AL_NAME_MAX || !entry->message.to ||
        (entry->envelope_size && !entry->envelope))
        return ali_client_fail(-AL_E_INVALID, "the entry has no author, group or envelope");
    return call(&alloc, entry, fn, ctx);
}

/* Passes on what is of the workflow that is asked for. */
static int filter(void *ctx, const struct al_group_entry *entry)
{
    const struct reading *reading = ctx;
    const char *workflow_id = reading->query->workflow_id;

    if (workflow_id && *workflow_id && strcmp(entry->message.workflow_id, workflow_id) != 0)
        return 0;
    return reading->fn(reading->ctx, entry);
}

static int tell_entry(struct reading *reading, struct al_str body)
{
    struct al_msg_group_entry m;
    struct al_group_entry entry;
    char author[256];
    uint8_t *room = (uint8_t *)author;

    if (al_decode_group_entry(body, &m) < 0 || m.prev_hash.n != AL_GROUP_HASH_SIZE ||
        m.author.n > AL_NAME_MAX || m.seq < reading->next_seq)
        return ali_client_failed(-AL_E_PROTOCOL, NULL);
    if (reading->query->last_seq && m.seq > reading->query->last_seq) {
        reading->done = true;
        return 0;
    }
    reading->next_seq = m.seq + 1;
    entry = (struct al_group_entry){.seq = m.seq,
                                    .what = (enum al_group_what)m.what,
                                    .admitted_ms = m.wall_ms,
                                    .author = ali_text_copy(&room, m.author),
                                    .envelope = m.envelope.p,
                                    .envelope_size = m.envelope.n,
                                    .message = {.to = reading->name}};
    memcpy(entry.prev_hash, m.prev_hash.p, AL_GROUP_HASH_SIZE);
    return call(&reading->client->alloc, &entry, filter, reading);
}

/* One answer. */
static int read_part(struct reading *reading)
{
    struct al_msg_group_history m = {.first_seq = reading->next_seq,
                                     .group = al_str_c(reading->name),
                                     .agent = al_str_c(reading->query->agent)};
    struct al_frame frame;
    struct ali_ask ask;
    int r;

    ali_ask_begin(&ask, reading->client, false);
    m.request = ali_ask_number(&ask);
    r = ali_ask_end(&ask, al_put_group_history(&ask.request.frame, &m));
    while (r == 0 && !reading->done && ali_ask_row(&ask, AL_MSG_GROUP_ENTRY, &frame))
        r = tell_entry(reading, frame.body);
    if (ask.rows == 0)
        reading->done = true;
    ali_ask_deinit(&ask);
    return r;
}

int al_group_history(struct al_client *client, const struct al_group_query *query,
                     al_group_entry_fn *fn, void *ctx)
{
    char name[AL_GROUP_NAME_MAX + 1];
    struct reading reading = {.client = client,
                              .query = query,
                              .name = name,
                              .fn = fn,
                              .ctx = ctx,
                              .next_seq = query->first_seq};
    uint32_t again = 0;
    int r = ali_group_name(query->group, name);

    while (r == 0 && !reading.done) {
        uint64_t before = reading.next_seq;

        r = read_part(&reading);
        if (r == -AL_E_BUSY && reading.next_seq == before && ++again < ASK_AGAIN) {
            reading.done = false;
            r = 0;
        }
    }
    return r < 0 ? ali_group_failed(name, query->agent, r) : r;
}

/* ---- proof ------------------------------------------------------------------------------- */

/* What the node vouches for, and the chain that is to lead there. */
struct proving {
    struct al_group_chain chain;
    uint64_t first_seq, next_seq;
    uint8_t hash[AL_GROUP_HASH_SIZE];
    uint64_t from_seq; /* of the first entry that came */
};

static int take_end(void *ctx, const struct al_group_info *info)
{
    struct proving *proving = ctx;

    proving->first_seq = info->first_seq;
    proving->next_seq = info->next_seq;
    memcpy(proving->hash, info->hash, AL_GROUP_HASH_SIZE);
    return 0;
}

static int check_entry(void *ctx, const struct al_group_entry *entry)
{
    struct proving *proving = ctx;
    int r;

    if (!proving->from_seq && entry->seq > proving->first_seq) /* forgotten since then */
        memset(&proving->chain, 0, sizeof(proving->chain));
    r = al_group_chain_add(&proving->chain, entry);
    if (r == -AL_E_SEQUENCE_GAP) /* the node's history has no holes */
        r = -AL_E_DAMAGED;
    if (r == 0 && !proving->from_seq)
        proving->from_seq = entry->seq;
    if (r == 0 && entry->seq + 1 == proving->next_seq &&
        memcmp(proving->chain.hash, proving->hash, AL_GROUP_HASH_SIZE) != 0) {
        proving->chain.bad_seq = entry->seq;
        r = ali_client_fail(-AL_E_DAMAGED,
                            "message %llu, the newest, is not what the node vouches for",
                            (unsigned long long)entry->seq);
    }
    return r;
}

/* What the node vouches for must have come. */
static int check_end(struct proving *proving)
{
    uint64_t newest = proving->next_seq - 1;

    if (proving->first_seq >= proving->next_seq || proving->chain.seq >= newest)
        return 0;
    proving->chain.bad_seq = proving->chain.seq + 1;
    return ali_client_fail(-AL_E_DAMAGED, "the history ends at %llu; the group is at %llu",
                           (unsigned long long)proving->chain.seq, (unsigned long long)newest);
}

int al_group_verify(struct al_client *client, const char *group, const char *agent,
                    struct al_group_proof *ret_proof)
{
    struct proving proving = {.from_seq = 0};
    struct al_group_query query = {.group = group, .agent = agent};
    int r = al_group_show(client, group, take_end, &proving);

    if (r < 0)
        return r;
    query.first_seq = proving.first_seq;
    if (proving.first_seq == 1)
        r = al_group_chain_begin(&proving.chain, group);
    if (r == 0)
        r = al_group_history(client, &query, check_entry, &proving);
    if (r == 0)
        r = check_end(&proving);
    if (r < 0 && r != -AL_E_DAMAGED)
        return r;
    *ret_proof = (struct al_group_proof){.first_seq = proving.from_seq,
                                         .last_seq = proving.chain.seq,
                                         .count = proving.chain.count,
                                         .bad_seq = proving.chain.bad_seq,
                                         .from_begin = proving.from_seq == 1};
    memcpy(ret_proof->hash, proving.chain.hash, AL_GROUP_HASH_SIZE);
    return r;
}
