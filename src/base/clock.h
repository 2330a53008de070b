/*
 * clock - time as one number: microseconds of CLOCK_MONOTONIC.
 *
 * This clock ignores changes of the wall clock, and stands still while the machine is suspended.
 */
#ifndef PREFORKD_BASE_CLOCK_H
#define PREFORKD_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

typedef int64_t usec;

#define USEC_SECOND ((usec)1000000)
#define USEC_NEVER  INT64_MAX /* a deadline that never comes */

static inline usec clock_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * USEC_SECOND + now.tv_nsec / 1000;
}

/* The wall clock since 1970: to display, not to measure by. */
static inline usec clock_real(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * USEC_SECOND + now.tv_nsec / 1000;
}

static inline usec clock_earlier(usec a, usec b)
{
    return a < b ? a : b;
}

/* A time for poll(2) and its like in milliseconds, rounded up; never negative, which would mean for
 * ever. An int holds no more than 24 days, so it is an hour at most: who waits for longer must ask
 * again. */
static inline int clock_msec(usec left)
{
    enum { MOST = 3600 * 1000 };
    return left <= 0 ? 0 : left / 1000 < MOST ? (int)((left + 999) / 1000) : MOST;
}

/* Seconds, to print. */
static inline double clock_seconds(usec span)
{
    return (double)span / (double)USEC_SECOND;
}

#endif
