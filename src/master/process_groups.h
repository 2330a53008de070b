/*
 * process_groups - what workers left running: process groups that have to end, and processes that
 * went into the background.
 *
 * A worker that runs what is not ours leads a session (setsid(2)), and what it runs can leave that
 * session only by making one of its own. So a group is signalled if one of its living members is in
 * the session of that worker, which the kernel says; the number of the group may be anybody's word.
 * The number of a session or a group is not given to a new process while anything is in it
 * (pid_namespaces(7) aside), so between the proof and the signal it can change hands only if the
 * last member ends and all other numbers are used up meanwhile.
 *
 * The signal is sent with the master's own rights: root's, if root started it. A program that
 * became another user (set-user-ID) ends too. Nothing is waited for: a process that another user
 * has stopped can't hold the master up.
 * Owns:      the list of the groups that are followed. Knows not: workers, only their sessions.
 * Called by: spawn, stop, pool, maintain, handoff, in the master.
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
    bool stuck;    /* it can't be ended: its slot stays occupied, and that was logged */
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
 * signal: many programs take it for another order. Returns what the group was found to be. */
enum group_kind process_groups_end(struct groups *groups, pid_t session, pid_t number, int signal,
                                   usec deadline, usec now);

/* Kills all of them now. */
void process_groups_kill(struct groups *groups, usec now);

/* Looks after the groups that are due; `pool` is for the log. Returns when to look again. */
usec process_groups_step(struct groups *groups, const char *pool, usec now);

/* In the binary that replaces us. False without memory. */
bool process_groups_adopt(struct groups *groups, const struct state_group *saved);
void process_groups_free(struct groups *groups);

/* A process that a program put into the background, in a session of its own; 0: there is none, or
 * none that is shown to us. Nothing in the kernel leads from it to the worker that started it:
 * neither parent, nor group, nor session. But it has the worker's listener, which is got by
 * inheritance alone: so it is a process that is younger than the worker `after`, has a listener
 * where programs get it, is no descendant of the master, and in none of the groups that are
 * followed, which have time to finish. Looks at each process that is younger than the worker. */
pid_t process_groups_background(pid_t master, pid_t after, int listener_fd,
                                const struct groups *followed);

#endif
