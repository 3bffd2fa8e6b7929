/* acl.h - what the commands of `agentlink acl` share. */
#ifndef AL_CLI_ACL_H
#define AL_CLI_ACL_H

#include "cli/node.h"

/* The actions that a word of the command line stands for; 0: none. */
unsigned ali_acl_actions(const char *word);
/* Says why a call failed; returns the exit code. */
int ali_acl_failed(const struct ali_cli *cli, int error);

#endif
