/* api_health.c - key figures, health and alerts of the node. */
#include "base/errors.h"
#include "client/ask.h"

static double rate_of(uint32_t ppm)
{
    return ppm == UINT32_MAX ? -1 : ppm / 1e6;
}

static const char *text_at(char room[256], struct al_str text)
{
    uint8_t *at = (uint8_t *)room;

    return ali_text_copy(&at, text);
}

static int give_component(const struct al_msg_health_row *row, al_health_fn *fn, void *ctx)
{
    char name[256], reason[256];
    struct al_health_info info = {.component = text_at(name, row->component),
                                  .state = row->state,
                                  .since_ms = row->since_ms,
                                  .reason = text_at(reason, row->reason)};

    return fn ? fn(ctx, &info) : 0;
}

static int give_alert(const struct al_msg_alert_row *row, al_alert_fn *fn, void *ctx)
{
    char name[256], condition[256];
    struct al_alert_info info = {.alert = text_at(name, row->alert),
                                 .state = row->state,
                                 .since_ms = row->since_ms,
                                 .condition = text_at(condition, row->condition)};

    return fn ? fn(ctx, &info) : 0;
}

int al_health_get(struct al_client *client, struct al_figures_info *ret_figures,
                  al_health_fn *component, al_alert_fn *alert, void *ctx)
{
    struct al_msg_health_get m;
    struct al_msg_figures figures = {0};
    struct al_msg_health_row health = {0};
    struct al_msg_alert_row firing = {0};
    struct al_frame frame;
    struct ali_ask ask;
    int r;

    ali_ask_begin(&ask, client, false);
    m.request = ali_ask_number(&ask);
    r = ali_ask_end(&ask, al_put_health_get(&ask.request.frame, &m));
    if (r == 0 &&
        (!ali_ask_row(&ask, AL_MSG_FIGURES, &frame) || al_decode_figures(frame.body, &figures) < 0))
        r = ali_client_failed(-AL_E_PROTOCOL, NULL);
    if (r == 0)
        *ret_figures =
            (struct al_figures_info){.delivery_rate = rate_of(figures.delivery_ppm),
                                     .recent_delivery_rate = rate_of(figures.recent_delivery_ppm),
                                     .retry_rate = rate_of(figures.retry_ppm),
                                     .duplicate_rate = rate_of(figures.duplicate_ppm),
                                     .recovery_ms = figures.recovery_ms,
                                     .ordering_violations = figures.ordering_violations,
                                     .breakers_open = figures.breakers_open};
    while (r == 0 && ali_ask_row(&ask, AL_MSG_HEALTH_ROW, &frame))
        r = al_decode_health_row(frame.body, &health) < 0 ? ali_client_failed(-AL_E_PROTOCOL, NULL)
                                                          : give_component(&health, component, ctx);
    while (r == 0 && ali_ask_row(&ask, AL_MSG_ALERT_ROW, &frame))
        r = al_decode_alert_row(frame.body, &firing) < 0 ? ali_client_failed(-AL_E_PROTOCOL, NULL)
                                                         : give_alert(&firing, alert, ctx);
    ali_ask_deinit(&ask);
    return r;
}
