/* warden.c - the client that makes the rules of the permissions; it is root's.
 *
 * Some of the simulated agents live in a namespace of their own: before the first rule lets
 * everybody talk to everybody no other client begins. */
#include "base/errors.h"
#include "roles.h"
#include <stdlib.h>
#include <string.h>

struct warden {
    uint32_t request; /* under way, 0: none */
};

static void warden_init(struct sim *sim, struct sim_client *client)
{
    struct warden *w = sim_xrealloc(NULL, sizeof(*w));

    (void)sim;
    memset(w, 0, sizeof(*w));
    client->role_state = w;
    client->uid = 0;
}

static void warden_free(struct sim *sim, struct sim_client *client)
{
    (void)sim;
    free(client->role_state);
}

static void open_all(struct sim *sim, struct sim_client *client)
{
    struct warden *w = client->role_state;
    struct al_msg_acl_set m = {.request = ++client->next_request,
                               .effect = 1,
                               .actions = 7,
                               .subject = al_str_c("**"),
                               .object = al_str_c("**")};

    w->request = m.request;
    SIM_PUT(sim, client, acl_set, &m);
}

static void warden_ready(struct sim *sim, struct sim_client *client)
{
    struct warden *w = client->role_state;

    w->request = 0;
    sim_client_wake(sim, client, sim_delay(sim, 1000));
}

static void warden_frame(struct sim *sim, struct sim_client *client, const struct al_frame *frame)
{
    struct warden *w = client->role_state;
    struct al_msg_done m;

    if (frame->type != AL_MSG_DONE || !SIM_GET(sim, frame, done, &m) || m.request != w->request)
        return;
    w->request = 0;
    sim->acl_open |= m.code == 0;
}

static void warden_gone(struct sim *sim, struct sim_client *client)
{
    struct warden *w = client->role_state;

    (void)sim;
    w->request = 0;
}

static void warden_wake(struct sim *sim, struct sim_client *client)
{
    struct warden *w = client->role_state;

    if (sim->acl_open)
        return;
    if (client->ready && !w->request)
        open_all(sim, client);
    sim_client_wake(sim, client, sim_delay(sim, 20000));
}

const struct sim_role_ops sim_warden_ops = {warden_init, warden_free, warden_ready, warden_frame,
                                            warden_gone, warden_gone, warden_wake};
