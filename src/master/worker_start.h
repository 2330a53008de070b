/*
 * worker_start - forks a worker, with the ways between it and the master.
 *
 * Owns:      nothing; what it opens is the worker's.
 * Knows not: the worker's seat, and what becomes of it (spawn).
 * Called by: pool, maintain.
 * Runs in:   the master; the child that it forks goes into worker_run.
 */
#ifndef PREFORKD_MASTER_WORKER_START_H
#define PREFORKD_MASTER_WORKER_START_H

#include "spawn.h"

/* Forks a worker that was prepared, or whose last life was reaped. 0 or -errno. */
int worker_start_fork(struct spawner *spawner, struct worker *worker,
                      struct listener *const *listeners, int listener_count);

#endif
