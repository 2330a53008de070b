/*
 * maintain - one pool's step: it looks at what is there, and forks, retires and kills until the
 * pool is as it should be.
 *
 * Knows not: where the pool's size and configuration come from.
 * Called by: main_loop.
 * Runs in:   the master.
 */
#ifndef PREFORKD_MASTER_MAINTAIN_H
#define PREFORKD_MASTER_MAINTAIN_H

#include "pool.h"

/* Forks at most *starts workers, and takes off it what it forked. Returns when it wants to be
 * called again. */
usec maintain_step(struct pool *pool, struct spawner *spawner, usec now, int *starts);

#endif
