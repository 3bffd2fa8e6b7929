/* token.c - join tokens. */
#include "client/token.h"
#include "base/errors.h"
#include "os/entropy.h"
#include <sodium.h>
#include <string.h>

#define PREFIX       "al1"
#define VERSION_BYTE 1
#define HEAD         (1 + 32 + 32)
#define VARIANT      sodium_base64_VARIANT_URLSAFE_NO_PADDING

_Static_assert(sizeof(PREFIX) + 4 * (HEAD + 1024) / 3 + 4 <= AL_TOKEN_MAX, "it has room");

int ali_token_make(struct ali_token *token)
{
    return al_entropy_fill(token->secret, sizeof(token->secret)) < 0 ? -AL_E_IO : 0;
}

void ali_token_format(const struct ali_token *token, char ret_text[AL_TOKEN_MAX])
{
    uint8_t bytes[HEAD + sizeof(token->addresses)];
    size_t n = strlen(token->addresses);

    bytes[0] = VERSION_BYTE;
    memcpy(bytes + 1, token->fingerprint, 32);
    memcpy(bytes + 33, token->secret, 32);
    memcpy(bytes + HEAD, token->addresses, n);
    memcpy(ret_text, PREFIX, sizeof(PREFIX) - 1);
    sodium_bin2base64(ret_text + sizeof(PREFIX) - 1, AL_TOKEN_MAX - sizeof(PREFIX) + 1, bytes,
                      HEAD + n, VARIANT);
    sodium_memzero(bytes, sizeof(bytes));
}

int ali_token_parse(const char *text, struct ali_token *ret_token)
{
    uint8_t bytes[HEAD + sizeof(ret_token->addresses)];
    size_t n, size = strlen(text);
    const char *end;
    int r = -AL_E_BAD_TOKEN;

    if (strncmp(text, PREFIX, sizeof(PREFIX) - 1) == 0 && size < AL_TOKEN_MAX &&
        sodium_base642bin(bytes, sizeof(bytes) - 1, text + sizeof(PREFIX) - 1,
                          size - (sizeof(PREFIX) - 1), NULL, &n, &end, VARIANT) == 0 &&
        *end == 0 && n > HEAD && bytes[0] == VERSION_BYTE && !memchr(bytes + HEAD, 0, n - HEAD)) {
        memcpy(ret_token->fingerprint, bytes + 1, 32);
        memcpy(ret_token->secret, bytes + 33, 32);
        memcpy(ret_token->addresses, bytes + HEAD, n - HEAD);
        ret_token->addresses[n - HEAD] = 0;
        r = 0;
    }
    sodium_memzero(bytes, sizeof(bytes));
    return r;
}

void ali_token_wipe(struct ali_token *token)
{
    sodium_memzero(token, sizeof(*token));
}
