/* cmd_group_history.c - agentlink group history, verify.
 *
 * `history --json` prints all that the proof needs, so that a member can keep it in a file and have
 * it verified later, without the node: each line is made again from the bytes that the hash covers
 * and must be the same, and each links to the one before. */
#include "cli/node.h"
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

/* ---- entries as JSON --------------------------------------------------------------------- */

const char *ali_hex(const uint8_t *bytes, size_t size, char *ret_text)
{
    sodium_bin2hex(ret_text, 2 * size + 1, bytes, size);
    return ret_text;
}

static const char *what_word(enum al_group_what what)
{
    return what == AL_GROUP_JOIN ? "join" : what == AL_GROUP_LEAVE ? "leave" : "message";
}

static json_t *entry_json(const struct al_group_entry *entry)
{
    json_t *object = ali_json_message(&entry->message, 0, entry->seq);
    size_t cap = sodium_base64_encoded_len(entry->envelope_size, sodium_base64_VARIANT_ORIGINAL);
    char hash[2 * AL_GROUP_HASH_SIZE + 1], *text = ali_alloc(cap);

    json_object_del(object, "stream"); /* the history is of no stream */
    json_object_set_new(object, "what", json_string(what_word(entry->what)));
    json_object_set_new(object, "admitted_ms", ali_json_count(entry->admitted_ms));
    json_object_set_new(object, "prev_hash",
                        json_string(ali_hex(entry->prev_hash, AL_GROUP_HASH_SIZE, hash)));
    json_object_set_new(object, "hash",
                        json_string(ali_hex(entry->hash, AL_GROUP_HASH_SIZE, hash)));
    sodium_bin2base64(text, cap, entry->envelope, entry->envelope_size,
                      sodium_base64_VARIANT_ORIGINAL);
    json_object_set_new(object, "envelope_base64", json_string(text));
    free(text);
    return object;
}

/* ---- history ----------------------------------------------------------------------------- */

struct history_values {
    const char *as, *workflow_id;
    uint64_t from_seq, to_seq;
};

#define OFFSET(field) offsetof(struct history_values, field)

static const struct ali_option history_options[] = {
    {"as", 0, "AGENT", ALI_TEXT, OFFSET(as), .help = "member that asks (default: the owner)",
     .complete = ALI_AGENTS},
    {"from", 0, "SEQ", ALI_COUNT, OFFSET(from_seq), .help = "first message (default: the oldest)"},
    {"to", 0, "SEQ", ALI_COUNT, OFFSET(to_seq), .help = "last message (default: the newest)"},
    {"workflow-id", 0, "TEXT", ALI_TEXT, OFFSET(workflow_id), .help = "only of this workflow"},
    {.name = NULL},
};

struct listing {
    struct ali_cli *cli;
    struct ali_table *table;
};

static int add_entry(void *ctx, const struct al_group_entry *entry)
{
    struct listing *listing = ctx;
    struct ali_table *table = listing->table;
    char text[ALI_TIME_CAP];

    if (listing->cli->json) {
        ali_json_print(listing->cli, entry_json(entry));
        return 0;
    }
    ali_table_count(table, entry->seq);
    ali_table_text(table, ali_format_time(entry->admitted_ms, text));
    ali_table_text(table, entry->author);
    if (entry->what == AL_GROUP_SAID)
        ali_table_text(table, *entry->message.kind ? entry->message.kind : "-");
    else
        ali_table_put(table, ALI_DIM, al_str_c(what_word(entry->what)));
    ali_table_put(table, ALI_PLAIN, al_str_of(entry->message.payload, entry->message.payload_size));
    return 0;
}

static int run_history(struct ali_cli *cli, const void *values, char **args)
{
    static const char *const headings[] = {">SEQ", "TIME", "FROM", "KIND", "TEXT", NULL};
    const struct history_values *v = values;
    struct al_group_query query = {.group = args[0],
                                   .agent = v->as,
                                   .first_seq = v->from_seq,
                                   .last_seq = v->to_seq,
                                   .workflow_id = v->workflow_id};
    struct listing listing = {.cli = cli};
    int code = ali_node_open(cli), r;

    if (code)
        return code;
    listing.table = ali_table_new(cli, headings);
    r = al_group_history(cli->client, &query, add_entry, &listing);
    ali_table_end(listing.table, r == 0 && !cli->json, "no such messages");
    return r < 0 ? ali_say_group_error(cli, r) : 0;
}

/* ---- verify ------------------------------------------------------------------------------ */

struct verify_values {
    const char *as, *file, *expect;
};

static const struct ali_option verify_options[] = {
    {"as", 0, "AGENT", ALI_TEXT, offsetof(struct verify_values, as),
     .help = "member that asks (default: the owner)", .complete = ALI_AGENTS},
    {"file", 0, "FILE", ALI_TEXT, offsetof(struct verify_values, file),
     .help = "verify what 'group history --json' printed once, without a node",
     .complete = ALI_FILES},
    {"expect", 0, "HASH", ALI_TEXT, offsetof(struct verify_values, expect),
     .help = "the last message must have this hash, which a member has kept"},
    {.name = NULL},
};

/* A file that is being verified. */
struct kept {
    struct al_group_proof proof;
    struct al_group_chain chain;
    const json_t *line;
    char problem[300];
};

static bool read_hash(const json_t *line, const char *name, uint8_t *ret_hash)
{
    const char *text = json_string_value(json_object_get(line, name));
    size_t size = 0;

    return text && strlen(text) == 2 * AL_GROUP_HASH_SIZE &&
           sodium_hex2bin(ret_hash, AL_GROUP_HASH_SIZE, text, 2 * AL_GROUP_HASH_SIZE, NULL, &size,
                          NULL) == 0 &&
           size == AL_GROUP_HASH_SIZE;
}

/* The fields of a line from which everything else follows. */
static bool read_line(const json_t *line, struct al_group_entry *entry, uint8_t **ret_envelope)
{
    const char *what = json_string_value(json_object_get(line, "what"));
    const json_t *envelope = json_object_get(line, "envelope_base64");
    size_t cap = json_string_length(envelope);

    entry->seq = (uint64_t)json_integer_value(json_object_get(line, "seq"));
    entry->admitted_ms = (uint64_t)json_integer_value(json_object_get(line, "admitted_ms"));
    entry->author = json_string_value(json_object_get(line, "from"));
    entry->message.to = json_string_value(json_object_get(line, "to"));
    entry->what = !what                        ? 0
                  : strcmp(what, "join") == 0  ? AL_GROUP_JOIN
                  : strcmp(what, "leave") == 0 ? AL_GROUP_LEAVE
                                               : AL_GROUP_SAID;
    *ret_envelope = ali_alloc(cap + 1);
    if (!entry->author || !entry->message.to || !what || !envelope ||
        !read_hash(line, "prev_hash", entry->prev_hash) || !read_hash(line, "hash", entry->hash) ||
        sodium_base642bin(*ret_envelope, cap, json_string_value(envelope), cap, NULL,
                          &entry->envelope_size, NULL, sodium_base64_VARIANT_ORIGINAL) != 0)
        return false;
    entry->envelope = *ret_envelope;
    return true;
}

/* The line says what the hashed bytes say, and links to the one before. */
static int check_entry(void *ctx, const struct al_group_entry *entry)
{
    struct kept *kept = ctx;
    json_t *again = entry_json(entry);
    bool same = json_equal(again, kept->line);

    json_decref(again);
    if (!same) {
        kept->chain.bad_seq = entry->seq;
        snprintf(kept->problem, sizeof kept->problem,
                 "message %llu is not what its hash was made from", (unsigned long long)entry->seq);
        return -AL_E_DAMAGED;
    }
    if (entry->seq == 1 && !kept->chain.anchored)
        (void)al_group_chain_begin(&kept->chain, entry->message.to);
    if (al_group_chain_add(&kept->chain, entry) < 0) {
        snprintf(kept->problem, sizeof kept->problem, "%s", al_last_error());
        return -AL_E_DAMAGED;
    }
    if (!kept->proof.first_seq)
        kept->proof.first_seq = entry->seq;
    return 0;
}

static int check_line(struct kept *kept, const json_t *line, size_t number)
{
    struct al_group_entry entry = {.seq = 0};
    uint8_t *envelope = NULL;
    int r = line && read_line(line, &entry, &envelope) ? 0 : -AL_E_DAMAGED;

    kept->line = line;
    if (r == 0)
        r = al_group_entry_read(&entry, check_entry, kept);
    if (r < 0 && !kept->problem[0]) {
        kept->chain.bad_seq = entry.seq ? entry.seq : kept->chain.seq + 1;
        snprintf(kept->problem, sizeof kept->problem,
                 "line %zu is not a line of 'agentlink group history --json'", number);
    }
    free(envelope);
    return r;
}

static int verify_file(struct ali_cli *cli, const char *path, struct kept *kept)
{
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    char *text = NULL;
    size_t cap = 0, number = 0;
    int r = 0;

    if (!file) {
        ali_say(cli, "%s: %s", ali_safe_c(path), strerror(errno));
        return ALI_EXIT_USAGE;
    }
    while (r == 0 && getline(&text, &cap, file) > 0) {
        json_t *line = json_loads(text, JSON_REJECT_DUPLICATES, NULL);

        r = check_line(kept, line, ++number);
        json_decref(line);
    }
    free(text);
    if (file != stdin)
        fclose(file);
    kept->proof.last_seq = kept->chain.seq;
    kept->proof.count = kept->chain.count;
    kept->proof.bad_seq = kept->chain.bad_seq;
    kept->proof.from_begin = kept->proof.first_seq == 1;
    memcpy(kept->proof.hash, kept->chain.hash, AL_GROUP_HASH_SIZE);
    return 0;
}

static void print_proof(struct ali_cli *cli, const struct al_group_proof *proof)
{
    static const char *const headings[] = {"VERIFIED", ">FROM", ">TO", ">MESSAGES",
                                           "BEGIN",    "HASH",  NULL};
    char hash[2 * AL_GROUP_HASH_SIZE + 1];
    struct ali_table *table;

    ali_hex(proof->hash, AL_GROUP_HASH_SIZE, hash);
    if (cli->json) {
        ali_json_print(
            cli, json_pack("{sb so so so sb ss so}", "ok", proof->bad_seq == 0, "first_seq",
                           ali_json_count(proof->first_seq), "last_seq",
                           ali_json_count(proof->last_seq), "count", ali_json_count(proof->count),
                           "from_begin", proof->from_begin, "hash", hash, "bad_seq",
                           proof->bad_seq ? ali_json_count(proof->bad_seq) : json_null()));
        return;
    }
    table = ali_table_new(cli, headings);
    ali_table_put(table, proof->bad_seq ? ALI_BAD : ALI_GOOD,
                  al_str_c(proof->bad_seq ? "NO" : "yes"));
    ali_table_count(table, proof->first_seq);
    ali_table_count(table, proof->last_seq);
    ali_table_count(table, proof->count);
    ali_table_text(table, proof->from_begin ? "yes" : "no");
    ali_table_text(table, hash);
    ali_table_print(table, NULL);
}

static int run_verify(struct ali_cli *cli, const void *values, char **args)
{
    const struct verify_values *v = values;
    struct kept kept = {.line = NULL};
    char hash[2 * AL_GROUP_HASH_SIZE + 1];
    int code, r;

    if (!args[0] == !v->file) {
        ali_say(cli, "give either GROUP or --file");
        return ALI_EXIT_USAGE;
    }
    if (v->file) {
        code = verify_file(cli, v->file, &kept);
        if (code)
            return code;
    } else {
        code = ali_node_open(cli);
        if (code)
            return code;
        r = al_group_verify(cli->client, args[0], v->as, &kept.proof);
        if (r < 0 && r != -AL_E_DAMAGED)
            return ali_say_group_error(cli, r);
        snprintf(kept.problem, sizeof kept.problem, "%s", r < 0 ? al_last_error() : "");
    }
    if (!kept.proof.bad_seq && v->expect &&
        strcmp(v->expect, ali_hex(kept.proof.hash, AL_GROUP_HASH_SIZE, hash)) != 0) {
        kept.proof.bad_seq = kept.proof.last_seq;
        snprintf(kept.problem, sizeof kept.problem, "message %llu, the last, has another hash",
                 (unsigned long long)kept.proof.last_seq);
    }
    print_proof(cli, &kept.proof);
    if (kept.proof.bad_seq)
        ali_say(cli, "at sequence %llu: %s", (unsigned long long)kept.proof.bad_seq,
                ali_safe_c(kept.problem));
    return kept.proof.bad_seq ? ALI_EXIT_DAMAGED : 0;
}

const struct ali_command ali_cmd_group_history[] = {
    {
        .group = "group",
        .name = "history",
        .summary = "print what was said in a group",
        .args = "GROUP",
        .args_min = 1,
        .args_max = 1,
        .doc = "For members and the owner. --json has everything that 'group verify --file' needs.",
        .examples = "agentlink group history team --as ann --from 17 --to 17 # what ann missed\n"
                    "agentlink group history team --json > team.jsonl",
        .options = history_options,
        .values_size = sizeof(struct history_values),
        .run = run_history,
    },
    {
        .group = "group",
        .name = "verify",
        .summary = "prove that a history is whole and unaltered",
        .args = "[GROUP]",
        .args_max = 1,
        .doc = "Computes the hash of each message and follows the chain to the newest one. Ends\n"
               "with 4 and the sequence at which it breaks. The hash that it prints vouches for\n"
               "everything before it: members compare it, or keep it for --expect.",
        .examples = "agentlink group verify team --as ann\n"
                    "agentlink group verify --file team.jsonl",
        .options = verify_options,
        .values_size = sizeof(struct verify_values),
        .run = run_verify,
    },
    {.name = NULL},
};
