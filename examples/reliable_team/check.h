/* check.h - what the sides have heard, held against each other. */
#ifndef RELIABLE_TEAM_CHECK_H
#define RELIABLE_TEAM_CHECK_H

#include "side.h"

/* What came out on one bus. */
struct outcome {
    unsigned said;       /* turns in which something was said */
    unsigned twice;      /* turns that stand more than once, or out of order, in some log */
    unsigned missing;    /* turns that do not */
    unsigned disagree;   /* sides whose log differs from the first one's */
    unsigned broken;     /* sides to which the history did not prove itself */
    unsigned duplicates; /* posts that were passed over */
};

/* Words in the log of a side so far. */
unsigned log_count(const char *dir, unsigned index);
/* Reads the logs of all sides. */
void logs_check(const char *dir, struct outcome *ret_outcome);
/* True if it is as it should be. */
int outcome_is_good(const struct outcome *outcome);

#endif
