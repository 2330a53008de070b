/*
 * listener_watch - sees when the path of a listener is taken away, or leads to something else.
 *
 * Owns:      an inotify(7) descriptor in the loop, with a watch on the inode of each path.
 * Knows not: pools, and what is done about it: a reload binds the path anew.
 * Called by: master, commit, runtime.
 * Runs in:   the master.
 */
#ifndef PREFORKD_MASTER_LISTENER_WATCH_H
#define PREFORKD_MASTER_LISTENER_WATCH_H

#include "../base/loop.h"
#include "../listeners/listener.h"

struct listener_watch {
    struct loop *loop; /* NULL: nothing is watched */
    struct loop_watch watch;
    bool stirred; /* there is something to read */
    bool changed; /* a listener was lost or found since the caller set this to false */
    usec again;   /* it is left unread until then; USEC_NEVER: it is not */
};

/* Without it, all is found out by the next reload. 0 or -errno. */
int listener_watch_open(struct listener_watch *listener_watch, struct loop *loop);
void listener_watch_close(struct listener_watch *listener_watch);

/* Watches this one (NULL: none) and those behind it, as far as they have a path that we made. */
void listener_watch_watch(struct listener_watch *listener_watch, struct listener *listeners);

/* Watches one no longer, which is about to be closed. */
void listener_watch_forget(struct listener_watch *listener_watch, struct listener *listener);

/* Looks at those listeners with whose paths something was done. Returns when it wants to be called
 * again. */
usec listener_watch_step(struct listener_watch *listener_watch, struct listener *listeners,
                         struct listener *control, usec now);

#endif
