/*
 * maintain - one pool's round: it looks at the pool's workers, and forks, retires, wakes and kills
 * until the pool is as it should be.
 *
 * Knows not: where the pool's size and configuration come from.
 * Called by: main_loop.
 * Runs in:   the master.
 */
#ifndef PREFORKD_MASTER_MAINTAIN_H
#define PREFORKD_MASTER_MAINTAIN_H

#include "pool.h"

/* Forks at most *starts workers, and subtracts from it those forked. Returns when to call it
 * again. */
usec maintain_step(struct pool *pool, struct spawner *spawner, usec now, int *starts);

#endif
