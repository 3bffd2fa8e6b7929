/* runner.h - a running node: core + store + loop + threads, in this process.
 *
 * The daemon is a runner with listening sockets; the embedded bus (`file:DIR`, `inproc:`) is a
 * runner whose only connections are socket pairs. All functions are thread-safe unless they say
 * otherwise. */
#ifndef AL_NODE_RUNNER_H
#define AL_NODE_RUNNER_H

#include "core/node.h"
#include "os/key_file.h"
#include "os/log.h"
#include "store/disk.h"
#include "store/store.h"

struct al_runner;
struct al_network;

struct al_runner_config {
    struct al_node_config node; /* what it points to must stay valid until al_runner_free */
    struct al_store_config store;
    struct al_disk *disk;             /* taken over, also on failure */
    const char *const *unix_paths;    /* sockets to listen on; NULL-terminated; may be NULL */
    const char *const *tls_addresses; /* HOST:PORT likewise; needs `network` */
    struct al_network *network;   /* authority and certificate; may be NULL; stays the caller's */
    const uint32_t *allowed_uids; /* beside the own user and root; copied */
    uint32_t allowed_uid_count;
    uint32_t connections_max; /* 0: AL_CONNECTIONS_MAX */
    al_log_fn *log;           /* may be NULL; called from any of the runner's threads */
    void *log_ctx;
};

/* How a node's directory is sealed; all zero: as it should be. */
struct al_seal_options {
    struct al_key_source source;
    bool is_off; /* new files are not sealed; those that are can still be read */
};

/* Fills in config->store.seal: reads the master key of `dir`, which config->disk is, and makes it
 * where there is none and nothing is sealed. ret_where: for people, where the key was looked for,
 * or what is wrong with it. 0 also when the key is lost: then al_runner_start says -AL_E_SEAL_KEY.
 * Errors as al_key_read, of reading the directory, and of entropy. */
int al_runner_seal(struct al_runner_config *config, const char *dir,
                   const struct al_seal_options *options, char *ret_where, size_t where_size);
/* Wipes the key out of the caller's copy, when the node was started. */
void al_runner_unseal(struct al_runner_config *config);

/* Recovers and starts; returns when the node serves. Errors as al_store_open, -AL_E_INVALID,
 * -AL_E_IO or -AL_E_EXISTS (a socket), -AL_E_LOCKED (the directory or a socket is in use).
 * ret_report is always filled; on failure its `detail` says in English what was wrong and where. */
int al_runner_start(const struct al_runner_config *config, struct al_store_report *ret_report,
                    struct al_runner **ret_runner);
/* The node's epoch: how often it has been started. */
uint64_t al_runner_epoch(const struct al_runner *runner);
/* Where links from elsewhere are taken, HOST:PORT, separated by commas, with the ports that were
 * really bound; "" nowhere. Valid as long as the runner. */
const char *al_runner_addresses(const struct al_runner *runner);
/* A new connection to the node as a stream socket, non-blocking, owned by the caller; to the node
 * it comes from this process's own user. 0, -AL_E_CLOSED (stopping), -AL_E_IO, -AL_E_NOMEM. */
int al_runner_connect(struct al_runner *runner, int *ret_fd);
/* Asks it to stop: no new connections, what is accepted is flushed and answered (at most 5 s),
 * a snapshot is written if there is more than a little to replay. Async-signal-safe. */
void al_runner_stop(struct al_runner *runner);
/* Waits until it has stopped and everything is closed: 0; -AL_E_POISONED: the journal could not be
 * written; -AL_E_DAMAGED: a record read back was damaged; -AL_E_NOMEM, -AL_E_IO: what ended it. */
int al_runner_wait(struct al_runner *runner);
/* Stops, waits, frees. NULL is accepted. No other call may be under way. */
void al_runner_free(struct al_runner *runner);

#endif
