/* warden.c - the client that makes the rules of the permissions; it is root's.
 *
 * Some of the simulated agents live in a namespace of their own: before the first rule lets
 * everybody talk to everybody no other client begins. In some seeds the rules then change all the
 * time, that one included; when the load is over all others go and it comes back. */
#include "base/errors.h"
#include "roles.h"
#include <stdlib.h>
#include <string.h>

#define RULES 64u

struct warden {
    uint32_t request; /* under way, 0: none */
    bool listing;     /* it is the list */
    bool listed;      /* what stands below is what the node has */
    bool is_open;     /* everybody may talk to everybody */
    uint64_t open_rule, rules[RULES];
    uint32_t count; /* of the others */
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

/* ---- questions --------------------------------------------------------------------------- */

static uint32_t begin(struct sim_client *client, bool listing)
{
    struct warden *w = client->role_state;

    w->listing = listing;
    w->listed = false;
    return w->request = ++client->next_request;
}

static void open_all(struct sim *sim, struct sim_client *client)
{
    struct al_msg_acl_set m = {.request = begin(client, false),
                               .effect = 1,
                               .actions = 7,
                               .subject = al_str_c("**"),
                               .object = al_str_c("**")};

    SIM_PUT(sim, client, acl_set, &m);
}

static void list(struct sim *sim, struct sim_client *client)
{
    struct warden *w = client->role_state;
    struct al_msg_acl_list m = {.request = begin(client, true)};

    w->count = 0;
    w->is_open = false;
    SIM_PUT(sim, client, acl_list, &m);
}

static void take_away(struct sim *sim, struct sim_client *client, uint64_t rule)
{
    struct al_msg_acl_remove m = {.request = begin(client, false), .rule = rule};

    SIM_PUT(sim, client, acl_remove, &m);
}

static const char *pick(struct sim *sim, const char *const *texts, size_t count)
{
    return texts[sim_rand_below(&sim->rand, count)];
}
#define PICK(sim, texts) pick(sim, texts, sizeof(texts) / sizeof((texts)[0]))

/* Some rule; also of an agent that passes on what it may. */
static void add(struct sim *sim, struct sim_client *client)
{
    static const char *const subjects[] = {"a0",     "a1",     "lab/*",  "*",  "*/*", "lab/a3",
                                           "role:x", "role:y", "role:y", "a2", "a1"};
    static const char *const objects[] = {"a0",   "a1",     "lab/*",   "*",
                                          "*/a2", "lab/a3", "group:*", "**"};
    static const char *const roles[] = {"role:x", "role:y", "role:z"};
    static const char *const kinds[] = {"", "", "task", "sim.*", "a.**", "note/short"};
    static const char *const agents[] = {"a0", "a1", "lab/a3"};
    struct al_msg_acl_set m = {.effect = (uint8_t)sim_rand_range(&sim->rand, 1, 3),
                               .subject = al_str_c(PICK(sim, subjects))};

    if (m.effect == 3 && sim_chance(sim, 500)) { /* everybody is in x, and that in y */
        bool first = sim_chance(sim, 500);

        m.subject = al_str_c(first ? "**" : "role:x");
        m.object = al_str_c(first ? "role:x" : "role:y");
    } else if (m.effect == 3) {
        m.object = al_str_c(PICK(sim, roles));
    } else {
        m.object = al_str_c(PICK(sim, objects));
        m.kind = al_str_c(PICK(sim, kinds));
        m.actions = 7;
    }
    if (m.effect == 1)
        m.hops = (uint8_t)sim_rand_below(&sim->rand, 3);
    if (m.effect == 1 && sim_chance(sim, 400))
        m.by = al_str_c(PICK(sim, agents));
    if (m.effect < 3 && sim_chance(sim, 400)) { /* lab/a3 may, passes it on, may not any more */
        bool given = m.effect == 1 && !m.by.n;

        m.subject = al_str_c(m.by.n ? "*" : "lab/a3");
        m.object = al_str_c(given ? "**" : "lab/*");
        m.kind = al_str_c("");
        m.hops = given ? 2 : 0;
        m.by = al_str_c(m.by.n ? "lab/a3" : "");
    }
    if (sim_chance(sim, 300))
        m.expire_ms = sim_now(sim).wall_ms + sim_rand_range(&sim->rand, 5, 500);
    m.request = begin(client, false);
    SIM_PUT(sim, client, acl_set, &m);
}

static void change(struct sim *sim, struct sim_client *client)
{
    struct warden *w = client->role_state;
    bool active = sim->profile.rules && sim->load_on && sim->acl_open;
    uint64_t what = sim_rand_below(&sim->rand, 20);

    if (!active && w->count)
        take_away(sim, client, w->rules[0]);
    else if (!w->is_open && (!active || what < 6))
        open_all(sim, client);
    else if (active && what < 8 && w->is_open)
        take_away(sim, client, w->open_rule);
    else if (active && w->count && (what < 12 || w->count > 12))
        take_away(sim, client, w->rules[sim_rand_below(&sim->rand, w->count)]);
    else if (active)
        add(sim, client);
}

/* ---- answers ----------------------------------------------------------------------------- */

static void note_rule(struct warden *w, const struct al_msg_acl_row *row)
{
    if (row->effect == 1 && !row->kind.n && !row->by.n && !row->expire_ms &&
        al_str_eq(row->subject, al_str_c("**")) && al_str_eq(row->object, al_str_c("**"))) {
        w->is_open = true;
        w->open_rule = row->rule;
    } else if (w->count < RULES) {
        w->rules[w->count++] = row->rule;
    }
}

static void warden_ready(struct sim *sim, struct sim_client *client)
{
    struct warden *w = client->role_state;

    w->request = 0;
    w->listed = false;
    sim_client_wake(sim, client, sim_delay(sim, 1000));
}

static void warden_frame(struct sim *sim, struct sim_client *client, const struct al_frame *frame)
{
    struct warden *w = client->role_state;
    union {
        struct al_msg_acl_row row;
        struct al_msg_done done;
    } m;

    if (frame->type == AL_MSG_ACL_ROW && SIM_GET(sim, frame, acl_row, &m.row) &&
        m.row.request == w->request && w->listing)
        note_rule(w, &m.row);
    if (frame->type != AL_MSG_DONE || !SIM_GET(sim, frame, done, &m.done) ||
        m.done.request != w->request)
        return;
    w->request = 0;
    w->listed = w->listing && m.done.code == 0;
    sim->acl_open |= w->listed && w->is_open;
}

static void warden_gone(struct sim *sim, struct sim_client *client)
{
    struct warden *w = client->role_state;

    (void)sim;
    w->request = 0;
    w->listed = false;
}

static void warden_wake(struct sim *sim, struct sim_client *client)
{
    struct warden *w = client->role_state;

    if (sim->acl_open && !sim->profile.rules)
        return;
    if (client->ready && !w->request && !w->listed)
        list(sim, client);
    else if (client->ready && !w->request)
        change(sim, client);
    sim_client_wake(sim, client, sim_delay(sim, 20000));
}

const struct sim_role_ops sim_warden_ops = {warden_init, warden_free, warden_ready, warden_frame,
                                            warden_gone, warden_gone, warden_wake};
