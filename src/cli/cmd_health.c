/* cmd_health.c - agentlink health. */
#include "cli/node.h"

struct report {
    struct ali_cli *cli;
    struct ali_table *components, *alerts;
    json_t *component_list, *alert_list;
    bool is_ok;
};

static int add_component(void *ctx, const struct al_health_info *component)
{
    static const char *const words[] = {"ok", "degraded", "unhealthy"};
    struct report *report = ctx;
    const char *word = words[component->state <= AL_HEALTH_UNHEALTHY ? component->state : 2];

    report->is_ok &= component->state == AL_HEALTH_OK;
    json_array_append_new(report->component_list,
                          json_pack("{so ss so so}", "component",
                                    ali_json_text(component->component), "state", word, "since",
                                    ali_json_time(component->since_ms), "reason",
                                    ali_json_text(component->reason)));
    ali_table_text(report->components, component->component);
    ali_table_put(report->components, component->state ? ALI_BAD : ALI_GOOD, al_str_c(word));
    ali_table_text(report->components, *component->reason ? component->reason : "-");
    return 0;
}

static int add_alert(void *ctx, const struct al_alert_info *alert)
{
    static const char *const words[] = {"ok", "pending", "firing"};
    struct report *report = ctx;
    const char *word = words[alert->state <= AL_ALERT_FIRING ? alert->state : 2];

    json_array_append_new(report->alert_list,
                          json_pack("{so ss so so}", "alert", ali_json_text(alert->alert), "state",
                                    word, "since", ali_json_time(alert->since_ms), "condition",
                                    ali_json_text(alert->condition)));
    ali_table_text(report->alerts, alert->alert);
    ali_table_put(report->alerts, alert->state ? ALI_BAD : ALI_GOOD, al_str_c(word));
    ali_table_text(report->alerts, alert->condition);
    return 0;
}

static json_t *rate_json(double rate)
{
    return rate < 0 ? json_null() : json_real(rate);
}

static void print_json(struct report *report, const struct al_figures_info *figures)
{
    json_t *object = json_object();

    json_object_set_new(object, "healthy", json_boolean(report->is_ok));
    json_object_set_new(object, "delivery_rate", rate_json(figures->delivery_rate));
    json_object_set_new(object, "recent_delivery_rate", rate_json(figures->recent_delivery_rate));
    json_object_set_new(object, "retry_rate", rate_json(figures->retry_rate));
    json_object_set_new(object, "duplicate_rate", rate_json(figures->duplicate_rate));
    json_object_set_new(object, "recovery_ms", ali_json_count(figures->recovery_ms));
    json_object_set_new(object, "ordering_violations",
                        ali_json_count(figures->ordering_violations));
    json_object_set_new(object, "breakers_open", ali_json_count(figures->breakers_open));
    json_object_set(object, "components", report->component_list);
    json_object_set(object, "alerts", report->alert_list);
    ali_json_print(report->cli, object);
}

static void print_figures(struct ali_cli *cli, const struct al_figures_info *figures)
{
    static const char *const headings[] = {"FIGURE", ">NOW", "GOAL", NULL};
    struct ali_table *table = ali_table_new(cli, headings);
    const struct {
        const char *key, *goal;
        double rate;
    } rates[] = {{"delivery rate", "> 99.9 %", figures->delivery_rate},
                 {"delivery rate, last minute", "> 99 %", figures->recent_delivery_rate},
                 {"retry rate", "< 5 %", figures->retry_rate},
                 {"duplicate rate", "< 0.1 %", figures->duplicate_rate}};

    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        ali_table_key(table, rates[i].key);
        if (rates[i].rate < 0)
            ali_table_text(table, "-");
        else
            ali_table_format(table, "%.2f %%", 100 * rates[i].rate);
        ali_table_text(table, rates[i].goal);
    }
    ali_table_key(table, "recovery time");
    ali_table_format(table, "%.3f s", (double)figures->recovery_ms / 1000);
    ali_table_text(table, "< 30 s");
    ali_table_key(table, "ordering violations");
    ali_table_alarm(table, figures->ordering_violations);
    ali_table_text(table, "0");
    ali_table_print(table, NULL);
}

static int run_health(struct ali_cli *cli, const void *values, char **args)
{
    static const char *const components[] = {"COMPONENT", "STATE", "REASON", NULL};
    static const char *const alerts[] = {"ALERT", "STATE", "FIRES WHEN", NULL};
    struct report report = {.cli = cli, .is_ok = true};
    struct al_figures_info figures;
    int code = ali_node_open(cli), r;

    (void)values;
    (void)args;
    if (code)
        return code;
    report.components = ali_table_new(cli, components);
    report.alerts = ali_table_new(cli, alerts);
    report.component_list = json_array();
    report.alert_list = json_array();
    r = al_health_get(cli->client, &figures, add_component, add_alert, &report);
    ali_table_end(report.components, r == 0 && !cli->json, NULL);
    if (r == 0 && !cli->json)
        putchar('\n');
    ali_table_end(report.alerts, r == 0 && !cli->json, NULL);
    if (r == 0 && cli->json) {
        print_json(&report, &figures);
    } else if (r == 0) {
        putchar('\n');
        print_figures(cli, &figures);
    }
    json_decref(report.component_list);
    json_decref(report.alert_list);
    if (r)
        return ali_say_error(cli, r);
    return report.is_ok ? ALI_EXIT_DONE : ALI_EXIT_REFUSED;
}

const struct ali_command ali_cmd_health[] = {
    {
        .name = "health",
        .summary = "show the node's health, alerts and key figures",
        .doc = "The exit code is 1 when any component is not ok, so that a script can ask.",
        .run = run_health,
    },
    {.name = NULL},
};
