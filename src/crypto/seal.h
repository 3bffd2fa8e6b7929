/* seal.h - sealing what stands on disk: XChaCha20-Poly1305 under a key of the file's own.
 *
 * A master key never touches data. Each file has a random key; it stands in the file, wrapped under
 * the master key. From the file's key come two: one seals frames (secret and authentic), one makes
 * tags (authentic only, and without a nonce: BLAKE2b under a key may be used for any number of
 * texts).
 *
 * Nonces. A frame's nonce has 24 bytes: the 16 of the file's salt and 8 of a number that the caller
 * gives. Under one file key it must never be given twice for different content; src/store/sealed.c
 * says why it is not. Because the first 16 bytes are the same for the whole file, the part of
 * XChaCha20 that depends on them (HChaCha20) is done once: byte for byte it is
 * crypto_aead_xchacha20poly1305_ietf with nonce salt ‖ u64 number, which a test proves.
 *
 * Pure: randomness is a seed that the caller brings (struct al_seal_source). */
#ifndef AL_CRYPTO_SEAL_H
#define AL_CRYPTO_SEAL_H

#include "base/bytes.h"
#include <stdbool.h>

#define AL_SEAL_KEY     32u
#define AL_SEAL_SALT    16u
#define AL_SEAL_TAG     16u
#define AL_SEAL_ID      16u
#define AL_SEAL_NONCE   24u
#define AL_SEAL_WRAPPED (AL_SEAL_KEY + AL_SEAL_TAG)

/* The keys of one file, ready for use. Secret: al_seal_wipe. */
struct al_seal {
    uint8_t frame_key[AL_SEAL_KEY];
    uint8_t tag_key[AL_SEAL_KEY];
};

/* Where file keys and nonces of wrapped keys come from: 32 random bytes, never the same twice, and
 * a count. */
struct al_seal_source {
    uint8_t seed[AL_SEAL_KEY];
    uint64_t count;
};

/* Lets libsodium choose the code for this processor, several times faster than the plain one.
 * Optional; once per process, before threads use anything here. */
void al_seal_start(void);
/* The next 32 bytes. */
void al_seal_draw(struct al_seal_source *source, uint8_t ret_bytes[AL_SEAL_KEY]);
/* What a master key is called: a digest that may be shown to everybody. */
void al_seal_key_id(const uint8_t master[AL_SEAL_KEY], uint8_t ret_id[AL_SEAL_ID]);
/* Wraps a file key under a master key; `nonce` is random, `head` is authenticated with it. */
void al_seal_wrap(const uint8_t master[AL_SEAL_KEY], const uint8_t nonce[AL_SEAL_NONCE],
                  struct al_str head, const uint8_t key[AL_SEAL_KEY],
                  uint8_t ret_wrapped[AL_SEAL_WRAPPED]);
/* False: another master key, or one of the arguments is not what it was; ret_key is then
 * untouched. */
bool al_seal_unwrap(const uint8_t master[AL_SEAL_KEY], const uint8_t nonce[AL_SEAL_NONCE],
                    struct al_str head, const uint8_t wrapped[AL_SEAL_WRAPPED],
                    uint8_t ret_key[AL_SEAL_KEY]);

/* Makes the keys of a file out of its key and salt. */
void al_seal_init(struct al_seal *seal, const uint8_t key[AL_SEAL_KEY],
                  const uint8_t salt[AL_SEAL_SALT]);
/* Seals n bytes into out, which has n + AL_SEAL_TAG; plain and out do not overlap. */
void al_seal_frame(const struct al_seal *seal, uint64_t number, struct al_str head,
                   struct al_str plain, uint8_t *out);
/* Opens sealed bytes (at least a tag) into out, which has sealed.n - AL_SEAL_TAG. False: it is not
 * what was sealed; out is then undefined. */
bool al_seal_open(const struct al_seal *seal, uint64_t number, struct al_str head,
                  struct al_str sealed, uint8_t *out);
/* The tag of something that is not secret: of head ‖ body. */
void al_seal_tag(const struct al_seal *seal, struct al_str head, struct al_str body,
                 uint8_t ret_tag[AL_SEAL_TAG]);
/* True if it is the right tag; takes as long for every wrong one. */
bool al_seal_tag_is(const struct al_seal *seal, struct al_str head, struct al_str body,
                    const uint8_t tag[AL_SEAL_TAG]);
/* Overwrites secrets so that the compiler cannot leave it out. */
void al_seal_wipe(void *secret, size_t n);

#endif
