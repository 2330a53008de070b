/*
 * template_process - one process of a template: its start, its messages, the programs that it
 * forks, its end.
 *
 * Owns:      the process, our end of its socket, and the pair by which a fork begins.
 * Knows not: which process is used when, and what is done without one: template.
 * Called by: template.
 * Runs in:   a worker; and in the child that checks a configuration, up to the first word.
 *
 * The process leads a group of its own in the worker's session, and dies with the worker
 * (PR_SET_PDEATHSIG). Its end of the socket has no name: nobody but the worker can speak there.
 */
#ifndef PREFORKD_HANDLERS_TEMPLATE_PROCESS_H
#define PREFORKD_HANDLERS_TEMPLATE_PROCESS_H

#include "../base/clock.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/types.h>

struct template_process {
    pid_t pid;  /* also its group's; 0: there is none */
    int pidfd;  /* readable when it has ended */
    int socket; /* ours of a SOCK_SEQPACKET pair; its own is its standard input */
    int go;     /* ours of a SOCK_STREAM pair: a byte here lets a fork begin */
    int turns;  /* the other of that pair, which is its standard output */
    usec since; /* when it was started */
    int forks;  /* programs that it was forked for */
};

/* What a program gets: see wire/template.h. */
struct template_request {
    int input, output, error; /* error -1: ours */
    int directory, script;
    char *const *arguments, *const *environment;
};

/* A program that was forked, and is still to be reaped. */
struct template_child {
    pid_t pid; /* also its group's */
    int pidfd; /* readable when it has ended */
};

/* Starts it; `error` becomes its standard error, -1: ours. 0 or -errno. */
int template_process_start(struct template_process *process, char *const *arguments,
                           char *const *environment, int error);

/* Waits for its first word, no longer than until then. 0: it is ready; -EAGAIN: it has said nothing
 * yet; else -errno with a sentence in `why`: then it is of no use. */
int template_process_greet(struct template_process *process, usec deadline, char *why, size_t size);

/* Forks it for a program, which waits until it is let go. 0; -E2BIG or -ENOEXEC: this program is
 * not for it, for the reason in `why`; any other -errno: the process is of no use any more. Nothing
 * of the program has run then. */
int template_process_fork(struct template_process *process, const struct template_request *request,
                          struct template_child *child, char *why, size_t size);

/* Lets the program begin. 0, or -errno: it has not, and the process is of no use any more. */
int template_process_go(struct template_process *process);

/* Has a program reaped that has ended. 0; or -errno: how it ended is not known, and the process is
 * of no use any more. */
int template_process_reap(struct template_process *process, int *status, struct rusage *usage);

/* Reaps a program that has ended, behind the end of the process that forked it: so the worker has
 * become its parent. 0; or -errno: that process had reaped it. */
int template_child_reap(const struct template_child *child, int *status, struct rusage *usage);

/* Kills it, with what is left of its group, and reaps it. Its status as waitpid(2) has it; what
 * ended before keeps its own. */
int template_process_end(struct template_process *process);

#endif
