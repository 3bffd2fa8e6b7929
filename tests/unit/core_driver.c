/* core_driver.c - drives a node in one thread, with a journal in memory. */
#include "core_driver.h"
#include "base/errors.h"
#include "crypto/hash.h"
#include "support.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static void *plain_realloc(void *ctx, void *ptr, size_t old_size, size_t new_size)
{
    (void)ctx;
    (void)old_size;
    if (new_size == 0) {
        free(ptr);
        return NULL;
    }
    return realloc(ptr, new_size);
}

static const struct al_alloc plain = {plain_realloc, NULL};

/* ---- transcript -------------------------------------------------------------------------- */

__attribute__((format(printf, 2, 3))) static void say(struct driver *d, const char *format, ...)
{
    char line[512];
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    assert_true(n >= 0 && (size_t)n < sizeof(line));
    assert_int_equal(al_buf_put(&d->transcript, line, (size_t)n), 0);
}

#define TEXT(str) (int)(str).n, (const char *)(str).p

static void say_publish_side(struct driver *d, uint32_t conn, const struct al_frame *frame)
{
    struct al_msg_receipt receipt;
    struct al_msg_refused refused;
    struct al_msg_end end;
    struct al_msg_reply_part part;
    struct al_msg_producer_ready producer;
    struct al_msg_channel_ready channel;

    if (frame->type == AL_MSG_RECEIPT && al_decode_receipt(frame->body, &receipt) == 0) {
        say(d, "%u: RECEIPT %llu x%u -> %u:%llu%s\n", conn, (unsigned long long)receipt.pseq,
            receipt.count, receipt.stream, (unsigned long long)receipt.seq,
            receipt.duplicate ? " duplicate" : "");
    } else if (frame->type == AL_MSG_REFUSED && al_decode_refused(frame->body, &refused) == 0) {
        say(d, "%u: REFUSED %llu %s\n", conn, (unsigned long long)refused.pseq,
            al_error_name(refused.code));
    } else if (frame->type == AL_MSG_END && al_decode_end(frame->body, &end) == 0) {
        say(d, "%u: END %u:%llu state %u attempts %u '%.*s' '%.*s'\n", conn, end.stream,
            (unsigned long long)end.seq, end.state, end.attempts, TEXT(end.reason),
            TEXT(end.response));
    } else if (frame->type == AL_MSG_REPLY_PART && al_decode_reply_part(frame->body, &part) == 0) {
        say(d, "%u: REPLY_PART %u:%llu attempt %llu part %u '%.*s'\n", conn, part.stream,
            (unsigned long long)part.seq, (unsigned long long)part.attempt, part.part,
            TEXT(part.data));
    } else if (frame->type == AL_MSG_PRODUCER_READY &&
               al_decode_producer_ready(frame->body, &producer) == 0) {
        d->producer[conn] = producer.producer;
        say(d, "%u: PRODUCER_READY %llu\n", conn, (unsigned long long)producer.producer);
    } else if (al_decode_channel_ready(frame->body, &channel) == 0) {
        say(d, "%u: CHANNEL_READY stream %u last %llu\n", conn, channel.stream,
            (unsigned long long)channel.last_pseq);
    }
}

/* " #N": the number in its workflow that stands behind the fields of a frame; "" without. */
static const char *number_in(const struct al_frame *frame, size_t size, uint16_t tag)
{
    static char text[32];
    struct al_str value;

    text[0] = '\0';
    if (al_ext_find(al_str_of(frame->body.p + size, frame->body.n - size), tag, &value))
        snprintf(text, sizeof(text), " #%llu", (unsigned long long)al_get64(value.p));
    return text;
}

static void say_workflow_side(struct driver *d, uint32_t conn, const struct al_frame *frame)
{
    struct al_msg_workflow_row row;
    struct al_msg_workflow_range range;

    if (frame->type == AL_MSG_WORKFLOW_ROW && al_decode_workflow_row(frame->body, &row) == 0)
        say(d, "%u: WORKFLOW %.*s/%.*s %llu: %llu ok, %llu %llu %llu %llu %llu\n", conn,
            TEXT(row.space), TEXT(row.workflow), (unsigned long long)row.allocated,
            (unsigned long long)row.processed, (unsigned long long)row.pending,
            (unsigned long long)row.failed, (unsigned long long)row.dead,
            (unsigned long long)row.expired, (unsigned long long)row.cancelled);
    else if (al_decode_workflow_range(frame->body, &range) == 0)
        say(d, "%u: RANGE %llu-%llu state %u\n", conn, (unsigned long long)range.first,
            (unsigned long long)range.last, range.state);
}

static void say_identity_side(struct driver *d, uint32_t conn, const struct al_frame *frame)
{
    struct al_msg_identity_ready ready;
    struct al_msg_identity_row row;
    struct al_msg_certificate cert;

    if (frame->type == AL_MSG_IDENTITY_READY && al_decode_identity_ready(frame->body, &ready) == 0)
        say(d, "%u: IDENTITY_READY %.*s for %llu ms, at '%.*s'\n", conn, TEXT(ready.identity),
            (unsigned long long)(ready.expires_ms - d->now.wall_ms), TEXT(ready.addresses));
    else if (frame->type == AL_MSG_IDENTITY_ROW && al_decode_identity_row(frame->body, &row) == 0)
        say(d, "%u: IDENTITY %u of %u %.*s state %u, %s, %u links, key %u\n", conn, row.number,
            row.uid, TEXT(row.agent), row.state, row.token_ms ? "has a token" : "no token",
            row.links, row.key.n ? row.key.p[0] : 0);
    else if (al_decode_certificate(frame->body, &cert) == 0)
        say(d, "%u: CERTIFICATE %s %.*s '%.*s' of '%.*s'\n", conn,
            cert.serial == d->serial ? "issued" : "of another serial", TEXT(cert.identity),
            TEXT(cert.certificate), TEXT(cert.authorities));
}

/* True if the frame names a group, and the hash of the message before. */
static bool is_of_group(const struct al_frame *frame, const struct al_msg_deliver *deliver)
{
    size_t size = al_size_deliver(deliver);
    struct al_str ext = al_str_of(frame->body.p + size, frame->body.n - size), value;

    if (!al_ext_find(ext, AL_DELIVER_EXT_GROUP, &value))
        return false;
    assert_true(al_ext_find(ext, AL_DELIVER_EXT_PREV_HASH, &value));
    assert_int_equal(value.n, 32);
    return true;
}

static void say_entry(struct driver *d, uint32_t conn, const struct al_msg_group_entry *entry)
{
    struct al_chain_link link = {.seq = entry->seq,
                                 .wall_ms = entry->wall_ms,
                                 .what = entry->what,
                                 .author = entry->author,
                                 .envelope = entry->envelope};
    struct al_msg_envelope envelope;

    assert_int_equal(al_decode_envelope(entry->envelope, &envelope), 0);
    assert_int_equal(entry->prev_hash.n, 32);
    if (entry->seq == d->chain_seq + 1)
        assert_memory_equal(entry->prev_hash.p, d->chain, 32);
    al_chain_next(entry->prev_hash.p, &link, d->chain);
    d->chain_seq = entry->seq;
    say(d, "%u: ENTRY %llu %u %.*s '%.*s'\n", conn, (unsigned long long)entry->seq, entry->what,
        TEXT(entry->author), TEXT(envelope.payload));
}

static void say_group_side(struct driver *d, uint32_t conn, const struct al_frame *frame)
{
    struct al_msg_group_row row;
    struct al_msg_group_member member;
    struct al_msg_group_entry entry;

    if (frame->type == AL_MSG_GROUP_ROW && al_decode_group_row(frame->body, &row) == 0) {
        say(d, "%u: GROUP %.*s %llu-%llu members %u%s\n", conn, TEXT(row.name),
            (unsigned long long)row.first_seq, (unsigned long long)row.next_seq, row.members,
            row.hash.n == 32 && memcmp(row.hash.p, d->chain, 32) == 0 ? " chained" : "");
    } else if (frame->type == AL_MSG_GROUP_MEMBER &&
               al_decode_group_member(frame->body, &member) == 0) {
        say(d, "%u: MEMBER %.*s %llu-%llu acked %llu pending %llu dead %u\n", conn,
            TEXT(member.agent), (unsigned long long)member.joined_seq,
            (unsigned long long)member.left_seq, (unsigned long long)member.acked_seq,
            (unsigned long long)member.pending, member.dead);
    } else if (al_decode_group_entry(frame->body, &entry) == 0) {
        say_entry(d, conn, &entry);
    }
}

static void say_receive_side(struct driver *d, uint32_t conn, const struct al_frame *frame)
{
    struct al_msg_deliver deliver;
    struct al_msg_acked acked;
    struct al_msg_recall recall;
    struct al_msg_settle_refused refused;
    struct al_msg_attached attached;

    if (frame->type == AL_MSG_DELIVER && al_decode_deliver(frame->body, &deliver) == 0) {
        struct al_msg_envelope envelope;

        assert_int_equal(al_decode_envelope(deliver.envelope, &envelope), 0);
        d->lease[conn][deliver.seq & 15] = d->stream_lease[deliver.stream & 15] = deliver.lease;
        say(d, "%u: DELIVER %u:%llu after %llu attempt %u%s '%.*s'%s%.*s%s\n", conn, deliver.stream,
            (unsigned long long)deliver.seq, (unsigned long long)deliver.prev_seq, deliver.attempt,
            deliver.flags & AL_DELIVER_REDELIVERED ? " redelivered" : "", TEXT(envelope.payload),
            is_of_group(frame, &deliver) ? " by " : "",
            is_of_group(frame, &deliver) ? (int)deliver.from.n : 0, (const char *)deliver.from.p,
            number_in(frame, al_size_deliver(&deliver), AL_DELIVER_EXT_WORKFLOW_SEQ));
    } else if (frame->type == AL_MSG_ACKED && al_decode_acked(frame->body, &acked) == 0) {
        say(d, "%u: ACKED %u:%llu-%llu x%u\n", conn, acked.stream, (unsigned long long)acked.seq,
            (unsigned long long)acked.last_seq, acked.count);
    } else if (frame->type == AL_MSG_RECALL && al_decode_recall(frame->body, &recall) == 0) {
        say(d, "%u: RECALL %u:%llu %s\n", conn, recall.stream, (unsigned long long)recall.seq,
            al_error_name(recall.code));
    } else if (frame->type == AL_MSG_SETTLE_REFUSED &&
               al_decode_settle_refused(frame->body, &refused) == 0) {
        say(d, "%u: SETTLE_REFUSED %u:%llu %s\n", conn, refused.stream,
            (unsigned long long)refused.seq, al_error_name(refused.code));
    } else if (al_decode_attached(frame->body, &attached) == 0) {
        d->agent[conn] = attached.agent;
        say(d, "%u: ATTACHED%s\n", conn, attached.resumed ? " resumed" : "");
    }
}

static void say_history_side(struct driver *d, uint32_t conn, const struct al_frame *frame)
{
    struct al_msg_history_row row;
    struct al_msg_replayed replayed;
    struct al_msg_envelope envelope;

    if (frame->type == AL_MSG_HISTORY_ROW && al_decode_history_row(frame->body, &row) == 0) {
        say(d, "%u: HISTORY %u from %llu: %llu-%llu, %llu with %llu bytes\n", conn, row.stream,
            (unsigned long long)row.from_seq, (unsigned long long)row.first_seq,
            (unsigned long long)row.last_seq, (unsigned long long)row.count,
            (unsigned long long)row.bytes);
    } else if (al_decode_replayed(frame->body, &replayed) == 0) {
        assert_int_equal(al_decode_envelope(replayed.envelope, &envelope), 0);
        say(d, "%u: REPLAYED %u:%llu by %.*s '%.*s'\n", conn, replayed.stream,
            (unsigned long long)replayed.seq, TEXT(replayed.from), TEXT(envelope.payload));
    }
}

static void say_other(struct driver *d, uint32_t conn, const struct al_frame *frame)
{
    struct al_msg_error error;
    struct al_msg_done done;
    struct al_msg_record record;
    struct al_msg_dlq_row letter;
    struct al_msg_detached detached;
    struct al_msg_kind_row kind;
    struct al_msg_breaker_row breaker;

    if (frame->type == AL_MSG_ERROR && al_decode_error(frame->body, &error) == 0) {
        say(d, "%u: ERROR %s about %s%s\n", conn, al_error_name(error.code),
            al_msg_name(error.about) ? al_msg_name(error.about) : "?", error.fatal ? " fatal" : "");
    } else if (frame->type == AL_MSG_DONE && al_decode_done(frame->body, &done) == 0) {
        say(d, "%u: DONE %s %llu\n", conn, al_error_name(done.code),
            (unsigned long long)done.count);
    } else if (frame->type == AL_MSG_RECORD && al_decode_record(frame->body, &record) == 0) {
        say(d, "%u: RECORD %u:%llu state %u attempts %u '%.*s'%s\n", conn, record.stream,
            (unsigned long long)record.seq, record.state, record.attempts, TEXT(record.reason),
            number_in(frame, al_size_record(&record), AL_RECORD_EXT_WORKFLOW_SEQ));
    } else if (frame->type == AL_MSG_DLQ_ROW && al_decode_dlq_row(frame->body, &letter) == 0) {
        say(d, "%u: LETTER %u:%llu %s attempts %u%s\n", conn, letter.stream,
            (unsigned long long)letter.seq, al_error_name(letter.code), letter.attempts,
            letter.envelope.n ? " with body" : "");
    } else if (frame->type == AL_MSG_KIND_ROW && al_decode_kind_row(frame->body, &kind) == 0) {
        say(d, "%u: KIND '%.*s' '%.*s' flags %u priority %u timeout %u retries %u sent %u ok %u\n",
            conn, TEXT(kind.kind), TEXT(kind.title), kind.flags, kind.priority, kind.ack_timeout_ms,
            kind.retry_max, (unsigned)kind.sent, (unsigned)kind.success);
    } else if (frame->type == AL_MSG_BREAKER_ROW &&
               al_decode_breaker_row(frame->body, &breaker) == 0) {
        say(d, "%u: BREAKER %.*s '%.*s' state %u left %u ok %u errors %u opened %u waiting %u\n",
            conn, TEXT(breaker.agent), TEXT(breaker.kind), breaker.state, breaker.left_ms,
            (unsigned)breaker.successes, (unsigned)breaker.errors, (unsigned)breaker.opened,
            (unsigned)breaker.waiting);
    } else if (frame->type == AL_MSG_DETACHED && al_decode_detached(frame->body, &detached) == 0) {
        say(d, "%u: DETACHED %s\n", conn, al_error_name(detached.code));
    } else {
        say(d, "%u: %s\n", conn, al_msg_name(frame->type));
    }
}

static void say_frames(struct driver *d, uint32_t conn, struct al_str data)
{
    struct al_frame frame;
    int64_t size;

    while ((size = al_frame_next(data, AL_FRAME_MAX, &frame)) > 0) {
        switch (frame.type) {
        case AL_MSG_GROUP_ROW:
        case AL_MSG_GROUP_MEMBER:
        case AL_MSG_GROUP_ENTRY:
            say_group_side(d, conn, &frame);
            break;
        case AL_MSG_IDENTITY_READY:
        case AL_MSG_IDENTITY_ROW:
        case AL_MSG_CERTIFICATE:
            say_identity_side(d, conn, &frame);
            break;
        case AL_MSG_WORKFLOW_ROW:
        case AL_MSG_WORKFLOW_RANGE:
            say_workflow_side(d, conn, &frame);
            break;
        case AL_MSG_HISTORY_ROW:
        case AL_MSG_REPLAYED:
            say_history_side(d, conn, &frame);
            break;
        case AL_MSG_RECEIPT:
        case AL_MSG_REFUSED:
        case AL_MSG_END:
        case AL_MSG_REPLY_PART:
        case AL_MSG_PRODUCER_READY:
        case AL_MSG_CHANNEL_READY:
            say_publish_side(d, conn, &frame);
            break;
        case AL_MSG_DELIVER:
        case AL_MSG_ACKED:
        case AL_MSG_RECALL:
        case AL_MSG_SETTLE_REFUSED:
        case AL_MSG_ATTACHED:
            say_receive_side(d, conn, &frame);
            break;
        default:
            say_other(d, conn, &frame);
        }
        data.p += size;
        data.n -= (uint32_t)size;
    }
    assert_int_equal(data.n, 0); /* the node sends whole frames */
}

void driver_expect(struct driver *d, const char *text)
{
    assert_int_equal(al_buf_put(&d->transcript, "", 1), 0);
    assert_string_equal((const char *)d->transcript.data, text);
    al_buf_clear(&d->transcript);
}

void driver_forget(struct driver *d)
{
    al_buf_clear(&d->transcript);
}

/* ---- effects ----------------------------------------------------------------------------- */

static void step(struct driver *d, struct al_event event);

static void keep_record(struct driver *d, const struct al_effect *effect, const uint8_t *data)
{
    struct journal_record *record;

    assert_int_equal(effect->lsn, d->record_count + 1);
    d->journal = realloc(d->journal, (d->record_count + 1) * sizeof(*d->journal));
    assert_non_null(d->journal);
    record = &d->journal[d->record_count++];
    record->type = (uint16_t)effect->record_type;
    record->size = effect->size;
    record->payload = malloc(effect->size + 1);
    assert_non_null(record->payload);
    memcpy(record->payload, data, effect->size);
}

static struct al_record_view view_of(const struct driver *d, uint64_t lsn)
{
    const struct journal_record *record = &d->journal[lsn - 1];

    assert_in_range(lsn, 1, d->record_count);
    return (struct al_record_view){lsn, record->type, al_str_of(record->payload, record->size)};
}

static void hold_read(struct driver *d, const struct al_effect *effect, const uint8_t *data)
{
    assert_in_range(d->held_count, 0, 15);
    assert_in_range(effect->size, 8, sizeof(d->held_lsns[0]));
    memcpy(d->held_lsns[d->held_count], data, effect->size);
    d->held[d->held_count++] = *effect;
}

void driver_answer_reads(struct driver *d)
{
    while (d->held_count) {
        struct al_record_view views[512];
        struct al_event event = {.type = AL_EVENT_READ_DONE,
                                 .request = d->held[0].lsn,
                                 .records = views,
                                 .record_count = d->held[0].size / 8};

        event.status = d->read_error;
        event.record_count = d->read_error ? 0 : event.record_count;
        for (uint32_t i = 0; i < event.record_count; i++)
            views[i] = view_of(d, d->held_lsns[0][i]);
        d->held_count--;
        memmove(d->held, d->held + 1, d->held_count * sizeof(*d->held));
        memmove(d->held_lsns, d->held_lsns + 1, d->held_count * sizeof(*d->held_lsns));
        step(d, event);
    }
}

static void note_issue(struct driver *d, const struct al_effect *effect, const uint8_t *data)
{
    say(d, "%u: issue %.*s '%.*s'\n", effect->conn, (int)effect->record_type, (const char *)data,
        (int)(effect->size - effect->record_type), (const char *)data + effect->record_type);
    d->serial = effect->lsn;
}

static void carry_out(struct driver *d)
{
    for (size_t i = 0; i < d->effects.count; i++) {
        const struct al_effect *effect = &d->effects.list[i];
        const uint8_t *data = d->effects.data.data + effect->offset;

        if (effect->type == AL_EFFECT_PERSIST)
            keep_record(d, effect, data);
        else if (effect->type == AL_EFFECT_SEND)
            say_frames(d, effect->conn, al_str_of(data, effect->size));
        else if (effect->type == AL_EFFECT_CLOSE)
            say(d, "%u: closed\n", effect->conn);
        else if (effect->type == AL_EFFECT_ISSUE)
            note_issue(d, effect, data);
        else if (effect->type == AL_EFFECT_NOTICE && effect->record_type == AL_NOTICE_DEAD_LETTER)
            d->letters_logged++;
        else if (effect->type == AL_EFFECT_NOTICE &&
                 effect->record_type == AL_NOTICE_DEAD_LETTERS_MISSING)
            say(d, "%llu dead letters not logged\n", (unsigned long long)effect->lsn);
        else if (effect->type == AL_EFFECT_NOTICE && d->mute_health &&
                 effect->record_type >= AL_NOTICE_HEALTH_CHANGED)
            continue;
        else if (effect->type == AL_EFFECT_NOTICE)
            say(d, "%s %.*s '%.*s'\n", al_node_notice_name(effect->record_type), (int)effect->conn,
                (const char *)data, (int)(effect->size - effect->conn),
                (const char *)data + effect->conn);
        else
            hold_read(d, effect, data);
    }
    if (!d->hold_reads)
        driver_answer_reads(d);
}

static void step(struct driver *d, struct al_event event)
{
    event.now = d->now;
    assert_int_equal(al_node_step(d->node, &event, &d->effects), 0);
    carry_out(d);
}

/* ---- life -------------------------------------------------------------------------------- */

static void start(struct driver *d)
{
    assert_int_equal(al_node_start(d->node, d->now, &d->effects), 0);
    carry_out(d);
}

void driver_init(struct driver *d, void (*tune)(struct al_node_config *config))
{
    memset(d, 0, sizeof(*d));
    d->now = (struct al_now){.mono_ns = AL_NS_PER_SEC, .wall_ms = 1700000000000ull};
    al_effects_init(&d->effects, &plain);
    al_buf_init(&d->in, &plain);
    al_buf_init(&d->transcript, &plain);
    al_buf_init(&d->snapshot_bytes, &plain);
    al_node_config_init(&d->config, &plain);
    d->config.random_seed = 1;
    if (tune)
        tune(&d->config);
    assert_int_equal(al_node_new(&d->config, &d->node), 0);
    start(d);
}

void driver_deinit(struct driver *d)
{
    al_node_free(d->node);
    al_effects_deinit(&d->effects);
    al_buf_deinit(&d->in);
    al_buf_deinit(&d->transcript);
    al_buf_deinit(&d->snapshot_bytes);
    for (size_t i = 0; i < d->record_count; i++)
        free(d->journal[i].payload);
    free(d->journal);
}

static void replay(const struct driver *d, struct al_node *node, size_t from)
{
    for (size_t i = from; i < d->record_count; i++) {
        struct al_record_view view = view_of(d, i + 1);

        assert_int_equal(al_node_replay(node, &view), 0);
    }
}

static void load(const struct driver *d, struct al_node *node)
{
    for (size_t at = 0; at < d->snapshot_bytes.size;) {
        uint32_t size = al_get32(d->snapshot_bytes.data + at);

        assert_int_equal(al_node_load(node, al_str_of(d->snapshot_bytes.data + at + 4, size)), 0);
        at += 4 + (size_t)size;
    }
    assert_int_equal(al_node_load_done(node, d->snapshot_from), 0);
}

void driver_restart(struct driver *d, bool from_snapshot)
{
    al_node_free(d->node);
    d->held_count = 0;
    assert_int_equal(al_node_new(&d->config, &d->node), 0);
    if (from_snapshot)
        load(d, d->node);
    replay(d, d->node, from_snapshot ? d->snapshot_from : 0);
    start(d);
}

void driver_check_replay(const struct driver *d)
{
    struct al_node *node;

    assert_int_equal(al_node_new(&d->config, &node), 0);
    replay(d, node, 0);
    assert_true(al_node_state_hash(node) == al_node_state_hash(d->node));
    for (uint64_t lsn = 1; lsn <= d->record_count; lsn += 4096)
        assert_int_equal(al_node_live_count(node, lsn, lsn + 4095),
                         al_node_live_count(d->node, lsn, lsn + 4095));
    al_node_free(node);
}

void driver_check_snapshot(const struct driver *d)
{
    struct al_node *node;

    assert_int_equal(al_node_new(&d->config, &node), 0);
    load(d, node);
    replay(d, node, d->snapshot_from);
    assert_true(al_node_state_hash(node) == al_node_state_hash(d->node));
    for (uint64_t lsn = 1; lsn <= d->record_count; lsn += 4096)
        assert_int_equal(al_node_live_count(node, lsn, lsn + 4095),
                         al_node_live_count(d->node, lsn, lsn + 4095));
    al_node_free(node);
}

void driver_carry(struct driver *d, uint64_t first_lsn, uint64_t last_lsn)
{
    for (uint64_t lsn = first_lsn; lsn <= last_lsn; lsn++) {
        struct al_record_view view = view_of(d, lsn);

        step(d, (struct al_event){.type = AL_EVENT_CARRY, .records = &view, .record_count = 1});
    }
}

void driver_snapshot_begin(struct driver *d)
{
    uint64_t lsn;

    al_buf_clear(&d->snapshot_bytes);
    assert_int_equal(al_node_snapshot_begin(d->node, &lsn), 0);
    d->snapshot_from = lsn;
}

bool driver_snapshot_step(struct driver *d, size_t budget)
{
    int r = al_node_snapshot_next(d->node, budget, &d->snapshot_bytes);

    assert_true(r >= 0);
    return r == 1;
}

void driver_open(struct driver *d, uint32_t conn, uint32_t uid, uint8_t instance)
{
    struct al_msg_hello hello = {
        .magic = AL_WIRE_MAGIC, .version_min = 1, .version_max = 1, .instance.b[0] = instance};

    step(d, (struct al_event){.type = AL_EVENT_OPEN, .conn = conn, .uid = uid});
    assert_int_equal(al_put_hello(&d->in, &hello), 0);
    driver_send(d, conn);
    driver_forget(d);
}

void driver_link(struct driver *d, uint32_t conn, const char *identity, uint64_t serial)
{
    struct al_msg_hello hello = {
        .magic = AL_WIRE_MAGIC, .version_min = 1, .version_max = 1, .instance.b[0] = 99};

    step(d, (struct al_event){.type = AL_EVENT_OPEN,
                              .conn = conn,
                              .link = identity ? AL_LINK_REMOTE : AL_LINK_JOIN,
                              .serial = serial,
                              .data = al_str_c(identity ? identity : "")});
    assert_int_equal(al_put_hello(&d->in, &hello), 0);
    driver_send(d, conn);
}

void driver_issued(struct driver *d, uint32_t conn, uint64_t serial, int status)
{
    struct al_issued issued = {.certificate = al_str_c("cert"), .authorities = al_str_c("root")};
    struct al_buf data;

    al_buf_init(&data, &plain);
    assert_int_equal(al_issued_encode(&data, &issued), 0);
    step(d, (struct al_event){.type = AL_EVENT_ISSUED,
                              .conn = conn,
                              .serial = serial,
                              .status = status,
                              .data = al_str_of(data.data, status ? 0 : (uint32_t)data.size)});
    al_buf_deinit(&data);
}

void driver_close(struct driver *d, uint32_t conn)
{
    step(d, (struct al_event){.type = AL_EVENT_CLOSED, .conn = conn});
}

void driver_send_raw(struct driver *d, uint32_t conn, const void *bytes, size_t size)
{
    step(d,
         (struct al_event){.type = AL_EVENT_BYTES, .conn = conn, .data = al_str_of(bytes, size)});
}

void driver_send(struct driver *d, uint32_t conn)
{
    driver_send_raw(d, conn, d->in.data, d->in.size);
    al_buf_clear(&d->in);
}

void driver_tick(struct driver *d, uint64_t ms)
{
    for (uint64_t passed = 0; passed < ms; passed += 5) {
        d->now.mono_ns += 5 * AL_NS_PER_MS;
        d->now.wall_ms += 5;
        if (al_node_deadline_ns(d->node) <= d->now.mono_ns)
            step(d, (struct al_event){.type = AL_EVENT_TICK});
    }
}

/* ---- frames ------------------------------------------------------------------------------ */

void driver_attach(struct driver *d, uint32_t conn, const char *agent, uint32_t credit)
{
    struct al_msg_attach attach = {
        .request = 1, .credit = credit, .credit_bytes = 1u << 20, .agent = al_str_c(agent)};

    assert_int_equal(al_put_attach(&d->in, &attach), 0);
    driver_send(d, conn);
}

void driver_channel(struct driver *d, uint32_t conn, const char *from, const char *to)
{
    struct al_msg_producer_open producer = {.request = 1};
    struct al_msg_channel_open channel = {.channel = 1,
                                          .first_pseq = 1,
                                          .priority = AL_PRIORITY_DEFAULT,
                                          .from = al_str_c(from),
                                          .to = al_str_c(to)};

    assert_int_equal(al_put_producer_open(&d->in, &producer), 0);
    driver_send(d, conn);
    channel.producer = d->producer[conn];
    assert_int_equal(al_put_channel_open(&d->in, &channel), 0);
    driver_send(d, conn);
}

void driver_put_publish(struct driver *d, const struct driver_message *message)
{
    struct al_msg_envelope envelope = {.kind = al_str_c(message->kind ? message->kind : ""),
                                       .key = al_str_c(message->key ? message->key : ""),
                                       .payload = al_str_c(message->text)};
    struct al_msg_publish publish = {.channel = 1,
                                     .pseq = message->pseq,
                                     .flags = message->flags,
                                     .ttl_ms = message->ttl_ms,
                                     .due_ms = message->due_ms};
    uint8_t body[512], ext[260];

    if (message->workflow) {
        envelope.ext = al_str_of(ext, 4 + strlen(message->workflow));
        al_put16(ext, AL_EXT_WORKFLOW_ID);
        al_put16(ext + 2, (uint16_t)(envelope.ext.n - 4));
        memcpy(ext + 4, message->workflow, envelope.ext.n - 4);
    }
    envelope.message_id.b[0] = message->id ? message->id : (uint8_t)message->pseq;
    envelope.message_id.b[1] = (uint8_t)(message->pseq >> 8);
    envelope.message_id.b[15] = 1;
    assert_true(al_size_envelope(&envelope) <= sizeof(body));
    publish.envelope = al_str_of(body, (size_t)(al_encode_envelope(body, &envelope) - body));
    assert_int_equal(al_put_publish(&d->in, &publish), 0);
}

void driver_publish(struct driver *d, uint32_t conn, uint64_t first_pseq, uint64_t last_pseq)
{
    for (uint64_t pseq = first_pseq; pseq <= last_pseq; pseq++) {
        char text[32];

        snprintf(text, sizeof(text), "m%llu", (unsigned long long)pseq);
        driver_put_publish(d, &(struct driver_message){.pseq = pseq, .text = text});
    }
    driver_send(d, conn);
}

void driver_ack(struct driver *d, uint32_t conn, uint32_t stream, uint64_t seq)
{
    struct al_msg_ack ack = {.agent = d->agent[conn],
                             .stream = stream,
                             .seq = seq,
                             .lease = d->lease[conn][seq & 15],
                             .status = AL_STATUS_SUCCESS};

    assert_int_equal(al_put_ack(&d->in, &ack), 0);
    driver_send(d, conn);
}

void driver_nack(struct driver *d, uint32_t conn, uint32_t stream, uint64_t seq, const char *why)
{
    struct al_msg_nack nack = {.agent = d->agent[conn],
                               .stream = stream,
                               .seq = seq,
                               .lease = d->lease[conn][seq & 15],
                               .reason = al_str_c(why)};

    assert_int_equal(al_put_nack(&d->in, &nack), 0);
    driver_send(d, conn);
}
