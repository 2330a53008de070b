/*
 * listener_repair - listeners that a worker, or what it runs, shut down.
 *
 * A program that calls shutdown(2) on a listener, as servers do to wake themselves, ends it for every
 * process that shares it: accept(2) fails there from then on. So it is looked for when a worker dies.
 * Owns:      what is done about it, and what is told.
 * Knows not: how new workers come to be.
 * Called by: maintain, reload.
 * Runs in:   the master.
 */
#ifndef PREFORKD_MASTER_LISTENER_REPAIR_H
#define PREFORKD_MASTER_LISTENER_REPAIR_H

#include "pool.h"

/* One of its workers died: looks at its listeners, a system call each. Those of TCP listen again at
 * once, for everybody. Returns how many are left which must be bound anew, for new workers: the pool
 * is to be restarted then, which pool->restart_at says. */
int listeners_heal(struct pool *pool, pid_t pid);

/* Whether it is time to restart it for that; if not yet, *next is not later than when it is. */
bool listener_repair_is_due(struct pool *pool, usec now, usec *next);

#endif
