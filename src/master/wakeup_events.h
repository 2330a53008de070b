/*
 * wakeup_events - how the master learns that a pool lacks seats: workers ring when they take the last
 * ones, and where there is no worker the master watches the listeners itself.
 *
 * Owns:      the pool's word in the scoreboard that arms the wakeup, and the watches on its listeners.
 * Knows not: how many workers there are, or should be.
 * Called by: pool.
 * Runs in:   the master.
 */
#ifndef PREFORKD_MASTER_WAKEUP_EVENTS_H
#define PREFORKD_MASTER_WAKEUP_EVENTS_H

#include "../base/loop.h"
#include "../board/scoreboard.h"
#include "../listeners/listener.h"

struct wakeup_events {
    struct loop *loop;
    struct loop_watch *watches; /* NULL: nothing is watched */
    int count;
};

/* Whoever takes a seat from now on looks whether it has to ring. What happened before is for the
 * caller to look at, again, after this. NULL, where no worker was born yet, is let pass. */
void wakeup_events_arm(struct scoreboard *board);
void wakeup_events_disarm(struct scoreboard *board);

/* Wakes the loop, and sets *changed, while a connection waits at one of them. 0 or -errno: nothing is watched then. */
int wakeup_events_watch(struct wakeup_events *wakeup, struct loop *loop,
                        struct listener *const *listeners, int count, bool *changed);
void wakeup_events_unwatch(struct wakeup_events *wakeup);

/* Whether a connection waits at one that is watched. */
bool wakeup_events_waiting(const struct wakeup_events *wakeup);

#endif
