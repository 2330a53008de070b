/*
 * app_monitor - the master speaks for a worker that became a program: that can't write into its slot.
 *
 * Owns:      when such a worker is taken for ready, and when for hung.
 * Knows not: how many there should be.
 * Called by: maintain.
 * Runs in:   the master.
 */
#ifndef PREFORKD_MASTER_APP_MONITOR_H
#define PREFORKD_MASTER_APP_MONITOR_H

#include "spawn.h"

/* Looks at it, if it is such a one. Returns when to look again. Before grace_until nobody is late. */
usec app_monitor_tend(struct worker *worker, usec grace_until, usec now);

#endif
