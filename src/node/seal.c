/* seal.c - the master key of a node's directory, before its store is opened.
 *
 * The key is read, or made where nothing is sealed yet. A directory that holds sealed files and has
 * lost its key is opened without one, which fails and says so: a new key would only hide it. */
#include "base/errors.h"
#include "node/runner.h"
#include "os/entropy.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

static int make(struct al_runner_config *config, const char *dir,
                const struct al_key_source *source, char *ret_where, size_t where_size)
{
    char path[PATH_MAX];
    bool is_sealed;
    int r = al_store_is_sealed(&config->store.alloc, config->disk, &is_sealed);

    if (r < 0 || is_sealed)
        return r < 0 ? r : -AL_E_NOT_FOUND;
    if (!al_key_default_path(dir, path, sizeof path))
        return -AL_E_INVALID;
    r = al_key_make(path);
    if (r < 0) {
        snprintf(ret_where, where_size, "the master key %s cannot be made: %s", path,
                 strerror(errno));
        return r;
    }
    return al_key_read(source, dir, config->store.seal.key, ret_where, where_size);
}

int al_runner_seal(struct al_runner_config *config, const char *dir,
                   const struct al_seal_options *options, char *ret_where, size_t where_size)
{
    struct al_store_seal *seal = &config->store.seal;
    int r;

    ret_where[0] = 0;
    al_seal_start();
    r = al_entropy_fill(seal->seed, sizeof seal->seed);
    if (r < 0)
        return r;
    r = al_key_read(&options->source, dir, seal->key, ret_where, where_size);
    if (r == -AL_E_NOT_FOUND && !options->is_off)
        r = make(config, dir, &options->source, ret_where, where_size);
    seal->has_key = r == 0;
    seal->is_on = r == 0 && !options->is_off;
    return r == -AL_E_NOT_FOUND ? 0 : r;
}

void al_runner_unseal(struct al_runner_config *config)
{
    al_seal_wipe(&config->store.seal, sizeof config->store.seal);
}
