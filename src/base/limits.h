/* limits.h - a limit on everything, by name. Sizes in bytes, times with their unit in the name. */
#ifndef AL_BASE_LIMITS_H
#define AL_BASE_LIMITS_H

/* Names: "[namespace/]name", each part [a-z0-9._-]{1,64} (design: names). */
#define AL_NAME_PART_MAX    64u
#define AL_NAME_MAX         (2u * AL_NAME_PART_MAX + 1u)
#define AL_LABEL_MAX        128u /* stream label, any UTF-8 without control characters */
#define AL_KIND_MAX         64u
#define AL_KEY_MAX          128u /* idempotency key */
#define AL_CONTENT_TYPE_MAX 127u
#define AL_REASON_MAX       240u /* error and reason texts: one length byte, room for a suffix */

#define AL_PAYLOAD_DEFAULT_MAX (1u << 20)
#define AL_PAYLOAD_MAX         (16u << 20)
#define AL_HEADERS_MAX         (32u << 10) /* encoded headers of one message */
#define AL_EXT_MAX             (16u << 10) /* optional fields of one message */
#define AL_RESPONSE_MAX        (1u << 20)  /* response or metadata carried by an ack */
#define AL_PART_MAX            (64u << 10) /* one part of a reply; all together: AL_RESPONSE_MAX */
#define AL_PARTS_MAX           16384u      /* parts of one reply */
/* A frame is the largest message plus its header, envelope and names. */
#define AL_FRAME_MAX (AL_PAYLOAD_MAX + AL_HEADERS_MAX + AL_EXT_MAX + 4096u)

#define AL_PRIORITY_COUNT   10u
#define AL_PRIORITY_DEFAULT 4u

/* Connections and their windows. */
#define AL_CONNECTIONS_MAX       10000u
#define AL_CHANNELS_PER_CONN_MAX 4096u
#define AL_ATTACHES_PER_CONN_MAX 1024u
#define AL_RECEIVERS_MAX         128u   /* that share one inbox */
#define AL_PUBLISH_WINDOW        65536u /* messages without a receipt, per connection */
#define AL_CREDIT_MAX            65536u /* messages pushed and not acknowledged, per agent */
#define AL_WATCHES_PER_CONN_MAX  65536u /* ends awaited of messages that others sent */
#define AL_CREDIT_BYTES_MAX      (64u << 20)

/* Gaps in the producer sequences of a channel. */
#define AL_GAP_SPAN_MAX           4095u /* numbers between the expected one and the one that came */
#define AL_REORDER_MESSAGES_MAX   64u   /* held behind a gap, per channel */
#define AL_REORDER_BYTES_MAX      (256u << 10) /* likewise, or one message of any size */
#define AL_REORDER_CONN_BYTES_MAX (32u << 20)  /* likewise, per connection */
#define AL_GAP_TIMEOUT_MS         5000u        /* then the channel's policy ends the gap */
#define AL_GAP_NACK_BASE_MS       100u /* pause before the second GAP_NACK; doubles each time … */
#define AL_GAP_NACK_MAX_MS        1600u /* … up to this */
#define AL_RSTREAMS_REMEMBERED    256u  /* quiet streams whose last lease a receiver still knows */

/* What one node holds. */
#define AL_AGENTS_MAX             1000000u
#define AL_STREAMS_MAX            4000000u
#define AL_INBOX_MESSAGES_MAX     100000000ull
#define AL_LANES_MAX              100000u /* messages pending in one unordered stream */
#define AL_DEDUP_ENTRIES_DEFAULT  1000000u
#define AL_DEDUP_TTL_DEFAULT_MS   (24ull * 3600 * 1000)
#define AL_DLQ_MESSAGES_DEFAULT   100000u
#define AL_DLQ_BYTES_DEFAULT      (1ull << 30) /* payloads of an agent's dead letters */
#define AL_DLQ_BYTES_MAX          (1ull << 50)
#define AL_DLQ_LOG_LINES          60u     /* dead letters that the log names per AL_DLQ_LOG_MS; */
#define AL_DLQ_LOG_MS             60000u  /* of the others it says how many they were */
#define AL_RECORDS_DEFAULT        100000u /* finished delivery records, recent message ids */
#define AL_RECORDS_TTL_DEFAULT_MS (3600ull * 1000)
#define AL_COMMIT_PARTS_MAX       256u
#define AL_KV_KEYS_MAX            1000u /* of one agent's own state */
#define AL_KV_BYTES_MAX           (1u << 20)
#define AL_KV_VALUE_MAX           (16u << 10)
#define AL_PRODUCER_TTL_MS        (24ull * 3600 * 1000) /* of a producer that never said goodbye */
#define AL_TTL_MAX_MS             (10ull * 365 * 24 * 3600 * 1000)

/* Schedules: messages that a node sends again and again. They are kept in memory. */
#define AL_SCHEDULES_MAX         10000u
#define AL_SCHEDULE_BYTES_MAX    (64u << 10) /* envelope of one */
#define AL_SCHEDULE_TEXT_MAX     120u        /* "0 8 * * 1-5" */
#define AL_SCHEDULE_EVERY_MIN_MS 1000u
#define AL_SCHEDULE_LOOK_MS      30000u /* clock jumps are noticed within this time */
#define AL_SCHEDULE_RETRY_MS     1000u  /* after a firing that found no room */

/* Groups. A record counts once for the history and once per member that has not finished with it:
 * 64 records of a bucket must fit into 16 bits (core/live.c). */
#define AL_GROUP_NAME_MAX        (AL_NAME_MAX + 6u) /* "group:" and a name */
#define AL_GROUP_MEMBERS_MAX     500u               /* former ones that still have mail included */
#define AL_GROUP_KEEP_DEFAULT_MS (7ull * 24 * 3600 * 1000)
#define AL_GROUP_WATCHES_MAX     65536u /* messages of a group whose senders wait for their end */
#define AL_GROUP_ROWS_MAX        256u   /* entries of its history in one answer */
#define AL_GROUP_SLICES          32u    /* a history is forgotten in about so many pieces */

/* Histories of streams: what has ended well and can be replayed (requirement O4). */
#define AL_RETAIN_COUNT_MAX 100000u      /* messages that one stream keeps */
#define AL_RETAIN_BYTES_MAX (1ull << 30) /* their payloads */
/* What all streams of a node keep together, at 32 bytes of memory each. */
#define AL_RETAIN_MESSAGES_MAX 4000000u
#define AL_REPLAY_ROWS_MAX     256u /* messages in one answer */

/* Workflows: numbers of messages with a workflow id (requirement O6). */
#define AL_WORKFLOW_ID_MAX         255u
#define AL_WORKFLOWS_DEFAULT       100000u /* on a node; then those used longest ago go */
#define AL_WORKFLOW_TTL_DEFAULT_MS (24ull * 3600 * 1000) /* with nothing pending */
#define AL_WORKFLOW_BLOCKS_DEFAULT 1000000u   /* 128 numbers each, not all processed: 56 MB */
#define AL_WORKFLOW_NUMBERS_MAX    UINT32_MAX /* numbers of one workflow are below this */
#define AL_WORKFLOW_ROWS_MAX       256u       /* workflows or ranges in one answer */

/* Retry policy (requirement D1). */
#define AL_RETRY_BASE_DEFAULT_MS  100u
#define AL_RETRY_FACTOR_DEFAULT   2u
#define AL_RETRY_CAP_DEFAULT_MS   1600u
#define AL_RETRY_CAP_MAX_MS       (24u * 3600 * 1000)
#define AL_RETRY_COUNT_DEFAULT    5u
#define AL_RETRY_COUNT_MAX        100u
#define AL_RETRY_JITTER_PERCENT   20u
#define AL_ACK_TIMEOUT_DEFAULT_MS 5000u
#define AL_LEASE_MAX_MS           (3600u * 1000)
#define AL_SESSION_GRACE_MS       1000u /* a receiver may come back this long after a disconnect */

/* Permissions. Names in rules are written out: "group:", a namespace, a name. */
#define AL_ACL_NAME_MAX  (AL_NAME_MAX + 6u)
#define AL_ACL_RULES_MAX 10000u /* memberships of roles included */
#define AL_ROLES_MAX     1000u
#define AL_ACL_HOPS_MAX  8u /* a right is passed on so often, one after the other */

/* Kinds and their metrics. */
#define AL_KINDS_MAX       1000u /* registered ones */
#define AL_IDENTITIES_MAX  100000u
#define AL_KIND_TITLE_MAX  64u
#define AL_PRIORITY_NONE   255u
#define AL_LATENCY_BUCKETS 16u

/* Circuit breakers (requirement D9). */
#define AL_BREAKER_PERCENT_DEFAULT 50u
#define AL_BREAKER_SAMPLES_DEFAULT 10u
#define AL_BREAKER_SAMPLES_MAX     1000000u
#define AL_BREAKER_CALL_DEFAULT_MS 5000u
#define AL_BREAKER_OPEN_DEFAULT_MS 30000u
#define AL_BREAKER_SLOT_MS         10000u /* outcomes count for six of these */
#define AL_BREAKER_LOOK_MS         1000u  /* a half-open breaker without a probe looks again */
#define AL_BREAKER_ROWS_MAX        10000u /* in one answer */
#define AL_BREAKER_OPEN_MAX_MS     (24u * 3600 * 1000)

/* Identities and certificates. */
#define AL_NETWORK_MAX            63u
#define AL_IDENTITY_MAX           256u /* text of an identity, without a terminating zero */
#define AL_CERTIFICATE_DEFAULT_MS (24u * 3600 * 1000)
#define AL_CERTIFICATE_MIN_MS     10000u /* for tests; an hour is short in earnest */
#define AL_CERTIFICATE_MAX_MS     (90ull * 24 * 3600 * 1000)
#define AL_PKI_FILE_MAX           (64u << 10)   /* file of a key or of certificates */
#define AL_PKI_CERT_MAX           (8u << 10)    /* one certificate, DER */
#define AL_PKI_CERTS_MAX          8u            /* certificates in one file: a chain, or a bundle */
#define AL_PKI_REQUEST_MAX        (4u << 10)    /* certificate request, DER */
#define AL_PKI_SKEW_MS            (300u * 1000) /* a leaf is valid from so long before its issue */
#define AL_PKI_CA_DAYS_MAX        36500u
#define AL_PKI_CHAIN_DEPTH        4u /* authorities between a leaf and one that is trusted */
#define AL_TLS_HANDSHAKE_MAX      (64u << 10) /* bytes of a peer before its handshake is finished */
#define AL_TLS_CHAIN_MAX          (32u << 10) /* certificates that a peer sends */
#define AL_TLS_PENDING_MAX        (64u << 10) /* cipher text that the socket has not taken yet */
#define AL_TLS_REKEY_RECORDS      (1u << 23)  /* records that are written under one key */

#endif
