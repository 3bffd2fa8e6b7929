/* embedded.c - nodes inside this process: `file:DIR` and `inproc:NAME`.
 *
 * All clients of a process on the same directory or name share one node; it stops with its last
 * client. Nodes are found by the directory's real path, so that two spellings of one directory are
 * one node and not a lock conflict with ourselves. Starting and stopping hold the registry's lock:
 * whoever opens a directory while its node stops waits and then starts it again. */
#include "base/errors.h"
#include "base/limits.h"
#include "client/client.h"
#include "node/runner.h"
#include "os/entropy.h"
#include "os/file_disk.h"
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

struct ali_embedded {
    struct ali_embedded *next;
    struct al_alloc alloc;
    struct al_runner *runner;
    uint32_t clients;
    struct al_kind_policy *kinds; /* and the texts of their names; the node refers to them */
    size_t kind_count;
    char *name;
    size_t size;
    char key[]; /* "file:REALPATH" or "inproc:NAME" */
};

static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;
static struct ali_embedded *registry;

/* ---- settings ---------------------------------------------------------------------------- */

static void set_policy(struct al_policy *policy, const struct al_retry_policy *options)
{
    if (options->ack_timeout_ms)
        policy->ack_timeout_ms = options->ack_timeout_ms;
    if (options->base_ms)
        policy->retry_base_ms = options->base_ms;
    if (options->factor)
        policy->retry_factor = options->factor;
    if (options->cap_ms)
        policy->retry_cap_ms = options->cap_ms;
    if (options->retries)
        policy->retry_max = options->retries < 0 ? 0 : (uint32_t)options->retries;
}

static char *copy_text(const struct al_alloc *alloc, const char *text)
{
    char *copy = al_alloc_new(alloc, strlen(text) + 1);

    if (copy)
        memcpy(copy, text, strlen(text) + 1);
    return copy;
}

static int copy_kinds(struct ali_embedded *node, const struct al_embedded_options *options,
                      const struct al_node_config *config)
{
    size_t i;

    if (!options->kind_count)
        return 0;
    node->kinds = al_alloc_zero(&node->alloc, options->kind_count * sizeof(*node->kinds));
    if (!node->kinds)
        return -AL_E_NOMEM;
    node->kind_count = options->kind_count;
    for (i = 0; i < options->kind_count; i++) {
        const char *kind = options->kinds[i].kind;
        char *copy = kind ? copy_text(&node->alloc, kind) : NULL;

        if (!copy)
            return kind ? -AL_E_NOMEM : -AL_E_INVALID;
        node->kinds[i].kind = al_str_c(copy);
        node->kinds[i].policy = config->policy;
        node->kinds[i].breaker = config->breaker;
        node->kinds[i].priority = AL_PRIORITY_NONE;
        set_policy(&node->kinds[i].policy, &options->kinds[i].policy);
    }
    return 0;
}

static int configure(struct ali_embedded *node, const struct al_embedded_options *options,
                     struct al_runner_config *config)
{
    int r;

    al_node_config_init(&config->node, &node->alloc);
    config->store.alloc = node->alloc;
    r = al_entropy_fill(config->node.hash_seed, sizeof(config->node.hash_seed));
    if (r >= 0)
        r = al_entropy_fill(&config->node.random_seed, sizeof(config->node.random_seed));
    if (r >= 0)
        r = al_entropy_fill(&config->store.random_seed, sizeof(config->store.random_seed));
    if (r < 0)
        return r;
    node->name = copy_text(&node->alloc, options->name ? options->name : "embedded");
    if (!node->name)
        return -AL_E_NOMEM;
    config->node.name = al_str_c(node->name);
    if (options->payload_max)
        config->node.payload_max = options->payload_max;
    if (options->inbox_max)
        config->node.inbox_max = options->inbox_max;
    set_policy(&config->node.policy, &options->policy);
    r = copy_kinds(node, options, &config->node);
    config->node.kinds = node->kinds;
    config->node.kind_count = (uint32_t)node->kind_count;
    return r;
}

/* ---- starting ---------------------------------------------------------------------------- */

static void embedded_free(struct ali_embedded *node)
{
    struct al_alloc alloc = node->alloc;
    size_t i;

    al_runner_free(node->runner);
    for (i = 0; i < node->kind_count; i++) {
        struct al_str kind = node->kinds[i].kind;

        if (kind.p)
            al_alloc_free(&alloc, (void *)(uintptr_t)kind.p, kind.n + 1);
    }
    al_alloc_free(&alloc, node->kinds, node->kind_count * sizeof(*node->kinds));
    if (node->name)
        al_alloc_free(&alloc, node->name, strlen(node->name) + 1);
    al_alloc_free(&alloc, node, node->size);
}

static int open_disk(const char *dir, struct al_disk **ret_disk)
{
    int r = dir ? al_file_disk_open(dir, true, ret_disk) : al_mem_disk_new(ret_disk);

    return r < 0 ? ali_client_fail(r, "cannot open directory %s: %s", dir ? dir : "(memory)",
                                   errno ? strerror(errno) : al_error_text(r))
                 : 0;
}

static int embedded_start(struct ali_embedded *node, const char *dir,
                          const struct al_embedded_options *options)
{
    static const struct al_seal_options as_ever;
    struct al_runner_config config = {0};
    struct al_store_report report;
    char where[PATH_MAX + 256] = "";
    int r = configure(node, options, &config);

    if (r < 0)
        return ali_client_failed(r, r == -AL_E_INVALID ? "a kind of the embedded node has no name"
                                                       : NULL);
    errno = 0;
    r = open_disk(dir, &config.disk);
    if (r < 0)
        return r;
    report.detail[0] = 0;
    if (dir) {
        r = al_runner_seal(&config, dir, &as_ever, where, sizeof(where));
        if (r < 0) {
            config.disk->ops->close_disk(config.disk);
            return ali_client_failed(r, where);
        }
    }
    r = al_runner_start(&config, &report, &node->runner);
    al_runner_unseal(&config);
    if (r == -AL_E_SEAL_KEY)
        return ali_client_fail(r, "%s Looked at: %s", report.detail, where);
    if (r == -AL_E_LOCKED)
        return ali_client_fail(r,
                               "directory %s is in use by another process; stop it, or talk to "
                               "it by its socket",
                               dir ? dir : "(memory)");
    return r < 0 ? ali_client_failed(r, report.detail) : 0;
}

/* The key of a URL: real paths, so that one directory has one name. The directory must exist. */
static int make_key(const char *url, char ret_key[PATH_MAX + 8], const char **ret_dir)
{
    struct al_disk *disk;
    int r;

    *ret_dir = NULL;
    if (strlen(url) >= PATH_MAX)
        return ali_client_fail(-AL_E_INVALID, "the node's URL is longer than %d bytes", PATH_MAX);
    if (strncmp(url, "file:", 5) != 0) {
        snprintf(ret_key, PATH_MAX + 8, "%s", url);
        return 0;
    }
    if (!url[5])
        return ali_client_fail(-AL_E_INVALID, "file: needs a directory: file:DIR");
    errno = 0;
    r = open_disk(url + 5, &disk); /* creates it */
    if (r < 0)
        return r;
    disk->ops->close_disk(disk);
    memcpy(ret_key, "file:", 5);
    if (!realpath(url + 5, ret_key + 5))
        return ali_client_fail(-AL_E_IO, "cannot resolve %s: %s", url + 5, strerror(errno));
    *ret_dir = ret_key + 5;
    return 0;
}

static int embedded_new(const char *key, const char *dir, const struct al_client_options *options,
                        struct ali_embedded **ret_node)
{
    static const struct al_embedded_options defaults;
    struct al_alloc alloc = ali_client_alloc(options->memory);
    size_t size = sizeof(struct ali_embedded) + strlen(key) + 1;
    struct ali_embedded *node = al_alloc_zero(&alloc, size);
    int r;

    if (!node)
        return ali_client_failed(-AL_E_NOMEM, NULL);
    node->alloc = alloc;
    node->size = size;
    memcpy(node->key, key, strlen(key) + 1);
    r = embedded_start(node, dir, options->embedded ? options->embedded : &defaults);
    if (r < 0) {
        embedded_free(node);
        return r;
    }
    *ret_node = node;
    return 0;
}

int ali_embedded_get(const char *url, const struct al_client_options *options,
                     struct ali_embedded **ret_embedded)
{
    char key[PATH_MAX + 8];
    struct ali_embedded *node;
    const char *dir;
    int r;

    r = make_key(url, key, &dir);
    if (r < 0)
        return r;
    pthread_mutex_lock(&registry_lock);
    node = registry;
    while (node && strcmp(node->key, key) != 0)
        node = node->next;
    if (!node) {
        r = embedded_new(key, dir, options, &node);
        if (r >= 0) {
            assert(node);
            node->next = registry;
            registry = node;
        }
    }
    if (r >= 0) {
        assert(node);
        node->clients++;
        *ret_embedded = node;
    }
    pthread_mutex_unlock(&registry_lock);
    return r;
}

void ali_embedded_put(struct ali_embedded *node)
{
    struct ali_embedded **link = &registry;

    if (!node)
        return;
    pthread_mutex_lock(&registry_lock);
    if (--node->clients == 0) {
        while (*link != node)
            link = &(*link)->next;
        *link = node->next;
        embedded_free(node);
    }
    pthread_mutex_unlock(&registry_lock);
}

int ali_embedded_connect(struct ali_embedded *node, int *ret_fd)
{
    return al_runner_connect(node->runner, ret_fd);
}

bool ali_embedded_is_memory(const struct ali_embedded *node)
{
    return strncmp(node->key, "inproc:", 7) == 0;
}
