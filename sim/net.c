/* net.c - connections between clients and the node: byte streams with a will of their own.
 *
 * Each direction is a queue of bytes under way. They arrive in order, in pieces of any size, at any
 * time, or, when the connection breaks, not at all. The two sides learn at different times that it
 * broke. */
#include "sim.h"
#include <assert.h>
#include <stdlib.h>

static void deliver_up(struct sim *sim, uint32_t who, uint32_t generation);
static void deliver_down(struct sim *sim, uint32_t who, uint32_t generation);

static void reset_conn(struct sim_conn *conn)
{
    al_buf_clear(&conn->up.bytes);
    al_buf_clear(&conn->down.bytes);
    al_buf_clear(&conn->in);
    al_buf_clear(&conn->held);
    al_buf_clear(&conn->late);
    conn->gate_count = 0;
    conn->up.scheduled = conn->down.scheduled = conn->up.eof = conn->down.eof = false;
    conn->node_closing = conn->opened = conn->broken = false;
    conn->generation++; /* what is scheduled for it is void */
}

static void init_bufs(struct sim_conn *conn)
{
    if (conn->in.alloc)
        return;
    al_buf_init(&conn->up.bytes, &sim_heap);
    al_buf_init(&conn->down.bytes, &sim_heap);
    al_buf_init(&conn->in, &sim_heap);
    al_buf_init(&conn->held, &sim_heap);
    al_buf_init(&conn->late, &sim_heap);
}

bool sim_net_connect(struct sim *sim, struct sim_client *client)
{
    uint32_t n = 0;

    if (!sim->driver.up)
        return false;
    while (n < SIM_CONNS && (sim->conns[n].client_side || sim->conns[n].node_side))
        n++;
    if (n == SIM_CONNS)
        return false;
    init_bufs(&sim->conns[n]);
    reset_conn(&sim->conns[n]);
    sim->conns[n].client = client->index;
    sim->conns[n].client_side = sim->conns[n].node_side = true;
    client->conn = n;
    client->conn_generation = sim->conns[n].generation;
    sim_note(sim, "client % connects, connection %", client->index, n, 0);
    sim_driver_open(sim, n);
    return client->conn == n;
}

static size_t piece_size(struct sim *sim, size_t n)
{
    size_t most = sim->profile.chunk && sim->faults_on ? sim->profile.chunk : n;

    if (most > n)
        most = n;
    return sim_chance(sim, 400) ? (size_t)sim_rand_range(&sim->rand, 1, most) : most;
}

static uint64_t net_delay(struct sim *sim)
{
    uint64_t ns = sim_delay(sim, sim->profile.net_us);

    if (sim->faults_on && sim->profile.stall_ms && sim_rand_below(&sim->rand, 3000) == 0) {
        sim->tally.fault[SIM_FAULT_STALLED_NET]++;
        ns += sim_rand_below(&sim->rand, 800) * AL_NS_PER_MS;
    }
    return ns;
}

void sim_net_kick_up(struct sim *sim, uint32_t n)
{
    struct sim_conn *conn = &sim->conns[n];

    if (conn->broken || conn->up.scheduled || !conn->node_side ||
        (conn->up.bytes.size == 0 && !conn->up.eof))
        return;
    conn->up.scheduled = true;
    sim_after(sim, net_delay(sim), deliver_up, n, conn->generation);
}

void sim_net_kick_down(struct sim *sim, uint32_t n)
{
    struct sim_conn *conn = &sim->conns[n];

    if (conn->broken || conn->down.scheduled || !conn->client_side ||
        (conn->down.bytes.size == 0 && !conn->down.eof))
        return;
    conn->down.scheduled = true;
    sim_after(sim, net_delay(sim), deliver_down, n, conn->generation);
}

/* The node learns that the other side is gone. */
static void end_node_side(struct sim *sim, uint32_t n)
{
    struct sim_conn *conn = &sim->conns[n];

    if (!conn->node_side)
        return;
    conn->node_side = false;
    sim_driver_closed(sim, n);
}

static void deliver_up(struct sim *sim, uint32_t n, uint32_t generation)
{
    struct sim_conn *conn = &sim->conns[n];
    size_t size;

    if (conn->generation != generation || !conn->node_side || conn->broken)
        return;
    conn->up.scheduled = false;
    if (conn->up.bytes.size == 0) {
        end_node_side(sim, n);
        return;
    }
    size = piece_size(sim, conn->up.bytes.size);
    al_buf_put(&conn->in, conn->up.bytes.data, size);
    al_buf_drop(&conn->up.bytes, size);
    sim_driver_bytes(sim, n);
    if (conn->generation == generation)
        sim_net_kick_up(sim, n);
}

static void end_client_side(struct sim *sim, uint32_t n)
{
    struct sim_conn *conn = &sim->conns[n];
    struct sim_client *client = &sim->clients[conn->client];

    if (!conn->client_side)
        return;
    conn->client_side = false;
    assert(client->conn == n);
    client->conn = SIM_NONE;
    sim_note(sim, "client % sees its connection % closed", client->index, n, 0);
    sim_client_disconnected(sim, client);
}

static void deliver_down(struct sim *sim, uint32_t n, uint32_t generation)
{
    struct sim_conn *conn = &sim->conns[n];
    struct al_buf piece;
    size_t size;

    if (conn->generation != generation || !conn->client_side || conn->broken)
        return;
    conn->down.scheduled = false;
    if (conn->down.bytes.size == 0) {
        end_client_side(sim, n);
        if (conn->generation == generation && conn->node_side)
            end_node_side(sim, n);
        return;
    }
    size = piece_size(sim, conn->down.bytes.size);
    al_buf_init(&piece, &sim_heap);
    al_buf_put(&piece, conn->down.bytes.data, size);
    al_buf_drop(&conn->down.bytes, size);
    sim_client_bytes(sim, &sim->clients[conn->client], piece.data, piece.size);
    al_buf_deinit(&piece);
    if (conn->generation == generation)
        sim_net_kick_down(sim, n);
}

/* ---- ends -------------------------------------------------------------------------------- */

static void learn_node(struct sim *sim, uint32_t n, uint32_t generation)
{
    if (sim->conns[n].generation == generation)
        end_node_side(sim, n);
}

static void learn_client(struct sim *sim, uint32_t n, uint32_t generation)
{
    if (sim->conns[n].generation == generation)
        end_client_side(sim, n);
}

void sim_net_break(struct sim *sim, uint32_t n)
{
    struct sim_conn *conn = &sim->conns[n];
    uint64_t delay;

    sim_note(sim, "connection % breaks", n, 0, 0);
    al_buf_clear(&conn->up.bytes);
    al_buf_clear(&conn->down.bytes);
    conn->broken = true;
    delay = sim_delay(sim, sim_chance(sim, 200) ? 200000 : 500);
    sim_after(sim, delay, learn_node, n, conn->generation);
    delay = sim_delay(sim, sim_chance(sim, 200) ? 200000 : 500);
    sim_after(sim, delay, learn_client, n, conn->generation);
}

void sim_net_close_by_client(struct sim *sim, struct sim_client *client)
{
    uint32_t n = client->conn;
    struct sim_conn *conn;

    if (n == SIM_NONE)
        return;
    conn = &sim->conns[n];
    conn->client_side = false;
    client->conn = SIM_NONE;
    client->ready = false;
    conn->up.eof = true;
    al_buf_clear(&conn->down.bytes);
    sim_net_kick_up(sim, n);
}

void sim_net_close_by_node(struct sim *sim, uint32_t n)
{
    struct sim_conn *conn = &sim->conns[n];

    if (!conn->node_side)
        return;
    conn->down.eof = true;
    sim_net_kick_down(sim, n);
    end_node_side(sim, n);
}

void sim_net_node_gone(struct sim *sim)
{
    for (uint32_t n = 0; n < SIM_CONNS; n++) {
        struct sim_conn *conn = &sim->conns[n];

        if (!conn->node_side)
            continue;
        conn->node_side = false;
        al_buf_clear(&conn->up.bytes);
        al_buf_clear(&conn->in);
        al_buf_clear(&conn->held);
        conn->gate_count = 0;
        conn->down.eof = true; /* what had left the node before still arrives */
        sim_net_kick_down(sim, n);
    }
}

void sim_net_free(struct sim *sim)
{
    for (uint32_t n = 0; n < SIM_CONNS; n++) {
        struct sim_conn *conn = &sim->conns[n];

        if (!conn->in.alloc)
            continue;
        al_buf_deinit(&conn->up.bytes);
        al_buf_deinit(&conn->down.bytes);
        al_buf_deinit(&conn->in);
        al_buf_deinit(&conn->held);
        al_buf_deinit(&conn->late);
        free(conn->gates);
    }
}
