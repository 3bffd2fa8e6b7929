/* config.h - the daemon's configuration file: a JSON object, checked to the last value.
 *
 * docs/configuration.md is written for its readers; the tables in config.c are the truth. */
#ifndef AL_NODE_CONFIG_H
#define AL_NODE_CONFIG_H

#include "node/runner.h"
#include <stddef.h>

#define AL_CONFIG_BYTES_MAX  (1u << 20)
#define AL_CONFIG_KINDS_MAX  1000u
#define AL_CONFIG_UIDS_MAX   1000u
#define AL_CONFIG_LISTEN_MAX 16u

struct al_config {
    /* Texts point into `root`. */
    const char *name; /* NULL: not given */
    const char *data;
    const char *listen[AL_CONFIG_LISTEN_MAX + 1]; /* NULL-terminated */
    const char *log_level;
    uint64_t payload_bytes, connections, inbox_messages, dead_letters, dead_letter_bytes;
    uint64_t dedup_keys, dedup_ttl_ms, records, records_ttl_ms;
    uint64_t workflows, workflow_blocks, workflow_ttl_ms;
    uint64_t segment_bytes, first_segment_bytes, reserve_bytes; /* 0: the store's default */
    uint64_t certificate_ms;                                    /* life of certificates */
    struct al_policy retry;
    struct al_breaker_policy breaker;
    struct al_retain retain;
    struct al_kind_policy *kinds;
    uint32_t kind_count;
    uint32_t *allowed_uids;
    uint32_t allowed_uid_count;
    struct al_seal_options seal;
    void *root;
};

/* Every default, no file. */
void al_config_init(struct al_config *config);
/* Frees what parsing allocated. */
void al_config_deinit(struct al_config *config);
/* Reads a whole file's text into a config that was initialised. On failure `ret_why` says in
 * English which key has which value and what is allowed, or the line and column of a mistake in
 * the JSON; the config is then only good for al_config_deinit. 0, -AL_E_INVALID, -AL_E_NOMEM,
 * -AL_E_TOO_LARGE. */
int al_config_parse(struct al_config *config, const char *text, size_t size, char *ret_why,
                    size_t why_size);
/* Copies the settings into what starts a runner; `config` must outlive the runner. Leaves
 * allocators, disk, sockets, seeds and logging alone. */
void al_config_apply(const struct al_config *config, struct al_runner_config *runner);

#endif
