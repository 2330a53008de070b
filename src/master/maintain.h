/*
 * maintain - keeps a pool as it should be: each round it looks at what there is, and does what is
 * missing.
 *
 * Owns:      starts, deaths, who goes for whom, and when that must be looked at again.
 * Knows not: where the pool's size and configuration come from.
 * Called by: master.
 * Runs in:   the master.
 */
#ifndef PREFORKD_MASTER_MAINTAIN_H
#define PREFORKD_MASTER_MAINTAIN_H

#include "pool.h"

/* Buries the dead, forks, retires, kills the overdue: as the present state asks for. Forks at most
 * *starts workers, and takes those that it forks off it. Returns when it wants to be called again.
 */
usec maintain_step(struct pool *pool, struct spawner *spawner, usec now, int *starts);

#endif
