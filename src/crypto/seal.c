/* seal.c - see seal.h. */
#include "crypto/seal.h"
#include <sodium/core.h>
#include <sodium/crypto_aead_chacha20poly1305.h>
#include <sodium/crypto_aead_xchacha20poly1305.h>
#include <sodium/crypto_core_hchacha20.h>
#include <sodium/crypto_generichash.h>
#include <sodium/utils.h>

/* What a keyed hash is for goes into it, so that no two uses can meet. */
#define FOR_DRAW   "agentlink draw 1"
#define FOR_ID     "agentlink key id"
#define FOR_FRAMES "agentlink frames"
#define FOR_TAGS   "agentlink tags 1"
#define FOR_SIZE   16u

void al_seal_start(void)
{
    int r = sodium_init();

    (void)r; /* failed: the plain code works as well */
}

/* Keyed BLAKE2b of purpose ‖ body. */
static void derive(const uint8_t key[AL_SEAL_KEY], const char purpose[FOR_SIZE], struct al_str body,
                   uint8_t *out, size_t n)
{
    crypto_generichash_state state;

    crypto_generichash_init(&state, key, AL_SEAL_KEY, n);
    crypto_generichash_update(&state, (const uint8_t *)purpose, FOR_SIZE);
    if (body.n)
        crypto_generichash_update(&state, body.p, body.n);
    crypto_generichash_final(&state, out, n);
    sodium_memzero(&state, sizeof state);
}

void al_seal_draw(struct al_seal_source *source, uint8_t ret_bytes[AL_SEAL_KEY])
{
    uint8_t count[8];

    al_put64(count, ++source->count);
    derive(source->seed, FOR_DRAW, al_str_of(count, sizeof count), ret_bytes, AL_SEAL_KEY);
}

void al_seal_key_id(const uint8_t master[AL_SEAL_KEY], uint8_t ret_id[AL_SEAL_ID])
{
    derive(master, FOR_ID, al_str_of(NULL, 0), ret_id, AL_SEAL_ID);
}

void al_seal_wrap(const uint8_t master[AL_SEAL_KEY], const uint8_t nonce[AL_SEAL_NONCE],
                  struct al_str head, const uint8_t key[AL_SEAL_KEY],
                  uint8_t ret_wrapped[AL_SEAL_WRAPPED])
{
    crypto_aead_xchacha20poly1305_ietf_encrypt(ret_wrapped, NULL, key, AL_SEAL_KEY, head.p, head.n,
                                               NULL, nonce, master);
}

bool al_seal_unwrap(const uint8_t master[AL_SEAL_KEY], const uint8_t nonce[AL_SEAL_NONCE],
                    struct al_str head, const uint8_t wrapped[AL_SEAL_WRAPPED],
                    uint8_t ret_key[AL_SEAL_KEY])
{
    uint8_t key[AL_SEAL_KEY];
    bool good = crypto_aead_xchacha20poly1305_ietf_decrypt(
                    key, NULL, NULL, wrapped, AL_SEAL_WRAPPED, head.p, head.n, nonce, master) == 0;

    if (good)
        memcpy(ret_key, key, sizeof key);
    sodium_memzero(key, sizeof key);
    return good;
}

void al_seal_init(struct al_seal *seal, const uint8_t key[AL_SEAL_KEY],
                  const uint8_t salt[AL_SEAL_SALT])
{
    uint8_t frames[AL_SEAL_KEY];

    derive(key, FOR_FRAMES, al_str_of(NULL, 0), frames, sizeof frames);
    derive(key, FOR_TAGS, al_str_of(salt, AL_SEAL_SALT), seal->tag_key, sizeof seal->tag_key);
    crypto_core_hchacha20(seal->frame_key, salt, frames, NULL);
    sodium_memzero(frames, sizeof frames);
}

/* The nonce that XChaCha20 uses behind HChaCha20: four zeros and the last 8 bytes. */
static void nonce_of(uint64_t number, uint8_t ret_nonce[12])
{
    memset(ret_nonce, 0, 4);
    al_put64(ret_nonce + 4, number);
}

void al_seal_frame(const struct al_seal *seal, uint64_t number, struct al_str head,
                   struct al_str plain, uint8_t *out)
{
    uint8_t nonce[12];

    nonce_of(number, nonce);
    crypto_aead_chacha20poly1305_ietf_encrypt_detached(
        out, out + plain.n, NULL, plain.p, plain.n, head.p, head.n, NULL, nonce, seal->frame_key);
}

bool al_seal_open(const struct al_seal *seal, uint64_t number, struct al_str head,
                  struct al_str sealed, uint8_t *out)
{
    uint8_t nonce[12];
    uint32_t n = sealed.n - AL_SEAL_TAG;

    if (sealed.n < AL_SEAL_TAG)
        return false;
    nonce_of(number, nonce);
    return crypto_aead_chacha20poly1305_ietf_decrypt_detached(
               out, NULL, sealed.p, n, sealed.p + n, head.p, head.n, nonce, seal->frame_key) == 0;
}

void al_seal_tag(const struct al_seal *seal, struct al_str head, struct al_str body,
                 uint8_t ret_tag[AL_SEAL_TAG])
{
    crypto_generichash_state state;

    crypto_generichash_init(&state, seal->tag_key, AL_SEAL_KEY, AL_SEAL_TAG);
    crypto_generichash_update(&state, head.p, head.n);
    if (body.n)
        crypto_generichash_update(&state, body.p, body.n);
    crypto_generichash_final(&state, ret_tag, AL_SEAL_TAG);
}

bool al_seal_tag_is(const struct al_seal *seal, struct al_str head, struct al_str body,
                    const uint8_t tag[AL_SEAL_TAG])
{
    uint8_t right[AL_SEAL_TAG];

    al_seal_tag(seal, head, body, right);
    return sodium_memcmp(right, tag, AL_SEAL_TAG) == 0;
}

void al_seal_wipe(void *secret, size_t n)
{
    sodium_memzero(secret, n);
}
