/* node.h - the connection of one run, and messages in the program's output. */
#ifndef AL_CLI_NODE_H
#define AL_CLI_NODE_H

#include "cli/cli.h"
#include <agentlink/agentlink.h>
#include <jansson.h>

/* Opens the connection: 0, or an exit code after a message. */
int ali_node_open(struct ali_cli *cli);
/* Says goodbye; nothing to do when no connection is open. Returns 0, or -AL_E_UNKNOWN_OUTCOME when
 * something that was sent or acknowledged has no answer. */
int ali_node_close(struct ali_cli *cli);
/* Gives the connection up without waiting for answers: the user has waited long enough. */
void ali_node_abandon(struct ali_cli *cli);
/* Opens another connection beside cli->client, for commands that need two. As ali_node_open(). */
int ali_node_open_extra(struct ali_cli *cli, struct al_client **ret_client);
/* What the user calls the node, or the default's path. */
const char *ali_node_name(const struct ali_cli *cli);
/* Says why a library call failed, where, and what to do; returns the exit code. */
int ali_say_error(const struct ali_cli *cli, int error);
/* Likewise, of a call that was about the agent `name`. */
int ali_agent_failed(const struct ali_cli *cli, const char *name, int error);
/* Likewise, of a call that was about a group; what is wrong with the command line gives 2. */
int ali_say_group_error(struct ali_cli *cli, int error);
/* Writes bytes as hexadecimal digits and a NUL to ret_text, and returns it. */
const char *ali_hex(const uint8_t *bytes, size_t size, char *ret_text);
/* Reads a whole file, "-": standard input, as the payload, to be freed; 0, or an exit code after a
 * message. */
int ali_read_payload(const struct ali_cli *cli, const char *path, struct al_message *message);
/* Prints a receipt, as a table or as JSON. */
void ali_print_receipt(struct ali_cli *cli, const struct al_receipt *receipt);
/* Reads a message id; 0, or 2 after a message. */
int ali_read_id(const struct ali_cli *cli, const char *text, struct al_message_id *ret_id);

/* Prints the value as one line and frees it. On a terminal everything but ASCII is \u-escaped. */
void ali_json_print(const struct ali_cli *cli, json_t *value);
/* Text as JSON; bytes that are not UTF-8 become U+FFFD. NULL stands for "". */
json_t *ali_json_text(const char *text);
/* A number; JSON readers are promised 63 bits. */
json_t *ali_json_count(uint64_t value);
/* A wall-clock time as text, null for 0. */
json_t *ali_json_time(uint64_t wall_ms);
json_t *ali_json_id(const struct al_message_id *id);
/* Sets NAME (valid UTF-8) or NAME_base64 (anything else) in object. */
void ali_json_data(json_t *object, const char *name, const void *data, size_t size);
/* An object with the fields of a message: see docs/cli.md. */
json_t *ali_json_message(const struct al_message *message, uint32_t stream, uint64_t seq);
/* The failed attempts as an array. */
json_t *ali_json_attempts(const struct al_attempt *log, size_t count);

/* Everything that status knows, as an object. */
json_t *ali_json_status(const struct ali_cli *cli, const struct al_status_info *status);

/* The state of a circuit breaker in a word. */
const char *ali_breaker_word(enum al_breaker_state state);

/* Milliseconds since 1970 by this machine's clock. */
uint64_t ali_wall_ms(void);
/* How long the node has been up; 0 if the clocks disagree. */
uint64_t ali_uptime_ms(const struct al_status_info *status);
/* The id in its 36 characters; four live at a time. */
const char *ali_id_text(const struct al_message_id *id);
/* Adds the fields of a message to a table of pairs: what is empty is left out. */
void ali_table_message(struct ali_table *table, const struct al_message *message);
/* Prints the failed attempts as a table; nothing when there are none. */
void ali_print_attempts(struct ali_cli *cli, const struct al_attempt *log, size_t count);

#endif
