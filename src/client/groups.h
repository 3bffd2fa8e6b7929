/* groups.h - what the files of the library's group calls share. */
#ifndef AL_CLIENT_GROUPS_H
#define AL_CLIENT_GROUPS_H

#include "agentlink/groups.h"
#include "base/limits.h"

/* The full name of a group that may be given without "group:". 0, or -AL_E_BAD_NAME with words. */
int ali_group_name(const char *group, char ret_name[AL_GROUP_NAME_MAX + 1]);
/* The words for an error of a call about a group and, where it is not NULL, an agent. Returns it.
 */
int ali_group_failed(const char *name, const char *agent, int error);

#endif
