/*
 * slow - what a request that exceeds slow_threshold is doing, seen from outside: for any language,
 * and without the worker's help.
 *
 * Owns:      the entries of slow requests in the overview. They are few: while all are taken,
 *            further slow requests are not inspected.
 * Knows not: request_timeout, and what follows from it (stop).
 * Called by: maintain.
 * Runs in:   the master. It reads files of /proc that never wait for the process: see base/procfs.
 *
 * A program's CPU time is that of its whole life, which began with the request. A worker's own CPU
 * time counts from the first inspection on: to read it when the request begins would cost a system
 * call.
 */
#ifndef PREFORKD_MASTER_SLOW_H
#define PREFORKD_MASTER_SLOW_H

#include "spawn.h"

/* Inspects the worker's longest request, by `load`, just read from its seats, if it exceeds the
 * threshold: at once, then every 2 s while it lasts. The first inspection is logged. Returns when
 * to look again. */
usec slow_watch(struct worker *worker, struct spawner *spawner, const struct seats_load *load,
                usec threshold, usec now);

#endif
