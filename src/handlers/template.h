/*
 * template - a process that has loaded its interpreter and modules, and forks for each program that
 * a worker runs: which process is used, and when the next one is started.
 *
 * A worker is ready once its first process is. A process that dies, hangs or has forked often
 * enough is replaced, with a back-off. Until its successor is ready, programs are started without
 * it. Nothing here waits for a process that is starting: it is polled before the next program runs.
 *
 * Owns:      the processes of one command, and what is logged of them.
 * Knows not: what the programs are, and how they are started without a template.
 * Called by: exec, cgi.
 * Runs in:   a worker; template_check in the child that checks a configuration.
 */
#ifndef PREFORKD_HANDLERS_TEMPLATE_H
#define PREFORKD_HANDLERS_TEMPLATE_H

#include "handler.h"
#include "template_process.h"

enum { TEMPLATE_FORKS_MOST = 1000000000 }; /* for template_max_forks */

struct template;

/* Splits a command at its spaces into words from malloc(), ended by NULL. NULL: no memory. */
char *const *template_split(const char *command);

/* Starts the first process, and waits until it is ready, or the worker is told to finish. The
 * worker is not ready before that, so the master ends it after ready_timeout. `number` tells the
 * worker's templates apart. NULL, with a sentence in `why`. */
struct template *template_new(struct service *service, int number, char *const *arguments,
                              int max_forks, char *why, size_t size);
void template_free(struct template *template);

/* Whether the script is a regular file, and, if `executable`, may be executed. */
bool template_may_run(int script, bool executable);

/* Runs a program in a fork. Its group is in the service before the program begins. 0, or -errno:
 * the program has not begun, and must be started in another way. So too if `script` is -1. */
int template_run(struct template *template, struct service *service,
                 const struct template_request *request, struct template_child *child);

/* Has the template reap a program. The program must have ended, and its group be cleared from the
 * service. False: its exit status is not known, because the template reaped it and did not report
 * it. */
bool template_reap(struct template *template, struct template_child *child, int *status,
                   struct rusage *usage);

/* Reaps processes that programs left behind and that have ended, and templates that have ended. To
 * be called before each program, with or without a template. */
void template_reap_orphans(void);

/* Starts a process, and adds a fault of the option `template` if it does not become ready. */
void template_check(const struct handler_check *check, char *const *arguments);

#endif
