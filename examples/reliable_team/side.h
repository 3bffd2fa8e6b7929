/* side.h - one side of the conversation, and the team that holds it. */
#ifndef RELIABLE_TEAM_SIDE_H
#define RELIABLE_TEAM_SIDE_H

#include <agentlink/agentlink.h>

#define TEAM  "team"     /* the group */
#define TALK  "the-plan" /* the conversation */
#define TURNS 12

/* Who takes part; the last one is the manager. */
#define SIDES 4
extern const char *const side_names[SIDES];

/* The team builder: a group with all sides as members, on any bus. What is there already stays. 0,
 * or a negative error. */
int team_build(const char *url);
/* Takes part as side_names[index] until the conversation is closed; what it hears goes to the file
 * `log`, from the beginning on. With crash_after it dies after so many words (as far as a thread
 * can) and returns 1; otherwise 0, or a negative error after a message. */
int side_run(const char *url, unsigned index, const char *log, unsigned crash_after);
/* All sides as threads of this process, logs in `dir`; with `crash` two of them die in the middle
 * and are started again. 0, or 1 after a message. */
int team_run(const char *url, const char *dir, int crash);

#endif
