/* config.c - the configuration file.
 *
 * Strict on purpose: a setting that is misspelt and therefore silently has its default is found on
 * the worst day. So every key must be known, every value must have its type and lie in its range,
 * duplicates are refused, and each error names key, value and what is allowed. */
#include "node/config.h"

#include "base/errors.h"
#include "base/limits.h"
#include "base/text.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

/* Where an error text goes. */
struct why {
    char *text;
    size_t size;
};

/* A number of the file: its key, where it goes, and its range. */
struct number {
    const char *key;
    size_t offset;
    bool wide; /* uint64_t, otherwise uint32_t */
    uint64_t min, max;
};

#define WIDE(key, field, min, max)                             \
    {                                                          \
        key, offsetof(struct al_config, field), true, min, max \
    }
#define POLICY(key, field, min, max)                            \
    {                                                           \
        key, offsetof(struct al_policy, field), false, min, max \
    }

/* The core keeps its rings of recent things at least this large. */
#define RING_MIN 16

static const struct number limits[] = {
    WIDE("payload_bytes", payload_bytes, 1024, AL_PAYLOAD_MAX),
    WIDE("connections", connections, 1, AL_CONNECTIONS_MAX),
    WIDE("inbox_messages", inbox_messages, 1, AL_INBOX_MESSAGES_MAX),
    WIDE("dead_letters", dead_letters, 1, 10 * AL_DLQ_MESSAGES_DEFAULT),
    WIDE("dead_letter_bytes", dead_letter_bytes, 1, AL_DLQ_BYTES_MAX),
    WIDE("dedup_keys", dedup_keys, RING_MIN, 100 * AL_DEDUP_ENTRIES_DEFAULT),
    WIDE("dedup_ttl_ms", dedup_ttl_ms, 1000, AL_TTL_MAX_MS),
    WIDE("records", records, RING_MIN, 100 * AL_RECORDS_DEFAULT),
    WIDE("records_ttl_ms", records_ttl_ms, 1000, AL_TTL_MAX_MS),
    WIDE("workflows", workflows, 1, 100 * AL_WORKFLOWS_DEFAULT),
    WIDE("workflow_blocks", workflow_blocks, 1, 100 * AL_WORKFLOW_BLOCKS_DEFAULT),
    WIDE("workflow_ttl_ms", workflow_ttl_ms, 1000, AL_TTL_MAX_MS),
    {0}};

static const struct number journal[] = {
    WIDE("segment_bytes", segment_bytes, 1u << 20, 1u << 30),
    WIDE("first_segment_bytes", first_segment_bytes, 64u << 10, 1u << 30),
    WIDE("reserve_bytes", reserve_bytes, 1u << 20, 1ull << 40),
    {0}};

static const struct number network[] = {
    WIDE("certificate_ms", certificate_ms, AL_CERTIFICATE_MIN_MS, AL_CERTIFICATE_MAX_MS), {0}};

static const struct number retry[] = {POLICY("ack_timeout_ms", ack_timeout_ms, 1, AL_LEASE_MAX_MS),
                                      POLICY("base_ms", retry_base_ms, 1, AL_RETRY_CAP_MAX_MS),
                                      POLICY("factor", retry_factor, 1, 10),
                                      POLICY("cap_ms", retry_cap_ms, 1, AL_RETRY_CAP_MAX_MS),
                                      POLICY("max", retry_max, 0, AL_RETRY_COUNT_MAX),
                                      {0}};

#define BREAKER(key, field, min, max)                                   \
    {                                                                   \
        key, offsetof(struct al_breaker_policy, field), false, min, max \
    }
static const struct number breaker[] = {
    BREAKER("percent", percent, 0, 100),
    BREAKER("samples", samples, 1, AL_BREAKER_SAMPLES_MAX),
    BREAKER("call_timeout_ms", call_timeout_ms, 1, AL_LEASE_MAX_MS),
    BREAKER("open_ms", open_ms, 1, AL_BREAKER_OPEN_MAX_MS),
    /* A breaker of the kind's own: 0 or 1. Of no use for the node's, which is one per agent. */
    BREAKER("own", own, 0, 1),
    {0}};

#define RETAIN(key, field, min, max)                           \
    {                                                          \
        key, offsetof(struct al_retain, field), true, min, max \
    }
static const struct number retain[] = {RETAIN("count", count, 0, AL_RETAIN_COUNT_MAX),
                                       RETAIN("bytes", bytes, 1, AL_RETAIN_BYTES_MAX),
                                       RETAIN("age_ms", age_ms, 0, AL_TTL_MAX_MS),
                                       {0}};

static const struct number kind_numbers[] = {
    {"priority", offsetof(struct al_kind_policy, priority), false, 0, AL_PRIORITY_COUNT - 1}, {0}};

/* Writes the text and is the error. */
#define refuse(why, ...) (snprintf((why)->text, (why)->size, __VA_ARGS__), -AL_E_INVALID)

/* What people call the type of a value. */
static const char *type_name(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a text";
    case JSON_INTEGER:
        return "a whole number";
    case JSON_REAL:
        return "a number with a fraction";
    case JSON_TRUE:
    case JSON_FALSE:
        return "true or false";
    case JSON_NULL:
        return "null";
    }
    return "nothing";
}

/* ---- numbers ----------------------------------------------------------------------------- */

static int parse_number(const struct why *why, const char *where, const json_t *value,
                        const struct number *number, void *target)
{
    json_int_t got = json_integer_value(value);
    uint32_t narrow;
    uint64_t wide;

    if (!json_is_integer(value))
        return refuse(why, "%s%s is %s; allowed is a whole number from %" PRIu64 " to %" PRIu64,
                      where, number->key, type_name(value), number->min, number->max);
    if (got < 0 || (uint64_t)got < number->min || (uint64_t)got > number->max)
        return refuse(why, "%s%s is %" JSON_INTEGER_FORMAT "; allowed is %" PRIu64 " to %" PRIu64,
                      where, number->key, got, number->min, number->max);
    wide = (uint64_t)got;
    narrow = (uint32_t)got;
    if (number->wide)
        memcpy((char *)target + number->offset, &wide, sizeof wide);
    else
        memcpy((char *)target + number->offset, &narrow, sizeof narrow);
    return 0;
}

/* An object that holds only numbers of the table. `where` is its path with a dot at the end. */
static int parse_numbers(const struct why *why, const char *where, json_t *object,
                         const struct number *table, void *target)
{
    const char *key;
    json_t *value;

    if (!json_is_object(object))
        return refuse(why, "%.*s is %s; it must be an object", (int)strlen(where) - 1, where,
                      type_name(object));
    json_object_foreach(object, key, value)
    {
        const struct number *number = table;
        int rc;

        while (number->key && strcmp(number->key, key) != 0)
            number++;
        if (!number->key)
            return refuse(why, "unknown key %s%.64s; see docs/configuration.md for those there are",
                          where, key);
        rc = parse_number(why, where, value, number, target);
        if (rc)
            return rc;
    }
    return 0;
}

/* What a kind takes from the rest of the file. */
struct config_defaults {
    const struct al_policy *retry;
    const struct al_breaker_policy *breaker;
};

/* ---- the sections ------------------------------------------------------------------------ */

static int parse_policy(const struct why *why, const char *where, json_t *value,
                        struct al_policy *policy)
{
    int rc = parse_numbers(why, where, value, retry, policy);

    if (rc == 0 && policy->retry_cap_ms < policy->retry_base_ms)
        return refuse(why, "%scap_ms is %u; it must not be less than base_ms, which is %u", where,
                      policy->retry_cap_ms, policy->retry_base_ms);
    return rc;
}

static int parse_limits(struct al_config *config, const struct why *why, json_t *value)
{
    return parse_numbers(why, "limits.", value, limits, config);
}

static int parse_network(struct al_config *config, const struct why *why, json_t *value)
{
    return parse_numbers(why, "network.", value, network, config);
}

static int parse_journal(struct al_config *config, const struct why *why, json_t *value)
{
    int rc = parse_numbers(why, "journal.", value, journal, config);

    if (rc)
        return rc;
    if (config->segment_bytes % AL_DISK_BLOCK || config->first_segment_bytes % AL_DISK_BLOCK)
        return refuse(why,
                      "journal.segment_bytes and journal.first_segment_bytes must be multiples of "
                      "%u",
                      AL_DISK_BLOCK);
    if (config->segment_bytes && config->first_segment_bytes > config->segment_bytes)
        return refuse(why,
                      "journal.first_segment_bytes is %" PRIu64
                      "; it must not be more than segment_bytes, which is %" PRIu64,
                      config->first_segment_bytes, config->segment_bytes);
    return 0;
}

static int parse_retry(struct al_config *config, const struct why *why, json_t *value)
{
    return parse_policy(why, "retry.", value, &config->retry);
}

static int parse_breaker(struct al_config *config, const struct why *why, json_t *value)
{
    return parse_numbers(why, "breaker.", value, breaker, &config->breaker);
}

static int parse_retain(struct al_config *config, const struct why *why, json_t *value)
{
    return parse_numbers(why, "retain.", value, retain, &config->retain);
}

/* A text of 1 to max bytes without control characters. */
static int parse_text(const struct why *why, const char *key, const json_t *value, size_t max,
                      const char **ret_text)
{
    size_t n = json_string_length(value);

    if (!json_is_string(value))
        return refuse(why, "%s is %s; it must be a text", key, type_name(value));
    if (n == 0 || n > max || !al_text_is_plain(al_str_of(json_string_value(value), n)))
        return refuse(why, "%s has %zu bytes; allowed are 1 to %zu without control characters", key,
                      n, max);
    *ret_text = json_string_value(value);
    return 0;
}

/* What a kind has beside its retry policy; what was taken is removed from `value`. */
static int parse_kind_extras(const struct why *why, const char *where, json_t *value,
                             struct al_kind_policy *entry)
{
    json_t *title = json_object_get(value, "title"), *own = json_object_get(value, "breaker");
    json_t *priority = json_object_get(value, "priority");
    char path[AL_KIND_MAX + 32];
    const char *text = "";
    int rc = 0;

    if (title) {
        snprintf(path, sizeof path, "%stitle", where);
        rc = parse_text(why, path, title, AL_KIND_TITLE_MAX, &text);
        entry->title = al_str_c(text);
    }
    if (rc == 0 && own) {
        snprintf(path, sizeof path, "%sbreaker.", where);
        rc = parse_numbers(why, path, own, breaker, &entry->breaker);
    }
    if (rc == 0 && priority)
        rc = parse_number(why, where, priority, kind_numbers, entry);
    return rc;
}

static int parse_kind(const struct config_defaults *defaults, const struct why *why,
                      const char *kind, json_t *value, struct al_kind_policy *entry)
{
    char where[AL_KIND_MAX + 16];
    json_t *policy;
    int rc = 0;

    snprintf(where, sizeof where, "kinds.%s.", kind);
    *entry = (struct al_kind_policy){.kind = al_str_c(kind),
                                     .priority = AL_PRIORITY_NONE,
                                     .policy = *defaults->retry,
                                     .breaker = *defaults->breaker};
    if (json_is_object(value))
        rc = parse_kind_extras(why, where, value, entry);
    policy = json_copy(value);
    if (!policy)
        return -AL_E_NOMEM;
    if (json_is_object(policy)) {
        json_object_del(policy, "title");
        json_object_del(policy, "breaker");
        json_object_del(policy, "priority");
    }
    if (rc == 0)
        rc = parse_policy(why, where, policy, &entry->policy);
    json_decref(policy);
    return rc;
}

static int parse_kinds(struct al_config *config, const struct why *why, json_t *object)
{
    const struct config_defaults defaults = {&config->retry, &config->breaker};
    const char *kind;
    json_t *value;
    int rc;

    if (!json_is_object(object))
        return refuse(why, "kinds is %s; it must be an object", type_name(object));
    if (json_object_size(object) > AL_CONFIG_KINDS_MAX)
        return refuse(why, "kinds has %zu entries; at most %u are allowed",
                      json_object_size(object), AL_CONFIG_KINDS_MAX);
    if (json_object_size(object) == 0)
        return 0;
    config->kinds = calloc(json_object_size(object), sizeof *config->kinds);
    if (!config->kinds)
        return -AL_E_NOMEM;
    json_object_foreach(object, kind, value)
    {
        if (!al_kind_is_valid(al_str_c(kind)))
            return refuse(
                why, "kinds: \"%.64s\" is no kind; allowed are 1 to %u of A-Z a-z 0-9 . _ : / -",
                kind, AL_KIND_MAX);
        rc = parse_kind(&defaults, why, kind, value, &config->kinds[config->kind_count]);
        if (rc)
            return rc;
        config->kind_count++;
    }
    return 0;
}

static int parse_uids(struct al_config *config, const struct why *why, json_t *array)
{
    static const struct number uid = {"", 0, false, 0, UINT32_MAX - 1};
    char where[40];
    size_t count = json_array_size(array);
    int rc;

    if (!json_is_array(array))
        return refuse(why, "allowed_uids is %s; it must be an array of user numbers",
                      type_name(array));
    if (count > AL_CONFIG_UIDS_MAX)
        return refuse(why, "allowed_uids has %zu entries; at most %u are allowed", count,
                      AL_CONFIG_UIDS_MAX);
    if (count == 0)
        return 0;
    config->allowed_uids = calloc(count, sizeof *config->allowed_uids);
    if (!config->allowed_uids)
        return -AL_E_NOMEM;
    for (size_t i = 0; i < count; i++) {
        snprintf(where, sizeof where, "allowed_uids[%zu]", i);
        rc = parse_number(why, where, json_array_get(array, i), &uid, &config->allowed_uids[i]);
        if (rc)
            return rc;
        config->allowed_uid_count++;
    }
    return 0;
}

static int parse_name(struct al_config *config, const struct why *why, json_t *value)
{
    int rc = parse_text(why, "name", value, AL_NAME_PART_MAX, &config->name);

    if (rc == 0 && (!al_name_is_valid(al_str_c(config->name)) || strchr(config->name, '/')))
        return refuse(why, "name is \"%s\"; allowed are 1 to %u of a-z 0-9 . _ -", config->name,
                      AL_NAME_PART_MAX);
    return rc;
}

static int parse_data(struct al_config *config, const struct why *why, json_t *value)
{
    return parse_text(why, "data", value, 4095, &config->data);
}

static int parse_log_level(struct al_config *config, const struct why *why, json_t *value)
{
    enum al_log_level level;
    int rc = parse_text(why, "log_level", value, 64, &config->log_level);

    if (rc == 0 && al_log_level_parse(config->log_level, &level))
        return refuse(why, "log_level is \"%s\"; allowed are debug, info, warning, error",
                      config->log_level);
    return rc;
}

static int parse_listen(struct al_config *config, const struct why *why, json_t *array)
{
    size_t count = json_array_size(array);
    int rc;

    if (!json_is_array(array) || count == 0 || count > AL_CONFIG_LISTEN_MAX)
        return refuse(why, "listen must be an array of 1 to %u addresses like \"unix:/path\"",
                      AL_CONFIG_LISTEN_MAX);
    for (size_t i = 0; i < count; i++) {
        rc = parse_text(why, "listen[]", json_array_get(array, i), 4095, &config->listen[i]);
        if (rc)
            return rc;
    }
    return 0;
}

/* Where the key comes from: one of the two, or neither. */
static int parse_seal(struct al_config *config, const struct why *why, json_t *object)
{
    struct al_seal_options *seal = &config->seal;
    const char *key;
    json_t *value;
    int rc = 0;

    if (!json_is_object(object))
        return refuse(why, "seal is %s; it must be an object", type_name(object));
    json_object_foreach(object, key, value)
    {
        if (strcmp(key, "key_file") == 0)
            rc = parse_text(why, "seal.key_file", value, 4095, &seal->source.file);
        else if (strcmp(key, "key_command") == 0)
            rc = parse_text(why, "seal.key_command", value, 4095, &seal->source.command);
        else if (strcmp(key, "enabled") != 0)
            return refuse(why, "unknown key seal.%.64s; known are enabled, key_file, key_command",
                          key);
        else if (!json_is_boolean(value))
            return refuse(why, "seal.enabled is %s; it must be true or false", type_name(value));
        else
            seal->is_off = !json_boolean_value(value);
        if (rc)
            return rc;
    }
    if (seal->source.file && seal->source.command)
        return refuse(why, "seal has key_file and key_command; say where the key comes from once");
    return 0;
}

/* ---- the whole --------------------------------------------------------------------------- */

typedef int section_fn(struct al_config *config, const struct why *why, json_t *value);

/* In the order in which they are read: kinds take what they leave out from retry and breaker. */
static const struct section {
    const char *key;
    section_fn *parse;
} sections[] = {
    {"name", parse_name},         {"data", parse_data},       {"listen", parse_listen},
    {"limits", parse_limits},     {"journal", parse_journal}, {"log_level", parse_log_level},
    {"retry", parse_retry},       {"breaker", parse_breaker}, {"kinds", parse_kinds},
    {"allowed_uids", parse_uids}, {"retain", parse_retain},   {"seal", parse_seal},
    {"network", parse_network},
};

#define SECTION_COUNT (sizeof sections / sizeof sections[0])

static int check_keys(const struct why *why, json_t *root)
{
    const char *key;
    json_t *value;

    json_object_foreach(root, key, value)
    {
        size_t i = 0;

        while (i < SECTION_COUNT && strcmp(sections[i].key, key) != 0)
            i++;
        if (i == SECTION_COUNT)
            return refuse(
                why,
                "unknown key %.64s; known are name, data, listen, log_level, "
                "limits, journal, network, retry, breaker, kinds, retain, allowed_uids, seal",
                key);
    }
    return 0;
}

void al_config_init(struct al_config *config)
{
    *config = (struct al_config){
        .payload_bytes = AL_PAYLOAD_DEFAULT_MAX,
        .connections = AL_CONNECTIONS_MAX,
        .certificate_ms = AL_CERTIFICATE_DEFAULT_MS,
        .inbox_messages = AL_INBOX_MESSAGES_MAX,
        .dead_letters = AL_DLQ_MESSAGES_DEFAULT,
        .dead_letter_bytes = AL_DLQ_BYTES_DEFAULT,
        .dedup_keys = AL_DEDUP_ENTRIES_DEFAULT,
        .dedup_ttl_ms = AL_DEDUP_TTL_DEFAULT_MS,
        .records = AL_RECORDS_DEFAULT,
        .records_ttl_ms = AL_RECORDS_TTL_DEFAULT_MS,
        .workflows = AL_WORKFLOWS_DEFAULT,
        .workflow_blocks = AL_WORKFLOW_BLOCKS_DEFAULT,
        .workflow_ttl_ms = AL_WORKFLOW_TTL_DEFAULT_MS,
        .retry = {.ack_timeout_ms = AL_ACK_TIMEOUT_DEFAULT_MS,
                  .retry_base_ms = AL_RETRY_BASE_DEFAULT_MS,
                  .retry_factor = AL_RETRY_FACTOR_DEFAULT,
                  .retry_cap_ms = AL_RETRY_CAP_DEFAULT_MS,
                  .retry_max = AL_RETRY_COUNT_DEFAULT},
        .breaker = {.percent = AL_BREAKER_PERCENT_DEFAULT,
                    .samples = AL_BREAKER_SAMPLES_DEFAULT,
                    .call_timeout_ms = AL_BREAKER_CALL_DEFAULT_MS,
                    .open_ms = AL_BREAKER_OPEN_DEFAULT_MS},
        .retain = {.bytes = AL_RETAIN_BYTES_MAX},
    };
}

void al_config_deinit(struct al_config *config)
{
    free(config->kinds);
    free(config->allowed_uids);
    json_decref(config->root);
    config->kinds = NULL;
    config->allowed_uids = NULL;
    config->root = NULL;
}

int al_config_parse(struct al_config *config, const char *text, size_t size, char *ret_why,
                    size_t why_size)
{
    const struct why why = {.text = ret_why, .size = why_size};
    json_error_t error;
    json_t *root, *value;
    int rc;

    if (size > AL_CONFIG_BYTES_MAX) {
        (void)refuse(&why, "%zu bytes; at most %u are allowed", size, AL_CONFIG_BYTES_MAX);
        return -AL_E_TOO_LARGE;
    }
    config->root = root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);
    if (!root)
        return refuse(&why, "line %d, column %d: %s", error.line, error.column, error.text);
    if (!json_is_object(root))
        return refuse(&why, "the file is %s; it must be one JSON object", type_name(root));
    rc = check_keys(&why, root);
    for (size_t i = 0; i < SECTION_COUNT && rc == 0; i++) {
        value = json_object_get(root, sections[i].key);
        if (value)
            rc = sections[i].parse(config, &why, value);
    }
    if (rc == -AL_E_NOMEM)
        (void)refuse(&why, "%s", al_error_text(rc));
    return rc;
}

void al_config_apply(const struct al_config *config, struct al_runner_config *runner)
{
    struct al_node_config *node = &runner->node;

    if (config->name)
        node->name = al_str_c(config->name);
    node->payload_max = (uint32_t)config->payload_bytes;
    node->inbox_max = config->inbox_messages;
    node->dlq_max = (uint32_t)config->dead_letters;
    node->dlq_bytes = config->dead_letter_bytes;
    node->dedup_max = (uint32_t)config->dedup_keys;
    node->dedup_ttl_ms = config->dedup_ttl_ms;
    node->records_max = (uint32_t)config->records;
    node->records_ttl_ms = config->records_ttl_ms;
    node->workflows_max = (uint32_t)config->workflows;
    node->workflow_blocks = (uint32_t)config->workflow_blocks;
    node->workflow_ttl_ms = config->workflow_ttl_ms;
    node->policy = config->retry;
    node->breaker = config->breaker;
    node->retain = config->retain;
    node->kinds = config->kinds;
    node->kind_count = config->kind_count;
    runner->store.segment_bytes = config->segment_bytes;
    runner->store.first_segment_bytes = config->first_segment_bytes;
    runner->store.reserve_bytes = config->reserve_bytes;
    runner->connections_max = (uint32_t)config->connections;
    runner->allowed_uids = config->allowed_uids;
    runner->allowed_uid_count = config->allowed_uid_count;
}
