/*
 * sizing - how many workers a pool should have whose size follows the load. Pure: facts in, orders
 * out; no clock, no process.
 *
 * It grows when too few seats are free, or on their way to be: by what is missing, and by twice as
 * many each time that the last growth was used up as soon as it was there. It shrinks by what was
 * too much over all of a time, not by what is idle now.
 * Called by: pool.
 * Runs in:   the master.
 */
#ifndef PREFORKD_MASTER_SIZING_H
#define PREFORKD_MASTER_SIZING_H

#include "../base/clock.h"

#include <stdbool.h>

#define SIZING_SPARE_TIME USEC_SECOND        /* that seats beyond max_spare are left alone */
#define SIZING_LOOK       USEC_SECOND        /* between two looks at seats that may be too many */
#define SIZING_LOOK_SHORT (USEC_SECOND / 10) /* while free seats are wanting, and on their way */

/* As configured. */
struct sizing_limits {
    int min_workers, max_workers, min_spare, max_spare;
    usec spare_timeout;
};

/* As counted, where nobody knows who is idle. */
struct sizing_blind {
    int ready;
    int queue; /* connections that wait */
    usec now;
};

/* As counted. */
struct sizing_facts {
    int ready;    /* workers that are */
    int idle;     /* of these: those without a connection */
    bool waiting; /* a connection waits, and nobody is there to take it */
    usec now;
};

/* Seats that may be too many: since when, and the least that there were at any look. */
struct sizing_surplus {
    usec since; /* 0: there are none */
    int least;
};

struct sizing {
    int goal; /* how many workers there should be */

    int batch;       /* the last growth; 0: nothing to double */
    usec grown_at;   /* when it was ordered, */
    usec settled_at; /* and seen ready, with enough free; 0 not yet */

    struct sizing_surplus beyond_max, beyond_min;
    usec full_since; /* at max_workers, all of them busy; 0: not */

    usec queued_since, empty_since; /* blind: as it was at each look since; 0: it was not */
};

struct sizing_orders {
    bool arm;   /* workers are to tell when too few seats are free */
    bool watch; /* nobody is there who could: watch the listeners */
    usec look;  /* when to look again, at the latest */
};

/* Sets the goal. */
struct sizing_orders sizing_step(struct sizing *sizing, const struct sizing_limits *limits,
                                 const struct sizing_facts *facts);

/* The same, by nothing but the queue: while connections wait, nobody is idle, and while none does, so
 * many are as ought to be. So it tries, now and then, whether fewer are enough; and looks often. */
struct sizing_orders sizing_step_blind(struct sizing *sizing, const struct sizing_limits *limits,
                                       const struct sizing_blind *facts);

/* Whether as many seats are free as there should be, at least one: the bell's measure. */
bool sizing_has_spare(const struct sizing_limits *limits, int idle);

#endif
