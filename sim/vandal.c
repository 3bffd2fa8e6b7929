/* vandal.c - a client that does not follow the protocol: garbage, senseless and foreign frames.
 *
 * Whatever it does, it may only hurt itself. It acts as another user half of the time, so it also
 * tries what it is not allowed to. */
#include "base/errors.h"
#include "roles.h"
#include <stdlib.h>
#include <string.h>

static void vandal_init(struct sim *sim, struct sim_client *client)
{
    (void)sim;
    client->uid = SIM_FOREIGN_UID;
}

static void vandal_free(struct sim *sim, struct sim_client *client)
{
    (void)sim;
    (void)client;
}

static void nothing(struct sim *sim, struct sim_client *client)
{
    (void)sim;
    (void)client;
}

static void send_bytes(struct sim *sim, struct sim_client *client, uint8_t type, size_t n)
{
    struct al_buf *out = sim_client_out(sim, client);
    uint8_t bytes[96];

    if (!out)
        return;
    for (size_t i = 0; i < sizeof(bytes); i += 8)
        al_put64(bytes + i, sim_rand_next(&sim->rand));
    if (type) { /* a header that fits, with a body that does not */
        al_put32(bytes, (uint32_t)(n - AL_WIRE_HEADER_SIZE));
        al_put32(bytes + 4, type);
    }
    al_buf_put(out, bytes, n);
    sim_client_sent(sim, client);
}

/* Frames that are well formed and make no sense, or are not allowed. */
static void send_senseless(struct sim *sim, struct sim_client *client)
{
    uint64_t what = sim_rand_below(&sim->rand, 9);
    uint32_t stream = (uint32_t)sim_rand_below(&sim->rand, 20), agent;
    uint64_t seq = sim_rand_below(&sim->rand, 40);
    struct al_msg_ack ack = {.stream = stream, .seq = seq, .status = 1};
    struct al_msg_nack nack = {.stream = stream, .seq = seq};
    struct al_msg_attach attach = {
        .request = 1000, .credit = 5, .flags = AL_ATTACH_TAKEOVER | AL_ATTACH_NO_CREATE};
    struct al_msg_dlq_purge purge = {.request = 1001};
    struct al_msg_dlq_redrive redrive = {.request = 1002};
    struct al_msg_agent_remove remove = {.request = 1003, .flags = 1};
    struct al_msg_channel_open channel = {.channel = 1, .producer = 1, .first_pseq = 1};
    struct al_msg_credit credit = {.credit = 3};
    struct al_msg_producer_open producer = {.request = 1004, .producer = 1, .epoch = 1};
    char name[16];

    agent = (uint32_t)sim_rand_below(&sim->rand, sim->profile.agents);
    sim_agent_name(agent, name);
    ack.agent = nack.agent = credit.agent = (uint32_t)sim_rand_below(&sim->rand, 12);
    attach.agent = purge.agent = redrive.agent = remove.name = al_str_c(name);
    channel.from = channel.to = al_str_c(name);
    switch (what) {
    case 0:
        SIM_PUT(sim, client, ack, &ack);
        break;
    case 1:
        SIM_PUT(sim, client, nack, &nack);
        break;
    case 2:
        SIM_PUT(sim, client, attach, &attach);
        break;
    case 3:
        SIM_PUT(sim, client, dlq_purge, &purge);
        break;
    case 4:
        SIM_PUT(sim, client, dlq_redrive, &redrive);
        break;
    case 5:
        SIM_PUT(sim, client, agent_remove, &remove);
        break;
    case 6:
        SIM_PUT(sim, client, channel_open, &channel);
        break;
    case 7:
        SIM_PUT(sim, client, credit, &credit);
        break;
    default:
        SIM_PUT(sim, client, producer_open, &producer);
    }
}

static void vandal_frame(struct sim *sim, struct sim_client *client, const struct al_frame *frame)
{
    struct al_msg_attached attached;
    struct al_msg_done done;

    switch (frame->type) {
    case AL_MSG_ATTACHED: /* noise may attach to a name of its own */
        if (SIM_GET(sim, frame, attached, &attached) && attached.request == 1000)
            sim_fail(sim, "a client of another user gets ATTACHED");
        break;
    case AL_MSG_DELIVER:
    case AL_MSG_ACKED:
    case AL_MSG_CHANNEL_READY:
    case AL_MSG_PRODUCER_READY:
        sim_fail(sim, "a client of another user gets %s", al_msg_name(frame->type));
        break;
    case AL_MSG_DONE:
        /* Noise can happen to be a question, and questions are free; these three are not. */
        if (SIM_GET(sim, frame, done, &done) && done.code == 0 && done.request >= 1001 &&
            done.request <= 1003)
            sim_fail(sim, "a client of another user may administer (request %u)", done.request);
        break;
    default:
        break;
    }
    (void)client;
}

static void vandal_wake(struct sim *sim, struct sim_client *client)
{
    if (!sim->faults_on || !sim->profile.garbage_frame) {
        sim_client_wake(sim, client, sim_delay(sim, 500000));
        return;
    }
    if (client->ready && sim_chance(sim, sim->profile.garbage_frame)) {
        uint64_t how = sim_rand_below(&sim->rand, 10);
        size_t n;
        uint8_t type;

        sim->tally.fault[SIM_FAULT_GARBAGE_FRAME]++;
        if (how < 7) {
            send_senseless(sim, client);
        } else {
            n = (size_t)sim_rand_range(&sim->rand, AL_WIRE_HEADER_SIZE, 90);
            type = (uint8_t)sim_rand_below(&sim->rand, 0x54);
            send_bytes(sim, client, how == 9 ? 0 : type, n);
        }
    }
    if (client->conn != SIM_NONE && sim_chance(sim, 30)) {
        sim_net_close_by_client(sim, client);
        sim_client_disconnected(sim, client);
        return;
    }
    sim_client_wake(sim, client, sim_delay(sim, 15000));
}

const struct sim_role_ops sim_vandal_ops = {
    .init = vandal_init,
    .free = vandal_free,
    .ready = nothing,
    .frame = vandal_frame,
    .disconnected = nothing,
    .crashed = nothing,
    .wake = vandal_wake,
};
