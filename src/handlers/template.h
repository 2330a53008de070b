/*
 * template - a process that has loaded its interpreter and modules, and is forked for each program
 * that a worker runs: which process is used, and when another one is started.
 *
 * A worker becomes ready with its first process. One that dies, hangs or has forked often enough is
 * replaced, with a back-off; until the next one is ready, programs are started without. Nothing
 * here waits for a process that is on its way: it is looked at when the next program is to run.
 * Owns:      the processes of one command; what is logged of them.
 * Knows not: what the programs are, and how they are started without a template.
 * Called by: exec, cgi.
 * Runs in:   a worker; template_check in the child that checks a configuration.
 */
#ifndef PREFORKD_HANDLERS_TEMPLATE_H
#define PREFORKD_HANDLERS_TEMPLATE_H

#include "handler.h"
#include "template_process.h"

enum { TEMPLATE_FORKS_MOST = 1000000000 }; /* template_max_forks */

struct template;

/* Splits the words of a command at its spaces; ended by NULL, in memory of its own. NULL: none
 * is left. */
char *const *template_split(const char *command);

/* Starts it, and waits until it is ready: the worker is not ready before, so the master ends it in
 * ready_timeout. `number` is its place among the worker's. NULL, with a sentence in `why`. */
struct template *template_new(struct service *service, int number, char *const *arguments,
                              int max_forks, char *why, size_t size);
void template_free(struct template *template);

/* Whether a template may run this: a regular file that could be executed, or need not be. */
bool template_may_run(int script, bool executable);

/* Runs a program in a fork: its group is in the service before it begins. 0, or -errno: it has not
 * begun, and is to be started in another way. A `script` of -1 counts as such. */
int template_run(struct template *template, struct service *service,
                 const struct template_request *request, struct template_child *child);

/* Has it reaped: it must have ended, and its group be no longer in the service. False: how it ended
 * is not known, since its template has reaped it and did not say. */
bool template_reap(struct template *template, struct template_child *child, int *status,
                   struct rusage *usage);

/* Reaps what programs have left behind and has ended by now, and templates that have ended. To be
 * called before each program, with a template or without one. */
void template_reap_orphans(void);

/* Starts one, and notes what keeps it from becoming ready. */
void template_check(char *const *arguments, const char *pool, const char *handler, const char *file,
                    int line, struct faults *faults);

#endif
