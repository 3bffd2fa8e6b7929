/* values.h - what flags, states, actions and tags stand for in the fields of messages.h. */
#ifndef AL_WIRE_VALUES_H
#define AL_WIRE_VALUES_H

/* PUBLISH flags. */
enum { AL_PUBLISH_NOTIFY = 1, AL_PUBLISH_VOLATILE = 2, AL_PUBLISH_OF_KIND = 4 };
/* ATTACH, DETACH, GOODBYE, DELIVER, ACK flags. */
enum { AL_ATTACH_TAKEOVER = 1, AL_ATTACH_NO_CREATE = 2, AL_ATTACH_SHARED = 4 };
enum { AL_KEEP_LEASES = 1 };
enum { AL_DELIVER_REDELIVERED = 1, AL_DELIVER_GAP = 2, AL_DELIVER_FOLLOWS = 4 };
/* CHANNEL_OPEN flags: what becomes of a gap in the producer sequences. */
enum { AL_GAPS_REFUSED = 0, AL_GAPS_WAIT = 1, AL_GAPS_SKIP = 2, AL_GAPS_FAIL = 3 };
/* One more flag: what is sent needs no order. */
enum { AL_CHANNEL_UNORDERED = 4 };
/* Tags of the optional fields behind DELIVER. */
enum {
    AL_DELIVER_EXT_GAP = 1,            /* u16: messages given up before this one */
    AL_DELIVER_EXT_WORKFLOW_SEQ = 0x40 /* u64: its number in its workflow */
};
/* Tags of the optional fields behind RECORD. */
enum { AL_RECORD_EXT_WORKFLOW_SEQ = 1 /* u64: its number in its workflow */ };
enum { AL_ACK_CUMULATIVE = 1 };
/* ACK status, SETTLE action. */
enum {
    AL_STATUS_SUCCESS = 1,
    AL_STATUS_PARTIAL = 2,
    AL_STATUS_FAILED = 3,
    AL_SETTLE_NACK = 4,
    AL_SETTLE_EXTEND = 5
};
enum { AL_DURABILITY_VOLATILE = 0, AL_DURABILITY_LOCAL = 1, AL_DURABILITY_REPLICATED = 2 };
/* States of a delivery record. */
enum {
    AL_STATE_WAITING = 1,
    AL_STATE_LEASED = 2,
    AL_STATE_DELAYED = 3,
    AL_STATE_DELIVERED = 4,
    AL_STATE_PARTIAL = 5,
    AL_STATE_FAILED = 6,
    AL_STATE_DEAD = 7,
    AL_STATE_EXPIRED = 8,
    AL_STATE_ENDED = 9,
    AL_STATE_CANCELLED = 10
};
enum { AL_SCHEDULE_REPLACE = 1 };
/* Tags of the optional fields behind COMMITTED. */
enum {
    AL_COMMITTED_EXT_RECEIPTS = 1 /* for each message {u32 stream, u64 seq, u8 duplicate} */
};
#define AL_COMMIT_RECEIPT_SIZE 13u
/* COMMIT_KV action. */
enum { AL_KV_SET = 1, AL_KV_DELETE = 2 };
/* Tags of the optional fields behind STATUS. */
enum {
    AL_STATUS_EXT_REPLAY = 1,       /* u64 messages kept for replay, u64 replayed since the start */
    AL_STATUS_EXT_DEAD_BYTES = 2,   /* u64 payload bytes of all dead letters */
    AL_STATUS_EXT_PARTS = 3,        /* u64 parts of replies passed on, u64 dropped, u64 refused */
    AL_STATUS_EXT_COMMITS = 4,      /* u64 commits applied, u64 repeated, u64 refused */
    AL_STATUS_EXT_GAPS = 5,         /* u64 ranges that receivers missed and asked for */
    AL_STATUS_EXT_WORKFLOWS = 0x40, /* u64 workflows; since the start u64 numbered, u64 forgotten */
    /* u64 rules of the permissions, u64 their version; since the start refused: u64 sends, u64
     * joins, u64 reads of a group, u64 changes of rules; u64 dead letters at delivery */
    AL_STATUS_EXT_ACL = 0xa0
};
/* Tags of the optional fields behind AGENT_ROW. */
enum { AL_AGENT_EXT_DEAD_BYTES = 1 /* u64 payload bytes of its dead letters */ };
/* Tags of the optional fields behind STREAM_ROW. */
enum { AL_STREAM_EXT_UNORDERED = 1 /* u32 1: an unordered stream */ };
/* Tags of the optional fields behind DLQ_ROW. */
enum { AL_DLQ_EXT_BYTES = 1 /* u32 payload bytes of the message; 0: not known */ };
/* Tags of the optional fields of an envelope. */
enum {
    AL_EXT_CORRELATION_ID = 1, /* text */
    AL_EXT_WORKFLOW_ID = 2,    /* text */
    AL_EXT_REPLY_TO = 3,       /* text: agent name */
    AL_EXT_TRACEPARENT = 4,    /* text: W3C trace context */
    AL_EXT_TRACESTATE = 5,     /* text */
    AL_EXT_SIGNATURE = 6,      /* bytes, reserved */
    AL_EXT_PARTS = 7           /* text "1": the sender takes the reply in parts */
};
/* Media type of a response that is a PARTS body. */
#define AL_PARTS_TYPE "application/vnd.agentlink.parts"
/* Tags of the optional fields behind DELIVER. */
enum {
    AL_DELIVER_EXT_GROUP = 0x70,    /* text: the message came through this group */
    AL_DELIVER_EXT_PREV_HASH = 0x71 /* 32 bytes: hash of the group's message before */
};
/* What a message of a group is. */
enum { AL_GROUP_MESSAGE = 1, AL_GROUP_JOINED = 2, AL_GROUP_LEFT = 3 };

#endif
