/*
 * roll - how a pool goes over from one generation to the next: how many of the new there may be, and
 * how many of the old are too many. Pure: counts in, counts out.
 *
 * Either all of the new come together, and when each had its try, and one at least is ready, the old
 * go; or some at once come, and for each that is ready an old one goes.
 * Called by: keeper.
 * Runs in:   the master.
 */
#ifndef PREFORKD_MASTER_ROLL_H
#define PREFORKD_MASTER_ROLL_H

/* As counted, but for the last two. */
struct roll {
    int ready;    /* of the new */
    int settled;  /* of the new: ready, or dead before they were */
    int outdated; /* the old */
    int target;   /* how many there should be */
    int at_once;  /* 0: all */
};

/* How many workers of the new generation there may be by now. */
int roll_allowed(const struct roll *roll);

/* How many of the old have to go. */
int roll_surplus(const struct roll *roll);

#endif
