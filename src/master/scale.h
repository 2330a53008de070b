/*
 * scale - how many workers a pool should have, and during a roll how many of each generation. Pure:
 * counts and times in, numbers out; no clock, no process.
 *
 * Called by: maintain, pool.
 * Runs in:   the master.
 */
#ifndef PREFORKD_MASTER_SCALE_H
#define PREFORKD_MASTER_SCALE_H

#include "../base/clock.h"

#include <stdbool.h>

/* A size that follows the load. It grows if too few seats are free or will be free once all ordered
 * workers are ready: by as many as are missing, and by twice the last growth each time that growth
 * was used up as soon as it was ready. It shrinks by the workers that were too many throughout a
 * period, not by those idle now. */

#define SCALE_SPARE_TIME USEC_SECOND        /* how long seats may exceed max_spare */
#define SCALE_LOOK       USEC_SECOND        /* between looks, while workers may be too many */
#define SCALE_LOOK_SHORT (USEC_SECOND / 10) /* between looks, while ordered workers start */

/* As configured. */
struct scale_limits {
    int min_workers, max_workers, min_spare, max_spare;
    usec spare_timeout;
    int seats; /* of one worker; min_spare and max_spare count seats */
};

/* As counted, for a pool of programs: nobody knows which of them are idle. */
struct scale_blind {
    int ready;
    int queue; /* connections that wait */
    usec now;
};

/* As counted. */
struct scale_facts {
    int ready;    /* workers */
    int idle;     /* their free seats */
    bool waiting; /* a connection waits, and there is no worker to accept it */
    usec now;
};

/* Workers that may be too many. */
struct scale_surplus {
    usec since; /* 0: there are none */
    int least;  /* the lowest number at any look since then */
};

struct scale {
    int goal; /* how many workers there should be */

    int batch;       /* the last growth; 0: nothing to double */
    usec grown_at;   /* when it was ordered */
    usec settled_at; /* when it was seen ready, with enough free seats; 0: not yet */

    struct scale_surplus beyond_max, beyond_min;
    usec full_since; /* at max_workers, all seats taken; 0: not full */

    usec queued_since,
        empty_since; /* of programs: so was the queue at each look since; 0: not so */
};

struct scale_orders {
    bool arm;   /* workers wake the master when too few seats are free */
    bool watch; /* no worker could wake it: the master watches the listeners */
    usec look;  /* when to look again, at the latest */
};

/* Sets the goal, by counted seats. */
struct scale_orders scale_step(struct scale *scale, const struct scale_limits *limits,
                               const struct scale_facts *facts);

/* Sets the goal of a pool of programs, by the queue alone. While connections wait, no worker counts
 * as idle; while none waits, as many as should be count as idle. So it looks often, and now and
 * then tries whether fewer workers are enough. */
struct scale_orders scale_step_blind(struct scale *scale, const struct scale_limits *limits,
                                     const struct scale_blind *facts);

/* Whether min_spare seats are free, at least one. Workers use the same measure. */
bool scale_has_spare(const struct scale_limits *limits, int idle);

/* A roll, from one generation to the next. Either all new workers start together, and once each had
 * its try and at least one stayed, the old ones go. Or `at_once` start, and for each that stayed
 * ready for min_ready_time an old one goes. If new workers don't stay, the roll is halted: it
 * starts no more of them than are needed beside the old ones. */

enum {
    /* So many exits in a row before min_ready_time, in one seat, halt it: one may be an
     * accident. */
    ROLL_FAILURES = 2,
};

struct roll {
    int stayed;  /* new workers that were ready for min_ready_time */
    int tried;   /* new workers that stayed, or failed to (see struct counts) */
    int stale;   /* old workers */
    int target;  /* how many workers there should be */
    int at_once; /* how many may be new and not tried yet; 0: all */
    bool halted;
    int unplaced; /* new workers for which there has been no room for a while */
};

/* How many new workers there may be now. */
int roll_allowed(const struct roll *roll);

/* How many old workers have to go. */
int roll_surplus(const struct roll *roll);

/* Whether nothing more is to be expected of the roll soon: it is complete, it is halted, or all new
 * workers fail. */
bool roll_is_over(const struct roll *roll);

#endif
