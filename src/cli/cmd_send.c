/* cmd_send.c - agentlink send, agentlink request. */
#include "base/limits.h"
#include "cli/node.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct send_values {
    const char *as, *to, *kind, *key, *stream, *data, *file;
    const char *content_type, *correlation_id, *workflow_id, *reply_to;
    struct ali_list headers;
    uint64_t priority, ttl_ms, delay_ms, timeout_ms, quorum;
    bool wait, fire, parts, unordered;
};

#define OFFSET(field) offsetof(struct send_values, field)

/* What send and request have in common. */
#define MESSAGE_OPTIONS                                                                      \
    {"as",                                                                                   \
     0,                                                                                      \
     "AGENT",                                                                                \
     ALI_TEXT,                                                                               \
     OFFSET(as),                                                                             \
     .help = "sending agent",                                                                \
     .complete = ALI_AGENTS,                                                                 \
     .required = true},                                                                      \
        {"to",                                                                               \
         0,                                                                                  \
         "AGENT",                                                                            \
         ALI_TEXT,                                                                           \
         OFFSET(to),                                                                         \
         .help = "receiving agent",                                                          \
         .complete = ALI_AGENTS,                                                             \
         .required = true},                                                                  \
        {"kind", 0, "KIND", ALI_TEXT, OFFSET(kind), .help = "kind of message"},              \
        {"key",                                                                              \
         0,                                                                                  \
         "KEY",                                                                              \
         ALI_TEXT,                                                                           \
         OFFSET(key),                                                                        \
         .help = "idempotency key: sending again with the same key does not send twice"},    \
        {"stream",       0,                                                                  \
         "LABEL",        ALI_TEXT,                                                           \
         OFFSET(stream), .help = "stream label: messages keep their order inside a stream"}, \
        {"priority",                                                                         \
         0,                                                                                  \
         "N",                                                                                \
         ALI_COUNT,                                                                          \
         OFFSET(priority),                                                                   \
         .keeps = true,                                                                      \
         .max = 9,                                                                           \
         .help = "0 (lowest) to 9 (default: that of the kind, or 4)"},                       \
        {"header", 0, "N=V", ALI_LIST, OFFSET(headers), .help = "a header"},                 \
        {"data", 0, "TEXT", ALI_TEXT, OFFSET(data), .help = "payload"},                      \
        {"file",                                                                             \
         0,                                                                                  \
         "FILE",                                                                             \
         ALI_TEXT,                                                                           \
         OFFSET(file),                                                                       \
         .complete = ALI_FILES,                                                              \
         .help = "payload from a file; - is standard input"},                                \
        {"content-type",                                                                     \
         0,                                                                                  \
         "TYPE",                                                                             \
         ALI_TEXT,                                                                           \
         OFFSET(content_type),                                                               \
         .help = "media type of the payload"},                                               \
        {"correlation-id",                                                                   \
         0,                                                                                  \
         "TEXT",                                                                             \
         ALI_TEXT,                                                                           \
         OFFSET(correlation_id),                                                             \
         .help = "which message or task this belongs to"},                                   \
        {"workflow-id",                                                                      \
         0,                                                                                  \
         "TEXT",                                                                             \
         ALI_TEXT,                                                                           \
         OFFSET(workflow_id),                                                                \
         .help = "which workflow this belongs to"},                                          \
        {"reply-to",                                                                         \
         0,                                                                                  \
         "AGENT",                                                                            \
         ALI_TEXT,                                                                           \
         OFFSET(reply_to),                                                                   \
         .complete = ALI_AGENTS,                                                             \
         .help = "agent that wants the answer as a message of its own"},                     \
    {                                                                                        \
        "ttl", 0, "TIME", ALI_DURATION, OFFSET(ttl_ms),                                      \
            .help = "life time: a message not processed by then becomes a dead letter"       \
    }

static const struct ali_option send_options[] = {
    MESSAGE_OPTIONS,
    {"delay", 0, "TIME", ALI_DURATION, OFFSET(delay_ms), .help = "deliver no earlier than this"},
    {"volatile", 0, NULL, ALI_FLAG, OFFSET(fire),
     .help = "fire and forget: at most once, not on disk, no receipt"},
    {"unordered", 0, NULL, ALI_FLAG, OFFSET(unordered),
     .help = "order does not matter: the message and the others of its stream do not wait for each "
             "other"},
    {"wait", 0, NULL, ALI_FLAG, OFFSET(wait),
     .help = "wait until the message has ended, and print how and the reply"},
    {"timeout", 0, "TIME", ALI_DURATION, OFFSET(timeout_ms), .preset = "30s",
     .help = "how long to wait for the receipt, or with --wait for the end"},
    {.name = NULL},
};

static const struct ali_option request_options[] = {
    MESSAGE_OPTIONS,
    {"timeout", 0, "TIME", ALI_DURATION, OFFSET(timeout_ms), .preset = "30s",
     .help = "how long to wait for the reply; also the message's life time unless --ttl is given"},
    {"quorum", 0, "N", ALI_COUNT, OFFSET(quorum), .max = AL_GROUP_MEMBERS_MAX,
     .help = "of a group: wait for so many replies (default: of all other members)"},
    {"parts", 0, NULL, ALI_FLAG, OFFSET(parts),
     .help = "print the parts of the reply as they come, a line each, and then the reply"},
    {.name = NULL},
};

/* ---- the message ------------------------------------------------------------------------- */

int ali_read_payload(const struct ali_cli *cli, const char *path, struct al_message *message)
{
    bool is_stdin = strcmp(path, "-") == 0;
    int fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    uint8_t *data = NULL;
    size_t size = 0, cap = 0;
    ssize_t n = fd < 0 ? -1 : 1;

    while (n > 0 && size <= AL_PAYLOAD_MAX) {
        if (size == cap) {
            cap = cap ? cap * 2 : 64 << 10;
            data = ali_grow(data, cap);
        }
        do
            n = read(fd, data + size, cap - size);
        while (n < 0 && errno == EINTR);
        size += n > 0 ? (size_t)n : 0;
    }
    if (n < 0)
        ali_say(cli, "%s: %s", is_stdin ? "standard input" : ali_safe_c(path), strerror(errno));
    else if (size > AL_PAYLOAD_MAX)
        ali_say(cli, "%s: larger than any payload may be (%u MiB)",
                is_stdin ? "standard input" : ali_safe_c(path), AL_PAYLOAD_MAX >> 20);
    if (!is_stdin && fd >= 0)
        close(fd);
    if (n < 0 || size > AL_PAYLOAD_MAX) {
        free(data);
        return n < 0 ? ALI_EXIT_USAGE : ALI_EXIT_REFUSED;
    }
    message->payload = data;
    message->payload_size = size;
    return 0;
}

static int set_payload(const struct ali_cli *cli, const struct send_values *values, char **args,
                       struct al_message *message)
{
    const char *path = args[0] ? args[0] : values->file;

    if (args[0] && strcmp(args[0], "-") != 0) {
        ali_say(cli, "'%s' is unexpected; give the payload with --data TEXT, --file FILE or -",
                ali_safe_c(args[0]));
        return ALI_EXIT_USAGE;
    }
    if ((values->data != NULL) + (values->file != NULL) + (args[0] != NULL) > 1) {
        ali_say(cli, "more than one payload: give one of --data, --file and -");
        return ALI_EXIT_USAGE;
    }
    if (path)
        return ali_read_payload(cli, path, message);
    message->payload_size = values->data ? strlen(values->data) : 0;
    message->payload = message->payload_size ? strdup(values->data) : NULL;
    return message->payload_size && !message->payload ? ALI_EXIT_REFUSED : 0;
}

static int set_headers(const struct ali_cli *cli, const struct ali_list *list,
                       struct al_message *message)
{
    struct al_header *headers = ali_alloc((list->count + 1) * sizeof *headers);

    message->headers = headers;
    for (size_t i = 0; i < list->count; i++) {
        const char *equals = strchr(list->items[i], '=');

        if (!equals || equals == list->items[i]) {
            ali_say(cli, "--header '%s' is not of the form NAME=VALUE", ali_safe_c(list->items[i]));
            return ALI_EXIT_USAGE;
        }
        headers[i].name = strndup(list->items[i], (size_t)(equals - list->items[i]));
        if (!headers[i].name)
            return ALI_EXIT_REFUSED;
        headers[i].value = equals + 1;
        message->header_count++;
    }
    return 0;
}

static void message_free(struct al_message *message)
{
    for (size_t i = 0; i < message->header_count; i++)
        free((char *)(uintptr_t)message->headers[i].name);
    free((void *)(uintptr_t)message->headers);
    free((void *)(uintptr_t)message->payload);
}

/* Fills the message from the options; message_free in any case. 0, or an exit code. */
static int make_message(const struct ali_cli *cli, const struct send_values *values, char **args,
                        struct al_message *message)
{
    int code;

    al_message_init(message);
    message->from = values->as;
    message->to = values->to;
    message->kind = values->kind;
    message->key = values->key;
    message->stream = values->stream;
    if (values->priority != ALI_NOT_GIVEN)
        message->priority = (uint8_t)values->priority;
    message->content_type = values->content_type;
    message->correlation_id = values->correlation_id;
    message->workflow_id = values->workflow_id;
    message->reply_to = values->reply_to;
    message->ttl_ms = values->ttl_ms;
    message->deliver_at_ms = values->delay_ms ? ali_wall_ms() + values->delay_ms : 0;
    message->flags =
        (values->fire ? AL_MESSAGE_VOLATILE : 0) | (values->unordered ? AL_MESSAGE_UNORDERED : 0);
    code = set_headers(cli, &values->headers, message);
    return code ? code : set_payload(cli, values, args, message);
}

static int timeout_of(const struct send_values *values)
{
    return values->timeout_ms > INT32_MAX ? INT32_MAX : (int)values->timeout_ms;
}

/* ---- results ----------------------------------------------------------------------------- */

static const char *durability_name(enum al_durability_class durability)
{
    return durability == AL_DURABILITY_CLASS_LOCAL        ? "local"
           : durability == AL_DURABILITY_CLASS_REPLICATED ? "replicated"
                                                          : "volatile";
}

static json_t *receipt_json(const struct al_receipt *receipt)
{
    json_t *object = json_object();

    json_object_set_new(object, "message_id", ali_json_id(&receipt->id));
    json_object_set_new(object, "stream", ali_json_count(receipt->stream));
    json_object_set_new(object, "seq", ali_json_count(receipt->seq));
    json_object_set_new(object, "durability", json_string(durability_name(receipt->durability)));
    json_object_set_new(object, "duplicate", json_boolean(receipt->duplicate));
    return object;
}

static void set_end(json_t *object, const struct al_end *end)
{
    json_object_set_new(object, "state", json_string(al_record_state_name(end->state)));
    json_object_set_new(object, "attempts", ali_json_count(end->attempts));
    json_object_set_new(object, "ended", ali_json_time(end->end_ms));
    json_object_set_new(object, "reason", ali_json_text(end->reason));
    json_object_set_new(object, "content_type", ali_json_text(end->response_type));
    ali_json_data(object, "data", end->response, end->response_size);
}

void ali_print_receipt(struct ali_cli *cli, const struct al_receipt *receipt)
{
    static const char *const headings[] = {"MESSAGE ID", "STREAM:SEQ", "DURABILITY", "DUPLICATE",
                                           NULL};
    struct ali_table *table;

    if (cli->json) {
        ali_json_print(cli, receipt_json(receipt));
        return;
    }
    table = ali_table_new(cli, headings);
    ali_table_text(table, al_message_id_is_zero(&receipt->id) ? "-" : ali_id_text(&receipt->id));
    if (receipt->seq)
        ali_table_format(table, "%u:%llu", receipt->stream, (unsigned long long)receipt->seq);
    else
        ali_table_text(table, "-");
    ali_table_text(table, durability_name(receipt->durability));
    ali_table_text(table, receipt->duplicate ? "duplicate" : "no");
    ali_table_print(table, NULL);
}

static int exit_of_end(const struct al_end *end)
{
    return end->state == AL_RECORD_DELIVERED || end->state == AL_RECORD_PARTIAL ||
                   end->state == AL_RECORD_ENDED
               ? ALI_EXIT_DONE
               : ALI_EXIT_DEAD;
}

static void print_end(struct ali_cli *cli, const struct al_end *end)
{
    static const char *const headings[] = {"", "", NULL};
    struct ali_table *table = ali_table_new(cli, headings);

    putchar('\n');
    ali_table_key(table, "state");
    ali_table_put(table, exit_of_end(end) ? ALI_BAD : ALI_GOOD,
                  al_str_c(al_record_state_name(end->state)));
    ali_table_key(table, "attempts");
    ali_table_count(table, end->attempts);
    if (end->reason && *end->reason) {
        ali_table_key(table, "reason");
        ali_table_text(table, end->reason);
    }
    if (end->response_size) {
        ali_table_key(table, "reply");
        ali_table_put(table, ALI_PLAIN, al_str_of(end->response, end->response_size));
    }
    ali_table_print(table, NULL);
}

/* ---- send
 * ---------------------------------------------------------------------------------------- */

/* A send that failed: the recipient's name is what people most often get wrong. */
static int send_failed(struct ali_cli *cli, const struct al_message *message, int error)
{
    const char *to = ali_safe_c(message->to);

    switch (-error) {
    case AL_E_UNKNOWN_AGENT:
        ali_say(cli,
                "there is no agent '%s' at this node; create it with 'agentlink agents add %s'", to,
                to);
        return ALI_EXIT_REFUSED;
    case AL_E_DLQ_FULL:
        ali_say(cli,
                "the dead-letter queue of '%s' is full; look with 'agentlink dlq ls %s', then "
                "redrive or purge it",
                to, to);
        return ALI_EXIT_REFUSED;
    case AL_E_INVALID:
    case AL_E_BAD_NAME:
        ali_say_error(cli, error);
        return ALI_EXIT_USAGE;
    case AL_E_UNKNOWN_OUTCOME:
    case AL_E_TIMEOUT:
        ali_node_abandon(cli);
        return ali_say_error(cli, error);
    default:
        return ali_say_error(cli, error);
    }
}

/* The receipt of a repeated send is about the first message: the place is its place, but the id is
 * the one that was given up. The first one's id comes from its record; where the node does not know
 * it, none is shown rather than a wrong one. */
static void find_first_id(struct ali_cli *cli, struct al_receipt *receipt)
{
    struct al_record_info *record;

    if (!receipt->duplicate)
        return;
    memset(&receipt->id, 0, sizeof receipt->id);
    if (receipt->seq == 0 || al_record_get_at(cli->client, receipt->stream, receipt->seq, &record))
        return;
    receipt->id = record->id;
    al_record_free(record);
}

/* --wait was not long enough. */
static int not_ended(const struct ali_cli *cli, const struct al_receipt *receipt)
{
    char what[64];

    snprintf(what, sizeof what, "%u:%llu", receipt->stream, (unsigned long long)receipt->seq);
    ali_say(cli, "taken, but not ended in time; 'agentlink record %s' tells how it stands",
            receipt->seq ? what : ali_id_text(&receipt->id));
    return ALI_EXIT_NOTHING;
}

static int send_and_wait(struct ali_cli *cli, const struct al_message *message, int timeout_ms)
{
    struct al_receipt receipt = {0};
    struct al_end *end = NULL;
    int r = al_send_wait(cli->client, message, timeout_ms, &receipt, &end), code;

    if (r && al_message_id_is_zero(&receipt.id))
        return send_failed(cli, message, r);
    find_first_id(cli, &receipt);
    if (cli->json) {
        json_t *object = receipt_json(&receipt);

        if (r == 0)
            set_end(object, end);
        ali_json_print(cli, object);
    } else {
        ali_print_receipt(cli, &receipt);
        if (r == 0)
            print_end(cli, end);
    }
    if (r == -AL_E_TIMEOUT)
        return not_ended(cli, &receipt);
    code = r ? ali_say_error(cli, r) : exit_of_end(end);
    al_end_free(end);
    return code;
}

static int send_message(struct ali_cli *cli, const struct send_values *values,
                        const struct al_message *message)
{
    struct al_receipt receipt;
    int r;

    if (values->wait)
        return send_and_wait(cli, message, timeout_of(values));
    r = al_send(cli->client, message, timeout_of(values), &receipt);
    if (r)
        return send_failed(cli, message, r);
    find_first_id(cli, &receipt);
    ali_print_receipt(cli, &receipt);
    return 0;
}

static int run_send(struct ali_cli *cli, const void *values, char **args)
{
    const struct send_values *v = values;
    struct al_message message;
    int code;

    if (v->fire && (v->wait || v->key || v->ttl_ms || v->delay_ms)) {
        ali_say(cli, "--volatile goes with none of --wait, --key, --ttl and --delay");
        return ALI_EXIT_USAGE;
    }
    code = make_message(cli, v, args, &message);
    if (code == 0)
        code = ali_node_open(cli);
    if (code == 0)
        code = send_message(cli, v, &message);
    message_free(&message);
    return code;
}

/* ---- request
 * ------------------------------------------------------------------------------------- */

/* The reply as it is; on a terminal escaped, and with a line feed behind it. */
static void print_reply(struct ali_cli *cli, const struct al_end *end)
{
    if (cli->json) {
        json_t *object = json_object();

        json_object_set_new(object, "message_id", ali_json_id(&end->id));
        json_object_set_new(object, "stream", ali_json_count(end->stream));
        json_object_set_new(object, "seq", ali_json_count(end->seq));
        json_object_set_new(object, "duplicate", json_boolean(end->duplicate));
        set_end(object, end);
        ali_json_print(cli, object);
    } else if (cli->out_terminal) {
        ali_put_escaped(stdout, al_str_of(end->response, end->response_size), true);
        putchar('\n');
    } else {
        fwrite(end->response, 1, end->response_size, stdout);
    }
}

static int request_failed(struct ali_cli *cli, const struct send_values *values,
                          const struct al_message *message, int error)
{
    if (error == -AL_E_TIMEOUT || (error == -AL_E_EXPIRED && !values->ttl_ms)) {
        ali_say(cli, "'%s' has not answered in time; 'agentlink inbox %s' tells what it is at",
                ali_safe_c(message->to), ali_safe_c(message->to));
        return ALI_EXIT_NOTHING;
    }
    if (error == -AL_E_EXPIRED) {
        ali_say_error(cli, error);
        return ALI_EXIT_DEAD;
    }
    return send_failed(cli, message, error);
}

static void print_part(struct ali_cli *cli, const struct al_part *part)
{
    if (cli->json) {
        json_t *object = json_object();

        json_object_set_new(object, "attempt", ali_json_count(part->attempt));
        json_object_set_new(object, "part", ali_json_count(part->number));
        ali_json_data(object, "data", part->data, part->size);
        ali_json_print(cli, object);
    } else {
        ali_put_escaped(stdout, al_str_of(part->data, part->size), cli->out_terminal);
        putchar('\n');
    }
    fflush(stdout);
}

/* Prints the parts; how the request has finished. */
static int take_parts(struct ali_cli *cli, struct al_request *request,
                      const struct al_end **ret_end)
{
    struct al_part part;
    uint32_t attempt = 0;
    int r;

    while (al_request_next_part(request, -1, &part) == 0) {
        if (attempt && part.attempt != attempt && !cli->json)
            ali_say(cli, "another attempt: the reply begins again");
        attempt = part.attempt;
        print_part(cli, &part);
    }
    r = al_request_wait(request, -1, ret_end);
    if (r == 0 && attempt && (*ret_end)->parts_attempt != attempt && !cli->json)
        ali_say(cli, "another attempt: the reply has no parts");
    return r;
}

static int request_of(struct ali_cli *cli, const struct send_values *v,
                      const struct al_message *message)
{
    int timeout_ms = timeout_of(v);
    struct al_request_options options = {.reply_by_ms = timeout_ms > 0 ? (uint32_t)timeout_ms : 1,
                                         .parts = v->parts};
    struct al_request *request = NULL;
    const struct al_end *end = NULL;
    int r = al_request_start(cli->client, message, &options, &request);

    if (r == 0)
        r = v->parts ? take_parts(cli, request, &end) : al_request_wait(request, -1, &end);
    if (r == 0) {
        print_reply(cli, end);
        if (end->duplicate && v->key && !cli->json)
            ali_say(cli, "duplicate: this is the answer to the first message with this key");
    }
    al_request_free(request);
    return r ? request_failed(cli, v, message, r == -AL_E_NO_REPLY ? -AL_E_TIMEOUT : r) : 0;
}

/* One member's reply; on a line with its name in front unless --json. */
static void print_member(struct ali_cli *cli, const struct al_reply *reply)
{
    const struct al_end *end = reply->end;

    if (cli->json) {
        json_t *object = json_object();

        json_object_set_new(object, "agent", json_string(reply->agent));
        json_object_set_new(object, "message_id", ali_json_id(&end->id));
        json_object_set_new(object, "stream", ali_json_count(end->stream));
        json_object_set_new(object, "seq", ali_json_count(end->seq));
        set_end(object, end);
        ali_json_print(cli, object);
        return;
    }
    printf("%s\t", reply->agent);
    ali_put_escaped(stdout, al_str_of(end->response, (uint32_t)end->response_size),
                    cli->out_terminal);
    putchar('\n');
}

static int request_of_group(struct ali_cli *cli, const struct send_values *v,
                            const struct al_message *message)
{
    struct al_replies *replies = NULL;
    int code = 0;
    int r = al_request_group(cli->client, message->to, message, (uint32_t)v->quorum, timeout_of(v),
                             &replies);

    for (uint32_t i = 0; replies && i < replies->count; i++)
        print_member(cli, &replies->replies[i]);
    if (r == -AL_E_NO_QUORUM) {
        ali_say(cli, "%s", al_last_error());
        code = ALI_EXIT_NOTHING;
    } else if (r) {
        code = send_failed(cli, message, r);
    }
    al_replies_free(replies);
    return code;
}

static int run_request(struct ali_cli *cli, const void *values, char **args)
{
    const struct send_values *v = values;
    struct al_message message;
    int code = make_message(cli, v, args, &message);

    if (code == 0)
        code = ali_node_open(cli);
    if (code == 0)
        code = strncmp(v->to, "group:", 6) == 0 ? request_of_group(cli, v, &message)
                                                : request_of(cli, v, &message);
    message_free(&message);
    return code;
}

const struct ali_command ali_cmd_send[] = {
    {
        .name = "send",
        .summary = "send a message to an agent",
        .args = "-",
        .args_max = 1,
        .doc =
            "Returns when the message is on the node's disk, and prints its id, its place\n"
            "(stream and sequence), how durable it is, and whether it had been sent before.\n\n"
            "A send whose outcome is unknown (exit code 6) may be repeated safely with the same\n"
            "--key: the node takes it once. With --wait, the repeated one prints how the first\n"
            "ended, with its reply, at once or when it has.",
        .examples = "agentlink send --as editor --to printer --data 'page one'\n"
                    "agentlink send --as editor --to printer --key order-17 --wait < order.json -\n"
                    "agentlink send --as cron --to reporter --kind report --delay 10m",
        .options = send_options,
        .values_size = sizeof(struct send_values),
        .run = run_send,
    },
    {
        .name = "request",
        .summary = "send a message and print the reply",
        .args = "-",
        .args_max = 1,
        .doc = "The reply is what the recipient gave with its acknowledgement\n"
               "(agentlink ack ID --response TEXT). It is printed as it is; on a terminal control\n"
               "characters are shown as escapes.\n\n"
               "With --key, a request that was made before is not made again: the reply is the\n"
               "stored one, at once or when there is one, and standard error says duplicate.\n\n"
               "Of a group (--to group:NAME, from a member), the replies of the other members are\n"
               "printed, a line each; 124 says that there were fewer than --quorum.\n\n"
               "With --parts, a recipient may give its reply piece by piece; --json then prints\n"
               "an object with attempt, part and data for each before the one of the reply.",
        .examples =
            "agentlink request --as me --to translator --data 'good morning' --timeout 10s\n"
            "agentlink request --as me --to writer --key job-7 --data 'chapter one'",
        .options = request_options,
        .values_size = sizeof(struct send_values),
        .run = run_request,
    },
    {.name = NULL},
};
