/*
 * reach - sees when the path of a listener is taken away, or leads to something else.
 *
 * Owns:      an inotify(7) descriptor in the loop, with a watch on the inode of each path.
 * Knows not: pools, and what is done about it: a reload binds the path anew.
 * Called by: master, commit, realm.
 * Runs in:   the master.
 */
#ifndef PREFORKD_MASTER_REACH_H
#define PREFORKD_MASTER_REACH_H

#include "../base/loop.h"
#include "../shared/listener.h"

struct reach {
    struct loop *loop; /* NULL: nothing is watched */
    struct loop_watch watch;
    bool stirred; /* there is something to read */
    bool changed; /* a listener was lost or found since the caller set this to false */
    usec again;   /* it is left unread until then; USEC_NEVER: it is not */
};

/* Without it, all is found out by the next reload. 0 or -errno. */
int reach_open(struct reach *reach, struct loop *loop);
void reach_close(struct reach *reach);

/* Watches this one (NULL: none) and those behind it, as far as they have a path that we made. */
void reach_watch(struct reach *reach, struct listener *listeners);

/* Watches one no longer, which is about to be closed. */
void reach_forget(struct reach *reach, struct listener *listener);

/* Looks at those listeners with whose paths something was done. Returns when it wants to be called
 * again. */
usec reach_step(struct reach *reach, struct listener *listeners, struct listener *control,
                usec now);

#endif
