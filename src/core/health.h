/* health.h - alerts, components and their states: health.c. */
#ifndef AL_CORE_HEALTH_H
#define AL_CORE_HEALTH_H

#include "base/wheel.h"
#include <stdint.h>

/* Which alert. */
enum { ALI_ALERT_DELIVERY, ALI_ALERT_RECOVERY, ALI_ALERT_ORDER, ALI_ALERT_COUNT };
/* Pending: the condition holds, but not for long enough yet. */
enum { ALI_ALERT_OK, ALI_ALERT_PENDING, ALI_ALERT_FIRING };
/* Which component. */
enum {
    ALI_COMPONENT_NODE,
    ALI_COMPONENT_DISK,
    ALI_COMPONENT_LIMITS,
    ALI_COMPONENT_DESTINATIONS,
    ALI_COMPONENT_DELIVERY,
    ALI_COMPONENT_ORDER,
    ALI_COMPONENT_RECOVERY,
    ALI_COMPONENT_COUNT
};
/* Its state. */
enum { ALI_HEALTH_OK, ALI_HEALTH_DEGRADED, ALI_HEALTH_BAD };
#define ALI_HEALTH_SLOTS 6u /* the last minute */
struct ali_alert {
    uint8_t state;
    uint64_t from_ms;  /* mono: the condition holds since */
    uint64_t since_ms; /* wall clock of the last change */
};
struct ali_component {
    uint8_t state;
    uint64_t since_ms; /* wall clock of the last change */
    const char *reason;
};
struct ali_health {
    struct al_timer timer;
    uint64_t delivered[ALI_HEALTH_SLOTS], failed[ALI_HEALTH_SLOTS]; /* counters, every 10 s */
    unsigned at;
    uint64_t violations, recovery_ms;
    uint64_t full_until_ms; /* mono */
    struct ali_alert alerts[ALI_ALERT_COUNT];
    struct ali_component components[ALI_COMPONENT_COUNT];
};

#endif
