/*
 * backoff - how long a slot whose workers end waits for the next one. Pure: no clock, no process.
 *
 * An exit is early if the worker had accepted nothing and had been ready for less than a second. A
 * first early exit is replaced at once; each further one in a row waits, 100 ms first, doubling to
 * 10 s. "Served" would be no measure: a client that can crash a worker could then starve the pool.
 * A program that accepts by itself, and ends in order, is expected to: it is replaced at once, but
 * never more than once in 100 ms. What it lived counts for the next one: programs that each live
 * for a moment are as ready, and as sound, as one that lives on.
 * Called by: exits, maintain, in the master.
 */
#ifndef PREFORKD_MASTER_BACKOFF_H
#define PREFORKD_MASTER_BACKOFF_H

#include "../base/clock.h"

#include <stdbool.h>

#define BACKOFF_EARLY  USEC_SECOND
#define BACKOFF_FIRST  (USEC_SECOND / 10)
#define BACKOFF_MOST   (10 * USEC_SECOND)
#define BACKOFF_HEALED (10 * USEC_SECOND) /* ready for as long, a worker is sound */

struct backoff {
    unsigned early; /* early exits in a row */
    usec delay;     /* of the last respawn; 0: at once */
    bool degraded;  /* until a worker accepts, or has been ready for BACKOFF_HEALED */

    /* Of the programs before this one that ended in order, one after another: */
    usec alive; /* how long they lived, less a part of the gaps between them */
    usec ready; /* how long they were ready */
};

/* A worker ended. `ready_for` is how long it had been ready, negative if it never was. Returns how
 * long the respawn waits; *grew tells whether that is longer than the last time. */
usec backoff_death(struct backoff *backoff, bool accepted, usec ready_for, bool *grew);

/* A program ended in order, after it lived for `life`, and was ready for `ready_for` of that,
 * negative if it never was. Returns how long the respawn waits. */
usec backoff_orderly(struct backoff *backoff, usec life, usec ready_for);

/* The slot's worker goes on: notes whether the slot is sound again. */
void backoff_alive(struct backoff *backoff, bool accepted, usec ready_for);

#endif
