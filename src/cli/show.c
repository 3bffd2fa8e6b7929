/* show.c - messages and attempts as tables. */
#include "cli/node.h"

static void put_if(struct ali_table *table, const char *key, const char *text)
{
    if (!text || !*text)
        return;
    ali_table_key(table, key);
    ali_table_text(table, text);
}

void ali_table_message(struct ali_table *table, const struct al_message *message)
{
    char text[ALI_TIME_CAP];

    put_if(table, "from", message->from);
    put_if(table, "to", message->to);
    put_if(table, "label", message->stream);
    put_if(table, "kind", message->kind);
    put_if(table, "key", message->key);
    put_if(table, "correlation", message->correlation_id);
    put_if(table, "workflow", message->workflow_id);
    put_if(table, "reply to", message->reply_to);
    put_if(table, "trace", message->traceparent);
    put_if(table, "content type", message->content_type);
    if (message->timestamp_ms) {
        ali_table_key(table, "sent");
        ali_table_text(table, ali_format_time(message->timestamp_ms, text));
    }
    for (size_t i = 0; i < message->header_count; i++) {
        ali_table_key(table, "header");
        ali_table_format(table, "%.*s=%.*s", 100, message->headers[i].name, 140,
                         message->headers[i].value);
    }
}

void ali_print_attempts(struct ali_cli *cli, const struct al_attempt *log, size_t count)
{
    static const char *const headings[] = {">ATTEMPT", "AT", "ERROR", "REASON", NULL};
    struct ali_table *table;
    char text[ALI_TIME_CAP];

    if (count == 0)
        return;
    putchar('\n');
    table = ali_table_new(cli, headings);
    for (size_t i = 0; i < count; i++) {
        ali_table_count(table, log[i].attempt);
        ali_table_text(table, ali_format_time(log[i].at_ms, text));
        ali_table_text(table, al_error_name(log[i].error));
        ali_table_text(table, log[i].reason);
    }
    ali_table_print(table, NULL);
}
