/* network.c - the authority of a network and the certificate of its node.
 *
 * The authority's certificate is valid for ten years and is what joining programs are told to
 * trust, by its fingerprint in their token. The node's own certificate lives as long as everybody
 * else's, and is made anew at half of its life, a tenth more or less, so that nodes that were
 * started together do not all renew together.
 *
 * A crash while all this is made for the first time: authority.pem is written last. Without it
 * nothing has been issued, and what stands there is used or made again. */
#include "node/network.h"

#include "base/errors.h"
#include "base/limits.h"
#include "base/time.h"
#include "core/node.h"
#include "os/entropy.h"
#include "os/memory.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define AUTHORITY_DAYS 3650u
#define RETRY_MS       (60u * 1000)
#define PATH_ROOM      4200

struct al_network {
    char name[AL_NETWORK_MAX + 1];
    char identity[AL_IDENTITY_MAX + 1]; /* the node's */
    char dir[PATH_ROOM];
    uint64_t lifetime_ms, renew_ms;
    uint8_t fingerprint[32];
    bool is_new; /* the authority was made just now, and is not written yet */
    struct al_pki_key *authority_key, *key;
    struct al_pki_cert *authority;
    struct al_tls_context *context;
    struct al_memory memory;
    struct al_alloc alloc;
};

/* ---- files ------------------------------------------------------------------------------- */

static void path_of(const struct al_network *network, const char *file, char path[PATH_ROOM + 32])
{
    snprintf(path, PATH_ROOM + 32, "%s/%s", network->dir, file);
}

static int make_dir(struct al_network *network, const char *data, char *ret_why, size_t why_size)
{
    int n = snprintf(network->dir, sizeof network->dir, "%s/identity", data);

    if (n < 0 || (size_t)n >= sizeof network->dir) {
        snprintf(ret_why, why_size, "the path of the data directory is too long");
        return -AL_E_INVALID;
    }
    if (mkdir(network->dir, 0700) == 0 || errno == EEXIST)
        return 0;
    snprintf(ret_why, why_size, "%.200s: %s", network->dir, strerror(errno));
    return errno == ENOSPC ? -AL_E_DISK_FULL : -AL_E_IO;
}

/* Reads a key; where there is none, makes one and writes it if it may be made. */
static int get_key(const struct al_network *network, const char *file, bool may_make,
                   struct al_pki_key **ret_key, char *ret_why, size_t why_size)
{
    char path[PATH_ROOM + 32];
    int r;

    path_of(network, file, path);
    r = al_pki_key_read(path, ret_key, ret_why, why_size);
    if (r != -AL_E_NOT_FOUND)
        return r;
    if (!may_make) {
        snprintf(ret_why, why_size,
                 "%.200s is gone; restore it from a copy: without it nobody can join or renew",
                 path);
        return -AL_E_INVALID;
    }
    r = al_pki_key_new(ret_key);
    return r < 0 ? r : al_pki_key_write(*ret_key, path, false, ret_why, why_size);
}

/* ---- certificates ------------------------------------------------------------------------ */

int al_network_issue(const struct al_network *network, const struct al_pki_issue *issue,
                     struct al_buf *ret_data, uint64_t *ret_not_after_ms)
{
    struct al_pki_issue full = *issue;
    struct al_buf leaf, authorities;
    struct al_issued issued;
    char why[200];
    int r;

    full.lifetime_ms = network->lifetime_ms;
    al_buf_init(&leaf, ret_data->alloc);
    al_buf_init(&authorities, ret_data->alloc);
    r = al_pki_issue(network->authority, network->authority_key, &full, &leaf, why, sizeof why);
    if (r == 0)
        r = al_pki_cert_der(network->authority, 0, &authorities);
    if (r == 0) {
        issued.certificate = al_str_of(leaf.data, (uint32_t)leaf.size);
        issued.authorities = al_str_of(authorities.data, (uint32_t)authorities.size);
        r = al_issued_encode(ret_data, &issued);
        *ret_not_after_ms = full.now_ms + full.lifetime_ms;
    }
    al_buf_deinit(&leaf);
    al_buf_deinit(&authorities);
    return r;
}

/* When to renew a certificate that is issued now: at half of its life ± 10 %. */
static uint64_t renewal_ms(const struct al_network *network, uint64_t now_ms)
{
    uint64_t tenth = network->lifetime_ms / 10, random = 0;

    (void)al_entropy_fill(&random, sizeof random);
    return now_ms + network->lifetime_ms / 2 - tenth + random % (2 * tenth + 1);
}

/* A new certificate for the node. */
static int make_leaf(struct al_network *network, uint64_t now_ms, struct al_pki_cert **ret_leaf,
                     char *ret_why, size_t why_size)
{
    struct al_pki_issue issue = {.now_ms = now_ms,
                                 .lifetime_ms = network->lifetime_ms,
                                 .identity = al_str_c(network->identity)};
    struct al_buf request, der;
    int r = al_entropy_fill(&issue.serial, sizeof issue.serial) < 0 ? -AL_E_IO : 0;

    issue.serial |= 1ull << 62; /* those of agents are LSNs, far below */
    issue.serial &= ~(1ull << 63);
    al_buf_init(&request, &network->alloc);
    al_buf_init(&der, &network->alloc);
    if (r == 0)
        r = al_pki_request_new(network->key, &request);
    issue.request = al_str_of(request.data, (uint32_t)request.size);
    if (r == 0)
        r = al_pki_issue(network->authority, network->authority_key, &issue, &der, ret_why,
                         why_size);
    if (r == 0)
        r = al_pki_cert_parse(al_str_of(der.data, (uint32_t)der.size), ret_leaf);
    al_buf_deinit(&request);
    al_buf_deinit(&der);
    return r;
}

/* Shows this certificate from now on; links that are there keep the one they began with. */
static int show(struct al_network *network, const struct al_pki_cert *leaf, char *ret_why,
                size_t why_size)
{
    struct al_tls_config config = {.key = network->key,
                                   .chain = leaf,
                                   .authorities = network->authority,
                                   .network = al_str_c(network->name),
                                   .allows_join = true};
    struct al_tls_context *context;
    int r = al_tls_context_new(&config, AL_TLS_SERVER, &context, ret_why, why_size);

    if (r < 0)
        return r;
    al_tls_context_unref(network->context);
    network->context = context;
    return 0;
}

static int renew(struct al_network *network, uint64_t now_ms, char *ret_why, size_t why_size)
{
    struct al_pki_cert *leaf = NULL;
    char path[PATH_ROOM + 32];
    int r = make_leaf(network, now_ms, &leaf, ret_why, why_size);

    path_of(network, "node.pem", path);
    if (r == 0)
        r = al_pki_cert_write(leaf, path, true, ret_why, why_size);
    if (r == 0)
        r = show(network, leaf, ret_why, why_size);
    al_pki_cert_free(leaf);
    if (r < 0 && !ret_why[0])
        snprintf(ret_why, why_size, "%s", al_error_text(r));
    return r;
}

uint64_t al_network_renew(struct al_network *network, uint64_t now_ms, char *ret_why,
                          size_t why_size)
{
    ret_why[0] = 0;
    /* A clock that was set back by more than a life makes what is shown not valid yet. */
    if (now_ms < network->renew_ms && network->renew_ms - now_ms <= network->lifetime_ms)
        return network->renew_ms;
    network->renew_ms = renew(network, now_ms, ret_why, why_size) == 0 ? renewal_ms(network, now_ms)
                                                                       : now_ms + RETRY_MS;
    return network->renew_ms;
}

/* ---- opening ----------------------------------------------------------------------------- */

/* The network's name: what the node's certificate says, or a new one. */
static int find_name(struct al_network *network, bool is_new, char *ret_why, size_t why_size)
{
    char path[PATH_ROOM + 32];
    struct al_pki_cert *leaf = NULL;
    struct al_identity identity;
    struct al_pki_info info;
    uint8_t random[8];
    int r;

    if (is_new) {
        if (al_entropy_fill(random, sizeof random) < 0)
            return -AL_E_IO;
        snprintf(network->name, sizeof network->name, "n");
        for (size_t i = 0; i < sizeof random; i++)
            snprintf(network->name + 1 + 2 * i, 3, "%02x", random[i]);
        return 0;
    }
    path_of(network, "node.pem", path);
    r = al_pki_cert_read(path, &leaf, ret_why, why_size);
    if (r == 0)
        r = al_pki_cert_info(leaf, 0, &info);
    al_pki_cert_free(leaf);
    if (r < 0)
        return r;
    if (al_identity_parse(al_str_c(info.identity), &identity) < 0) {
        snprintf(ret_why, why_size, "%.200s names no AgentLink identity; restore it from a copy",
                 path);
        return -AL_E_INVALID;
    }
    snprintf(network->name, sizeof network->name, "%.*s", (int)identity.network.n,
             (const char *)identity.network.p);
    return 0;
}

static int get_authority(struct al_network *network, uint64_t now_ms, char *ret_why,
                         size_t why_size)
{
    char path[PATH_ROOM + 32];
    struct al_pki_info info;
    bool is_new;
    int r;

    path_of(network, "authority.pem", path);
    r = al_pki_cert_read(path, &network->authority, ret_why, why_size);
    is_new = network->is_new = r == -AL_E_NOT_FOUND;
    if (r < 0 && !is_new)
        return r;
    r = get_key(network, "authority.key", is_new, &network->authority_key, ret_why, why_size);
    if (r == 0 && !is_new && !al_pki_key_fits(network->authority_key, network->authority)) {
        snprintf(ret_why, why_size,
                 "%.200s/authority.key is not the key of authority.pem; restore both from a copy",
                 network->dir);
        return -AL_E_INVALID;
    }
    if (r == 0)
        r = find_name(network, is_new, ret_why, why_size);
    if (r == 0 && is_new)
        r = al_pki_ca_new(network->authority_key, al_str_c(network->name), now_ms, AUTHORITY_DAYS,
                          &network->authority);
    if (r == 0)
        r = al_pki_cert_info(network->authority, 0, &info);
    if (r == 0)
        memcpy(network->fingerprint, info.fingerprint, sizeof network->fingerprint);
    return r;
}

static int open_all(struct al_network *network, const struct al_network_config *config,
                    uint64_t now_ms, char *ret_why, size_t why_size)
{
    struct al_identity identity;
    char path[PATH_ROOM + 32];
    int r = make_dir(network, config->data, ret_why, why_size);

    if (r == 0)
        r = get_authority(network, now_ms, ret_why, why_size);
    if (r == 0)
        r = get_key(network, "node.key", true, &network->key, ret_why, why_size);
    if (r == 0)
        r = al_identity_of(al_str_c(network->name), AL_ROLE_NODE, al_str_c(config->node),
                           &identity);
    if (r == 0)
        r = al_identity_format(&identity, network->identity);
    if (r == 0)
        r = renew(network, now_ms, ret_why, why_size);
    network->renew_ms = renewal_ms(network, now_ms);
    path_of(network, "authority.pem", path);
    if (r == 0 && network->is_new)
        r = al_pki_cert_write(network->authority, path, false, ret_why, why_size);
    return r;
}

int al_network_open(const struct al_network_config *config, uint64_t now_ms,
                    struct al_network **ret_network, char *ret_why, size_t why_size)
{
    struct al_network *network = calloc(1, sizeof *network);
    int r;

    if (!network)
        return -AL_E_NOMEM;
    ret_why[0] = 0;
    network->alloc = al_memory_alloc(&network->memory);
    network->lifetime_ms = config->lifetime_ms;
    r = open_all(network, config, now_ms, ret_why, why_size);
    if (r < 0 && !ret_why[0])
        snprintf(ret_why, why_size, "%.200s: %s", network->dir, al_error_text(r));
    if (r < 0) {
        al_network_close(network);
        return r;
    }
    *ret_network = network;
    return 0;
}

void al_network_close(struct al_network *network)
{
    if (!network)
        return;
    al_tls_context_unref(network->context);
    al_pki_cert_free(network->authority);
    al_pki_key_free(network->authority_key);
    al_pki_key_free(network->key);
    free(network);
}

const char *al_network_name(const struct al_network *network)
{
    return network->name;
}

const uint8_t *al_network_fingerprint(const struct al_network *network)
{
    return network->fingerprint;
}

struct al_tls_context *al_network_context(const struct al_network *network)
{
    return network->context;
}
