/* missing.c - what a consumer misses of its deliveries, where its connections lose some.
 *
 * Written apart from the library: of each stream it keeps up to where everything has come, and asks
 * for what is missing before the next one. Its handlers wait for that (consumer.c). */
#include "consumer.h"
#include "roles.h"
#include <string.h>

#define ASK_MS     100u /* before it is asked again for the same; doubles … */
#define ASK_MAX_MS 1600u
#define GIVE_UP_MS 3000u

struct come *sim_come_at(struct consumer *c, uint32_t stream)
{
    if (stream >= c->come_cap) {
        uint32_t cap = stream * 2 + 64;

        c->come = sim_xrealloc(c->come, cap * sizeof(*c->come));
        memset(c->come + c->come_cap, 0, (cap - c->come_cap) * sizeof(*c->come));
        c->come_cap = cap;
    }
    return &c->come[stream];
}

void sim_come_forget(struct consumer *c)
{
    if (c->come_cap)
        memset(c->come, 0, c->come_cap * sizeof(*c->come));
}

void sim_come_void(struct consumer *c, uint32_t stream, uint64_t seq)
{
    struct come *come = sim_come_at(c, stream);

    if (come->high >= seq)
        come->high = seq - 1;
    if (come->end >= seq)
        come->end = seq - 1;
    if (come->end <= come->high)
        come->end = 0;
}

void sim_come_done(struct consumer *c, const struct delivery *d)
{
    struct come *come = sim_come_at(c, d->stream);

    if (d->lease > come->done_lease)
        come->done_lease = d->lease;
}

static void ask(struct sim *sim, struct sim_client *client, uint32_t stream, uint64_t start,
                uint64_t end)
{
    struct al_msg_gap_nack m = {.number = stream, .start = start, .end = end};

    sim_note(sim, "client % misses % to %", client->index, start, end);
    SIM_PUT(sim, client, gap_nack, &m);
}

static void begin_gap(const struct sim *sim, struct consumer *c, struct come *come)
{
    come->begun_ns = sim->mono_ns;
    come->pause_ms = ASK_MS;
    come->ask_ns = sim->mono_ns + ASK_MS * AL_NS_PER_MS;
    if (come->ask_ns < c->ask_ns)
        c->ask_ns = come->ask_ns;
}

/* Something has come: up to where is everything here now? */
static void close_up(struct sim *sim, struct consumer *c, uint32_t stream)
{
    struct come *come = sim_come_at(c, stream);
    uint64_t high = come->high;

    for (uint32_t i = 0; i < c->count; i++) {
        const struct delivery *d = &c->queue[i];

        if (d->stream == stream && d->after <= come->high && d->seq > come->high)
            come->high = d->seq;
    }
    if (come->end && come->high >= come->end) {
        sim->tally.reached[SIM_REACHED_HEALED]++;
        come->end = 0;
    } else if (come->end && come->high != high) {
        begin_gap(sim, c, come);
    }
}

/* What has come follows something that has not. */
static void miss(struct sim *sim, struct sim_client *client, const struct delivery *d)
{
    struct consumer *c = client->role_state;
    struct come *come = sim_come_at(c, d->stream);
    uint64_t start = (come->end > come->high ? come->end : come->high) + 1;

    if (!come->end)
        begin_gap(sim, c, come);
    if (d->after < start)
        return;
    come->end = d->after;
    ask(sim, client, d->stream, start, d->after);
}

void sim_come_ask_again(struct sim *sim, struct sim_client *client)
{
    struct consumer *c = client->role_state;
    uint64_t next_ns = UINT64_MAX;

    if (sim->mono_ns < c->ask_ns)
        return;
    for (uint32_t n = 0; n < c->come_cap && client->conn != SIM_NONE; n++) {
        struct come *come = &c->come[n];

        if (come->end && come->ask_ns < next_ns)
            next_ns = come->ask_ns;
        if (!come->end || sim->mono_ns < come->ask_ns)
            continue;
        if (sim->mono_ns >= come->begun_ns + GIVE_UP_MS * AL_NS_PER_MS) {
            sim_net_break(sim, client->conn);
            sim_come_forget(c);
            return;
        }
        ask(sim, client, n, come->high + 1, come->end);
        if (come->pause_ms < ASK_MAX_MS)
            come->pause_ms *= 2;
        come->ask_ns = sim->mono_ns + come->pause_ms * AL_NS_PER_MS;
    }
    c->ask_ns = next_ns; /* or sooner: then this looks in vain once more */
}

void sim_come_add(struct sim *sim, struct sim_client *client, const struct delivery *d)
{
    struct consumer *c = client->role_state;
    struct come *come = sim_come_at(c, d->stream);
    struct delivery copy = *d;

    if (!sim->profile.lost_delivery)
        return;
    if (copy.after <= come->high && copy.seq > come->high)
        come->high = copy.seq;
    close_up(sim, c, copy.stream);
    if (copy.seq > come->high)
        miss(sim, client, &copy);
}

void sim_come_ask_beyond(struct sim *sim, struct sim_client *client)
{
    struct consumer *c = client->role_state;
    uint32_t n = c->come_cap ? (uint32_t)sim_rand_below(&sim->rand, c->come_cap) : 0;

    for (uint32_t i = 0; i < c->come_cap; i++, n = (n + 1) % c->come_cap) {
        if (!c->come[n].high || c->come[n].end)
            continue;
        ask(sim, client, n, c->come[n].high + 1, c->come[n].high + 3);
        return;
    }
}
