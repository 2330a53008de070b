/*
 * process_groups - process groups that a pool's workers started and that have to end: told to, killed, and
 * followed until nothing is left of them.
 *
 * A worker that runs what is not ours leads a session (setsid(2)), and what it runs can leave that
 * session only by making one of its own. So a group is signalled where one of its living members is
 * in the session of that worker, which the kernel says; the number of the group may be anybody's
 * word. The number of a session or a group is not given to a new process while anything is in it
 * (pid_namespaces(7) aside), so between the proof and the signal it can change hands only if the
 * last member ends and all other numbers are used up meanwhile.
 *
 * The signal is sent with the master's own rights: root's, where root started it. A program that
 * became another user (set-user-ID) ends too. Nothing is waited for: a process that another user has
 * stopped can't hold the master up.
 * Owns:      the list of those that are followed.
 * Knows not: workers; it is told their sessions.
 * Called by: spawn, stop, pool.
 * Runs in:   the master.
 */
#ifndef PREFORKD_MASTER_PROCESS_GROUPS_H
#define PREFORKD_MASTER_PROCESS_GROUPS_H

#include "../base/clock.h"
#include "state.h"

#include <stdbool.h>
#include <sys/types.h>

struct group {
    struct group *next;
    pid_t session; /* of the worker that started it */
    pid_t number;
    usec since;    /* when it was told to end */
    usec deadline; /* when it is killed; USEC_NEVER: it was */
    usec look;     /* the next time */
    bool stuck;    /* it can't be ended: its seat stays taken, and that was logged */
};

struct groups {
    struct group *first;
    int stuck;
};

/* What a number says of a group. */
enum group_kind {
    GROUP_GONE,
    GROUP_OWN,     /* it is in this session */
    GROUP_FOREIGN, /* it is not */
};
enum group_kind group_of_session(pid_t number, pid_t session);

/* Sends a signal, 0 for none, to a group if it is this session's, kills it at the deadline, and
 * follows it until it is gone. One that is followed already gets the earlier deadline and no second
 * signal: many programs take it for another order. What it was found to be. */
enum group_kind process_groups_end(struct groups *groups, pid_t session, pid_t number, int signal,
                                   usec deadline, usec now);

/* Kills all of them now. */
void process_groups_kill(struct groups *groups, usec now);

/* Looks after those that are due; `pool` is for the log. Returns when to look again. */
usec process_groups_step(struct groups *groups, const char *pool, usec now);

/* For the program that replaces us, and in it. False where there is no memory. */
bool process_groups_adopt(struct groups *groups, const struct state_group *saved);
void process_groups_free(struct groups *groups);

#endif
