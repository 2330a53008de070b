/*
 * stop - which worker is late, and how a worker, and what it left running, is made to end: by
 * signals that grow harder, each with its deadline.
 *
 * A worker that runs foreign code leads a session (setsid(2)), and what it runs can leave that
 * session only by making one of its own. So the master signals a process group if the kernel says
 * that one of the group's living members is in the worker's session; the number of the group may be
 * anybody's word. The kernel does not reuse the number of a session or a group while it has members
 * (pid_namespaces(7) aside). So between the proof and the signal the number can change hands only
 * if the last member ends and all other numbers are used up meanwhile.
 *
 * A group is signalled with the master's own rights: root's, if root started it. So a program that
 * became another user (set-user-ID) ends too. The master never waits for a process: one that
 * another user has stopped can't hold it up.
 *
 * Owns:      role and cause of a worker that has to go, and what it is sent when; the list of the
 *            groups that are followed until they are gone.
 * Knows not: why a worker is not wanted any more, or which one replaces it.
 * Called by: pool, maintain, main_loop, handoff, in the master.
 */
#ifndef PREFORKD_MASTER_STOP_H
#define PREFORKD_MASTER_STOP_H

#include "spawn.h"

/* Process groups. */

struct group {
    struct group *next;
    pid_t session; /* of the worker that started it */
    pid_t number;
    usec since;    /* when it was told to end */
    usec deadline; /* when it is killed; USEC_NEVER: it was */
    usec check_at; /* the next check */
    bool stuck;    /* it can't be killed: its seat stays taken, and that was logged */
};

/* What a number says of a group. */
enum group_kind {
    GROUP_GONE,
    GROUP_OWN,     /* it is in this session */
    GROUP_FOREIGN, /* it is not */
    GROUP_UNKNOWN, /* we are short of descriptors or memory: it gets no signal yet */
};
enum group_kind group_of_session(pid_t number, pid_t session);

/* Sends a signal, 0 for none, to a group of this session, kills the group at the deadline, and
 * follows it until it is gone. A group that is followed already gets the earlier deadline, but no
 * second signal: many programs take that for another order. Returns what the group was found to
 * be. */
enum group_kind process_groups_end(struct groups *groups, pid_t session, pid_t number, int signal,
                                   usec deadline, usec now);

/* Kills all of them now. */
void process_groups_kill(struct groups *groups, usec now);

/* Checks the groups that are due; `pool` is for the log. Returns when to call it again. */
usec process_groups_step(struct groups *groups, const char *pool, usec now);

/* Follows a group that the binary before an upgrade followed. False: out of memory. */
bool process_groups_adopt(struct groups *groups, const struct state_group *saved);
void process_groups_free(struct groups *groups);

/* Finds a process that a program put into the background, in a session of its own. 0: none is
 * found, or /proc does not show it to us. Nothing in the kernel leads from such a process to the
 * worker that started it: neither parent, nor group, nor session. But it has inherited the worker's
 * listener, and there is no other way to get that. So it is a process that is younger than the
 * worker `after`, has a listener where programs get it, does not descend from the master, and is in
 * none of the followed groups, which have time to finish. Looks at each process younger than the
 * worker. */
pid_t process_groups_background(pid_t master, pid_t after, int listener_fd,
                                const struct groups *followed);

/* Workers. */

/* Sorts workers by how little their loss hurts: first those not forked, then those not ready, then
 * the one that has been idle longest. */
void stop_sort(struct worker **workers, int count);

/* Tells a worker to finish the connection it serves, if any, and to go: by the deadline, if there
 * is one. */
void stop_retire(struct worker *worker, usec deadline);

/* Tells a worker to go at once. */
void stop_now(struct worker *worker, usec now);

/* How long a worker's request may take until the master ends the worker, while the pool has the
 * configuration `in_force`; 0: any time. */
usec stop_request_limit(const struct worker *worker, const struct pool_config *in_force);

/* Ends a worker, and what it runs, if `load`, just read from its seats, says that a request has
 * taken longer than `limit`. Returns when to look again. */
usec stop_late_request(struct worker *worker, const struct seats_load *load, usec limit, usec now);

/* Acts for a worker that became a program, which can't write to its slot: marks it ready, and ends
 * it if it hangs. No worker is late before grace_until. Returns when to look again. */
usec stop_watch_program(struct worker *worker, usec grace_until, usec now);

/* Sends a worker that is past its deadline the next harder signal. Returns when the one after that
 * is due. A worker that does not end after KILL is marked as stuck. */
usec stop_step(struct worker *worker, usec now);

/* Ends what a reaped worker left running. Call it before spawn_reaped, which clears the pid. */
void stop_leftovers(struct worker *worker, usec now);

#endif
