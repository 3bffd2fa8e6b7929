/* agentlink/health.h - key figures, health and alerts of the node, computed by the node itself.
 *
 * Calls behave as those of admin.h. */
#ifndef AGENTLINK_HEALTH_H
#define AGENTLINK_HEALTH_H

#include <agentlink/client.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Key figures since the node's start; a rate is 0 to 1, negative while there is nothing to count.
 */
struct al_figures_info {
    double delivery_rate;         /* deliveries that ended well, of those that ended */
    double recent_delivery_rate;  /* likewise of the last minute */
    double retry_rate;            /* failed attempts, of all attempts that have ended */
    double duplicate_rate;        /* publishes suppressed as duplicates, of all that were taken */
    uint64_t recovery_ms;         /* how long the last start took until the node served */
    uint64_t ordering_violations; /* messages given out before an earlier one of their stream */
    uint64_t breakers_open;       /* circuit breakers that are not closed */
};

/* How a component is. */
enum al_health_state { AL_HEALTH_OK = 0, AL_HEALTH_DEGRADED = 1, AL_HEALTH_UNHEALTHY = 2 };

/* A component; the first, "node", has the state of the worst of the others. */
struct al_health_info {
    const char *component;
    enum al_health_state state;
    uint64_t since_ms;  /* wall clock of the last change, 0: none since the start */
    const char *reason; /* why it is not ok; "" when it is */
};

/* How far an alert is. */
enum al_alert_state {
    AL_ALERT_OK = 0,
    AL_ALERT_PENDING = 1, /* the condition holds, not for long enough yet */
    AL_ALERT_FIRING = 2
};

/* An alert. */
struct al_alert_info {
    const char *alert; /* delivery_rate, recovery_time, ordering_violation */
    enum al_alert_state state;
    uint64_t since_ms;     /* wall clock of the last change, 0: none since the start */
    const char *condition; /* when it fires */
};

/* Called for each component; non-zero ends the list. */
typedef int al_health_fn(void *ctx, const struct al_health_info *component);
/* Called for each alert; non-zero ends the list. */
typedef int al_alert_fn(void *ctx, const struct al_alert_info *alert);
/* Fills in the key figures, then calls `component` for each component and `alert` for each alert;
 * both may be NULL. */
AL_API int al_health_get(struct al_client *client, struct al_figures_info *ret_figures,
                         al_health_fn *component, al_alert_fn *alert, void *ctx);

#ifdef __cplusplus
}
#endif

#endif
