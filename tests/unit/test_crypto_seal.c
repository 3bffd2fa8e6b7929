/* test_crypto_seal.c - what is sealed opens, nothing else does, and it is XChaCha20-Poly1305. */
#include "crypto/seal.h"
#include "support.h"
#include <sodium/crypto_aead_xchacha20poly1305.h>
#include <sodium/crypto_generichash.h>

static void fill(uint8_t *p, size_t n, unsigned seed)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)(seed + i * 7 + (i >> 5));
}

static struct al_seal make(uint8_t key[AL_SEAL_KEY], uint8_t salt[AL_SEAL_SALT])
{
    struct al_seal seal;

    fill(key, AL_SEAL_KEY, 1);
    fill(salt, AL_SEAL_SALT, 2);
    al_seal_init(&seal, key, salt);
    return seal;
}

static void what_was_sealed_opens_at_every_size(void **state)
{
    uint8_t key[AL_SEAL_KEY], salt[AL_SEAL_SALT], head[32], plain[600], out[616], back[600];
    struct al_seal seal = make(key, salt);

    (void)state;
    fill(head, sizeof head, 3);
    fill(plain, sizeof plain, 4);
    for (size_t n = 0; n <= sizeof plain; n++) {
        al_seal_frame(&seal, n, al_str_of(head, 32), al_str_of(plain, n), out);
        memset(back, 0, sizeof back);
        assert_true(al_seal_open(&seal, n, al_str_of(head, 32), al_str_of(out, n + 16), back));
        assert_memory_equal(back, plain, n);
        if (n > 15) /* shorter ones may be equal by chance */
            assert_memory_not_equal(out, plain, n);
    }
}

static void every_changed_bit_is_found(void **state)
{
    uint8_t key[AL_SEAL_KEY], salt[AL_SEAL_SALT], head[32], plain[40], out[56], back[40];
    struct al_seal seal = make(key, salt);

    (void)state;
    fill(head, sizeof head, 3);
    fill(plain, sizeof plain, 4);
    al_seal_frame(&seal, 9, al_str_of(head, 32), al_str_of(plain, 40), out);
    for (size_t bit = 0; bit < 8 * sizeof out; bit++) {
        out[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_false(al_seal_open(&seal, 9, al_str_of(head, 32), al_str_of(out, 56), back));
        out[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t bit = 0; bit < 8 * sizeof head; bit++) {
        head[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_false(al_seal_open(&seal, 9, al_str_of(head, 32), al_str_of(out, 56), back));
        head[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_false(al_seal_open(&seal, 10, al_str_of(head, 32), al_str_of(out, 56), back));
    assert_false(al_seal_open(&seal, 9, al_str_of(head, 32), al_str_of(out, 15), back));
    assert_false(al_seal_open(&seal, 9, al_str_of(head, 32), al_str_of(out, 55), back));
    salt[0] ^= 1;
    al_seal_init(&seal, key, salt);
    assert_false(al_seal_open(&seal, 9, al_str_of(head, 32), al_str_of(out, 56), back));
}

/* The shortcut through HChaCha20 gives the very bytes of the whole construction. */
static void it_is_xchacha20_poly1305(void **state)
{
    static const uint8_t purpose[] = "agentlink frames";
    uint8_t key[AL_SEAL_KEY], salt[AL_SEAL_SALT], nonce[24], head[32], plain[100], out[116];
    uint8_t want[116], frames[AL_SEAL_KEY];
    struct al_seal seal = make(key, salt);

    (void)state;
    fill(head, sizeof head, 3);
    fill(plain, sizeof plain, 4);
    assert_int_equal(crypto_generichash(frames, 32, purpose, 16, key, 32), 0);
    memcpy(nonce, salt, 16);
    al_put64(nonce + 16, 0x1122334455667788ull);
    crypto_aead_xchacha20poly1305_ietf_encrypt(want, NULL, plain, sizeof plain, head, sizeof head,
                                               NULL, nonce, frames);
    al_seal_frame(&seal, 0x1122334455667788ull, al_str_of(head, 32), al_str_of(plain, 100), out);
    assert_memory_equal(out, want, sizeof want);
}

static void a_wrapped_key_opens_under_its_master_only(void **state)
{
    uint8_t master[AL_SEAL_KEY], other[AL_SEAL_KEY], nonce[AL_SEAL_NONCE], key[AL_SEAL_KEY];
    uint8_t wrapped[AL_SEAL_WRAPPED], back[AL_SEAL_KEY] = {0}, a[AL_SEAL_ID], b[AL_SEAL_ID];
    struct al_str head = al_str_c("head"), changed = al_str_c("heap");

    (void)state;
    fill(master, sizeof master, 5);
    fill(other, sizeof other, 6);
    fill(nonce, sizeof nonce, 7);
    fill(key, sizeof key, 8);
    al_seal_wrap(master, nonce, head, key, wrapped);
    assert_false(al_seal_unwrap(other, nonce, head, wrapped, back));
    assert_false(al_seal_unwrap(master, nonce, changed, wrapped, back));
    wrapped[3] ^= 4;
    assert_false(al_seal_unwrap(master, nonce, head, wrapped, back));
    wrapped[3] ^= 4;
    assert_int_equal(back[0], 0);
    assert_true(al_seal_unwrap(master, nonce, head, wrapped, back));
    assert_memory_equal(back, key, sizeof key);
    al_seal_key_id(master, a);
    al_seal_key_id(other, b);
    assert_memory_not_equal(a, b, sizeof a);
    assert_memory_not_equal(a, master, sizeof a);
}

static void tags_depend_on_every_byte(void **state)
{
    uint8_t key[AL_SEAL_KEY], salt[AL_SEAL_SALT], tag[AL_SEAL_TAG];
    struct al_seal seal = make(key, salt);

    (void)state;
    al_seal_tag(&seal, al_str_c("ab"), al_str_c("cd"), tag);
    assert_true(al_seal_tag_is(&seal, al_str_c("ab"), al_str_c("cd"), tag));
    assert_false(al_seal_tag_is(&seal, al_str_c("ab"), al_str_c("ce"), tag));
    assert_false(al_seal_tag_is(&seal, al_str_c("bb"), al_str_c("cd"), tag));
    tag[15] ^= 0x80;
    assert_false(al_seal_tag_is(&seal, al_str_c("ab"), al_str_c("cd"), tag));
    tag[15] ^= 0x80;
    salt[15] ^= 1;
    al_seal_init(&seal, key, salt);
    assert_false(al_seal_tag_is(&seal, al_str_c("ab"), al_str_c("cd"), tag));
}

static void draws_differ(void **state)
{
    struct al_seal_source source = {.seed = {1}}, again = {.seed = {1}}, other = {.seed = {2}};
    uint8_t a[AL_SEAL_KEY], b[AL_SEAL_KEY];

    (void)state;
    al_seal_draw(&source, a);
    al_seal_draw(&again, b);
    assert_memory_equal(a, b, sizeof a); /* the simulator counts on it */
    al_seal_draw(&source, b);
    assert_memory_not_equal(a, b, sizeof a);
    al_seal_draw(&other, b);
    assert_memory_not_equal(a, b, sizeof a);
}

static void wiping_leaves_nothing(void **state)
{
    uint8_t secret[32], zeros[32] = {0};

    (void)state;
    fill(secret, sizeof secret, 9);
    al_seal_wipe(secret, sizeof secret);
    assert_memory_equal(secret, zeros, sizeof secret);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_sealed_opens_at_every_size),
        cmocka_unit_test(every_changed_bit_is_found),
        cmocka_unit_test(it_is_xchacha20_poly1305),
        cmocka_unit_test(a_wrapped_key_opens_under_its_master_only),
        cmocka_unit_test(tags_depend_on_every_byte),
        cmocka_unit_test(draws_differ),
        cmocka_unit_test(wiping_leaves_nothing),
    };

    al_seal_start();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
