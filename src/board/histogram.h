/*
 * histogram - durations, counted in a few classes with fixed bounds.
 *
 * One process writes while others read: each number is read whole, and only grows. Each bound is at
 * least twice the one before. So there is at most one bound between two powers of two, and a
 * number's highest bit and one comparison find its class.
 */
#ifndef PREFORKD_BOARD_HISTOGRAM_H
#define PREFORKD_BOARD_HISTOGRAM_H

#include "../base/clock.h"

#include <stdatomic.h>
#include <stdint.h>

enum { HISTOGRAM_CLASSES = 20 }; /* the last class has no upper bound */

struct histogram {
    _Atomic uint64_t sum; /* usec */
    _Atomic uint64_t classes[HISTOGRAM_CLASSES];
};

/* The upper bound of each class, inclusive, in usec; UINT32_MAX for the last class. */
extern const uint32_t histogram_bounds[HISTOGRAM_CLASSES];

/* By a number's highest bit: the lowest class that a number with this highest bit can belong to. */
extern const uint8_t histogram_first[32];

static inline unsigned histogram_class(usec span)
{
    uint32_t value = span < 0 ? 0 : span > UINT32_MAX ? UINT32_MAX : (uint32_t)span;
    unsigned first = histogram_first[31 - __builtin_clz(value | 1)];
    return first + (value > histogram_bounds[first]);
}

/* Adds to a counter that only this thread writes. A load and a store are enough, and cheaper than
 * an atomic add. */
static inline void histogram_grow(_Atomic uint64_t *counter, uint64_t by)
{
    uint64_t now = atomic_load_explicit(counter, memory_order_relaxed);
    atomic_store_explicit(counter, now + by, memory_order_relaxed);
}

/* Counts a span so many times. A negative span counts as 0. */
static inline void histogram_count(struct histogram *histogram, usec span, uint64_t times)
{
    histogram_grow(&histogram->classes[histogram_class(span)], times);
    histogram_grow(&histogram->sum, (span > 0 ? (uint64_t)span : 0) * times);
}

/* Adds all counts of `from`. */
void histogram_add(struct histogram *to, const struct histogram *from);

/* How many spans were counted. */
uint64_t histogram_total(const struct histogram *histogram);

/* The span, in usec, that so many of a thousand spans don't exceed, interpolated within its class;
 * in the last class, the class's lower bound. 0 if nothing was counted. */
usec histogram_quantile(const struct histogram *histogram, unsigned thousandths);

#endif
