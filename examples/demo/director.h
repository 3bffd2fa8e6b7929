/* director.h - what the files of the director (the demo's main program) share. */
#ifndef DEMO_DIRECTOR_H
#define DEMO_DIRECTOR_H

#include "team.h"
#include <sys/types.h>

enum { INPUT_FILES_MAX = 400, INPUT_LINES = 36000, ARGS_MAX = INPUT_FILES_MAX + 4 };

/* The texts that the team works on: copies, so that they do not change under its hands. */
struct input {
    char *paths[INPUT_FILES_MAX];
    unsigned count;
    unsigned chunks; /* that the splitter will make of them */
};

/* Copies source and text files below root into dir, about INPUT_LINES lines. */
void input_choose(struct input *input, const char *root, const char *dir);
/* Frees the paths. */
void input_free(struct input *input);

/* ---- processes ------------------------------------------------------------------------------ */

/* Starts a program with stderr in dir/NAME.log and stdout in ret_stdout (-1: also in the log).
 * argv[0] is the path. */
pid_t process_start(const char *dir, const char *name, const char *const argv[], int *ret_stdout);
/* Ends a process by `signal` and waits for it, at most timeout_ms, then by SIGKILL. Returns its
 * exit code, 128 + the signal that killed it, or -1 if it is none of ours any more. */
int process_end(pid_t *pid, int signal, unsigned timeout_ms);
/* Its exit code if it has ended (and clears *pid), -1 while it runs. */
int process_poll(pid_t *pid);
/* Monotonic clock. */
unsigned long long now_ms(void);
void sleep_ms(unsigned ms);
/* Removes a directory and everything in it. */
void remove_tree(const char *dir);

/* ---- traces --------------------------------------------------------------------------------- */

/* What the traces of all agents say together. */
struct audit {
    unsigned long long sent;             /* messages with a receipt, each once */
    unsigned long long delivered;        /* of them handled, each once */
    unsigned long long retried;          /* received with an attempt above 1 */
    unsigned long long redelivered;      /* received with the mark "possibly seen" */
    unsigned long long unmarked;         /* received again without the mark: must be 0 */
    unsigned long long suppressed_node;  /* sent again, recognised by the node */
    unsigned long long suppressed_agent; /* handled again, recognised by the agent */
    unsigned long long lost;             /* sent and never handled: must be 0 */
    unsigned long long disorder;         /* received before an earlier one was handled: must be 0 */
};

/* Reads dir/NAME.trace of each name (NULL-terminated) and checks them against each other. */
void audit_traces(const char *dir, const char *const *names, struct audit *ret_audit);
/* Lines of dir/NAME.trace that begin with `event`. */
unsigned long long trace_count(const char *dir, const char *name, char event);
/* First letter of the last whole line of dir/NAME.trace, 0 if there is none. */
char trace_last(const char *dir, const char *name);

#endif
