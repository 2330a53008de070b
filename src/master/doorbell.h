/*
 * doorbell - how the master learns that a pool lacks seats: workers ring when they take the last
 * ones, and where there is no worker the master watches the listeners itself.
 *
 * Owns:      the pool's word in the scoreboard that arms the bell, and the watches on its listeners.
 * Knows not: how many workers there are, or should be.
 * Called by: pool.
 * Runs in:   the master.
 */
#ifndef PREFORKD_MASTER_DOORBELL_H
#define PREFORKD_MASTER_DOORBELL_H

#include "../base/loop.h"
#include "../shared/listener.h"
#include "../shared/scoreboard.h"

struct doorbell {
    struct loop *loop;
    struct loop_watch *watches; /* NULL: nothing is watched */
    int count;
};

/* Whoever takes a seat from now on looks whether it has to ring. What happened before is for the
 * caller to look at, again, after this. NULL, where no worker was born yet, is let pass. */
void doorbell_arm(struct scoreboard *board);
void doorbell_disarm(struct scoreboard *board);

/* Wakes the loop, and sets *changed, while a connection waits at one of them. 0 or -errno: nothing is watched then. */
int doorbell_watch(struct doorbell *bell, struct loop *loop, struct listener *const *listeners,
                   int count, bool *changed);
void doorbell_unwatch(struct doorbell *bell);

/* Whether a connection waits at one that is watched. */
bool doorbell_waiting(const struct doorbell *bell);

#endif
