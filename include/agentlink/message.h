/* agentlink/message.h - messages and message ids. */
#ifndef AGENTLINK_MESSAGE_H
#define AGENTLINK_MESSAGE_H

#include <agentlink/errors.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- message ids ------------------------------------------------------------------------ */

/* A message id: 16 bytes, a random UUID of version 4. All zero: none. */
struct al_message_id {
    uint8_t bytes[16];
};

/* Room for a formatted id with its NUL: xxxxxxxx-xxxx-4xxx-yxxx-xxxxxxxxxxxx. */
#define AL_MESSAGE_ID_TEXT_SIZE 37

/* A new id from the system's cryptographic source of randomness. 0, -AL_ERR_IO. */
AL_API int al_message_id_random(struct al_message_id *ret_id);
/* Reads the 36-character form, either case. 0, -AL_ERR_INVALID. */
AL_API int al_message_id_parse(const char *text, struct al_message_id *ret_id);
/* Writes the 36-character form and a NUL. */
AL_API void al_message_id_format(const struct al_message_id *id,
                                 char ret_text[AL_MESSAGE_ID_TEXT_SIZE]);
/* A total order by bytes: negative, 0 (equal), positive. */
AL_API int al_message_id_compare(const struct al_message_id *a, const struct al_message_id *b);
/* True for the id that is all zero. */
AL_API bool al_message_id_is_zero(const struct al_message_id *id);

/* ---- messages --------------------------------------------------------------------------- */

/* Priorities go from 0 (lowest) to 9; they are strict between streams, with ageing. */
#define AL_MESSAGE_PRIORITY_DEFAULT 4
#define AL_MESSAGE_PRIORITY_MAX     9
/* In a message to be sent: the default priority of its kind (al_kind_set()) as it is registered
 * when the node takes the message; AL_MESSAGE_PRIORITY_DEFAULT if there is none, or no kind. So it
 * is, too, to groups, which have one order, and where the client gives gaps up (`gaps` of struct
 * al_client_options). Receipts say in which stream the message is. Order holds inside that stream:
 * messages of kinds with different priorities overtake each other, and so may a message whose
 * kind has got another priority meanwhile. */
#define AL_MESSAGE_PRIORITY_OF_KIND 255

/* Limits, in bytes without NUL. The payload's limit is the node's: 1 MiB unless configured. */
#define AL_MESSAGE_NAME_MAX         129 /* [namespace/]name, each part [a-z0-9._-]{1,64} */
#define AL_MESSAGE_STREAM_MAX       128
#define AL_MESSAGE_KIND_MAX         64
#define AL_MESSAGE_KEY_MAX          128
#define AL_MESSAGE_CONTENT_TYPE_MAX 127
#define AL_MESSAGE_REASON_MAX       240
#define AL_MESSAGE_HEADERS_MAX      32768 /* names, values and 4 bytes for each pair */

/* A named value. A name may stand more than once; their order is kept. */
struct al_header {
    const char *name;
    const char *value;
};

/* Flags of a message to be sent. */
enum al_message_flag {
    /* Tell the end: delivered, failed, dead-lettered or expired (al_on_end(), al_end_next()). */
    AL_MESSAGE_NOTIFY = 1,
    /* Fire and forget: at most once, never on disk, no receipt, dropped (and counted) when nobody
     * receives. Cannot be combined with AL_MESSAGE_NOTIFY, key, ttl_ms or deliver_at_ms. */
    AL_MESSAGE_VOLATILE = 2,
    /* The sender takes the reply in parts: set by al_request_start() where that is asked for. */
    AL_MESSAGE_PARTS = 4,
    /* Order does not matter: the message waits for no other one of its stream, and no other one
     * waits for it. Such messages are a stream of their own beside the ordered one of the same
     * (from, to, stream, priority). Not to groups (-AL_ERR_UNSUPPORTED), not in commits. */
    AL_MESSAGE_UNORDERED = 8
};

/* A message. When sending, the caller fills it in and keeps everything it points to until the call
 * returns. When receiving, the library fills it in and owns everything it points to. */
struct al_message {
    struct al_message_id id;  /* zero when sending: the library makes one, see the receipt */
    const char *from;         /* sending agent; need not exist */
    const char *to;           /* receiving agent, must exist; or group:NAME, see groups.h */
    const char *kind;         /* what kind of message: [A-Za-z0-9._:/-]{1,64}; selects the retry
                                 policy; may be none */
    const char *key;          /* idempotency key: a second send with the same key by the same
                                 sender gets the first one's receipt; may be none */
    const char *stream;       /* stream label: order holds inside (from, to, stream, priority) */
    uint8_t priority;         /* 0 to 9; sending: also AL_MESSAGE_PRIORITY_OF_KIND */
    uint32_t flags;           /* enum al_message_flag; 0 in a received message */
    uint64_t timestamp_ms;    /* the sender's wall clock; 0 when sending: now */
    uint64_t ttl_ms;          /* life time from admission by the node, 0: none; sending only */
    uint64_t deliver_at_ms;   /* not delivered before this wall-clock time, 0: now; sending only */
    const char *content_type; /* media type of the payload; may be none */
    const char *correlation_id; /* which message this belongs to; free text, may be none */
    const char *workflow_id;    /* likewise */
    const char *reply_to;       /* agent that wants the answer, where it is a message of its own */
    const char *traceparent;    /* W3C trace context */
    const char *tracestate;
    const struct al_header *headers;
    size_t header_count;
    const void *payload;
    size_t payload_size;
};

/* Zeroes a message and sets its priority to AL_MESSAGE_PRIORITY_OF_KIND. */
AL_API void al_message_init(struct al_message *message);
/* The value of the first header with this name (exact match), or NULL. Valid as long as the
 * message. */
AL_API const char *al_message_header(const struct al_message *message, const char *name);

#ifdef __cplusplus
}
#endif

#endif
