/* acl_model.c - permissions over a plain list of rules: see acl_model.h. */
#include "acl_model.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ALLOW = 1, DENY = 2, MEMBER = 3, ADMINISTER = 8, DEPTH = 64 };

void acl_model_deinit(struct acl_model *model)
{
    free(model->rules);
    memset(model, 0, sizeof(*model));
}

static void copy(char *to, size_t size, struct al_str text)
{
    snprintf(to, size, "%.*s", (int)text.n, text.n ? (const char *)text.p : "");
}

void acl_model_set(struct acl_model *model, const struct ali_rec_rule_set *record)
{
    struct acl_model_rule *rule;

    if (model->count == model->cap) {
        model->cap = model->cap ? 2 * model->cap : 16;
        model->rules = realloc(model->rules, model->cap * sizeof(*model->rules));
        if (!model->rules)
            abort();
    }
    rule = &model->rules[model->count++];
    *rule = (struct acl_model_rule){.id = record->rule,
                                    .parent = record->parent,
                                    .expire_ms = record->expire_ms,
                                    .effect = record->effect,
                                    .actions = record->actions};
    copy(rule->subject, sizeof(rule->subject), record->subject);
    copy(rule->object, sizeof(rule->object), record->target);
    copy(rule->kind, sizeof(rule->kind), record->kind);
    copy(rule->by, sizeof(rule->by), record->by);
    model->version = record->rule;
}

static const struct acl_model_rule *find(const struct acl_model *model, uint64_t id)
{
    for (uint32_t i = 0; i < model->count; i++)
        if (model->rules[i].id == id)
            return &model->rules[i];
    return NULL;
}

static bool take_out(struct acl_model *model, uint64_t id)
{
    for (uint32_t i = 0; i < model->count; i++) {
        if (id ? model->rules[i].id != id
               : !model->rules[i].parent || find(model, model->rules[i].parent))
            continue;
        model->rules[i] = model->rules[--model->count];
        return true;
    }
    return false;
}

void acl_model_remove(struct acl_model *model, const struct ali_rec_rule_remove *record)
{
    (void)take_out(model, record->rule);
    while (take_out(model, 0)) /* what hung on it */
        ;
    model->version = record->version;
}

/* ---- matching ---------------------------------------------------------------------------- */

/* "[group:]namespace/name", also of a name in the default namespace. */
static void in_full(const char *name, char out[256])
{
    bool group = strncmp(name, "group:", 6) == 0;
    const char *rest = group ? name + 6 : name;

    snprintf(out, 256, "%s%s%s", group ? "group:" : "", strchr(rest, '/') ? "" : "default/", rest);
}

/* A segment at a time; `deep`: "**" as the last segment stands for one or more. */
static bool glob(const char *pattern, const char *text, char mark, bool deep)
{
    for (;;) {
        size_t p = strcspn(pattern, (char[]){mark, 0}), t = strcspn(text, (char[]){mark, 0});
        bool any = p == 1 && pattern[0] == '*';

        if (deep && strcmp(pattern, "**") == 0)
            return true;
        if (!any && (p != t || memcmp(pattern, text, p) != 0))
            return false;
        if (!pattern[p] || !text[t])
            return !pattern[p] && !text[t];
        pattern += p + 1;
        text += t + 1;
    }
}

static bool name_matches(const char *pattern, const char *full)
{
    bool group = strncmp(full, "group:", 6) == 0;

    if (strcmp(pattern, "**") == 0)
        return true;
    if ((strncmp(pattern, "group:", 6) == 0) != group)
        return false;
    return glob(pattern + (group ? 6 : 0), full + (group ? 6 : 0), '/', false);
}

static bool kind_matches(const char *pattern, const char *kind)
{
    return !*pattern || (*kind && glob(pattern, kind, '.', true));
}

static bool is_live(const struct acl_model_rule *rule, uint64_t now_ms)
{
    return !rule->expire_ms || rule->expire_ms > now_ms;
}

/* The subject of a rule is the agent, or a role that it has through others. */
static bool subject_is(const struct acl_model *model, uint64_t now_ms, const char *subject,
                       const char *full, unsigned depth)
{
    if (strncmp(subject, "role:", 5) != 0)
        return name_matches(subject, full);
    for (uint32_t i = 0; i < model->count && depth < DEPTH; i++) {
        const struct acl_model_rule *rule = &model->rules[i];

        if (rule->effect == MEMBER && is_live(rule, now_ms) && strcmp(rule->object, subject) == 0 &&
            subject_is(model, now_ms, rule->subject, full, depth + 1))
            return true;
    }
    return false;
}

/* ---- deciding ---------------------------------------------------------------------------- */

struct ask {
    const struct acl_model *model;
    uint64_t now_ms;
    unsigned action;
    const char *object, *kind; /* in full */
};

static bool matches(const struct ask *ask, const struct acl_model_rule *rule, const char *full)
{
    return rule->effect != MEMBER && rule->actions & ask->action && is_live(rule, ask->now_ms) &&
           kind_matches(rule->kind, ask->kind) && name_matches(rule->object, ask->object) &&
           subject_is(ask->model, ask->now_ms, rule->subject, full, 0);
}

static uint64_t lowest_deny(const struct ask *ask, const char *full)
{
    uint64_t lowest = 0;

    for (uint32_t i = 0; i < ask->model->count; i++) {
        const struct acl_model_rule *rule = &ask->model->rules[i];

        if (rule->effect == DENY && matches(ask, rule, full) && (!lowest || rule->id < lowest))
            lowest = rule->id;
    }
    return lowest;
}

/* Everybody in the chain still has the right that was passed on. */
static bool is_backed(const struct ask *ask, const struct acl_model_rule *rule)
{
    const struct acl_model_rule *parent = find(ask->model, rule->parent);
    char by[256];

    if (!rule->parent)
        return true;
    in_full(rule->by, by);
    return parent && is_live(parent, ask->now_ms) &&
           subject_is(ask->model, ask->now_ms, parent->subject, by, 0) && !lowest_deny(ask, by) &&
           is_backed(ask, parent);
}

static bool same_space(const char *a, const char *b)
{
    size_t n;

    a += strncmp(a, "group:", 6) == 0 ? 6 : 0;
    b += strncmp(b, "group:", 6) == 0 ? 6 : 0;
    n = strcspn(a, "/");
    return n == strcspn(b, "/") && memcmp(a, b, n) == 0;
}

bool acl_model_decide(const struct acl_model *model, const struct acl_model_question *question,
                      uint64_t *ret_rule)
{
    char from[256], to[256];
    struct ask ask = {.model = model,
                      .now_ms = question->now_ms,
                      .action = question->action,
                      .object = to,
                      .kind = question->kind};
    uint64_t direct = 0, passed = 0;

    in_full(question->subject, from);
    in_full(question->object, to);
    *ret_rule = lowest_deny(&ask, from);
    if (*ret_rule)
        return false;
    for (uint32_t i = 0; i < model->count; i++) {
        const struct acl_model_rule *rule = &model->rules[i];
        uint64_t *lowest = rule->parent ? &passed : &direct;

        if (rule->effect == ALLOW && matches(&ask, rule, from) && is_backed(&ask, rule) &&
            (!*lowest || rule->id < *lowest))
            *lowest = rule->id;
    }
    *ret_rule = direct ? direct : passed;
    return *ret_rule || (question->action != ADMINISTER && same_space(from, to));
}
