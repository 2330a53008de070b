/*
 * listener_upkeep - listeners that were lost: the path of one is taken away, or leads to something
 * else, or a worker shut it down.
 *
 * Owns:      an inotify(7) descriptor in the loop, with a watch on the inode of each path.
 * Knows not: pools.
 * Called by: pool, reload, master, main_loop.
 * Runs in:   the master.
 */
#ifndef PREFORKD_MASTER_LISTENER_UPKEEP_H
#define PREFORKD_MASTER_LISTENER_UPKEEP_H

#include "../base/loop.h"
#include "../listeners/listener.h"

struct listener_watch {
    struct loop *loop; /* NULL: nothing is watched */
    struct loop_watch watch;
    bool has_input;
    usec again; /* it is left unread until then; USEC_NEVER: it is not */
};

/* Without it, a reload finds out about lost paths. 0 or -errno. */
int listener_watch_open(struct listener_watch *listener_watch, struct loop *loop);
void listener_watch_close(struct listener_watch *listener_watch);

/* Watches this one (NULL: none) and those behind it, as far as they have a path that we made. */
void listener_watch_watch(struct listener_watch *listener_watch, struct listener *listeners);

/* Watches one no longer, which is about to be closed. */
void listener_watch_forget(struct listener_watch *listener_watch, struct listener *listener);

/* Looks at those listeners with whose paths something was done; a reload binds the path anew.
 * Whether one of `listeners` was lost, or can be reached again; *next is not later than when to
 * call this again. */
bool listener_watch_step(struct listener_watch *listener_watch, struct listener *listeners,
                         struct listener *control, usec now, usec *next);

/* A pool's worker, `pid`, died: looks at the pool's listeners, a system call each. A program that
 * calls shutdown(2) on a listener, as servers do to wake themselves, ends it for every process that
 * shares it: accept(2) fails there from then on. Those of TCP listen again at once, for everybody.
 * Returns how many are left that must be bound anew, for new workers. */
int listener_watch_heal(struct listener *const *listeners, int count, const char *pool, int backlog,
                        pid_t pid);

/* At the start: the listeners of the master before, as far as the configuration has them. The
 * others are closed. */
struct listener *store_take(const struct config *config);

/* These are in force: systemd gets those that we bound. */
void store_keep(struct listener *listeners);

/* This one is about to be closed for good: systemd must not hold it open. */
void store_release(struct listener *listener);

#endif
