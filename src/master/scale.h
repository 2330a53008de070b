/*
 * scale - how many workers a pool should have whose size follows the load. Pure: facts in, orders
 * out; no clock, no process.
 *
 * It grows when too few seats are free, or on their way to be: by what is missing, and by twice as
 * many each time that the last growth was used up as soon as it was there. It shrinks by what was
 * too much over all of a time, not by what is idle now.
 * Called by: pool.
 * Runs in:   the master.
 */
#ifndef PREFORKD_MASTER_SCALE_H
#define PREFORKD_MASTER_SCALE_H

#include "../base/clock.h"

#include <stdbool.h>

#define SCALE_SPARE_TIME USEC_SECOND        /* that seats beyond max_spare are left alone */
#define SCALE_LOOK       USEC_SECOND        /* between two looks at seats that may be too many */
#define SCALE_LOOK_SHORT (USEC_SECOND / 10) /* while free seats are wanting, and on their way */

/* As configured. */
struct scale_limits {
    int min_workers, max_workers, min_spare, max_spare;
    usec spare_timeout;
};

/* As counted, where nobody knows who is idle. */
struct scale_blind {
    int ready;
    int queue; /* connections that wait */
    usec now;
};

/* As counted. */
struct scale_facts {
    int ready;    /* workers that are */
    int idle;     /* of these: those without a connection */
    bool waiting; /* a connection waits, and nobody is there to take it */
    usec now;
};

/* Seats that may be too many: since when, and the least that there were at any look. */
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
    usec full_since; /* at max_workers, all of them busy; 0: not */

    usec queued_since, empty_since; /* blind: as it was at each look since; 0: it was not */
};

struct scale_orders {
    bool arm;   /* workers are to tell when too few seats are free */
    bool watch; /* nobody is there who could: watch the listeners */
    usec look;  /* when to look again, at the latest */
};

/* Sets the goal. */
struct scale_orders scale_step(struct scale *scale, const struct scale_limits *limits,
                               const struct scale_facts *facts);

/* The same, by nothing but the queue: while connections wait, nobody is idle, and while none does, so
 * many are as ought to be. So it tries, now and then, whether fewer are enough; and looks often. */
struct scale_orders scale_step_blind(struct scale *scale, const struct scale_limits *limits,
                                     const struct scale_blind *facts);

/* Whether as many seats are free as there should be, at least one: the wakeup's measure. */
bool scale_has_spare(const struct scale_limits *limits, int idle);

#endif
