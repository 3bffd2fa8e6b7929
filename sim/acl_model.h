/* acl_model.h - permissions as docs/permissions.md has them, over a plain list of rules.
 *
 * Written apart from src/core/acl*.c to check it: no index, no cache, everything is tried. It is
 * fed with the journal's records. */
#ifndef SIM_ACL_MODEL_H
#define SIM_ACL_MODEL_H

#include "core/records.h"
#include <stdbool.h>

struct acl_model_rule {
    uint64_t id, parent, expire_ms;
    unsigned effect, actions;
    char subject[160], object[160], kind[80], by[160];
};

struct acl_model {
    struct acl_model_rule *rules;
    uint32_t count, cap;
    uint64_t version;
};

void acl_model_deinit(struct acl_model *model);
void acl_model_set(struct acl_model *model, const struct ali_rec_rule_set *record);
void acl_model_remove(struct acl_model *model, const struct ali_rec_rule_remove *record);
struct acl_model_question {
    uint64_t now_ms;                     /* wall clock */
    const char *subject, *object, *kind; /* names as agents and groups have them */
    unsigned action;
};
/* True if it is allowed; *ret_rule decides, 0: none. */
bool acl_model_decide(const struct acl_model *model, const struct acl_model_question *question,
                      uint64_t *ret_rule);

#endif
