/* key_file.h - where a node's master key comes from: a file, a systemd credential, or a command.
 *
 * A key is 32 bytes. A file or a command's output holds them as they are, or as 64 hexadecimal
 * digits with or without a line end. Nothing here ever prints one. */
#ifndef AL_OS_KEY_FILE_H
#define AL_OS_KEY_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AL_KEY_BYTES      32u
#define AL_KEY_CREDENTIAL "agentlink-master-key" /* its name in $CREDENTIALS_DIRECTORY */
#define AL_KEY_FILE       "master.key"           /* its name beside the data */
#define AL_KEY_COMMAND_MS 10000                  /* a command has so long */

/* What the configuration says; all NULL: the credential if there is one, else the file beside the
 * data. */
struct al_key_source {
    const char *file;
    const char *command; /* words separated by spaces; run without a shell */
};

/* Reads the key. ret_where says where it was looked for, or what is wrong (for people; no secrets).
 * 0; -AL_E_NOT_FOUND: it is in its default place, `dir`, where none is yet; -AL_E_INVALID: not a
 * key, or readable by others; -AL_E_IO: it could not be read; -AL_E_TIMEOUT: the command. */
int al_key_read(const struct al_key_source *source, const char *dir, uint8_t ret_key[AL_KEY_BYTES],
                char *ret_where, size_t where_size);
/* Makes a key in a file that must not exist, mode 0600, durable before it returns. When somebody
 * else makes one at the same time, theirs counts: read it afterwards. 0 or -AL_E_IO (errno). */
int al_key_make(const char *path);
/* Puts a key into a file, in place of what is there: a crash leaves one or the other. Mode 0600.
 * 0 or -AL_E_IO (errno). */
int al_key_replace(const char *path, const uint8_t key[AL_KEY_BYTES]);
/* The path of the default place; false: too long. */
bool al_key_default_path(const char *dir, char *ret_path, size_t size);

#endif
