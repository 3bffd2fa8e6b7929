/* token.h - what is handed to somebody who is to join: where the node is, whom to trust, a secret.
 *
 * Its text is "al1" and the base64url of a version byte, fingerprint, secret, addresses. */
#ifndef AL_CLIENT_TOKEN_H
#define AL_CLIENT_TOKEN_H

#include "base/bytes.h"
#include <agentlink/identity.h>

struct ali_token {
    uint8_t fingerprint[32]; /* SHA-256 of the authority's certificate */
    uint8_t secret[32];
    char addresses[1024]; /* HOST:PORT, separated by commas */
};

/* A new secret. 0 or -AL_E_IO. */
int ali_token_make(struct ali_token *token);
/* Its text, with a terminating zero. */
void ali_token_format(const struct ali_token *token, char ret_text[AL_TOKEN_MAX]);
/* Reads a text. 0 or -AL_E_BAD_TOKEN. */
int ali_token_parse(const char *text, struct ali_token *ret_token);
/* Forgets the secret. */
void ali_token_wipe(struct ali_token *token);

#endif
