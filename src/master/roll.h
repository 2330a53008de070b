/*
 * roll - how a pool goes over from one generation to the next: how many of the new there may be,
 * how many of the old are too many, and when it is over. Pure: counts in, counts out.
 *
 * Either all of the new come together, and when each had its try, and one at least stayed, the old
 * go; or some at once come, and for each that stayed ready for min_ready_time an old one goes. Where
 * the new ones don't stay, it stops: no more of them come than are wanted beside the old.
 * Called by: maintain, pool.
 * Runs in:   the master.
 */
#ifndef PREFORKD_MASTER_ROLL_H
#define PREFORKD_MASTER_ROLL_H

#include <stdbool.h>

enum {
    /* Deaths in a row before min_ready_time, in one place, that stop it: one may be an accident. */
    ROLL_FAILURES = 2,
};

/* As counted, but for the last three. */
struct roll {
    int stayed;  /* of the new: ready, for min_ready_time */
    int tried;   /* of the new: stayed, or dead before they did */
    int stale;   /* the old */
    int target;  /* how many there should be */
    int at_once; /* 0: all */
    bool halted; /* it has stopped */
};

/* How many workers of the new generation there may be by now. */
int roll_allowed(const struct roll *roll);

/* How many of the old have to go. */
int roll_surplus(const struct roll *roll);

/* Whether nothing more is to be expected of it soon: it is through, it has stopped, or all of the new
 * ones fail. */
bool roll_is_over(const struct roll *roll);

#endif
