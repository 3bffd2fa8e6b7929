/* core_driver.h - a node under test: an in-memory journal, scripted clients, and a transcript of
 * everything the node says, one line per frame, for tests that a person can read. */
#ifndef TESTS_CORE_DRIVER_H
#define TESTS_CORE_DRIVER_H

#include "base/limits.h"
#include "core/node.h"
#include "wire/messages.h"

#define DRIVER_CONNS 8

struct journal_record {
    uint16_t type;
    uint8_t *payload;
    uint32_t size;
};

struct driver {
    struct al_node *node;
    struct al_node_config config;
    struct al_effects effects;
    struct al_now now;
    struct journal_record *journal; /* LSN - 1 */
    size_t record_count;
    struct al_buf in; /* frames being written for the next driver_send */
    struct al_buf transcript;
    uint64_t lease[DRIVER_CONNS][16]; /* lease of the last DELIVER of each small sequence */
    uint64_t stream_lease[16];        /* lease of the last DELIVER of each stream */
    uint32_t agent[DRIVER_CONNS];     /* number from the last ATTACHED */
    uint64_t producer[DRIVER_CONNS];  /* number from the last PRODUCER_READY */
    uint64_t letters_logged;          /* notices that named a dead letter */
    bool mute_health;                 /* notices of health and alerts are not in the transcript */
    uint64_t chain_seq;               /* of the last GROUP_ENTRY, */
    uint8_t chain[32];                /* and the hash that follows from it */
    uint64_t serial;                  /* of the last ISSUE effect */
    int read_error;                   /* what driver_answer_reads answers, 0: the records */
    bool hold_reads;                  /* READ effects are kept until driver_answer_reads */
    struct al_effect held[16];
    uint64_t held_lsns[16][512];
    unsigned held_count;
    size_t snapshot_from; /* record count when snapshot_bytes was begun */
    struct al_buf snapshot_bytes;
    bool snapshot_open;
};

/* A started node; `tune` may change the configuration before, or be NULL. */
void driver_init(struct driver *d, void (*tune)(struct al_node_config *config));
void driver_deinit(struct driver *d);

/* Opens connection conn as user uid and says HELLO as this instance; clears the transcript. */
void driver_open(struct driver *d, uint32_t conn, uint32_t uid, uint8_t instance);
/* Opens a link from elsewhere, with this certificate, or to join (NULL), and says HELLO. */
void driver_link(struct driver *d, uint32_t conn, const char *identity, uint64_t serial);
/* The driver has made the certificate 'cert' of authority 'root', or failed. */
void driver_issued(struct driver *d, uint32_t conn, uint64_t serial, int status);
void driver_close(struct driver *d, uint32_t conn);
/* Sends what was put into d->in. */
void driver_send(struct driver *d, uint32_t conn);
/* Sends raw bytes; the rest that was not consumed is dropped. */
void driver_send_raw(struct driver *d, uint32_t conn, const void *bytes, size_t size);
void driver_tick(struct driver *d, uint64_t ms);
/* Stops the node and makes a new one from the journal (or from the snapshot and what follows). */
void driver_restart(struct driver *d, bool from_snapshot);
void driver_answer_reads(struct driver *d);
/* Takes a snapshot in one go, or piece by piece: step returns false when it is complete. */
void driver_snapshot_begin(struct driver *d);
bool driver_snapshot_step(struct driver *d, size_t budget);
/* Asserts that replaying the journal gives the state that the node has. */
void driver_check_replay(const struct driver *d);
/* Asserts that loading the snapshot and replaying what follows gives it as well. */
void driver_check_snapshot(const struct driver *d);
/* Carries the records of a stretch of the journal forward. */
void driver_carry(struct driver *d, uint64_t first_lsn, uint64_t last_lsn);
/* Asserts that the transcript since the last call is exactly this, and clears it. */
void driver_expect(struct driver *d, const char *text);
void driver_forget(struct driver *d);

/* Frames of a well-behaved client. */
void driver_attach(struct driver *d, uint32_t conn, const char *agent, uint32_t credit);
/* A producer and channel 1 from `from` to `to`. */
void driver_channel(struct driver *d, uint32_t conn, const char *from, const char *to);
struct driver_message {
    uint64_t pseq;
    const char *text, *key, *kind;
    uint8_t id; /* 0: the producer sequence */
    uint16_t flags;
    uint64_t ttl_ms, due_ms;
    const char *workflow; /* id, NULL */
};
void driver_put_publish(struct driver *d, const struct driver_message *message);
void driver_publish(struct driver *d, uint32_t conn, uint64_t first_pseq, uint64_t last_pseq);
void driver_ack(struct driver *d, uint32_t conn, uint32_t stream, uint64_t seq);
void driver_nack(struct driver *d, uint32_t conn, uint32_t stream, uint64_t seq, const char *why);

#endif
