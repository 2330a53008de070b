/*
 * listener_upkeep - keeps listeners reachable: notices a path that was removed or leads elsewhere,
 * heals a listener that a program shut down, and has systemd keep listeners for the next master.
 *
 * Owns:      an inotify(7) descriptor in the loop, with a watch on the inode of each path; what is
 *            in systemd's descriptor store (FileDescriptorStoreMax= of systemd.service(5)).
 * Knows not: pools.
 * Called by: pool, reload, master, main_loop.
 * Runs in:   the master.
 */
#ifndef PREFORKD_MASTER_LISTENER_UPKEEP_H
#define PREFORKD_MASTER_LISTENER_UPKEEP_H

#include "../base/loop.h"
#include "../listeners/listener.h"

struct listener_upkeep {
    struct loop *loop; /* NULL: nothing is watched */
    struct loop_watch watch;
    bool has_input;
    usec again; /* its events are left unread until then; USEC_NEVER: the loop has it */
};

/* If this fails, the next reload finds lost paths. 0 or -errno. */
int listener_upkeep_open(struct listener_upkeep *upkeep, struct loop *loop);
void listener_upkeep_close(struct listener_upkeep *upkeep);

/* Watches the paths that we made, of a list of listeners. */
void listener_upkeep_watch(struct listener_upkeep *upkeep, struct listener *listeners);

/* Ends the watch on a listener that is about to be closed; NULL is allowed. */
void listener_upkeep_forget(struct listener_upkeep *upkeep, struct listener *listener);

/* Checks the listeners whose paths were touched, and warns of lost ones; a reload binds those anew.
 * Whether one of `listeners` was lost or can be reached again. *next is lowered to when to call it
 * again. */
bool listener_upkeep_step(struct listener_upkeep *upkeep, struct listener *listeners,
                          struct listener *control, usec now, usec *next);

/* Checks a pool's listeners after its worker `pid` died, by a system call each. A program that
 * calls shutdown(2) on a listener, as some servers do to wake themselves, shuts it down for all
 * processes that share it: accept(2) fails there from then on. TCP listeners are made to listen
 * again, for all of them. Returns how many others must be bound anew, for new workers. */
int listener_upkeep_heal(struct listener *const *listeners, int count, const char *pool,
                         int backlog, pid_t pid);

/* systemd keeps our listeners while we run. If the master is killed, the next one takes them back,
 * and no client that connects in between is refused. Without systemd these do nothing. */

/* At the start, takes back the listeners of the master before that the configuration still has, and
 * closes the others. */
struct listener *listener_upkeep_take(const struct config *config);

/* Gives systemd those of the listeners in force that we bound. */
void listener_upkeep_store(struct listener *listeners);

/* Takes a listener that is about to be closed from systemd, which would hold it open. */
void listener_upkeep_unstore(struct listener *listener);

#endif
