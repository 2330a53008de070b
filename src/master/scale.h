/*
 * scale - how many workers a pool should have, and how many of which generation while a roll is
 * under way. Pure: counts and times in, numbers out; no clock, no process.
 *
 * Called by: maintain, pool.
 * Runs in:   the master.
 */
#ifndef PREFORKD_MASTER_SCALE_H
#define PREFORKD_MASTER_SCALE_H

#include "../base/clock.h"

#include <stdbool.h>

/* A size that follows the load. It grows when too few seats are free or on their way to be: by what
 * is missing, and by twice as many each time that the last growth was used up as soon as it was
 * there. It shrinks by the workers that were too many over all of a period, not by those idle
 * now. */

#define SCALE_SPARE_TIME USEC_SECOND        /* that seats beyond max_spare are left alone */
#define SCALE_LOOK       USEC_SECOND        /* between two looks at seats that may be too many */
#define SCALE_LOOK_SHORT (USEC_SECOND / 10) /* while free seats are wanting, and on their way */

/* As configured. */
struct scale_limits {
    int min_workers, max_workers, min_spare, max_spare;
    usec spare_timeout;
    int seats; /* of one worker; spare ones are counted in seats */
};

/* As counted, of a pool whose workers are programs: it is unknown which of them are idle. */
struct scale_blind {
    int ready;
    int queue; /* connections that wait */
    usec now;
};

/* As counted. */
struct scale_facts {
    int ready;    /* workers that are */
    int idle;     /* their free seats */
    bool waiting; /* a connection waits, and no worker is there to take it */
    usec now;
};

/* Workers that may be too many: since when, and the least that there were at any look. */
struct scale_surplus {
    usec since; /* 0: there are none */
    int least;
};

struct scale {
    int goal; /* how many workers there should be */

    int batch;       /* the last growth; 0: nothing to double */
    usec grown_at;   /* when it was ordered, */
    usec settled_at; /* and seen ready, with enough free; 0 not yet */

    struct scale_surplus beyond_max, beyond_min;
    usec full_since; /* at max_workers, all seats taken; 0: not */

    usec queued_since, empty_since; /* blind: the queue was so at each look since; 0: it was not */
};

struct scale_orders {
    bool arm;   /* workers are to wake the master when too few seats are free */
    bool watch; /* there is no worker that could: the master watches the listeners */
    usec look;  /* when to look again, at the latest */
};

/* Sets the goal. */
struct scale_orders scale_step(struct scale *scale, const struct scale_limits *limits,
                               const struct scale_facts *facts);

/* The same, by nothing but the queue: while connections wait, no worker is idle, and while none
 * waits, as many are idle as should be. So it tries now and then whether fewer are enough, and
 * looks often. */
struct scale_orders scale_step_blind(struct scale *scale, const struct scale_limits *limits,
                                     const struct scale_blind *facts);

/* Whether as many seats are free as there should be, at least one. Workers measure by the same. */
bool scale_has_spare(const struct scale_limits *limits, int idle);

/* From one generation to the next. Either all new workers come together, and when each had its try
 * and at least one stayed, the old ones go; or `at_once` come, and for each that stayed ready for
 * min_ready_time an old one goes. If the new ones don't stay, the roll is halted: no more of them
 * come than are wanted beside the old. */

enum {
    /* Deaths in a row before min_ready_time, in one place, that halt it: one may be an accident. */
    ROLL_FAILURES = 2,
};

/* As counted, but for the last three. */
struct roll {
    int stayed;  /* of the new: ready, for min_ready_time */
    int tried;   /* of the new: stayed, or dead before they did */
    int stale;   /* the old */
    int target;  /* how many there should be */
    int at_once; /* 0: all */
    bool halted;
};

/* How many workers of the new generation there may be by now. */
int roll_allowed(const struct roll *roll);

/* How many of the old have to go. */
int roll_surplus(const struct roll *roll);

/* Whether nothing more is to be expected of it soon: it is through, it is halted, or all of the new
 * ones fail. */
bool roll_is_over(const struct roll *roll);

#endif
