/*
 * stop - which worker is late, and how one is made to end: by signals that grow harder, each with
 * its deadline.
 *
 * Owns:      role and cause of a worker that has to go, and what it is sent when.
 * Knows not: why a worker is not wanted any more, or which one replaces it.
 * Called by: pool, maintain, in the master.
 */
#ifndef PREFORKD_MASTER_STOP_H
#define PREFORKD_MASTER_STOP_H

#include "spawn.h"

/* Puts those first that it hurts least to lose: a worker that is not forked, one that is not ready,
 * the one that has been idle longest. */
void stop_sort(struct worker **workers, int count);

/* Finish the connection in hand, if any, and go: by the deadline, if there is one. */
void stop_retire(struct worker *worker, usec deadline);

/* Go now. */
void stop_now(struct worker *worker, usec now);

/* Ends a worker, with what it runs, if its request has been going on for longer than `limit`, by
 * what was just read of its seats. Returns when to look again. */
usec stop_watch(struct worker *worker, const struct seats_load *load, usec limit, usec now);

/* Speaks for a worker that became a program, which can't write into its slot: when it is ready, and
 * when it hangs. Returns when to look again. Before grace_until nobody is late. */
usec stop_watch_program(struct worker *worker, usec grace_until, usec now);

/* Ends what a reaped worker left running. Call it before spawn_reaped, which clears the pid. */
void stop_leftovers(struct worker *worker, usec now);

/* A worker that is late with going gets the next harder signal; returns when that is due. */
usec stop_step(struct worker *worker, usec now);

struct group {
    struct group *next;
    pid_t session; /* of the worker that started it */
    pid_t number;
    usec since;    /* when it was told to end */
    usec deadline; /* when it is killed; USEC_NEVER: it was */
    usec look;     /* the next time */
    bool stuck;    /* it can't be ended: its slot stays occupied, and that was logged */
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
