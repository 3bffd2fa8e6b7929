/* api_join.c - joining: a token becomes an identity.
 *
 * The key is written first and never leaves this machine; the certificate is written last, and
 * without it there is no identity. A crash in between, or an answer that got lost, leaves a key
 * that the next try uses; the token may be used up then, and another one is needed. */
#include "base/errors.h"
#include "base/limits.h"
#include "client/ask.h"
#include "client/token.h"
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_ROOM  4096
#define FILE_ROOM  (PATH_ROOM + 32)
#define TIMEOUT_MS 10000u

static void file_of(const char *dir, const char *name, char path[FILE_ROOM])
{
    snprintf(path, FILE_ROOM, "%s/%s", dir, name);
}

/* mkdir -p, for its owner alone. */
static int make_dir(const char *dir)
{
    char part[PATH_ROOM];
    size_t n = strlen(dir);

    for (size_t i = 1; i <= n; i++) {
        if (dir[i] != '/' && dir[i] != 0)
            continue;
        memcpy(part, dir, i);
        part[i] = 0;
        if (mkdir(part, 0700) < 0 && errno != EEXIST)
            return ali_client_fail(-AL_E_IO, "cannot make %.200s: %s", part, strerror(errno));
    }
    return 0;
}

static int get_key(const char *dir, struct al_pki_key **ret_key)
{
    char path[FILE_ROOM], why[256] = "";
    int r;

    file_of(dir, "key.pem", path);
    r = al_pki_key_read(path, ret_key, why, sizeof(why));
    if (r == -AL_E_NOT_FOUND) {
        r = al_pki_key_new(ret_key);
        if (r == 0)
            r = al_pki_key_write(*ret_key, path, false, why, sizeof(why));
    }
    return r < 0 ? ali_client_failed(r, why) : 0;
}

/* ---- the answer -------------------------------------------------------------------------- */

/* The first certificate of a run of DER. 0 or -AL_E_INVALID. */
static int next_der(struct al_str *run, struct al_str *ret_der)
{
    uint32_t n;

    if (run->n < 4 || run->p[0] != 0x30 || run->p[1] != 0x82)
        return -AL_E_INVALID;
    n = 4 + ((uint32_t)run->p[2] << 8 | run->p[3]);
    if (n > run->n)
        return -AL_E_INVALID;
    *ret_der = al_str_of(run->p, n);
    *run = al_str_of(run->p + n, run->n - n);
    return 0;
}

/* The authorities; the one that the token names must be among them. */
static int read_authorities(struct al_str run, const uint8_t fingerprint[32],
                            struct al_pki_cert **ret_bundle)
{
    struct al_pki_cert *bundle = NULL, *one = NULL;
    struct al_pki_info info;
    bool found = false;
    struct al_str der = {0};
    int r = run.n ? 0 : -AL_E_INVALID;

    while (r == 0 && run.n) {
        r = next_der(&run, &der);
        if (r == 0)
            r = al_pki_cert_parse(der, &one);
        if (r < 0)
            break;
        r = al_pki_cert_info(one, 0, &info);
        found |= r == 0 && memcmp(info.fingerprint, fingerprint, 32) == 0;
        if (!bundle) {
            bundle = one;
            continue;
        }
        if (r == 0)
            r = al_pki_cert_append(bundle, one);
        al_pki_cert_free(one);
    }
    if (r == 0 && !found)
        r = -AL_E_DENIED;
    if (r < 0)
        al_pki_cert_free(bundle);
    else
        *ret_bundle = bundle;
    return r;
}

static int store(const char *dir, const struct al_msg_certificate *m, const struct ali_token *token,
                 const struct al_pki_key *key)
{
    struct al_pki_cert *leaf = NULL, *authorities = NULL;
    char path[FILE_ROOM], why[256] = "";
    int r = al_pki_cert_parse(m->certificate, &leaf);

    if (r == 0 && !al_pki_key_fits(key, leaf))
        r = -AL_E_PROTOCOL;
    if (r == 0)
        r = read_authorities(m->authorities, token->fingerprint, &authorities);
    file_of(dir, "authorities.pem", path);
    if (r == 0)
        r = al_pki_cert_write(authorities, path, true, why, sizeof(why));
    file_of(dir, "certificate.pem", path);
    if (r == 0)
        r = al_pki_cert_write(leaf, path, true, why, sizeof(why));
    al_pki_cert_free(leaf);
    al_pki_cert_free(authorities);
    return r < 0 ? ali_client_failed(r, why) : 0;
}

/* ---- joining ----------------------------------------------------------------------------- */

static int ask(struct al_client *client, const struct ali_token *token,
               const struct al_pki_key *key, const char *dir, struct al_join_result *ret_result)
{
    struct al_msg_join m = {.token = al_str_of(token->secret, sizeof(token->secret))};
    struct al_msg_certificate answer = {0};
    struct al_frame frame;
    struct ali_ask ask;
    struct al_buf csr;
    int r;

    al_buf_init(&csr, &client->alloc);
    ali_ask_begin(&ask, client, true);
    m.request = ali_ask_number(&ask);
    r = al_pki_request_new(key, &csr);
    m.csr = al_str_of(csr.data, (uint32_t)csr.size);
    r = ali_ask_end(&ask, r < 0 ? r : al_put_join(&ask.request.frame, &m));
    if (r == 0 && (!ali_ask_row(&ask, AL_MSG_CERTIFICATE, &frame) ||
                   al_decode_certificate(frame.body, &answer) < 0 ||
                   answer.identity.n >= sizeof(ret_result->identity)))
        r = ali_client_failed(-AL_E_PROTOCOL, NULL);
    if (r == 0)
        r = store(dir, &answer, token, key);
    if (r == 0)
        snprintf(ret_result->identity, sizeof(ret_result->identity), "%.*s", (int)answer.identity.n,
                 (const char *)answer.identity.p);
    ali_ask_deinit(&ask);
    al_buf_deinit(&csr);
    return r;
}

static int join(const struct ali_token *token, const struct al_join_options *options,
                const char *dir, struct al_join_result *ret_result)
{
    struct ali_remote_config config = {.address = token->addresses,
                                       .fingerprint = token->fingerprint};
    uint32_t timeout_ms = options->timeout_ms ? options->timeout_ms : TIMEOUT_MS;
    struct al_client_options client_options = {.connect_timeout_ms = timeout_ms,
                                               .request_timeout_ms = timeout_ms};
    struct al_client *client;
    struct al_pki_key *key = NULL;
    struct ali_remote *remote;
    int r = make_dir(dir);

    if (r == 0)
        r = get_key(dir, &key);
    if (r == 0)
        r = ali_remote_open(&config, &remote);
    if (r == 0)
        r = ali_client_open_remote(&client_options, remote, &client);
    if (r == 0) {
        r = ask(client, token, key, dir, ret_result);
        al_client_abort(client); /* nothing is under way, and the node takes no goodbye here */
    }
    al_pki_key_free(key);
    return r;
}

int al_join(const char *text, const struct al_join_options *options,
            struct al_join_result *ret_result)
{
    static const struct al_join_options defaults;
    char dir[PATH_ROOM], path[FILE_ROOM];
    struct ali_token token;
    int r;

    options = options ? options : &defaults;
    if (!text || ali_token_parse(text, &token) < 0)
        return ali_client_fail(-AL_E_BAD_TOKEN, "that is no join token; copy all of what agentlink "
                                                "identity new has printed");
    r = ali_identity_dir(options->identity, dir, sizeof(dir));
    file_of(dir, "certificate.pem", path);
    if (r == 0 && !options->replace && access(path, F_OK) == 0)
        r = ali_client_fail(-AL_E_EXISTS,
                            "there is an identity in %.200s already; replace it, or "
                            "choose another directory",
                            dir);
    if (r == 0 && options->addresses && strlen(options->addresses) >= sizeof(token.addresses))
        r = ali_client_fail(-AL_E_INVALID, "the addresses are too long");
    else if (r == 0 && options->addresses)
        snprintf(token.addresses, sizeof(token.addresses), "%s", options->addresses);
    if (r == 0)
        r = join(&token, options, dir, ret_result);
    if (r == 0)
        snprintf(ret_result->addresses, sizeof(ret_result->addresses), "%s", token.addresses);
    ali_token_wipe(&token);
    return r;
}
