/*
 * slow - what a request that takes longer than slow_threshold is at, seen from outside: for any
 * language, and without its help.
 *
 * Owns:      the entries of slow requests in the overview. There are few: while all are taken,
 *            further slow requests are not looked into.
 * Knows not: request_timeout, and what is done about a late request (stop).
 * Called by: maintain.
 * Runs in:   the master. It reads /proc, nothing of which waits for the process; see base/procfs.
 *
 * Of a program the processor time is that of its whole life, which began with the request. Of a
 * worker that serves by itself it is counted from the first look on: nobody read it when the
 * request began, since that costs a system call.
 */
#ifndef PREFORKD_MASTER_SLOW_H
#define PREFORKD_MASTER_SLOW_H

#include "spawn.h"

/* Looks into the worker's request, by what was just read of its seats, if it exceeds the threshold:
 * at once, and then every 2 s as long as it lasts. The first look is logged. Returns when to look
 * again. */
usec slow_watch(struct worker *worker, struct spawner *spawner, const struct seats_load *load,
                usec threshold, usec now);

#endif
