/*
 * template_process - one process of a template: its start, its messages, its forks, its end.
 *
 * Owns:      the process, our end of its socket, and the pair by which a fork is let go.
 * Knows not: which process is used when, and what is done without one: template.
 * Called by: template.
 * Runs in:   a worker; in the child that checks a configuration, up to the first message.
 *
 * The process leads a group of its own in the worker's session, and dies with the worker
 * (PR_SET_PDEATHSIG). The socket has no name, so nobody but the worker can send requests.
 */
#ifndef PREFORKD_HANDLERS_TEMPLATE_PROCESS_H
#define PREFORKD_HANDLERS_TEMPLATE_PROCESS_H

#include "../base/clock.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/types.h>

struct launch;

struct template_process {
    pid_t pid;  /* also its group's; 0: there is no process */
    int pidfd;  /* readable when it has ended */
    int socket; /* our end of a SOCK_SEQPACKET pair; the other is its standard input */
    int go;     /* our end of a SOCK_STREAM pair: a byte here lets a fork begin */
    int turns;  /* the other end, which is its standard output */
    usec since; /* its start */
    int forks;  /* how many programs it was forked for */
};

#define TEMPLATE_PROCESS_NONE                                                                      \
    {                                                                                              \
        .socket = -1, .go = -1, .turns = -1, .pidfd = -1                                           \
    }

/* What a program gets: see wire/template.h. `launch` has its streams and its environment. */
struct template_request {
    const struct launch *launch;
    int directory, script;
    char *const *arguments;
};

/* A program in a fork, not reaped yet. */
struct template_child {
    pid_t pid; /* also its group's */
    int pidfd; /* readable when it has ended */
};

/* Starts it; it shares our standard error. 0 or -errno. */
int template_process_start(struct template_process *process, char *const *arguments,
                           char *const *environment);

/* Waits for its first message, until the deadline. 0: it is ready; -EAGAIN: no message yet; any
 * other -errno, with a sentence in `why`: the process is of no use. */
int template_process_await_ready(struct template_process *process, usec deadline, char *why,
                                 size_t size);

/* Forks the process for a program, which waits until it is let go. 0; -E2BIG or -ENOEXEC: the
 * template can't run this program, for the reason in `why`; any other -errno: the process is of no
 * use any more. On failure nothing of the program has run. */
int template_process_fork(struct template_process *process, const struct template_request *request,
                          struct template_child *child, char *why, size_t size);

/* Lets the program begin. 0, or -errno: it has not begun, and the process is of no use any more. */
int template_process_go(struct template_process *process);

/* Has the process reap its program, which has ended. 0, or -errno: the exit status is not known,
 * and the process is of no use any more. */
int template_process_reap(struct template_process *process, int *status, struct rusage *usage);

/* Reaps a program after the process that forked it has ended, so that the worker has become its
 * parent. 0, or -errno: that process had reaped it. */
int template_child_reap(const struct template_child *child, int *status, struct rusage *usage);

/* Kills the process and the rest of its group, and reaps it. Returns its status as waitpid(2) does,
 * which is its own if it had ended before. */
int template_process_end(struct template_process *process);

#endif
