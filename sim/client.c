/* client.c - what all simulated clients share: connecting, hello, frames, waking up, crashing. */
#include "roles.h"
#include <stdlib.h>
#include <string.h>

static const struct sim_role_ops *ops_of(const struct sim_client *client)
{
    switch (client->role) {
    case SIM_PRODUCER:
        return &sim_producer_ops;
    case SIM_CONSUMER:
        return &sim_consumer_ops;
    case SIM_TOOL:
        return &sim_tool_ops;
    case SIM_ENROLLER:
        return &sim_enroller_ops;
    case SIM_GROUPER:
        return &sim_grouper_ops;
    case SIM_SCHEDULER:
        return &sim_scheduler_ops;
    case SIM_COMMITTER:
        return &sim_commits_ops;
    case SIM_HISTORIAN:
        return &sim_historian_ops;
    case SIM_WARDEN:
        return &sim_warden_ops;
    default:
        return &sim_vandal_ops;
    }
}

static void new_instance(struct sim *sim, struct sim_client *client)
{
    uint8_t random[16];

    al_put64(random, sim_mix64(sim->seed * 7 + client->index));
    al_put64(random + 8, sim_mix64(client->life + 1));
    client->instance = al_id_from_random(random);
}

void sim_client_init(struct sim *sim, uint32_t index, enum sim_role role)
{
    struct sim_client *client = &sim->clients[index];

    memset(client, 0, sizeof(*client));
    client->index = index;
    client->role = role;
    client->conn = SIM_NONE;
    client->uid = SIM_UID;
    al_buf_init(&client->in, &sim_heap);
    new_instance(sim, client);
    ops_of(client)->init(sim, client);
    sim_client_wake(sim, client, sim_delay(sim, 3000));
}

void sim_client_free(struct sim *sim, struct sim_client *client)
{
    ops_of(client)->free(sim, client);
    al_buf_deinit(&client->in);
}

struct al_buf *sim_client_out(struct sim *sim, struct sim_client *client)
{
    return client->conn == SIM_NONE ? NULL : &sim->conns[client->conn].up.bytes;
}

void sim_client_sent(struct sim *sim, struct sim_client *client)
{
    sim_net_kick_up(sim, client->conn);
}

static void connect_client(struct sim *sim, struct sim_client *client)
{
    struct al_msg_hello hello = {.magic = AL_WIRE_MAGIC,
                                 .version_min = 1,
                                 .version_max = AL_WIRE_VERSION,
                                 .instance = client->instance,
                                 .client = al_str_c("simulated")};

    if ((!sim->acl_open && client->role != SIM_WARDEN) || !sim_net_connect(sim, client)) {
        sim_client_wake(sim, client, sim_delay(sim, 20000));
        return;
    }
    client->ready = false;
    al_buf_clear(&client->in);
    SIM_PUT(sim, client, hello, &hello);
    sim_client_wake(sim, client, sim_delay(sim, 5000));
    if (client->role != SIM_ENROLLER &&
        sim_chance(sim, 300)) /* a client need not wait for WELCOME */
        ops_of(client)->ready(sim, client);
}

static void wake(struct sim *sim, uint32_t who, uint32_t generation)
{
    struct sim_client *client = &sim->clients[who];

    if (client->life != generation)
        return;
    client->wake_scheduled = false;
    if (client->conn == SIM_NONE)
        connect_client(sim, client);
    else
        ops_of(client)->wake(sim, client);
}

void sim_client_wake(struct sim *sim, struct sim_client *client, uint64_t delay_ns)
{
    if (client->wake_scheduled)
        return;
    client->wake_scheduled = true;
    sim_after(sim, delay_ns, wake, client->index, client->life);
}

void sim_client_disconnected(struct sim *sim, struct sim_client *client)
{
    client->ready = false;
    ops_of(client)->disconnected(sim, client);
    sim_client_wake(sim, client, sim_delay(sim, sim_chance(sim, 200) ? 300000 : 5000));
}

void sim_client_crash(struct sim *sim, struct sim_client *client)
{
    sim_note(sim, "client % crashes", client->index, 0, 0);
    sim_net_close_by_client(sim, client);
    client->ready = false;
    client->life++;
    client->wake_scheduled = false;
    new_instance(sim, client);
    ops_of(client)->crashed(sim, client);
    sim_client_wake(sim, client, sim_delay(sim, 20000));
}

static void welcome(struct sim *sim, struct sim_client *client, const struct al_frame *frame)
{
    struct al_msg_welcome m;

    if (!SIM_GET(sim, frame, welcome, &m))
        return;
    if (m.uid != client->uid || m.version != AL_WIRE_VERSION)
        sim_fail(sim, "WELCOME with uid %u, version %u", m.uid, m.version);
    if (!client->ready)
        ops_of(client)->ready(sim, client);
    client->ready = true;
}

void sim_client_bytes(struct sim *sim, struct sim_client *client, const void *p, size_t n)
{
    uint32_t conn = client->conn, life = client->life;
    struct al_frame frame;
    size_t used = 0;
    int64_t size;

    al_buf_put(&client->in, p, n);
    while (!sim->failed && client->conn == conn && client->life == life) {
        size = al_frame_next(al_str_of(client->in.data + used, client->in.size - used),
                             AL_FRAME_MAX, &frame);
        if (size < 0)
            sim_fail(sim, "client %u receives something that is not a frame", client->index);
        if (size <= 0)
            break;
        used += (size_t)size;
        if (frame.type == AL_MSG_WELCOME)
            welcome(sim, client, &frame);
        else
            ops_of(client)->frame(sim, client, &frame);
    }
    if (client->conn == conn && client->life == life)
        al_buf_drop(&client->in, used);
    else
        al_buf_clear(&client->in);
}
