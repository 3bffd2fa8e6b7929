/* ask.h - asking the node and waiting for the answer. */
#ifndef AL_CLIENT_ASK_H
#define AL_CLIENT_ASK_H

#include "client/client.h"

/* A question of a public call. begin; number; put the frame; end; rows; deinit. */
struct ali_ask {
    struct al_client *client;
    struct ali_request request;
    size_t at;     /* in request.rows: the next row */
    uint32_t rows; /* taken so far */
};

/* A question; `changes`: it changes something, so it is not asked twice. */
void ali_ask_begin(struct ali_ask *ask, struct al_client *client, bool changes);
/* Its number, to be put into the frame. */
uint32_t ali_ask_number(struct ali_ask *ask);
/* Asks, and waits for the whole answer; `put` is what encoding the frame gave. Sets the text of
 * al_last_error(). */
int ali_ask_end(struct ali_ask *ask, int put);
/* The next row of the answer, which must be of this type; false: there is none. */
bool ali_ask_row(struct ali_ask *ask, unsigned type, struct al_frame *ret_frame);
void ali_ask_deinit(struct ali_ask *ask);

/* The optional fields of a message: what stands behind `last`, which is its last field. */
static inline struct al_str ali_ext_behind(struct al_str body, struct al_str last)
{
    const uint8_t *end = last.p + last.n;

    return al_str_of(end, (uint32_t)(body.p + body.n - end));
}

/* An attempts_log: how many attempts, and bytes for their texts with NUL. -AL_E_PROTOCOL. */
int ali_attempts_measure(struct al_str log, size_t *ret_count, size_t *ret_text_size);
/* Fills in `count` attempts with texts at *room, which is moved on. The log was measured. */
void ali_attempts_fill(struct al_str log, struct al_attempt *attempts, uint8_t **room);

#endif
