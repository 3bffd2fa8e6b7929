/* health.c - key figures, alerts and health of the node, computed by the node itself.
 *
 * Every ten seconds, and when somebody asks, the conditions are looked at. Rates "now" are those of
 * the last minute: differences of counters that were noted every ten seconds, so that nothing is
 * done per message. An alert whose condition must hold for a while is pending first. The health of
 * the node is that of its worst component; every change is a notice for the log. */
#include "core/internal.h"

#define TICK_MS           10000u
#define DELIVERY_MIN_PPM  990000u          /* delivery rate < 99 % ... */
#define DELIVERY_HOLD_MS  (5u * 60 * 1000) /* ... for five minutes */
#define RECOVERY_LIMIT_MS 60000u
#define FULL_SHOWN_MS     60000u /* a refusal because of a limit degrades for so long */
#define PPM_NONE          UINT32_MAX

static const char *const component_names[ALI_COMPONENT_COUNT] = {
    "node", "disk", "limits", "destinations", "delivery", "order", "recovery"};
static const char *const alert_names[ALI_ALERT_COUNT] = {"delivery_rate", "recovery_time",
                                                         "ordering_violation"};
static const char *const alert_conditions[ALI_ALERT_COUNT] = {
    "less than 99 % of the deliveries that ended in the last minute ended well, for 5 minutes",
    "the last start took more than 60 s until the node served",
    "a message was given out before an earlier one of its stream"};

/* ---- figures ----------------------------------------------------------------------------- */

static uint32_t ppm(uint64_t part, uint64_t whole)
{
    return whole ? (uint32_t)(part * 1000000 / whole) : PPM_NONE;
}

static uint32_t recent_ppm(const struct al_node *node)
{
    const struct ali_health *health = &node->v.health;
    unsigned oldest = (health->at + 1) % ALI_HEALTH_SLOTS;
    uint64_t good = node->v.counters.delivered - health->delivered[oldest];
    uint64_t bad = node->v.counters.failed - health->failed[oldest];

    return ppm(good, good + bad);
}

void ali_health_order(struct al_node *node)
{
    node->v.health.violations++;
}

void ali_health_refused(struct al_node *node, int error)
{
    if (error == -AL_E_INBOX_FULL || error == -AL_E_DLQ_FULL || error == -AL_E_DEDUP_FULL)
        node->v.health.full_until_ms = ali_mono_ms(node) + FULL_SHOWN_MS;
}

void al_node_set_recovery_ms(struct al_node *node, uint64_t recovery_ms)
{
    node->v.health.recovery_ms = recovery_ms;
}

/* ---- alerts ------------------------------------------------------------------------------ */

static void judge_alert(struct al_node *node, unsigned alert, bool holds, uint32_t hold_ms)
{
    struct ali_alert *a = &node->v.health.alerts[alert];
    uint64_t now = ali_mono_ms(node);
    uint8_t state = ALI_ALERT_OK;

    if (holds && a->state == ALI_ALERT_OK)
        a->from_ms = now;
    if (holds)
        state = now - a->from_ms >= hold_ms ? ALI_ALERT_FIRING : ALI_ALERT_PENDING;
    if (state == a->state)
        return;
    if (state == ALI_ALERT_FIRING || a->state == ALI_ALERT_FIRING)
        ali_effect_notice(node,
                          state == ALI_ALERT_FIRING ? AL_NOTICE_ALERT_FIRING : AL_NOTICE_ALERT_OVER,
                          al_str_c(alert_names[alert]), al_str_c(alert_conditions[alert]), 0);
    a->state = state;
    a->since_ms = node->v.now.wall_ms;
}

/* ---- components -------------------------------------------------------------------------- */

static void judge_component(struct al_node *node, unsigned component, uint8_t state,
                            const char *reason)
{
    struct ali_component *c = &node->v.health.components[component];

    c->reason = state == ALI_HEALTH_OK ? "" : reason;
    if (c->state == state)
        return;
    c->state = state;
    c->since_ms = node->v.now.wall_ms;
    ali_effect_notice(node, AL_NOTICE_HEALTH_CHANGED, al_str_c(component_names[component]),
                      al_str_c(state == ALI_HEALTH_OK ? "ok" : reason), state);
}

static void judge(struct al_node *node)
{
    struct ali_health *health = &node->v.health;
    uint32_t recent = recent_ppm(node);
    uint8_t worst = ALI_HEALTH_OK;
    const char *reason = "";

    judge_alert(node, ALI_ALERT_DELIVERY, recent != PPM_NONE && recent < DELIVERY_MIN_PPM,
                DELIVERY_HOLD_MS);
    judge_alert(node, ALI_ALERT_RECOVERY, health->recovery_ms > RECOVERY_LIMIT_MS, 0);
    judge_alert(node, ALI_ALERT_ORDER, health->violations > 0, 0);
    judge_component(node, ALI_COMPONENT_DISK, node->v.disk_full ? ALI_HEALTH_BAD : ALI_HEALTH_OK,
                    "the disk is full: new messages are refused");
    judge_component(node, ALI_COMPONENT_LIMITS,
                    ali_mono_ms(node) < health->full_until_ms ? ALI_HEALTH_DEGRADED : ALI_HEALTH_OK,
                    "messages were refused: an inbox, a dead-letter queue or the store of "
                    "idempotency keys is full");
    judge_component(node, ALI_COMPONENT_DESTINATIONS,
                    node->v.breakers_open ? ALI_HEALTH_DEGRADED : ALI_HEALTH_OK,
                    "a circuit breaker is open: see 'agentlink breakers'");
    judge_component(node, ALI_COMPONENT_DELIVERY,
                    health->alerts[ALI_ALERT_DELIVERY].state, /* the same steps */
                    "less than 99 % of the deliveries of the last minute ended well");
    judge_component(node, ALI_COMPONENT_ORDER, health->violations ? ALI_HEALTH_BAD : ALI_HEALTH_OK,
                    alert_conditions[ALI_ALERT_ORDER]);
    judge_component(node, ALI_COMPONENT_RECOVERY,
                    health->alerts[ALI_ALERT_RECOVERY].state ? ALI_HEALTH_DEGRADED : ALI_HEALTH_OK,
                    alert_conditions[ALI_ALERT_RECOVERY]);
    for (unsigned i = ALI_COMPONENT_NODE + 1; i < ALI_COMPONENT_COUNT; i++) {
        if (health->components[i].state > worst) {
            worst = health->components[i].state;
            reason = health->components[i].reason;
        }
    }
    judge_component(node, ALI_COMPONENT_NODE, worst, reason);
}

int ali_health_timer(struct al_node *node)
{
    struct ali_health *health = &node->v.health;

    judge(node);
    ali_letter_log_turn(node);
    health->at = (health->at + 1) % ALI_HEALTH_SLOTS;
    health->delivered[health->at] = node->v.counters.delivered;
    health->failed[health->at] = node->v.counters.failed;
    ali_timer_set(node, ALI_TIMER_HEALTH, 0, TICK_MS);
    return 0;
}

/* ---- questions --------------------------------------------------------------------------- */

int ali_handle_health_get(struct al_node *node, struct ali_conn *conn,
                          const struct al_msg_health_get *m)
{
    const struct ali_health *health = &node->v.health;
    const struct ali_counters *c = &node->v.counters;
    struct al_msg_figures figures = {
        .request = m->request,
        .delivery_ppm = ppm(c->delivered, c->delivered + c->failed),
        .recent_delivery_ppm = recent_ppm(node),
        .retry_ppm = ppm(c->retried, c->delivered + c->failed + c->retried),
        .duplicate_ppm = ppm(c->duplicates, c->accepted + c->duplicates),
        .recovery_ms = health->recovery_ms,
        .ordering_violations = health->violations,
        .breakers_open = node->v.breakers_open};

    judge(node);
    ALI_SEND(node, conn->number, figures, &figures);
    for (unsigned i = 0; i < ALI_COMPONENT_COUNT; i++) {
        const struct ali_component *component = &health->components[i];
        struct al_msg_health_row row = {.request = m->request,
                                        .state = component->state,
                                        .since_ms = component->since_ms,
                                        .component = al_str_c(component_names[i]),
                                        .reason = al_str_c(component->reason)};

        ALI_SEND(node, conn->number, health_row, &row);
    }
    for (unsigned i = 0; i < ALI_ALERT_COUNT; i++) {
        struct al_msg_alert_row row = {.request = m->request,
                                       .state = health->alerts[i].state,
                                       .since_ms = health->alerts[i].since_ms,
                                       .alert = al_str_c(alert_names[i]),
                                       .condition = al_str_c(alert_conditions[i])};

        ALI_SEND(node, conn->number, alert_row, &row);
    }
    ali_send_done(node, conn, m->request, 0, ALI_COMPONENT_COUNT + ALI_ALERT_COUNT);
    return 0;
}
