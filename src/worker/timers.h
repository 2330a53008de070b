/*
 * timers - which of many is due first: a heap of numbers, each with its time.
 *
 * A number is in it once at most. Most times are put off before they come: to do so costs nothing,
 * as the owner leaves the earlier time here, and looks when that comes. In a worker of the event
 * model.
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
    uint32_t *places; /* by number: where it is in the heap, from 1 on; 0: it is not */
    uint32_t count;
};

/* For numbers below `most`. 0 or -errno. */
int timers_open(struct timers *timers, uint32_t most);
void timers_close(struct timers *timers);

/* The number is to be told of at this time, or before. */
void timers_set(struct timers *timers, uint32_t number, usec due);

/* When the next one is due; USEC_NEVER: there is none. */
static inline usec timers_next(const struct timers *timers)
{
    return timers->count ? timers->heap[0].due : USEC_NEVER;
}

/* Takes the next one out. */
uint32_t timers_take(struct timers *timers);

#endif
