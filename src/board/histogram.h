/*
 * histogram - how long something took, counted in a few classes whose bounds never change.
 *
 * One process writes, others read meanwhile: each number is whole, and grows. From one bound to the
 * next it is twice as far or more. So between a power of two and the next one there is one bound at
 * most, and the class is found by the number's highest bit and one comparison.
 */
#ifndef PREFORKD_BOARD_HISTOGRAM_H
#define PREFORKD_BOARD_HISTOGRAM_H

#include "../base/clock.h"

#include <stdatomic.h>
#include <stdint.h>

enum { HISTOGRAM_CLASSES = 20 }; /* the last one has no bound */

struct histogram {
    _Atomic uint64_t sum; /* usec */
    _Atomic uint64_t classes[HISTOGRAM_CLASSES];
};

/* The most, in usec, that belongs to a class; of the last one the most that there is. */
extern const uint32_t histogram_bounds[HISTOGRAM_CLASSES];

/* By the highest bit of a number, the first class whose bound is not below all numbers with this
 * bit. */
extern const uint8_t histogram_first[32];

static inline unsigned histogram_class(usec span)
{
    uint32_t value = span < 0 ? 0 : span > UINT32_MAX ? UINT32_MAX : (uint32_t)span;
    unsigned first = histogram_first[31 - __builtin_clz(value | 1)];
    return first + (value > histogram_bounds[first]);
}

/* One writer: a plain load and store are enough, and cheaper than an atomic add. */
static inline void histogram_grow(_Atomic uint64_t *counter, uint64_t by)
{
    uint64_t now = atomic_load_explicit(counter, memory_order_relaxed);
    atomic_store_explicit(counter, now + by, memory_order_relaxed);
}

/* Counts a span, so many times. One that is negative took no time. */
static inline void histogram_count(struct histogram *histogram, usec span, uint64_t times)
{
    histogram_grow(&histogram->classes[histogram_class(span)], times);
    histogram_grow(&histogram->sum, (span > 0 ? (uint64_t)span : 0) * times);
}

/* Adds one to the other. */
void histogram_add(struct histogram *to, const struct histogram *from);

/* How many were counted. */
uint64_t histogram_total(const struct histogram *histogram);

/* The span, in usec, that so many of a thousand don't exceed: as if within its class all were
 * spread evenly; in the last one, its lower bound. 0 if nothing was counted. */
usec histogram_quantile(const struct histogram *histogram, unsigned thousandths);

#endif
