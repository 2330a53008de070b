/*
 * timers - a heap of numbers by the time at which each is due.
 *
 * A number is in the heap at most once. Most timers are put off before they expire. That costs
 * nothing: the owner leaves the earlier time in the heap, and checks its deadline when that time
 * comes. Used by a worker of the event model.
 */
#ifndef PREFORKD_WORKER_TIMERS_H
#define PREFORKD_WORKER_TIMERS_H

#include "../base/clock.h"

#include <stdint.h>

struct timers {
    struct timer {
        usec due;
        uint32_t number;
    } * heap;
    uint32_t *places; /* by number: its index in the heap plus 1; 0: not in the heap */
    uint32_t count;
};

/* For numbers below `most`. 0 or -errno. */
int timers_open(struct timers *timers, uint32_t most);
void timers_close(struct timers *timers);

/* Makes the number due at this time, unless it is due earlier already. */
void timers_set(struct timers *timers, uint32_t number, usec due);

/* When the next number is due; USEC_NEVER: the heap is empty. */
static inline usec timers_next(const struct timers *timers)
{
    return timers->count ? timers->heap[0].due : USEC_NEVER;
}

/* Removes the next number from the heap, and returns it. */
uint32_t timers_take(struct timers *timers);

#endif
