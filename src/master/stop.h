/*
 * stop - how a worker is made to end: signals that grow harder, each with its deadline.
 *
 * Owns:      the role and the cause of one that has to go, and what it is sent when.
 * Knows not: why it has to go, or who replaces it.
 * Called by: pool, maintain.
 * Runs in:   the master.
 */
#ifndef PREFORKD_MASTER_STOP_H
#define PREFORKD_MASTER_STOP_H

#include "spawn.h"

/* Puts those first whom it hurts least to lose: one that is not born, one that is not ready, the one
 * that has been idle longest. */
void stop_sort(struct worker **workers, int count);

/* Finish the connection in hand, if any, and go: by the deadline, where there is one. */
void stop_retire(struct worker *worker, usec deadline);

/* It hangs: it is to leave a core behind, where it may. */
void stop_abort(struct worker *worker, usec now);

/* Go now. */
void stop_stop(struct worker *worker, usec now);

/* Looks at how long its request has been going on, of `limit` at most. One that is late has to go,
 * with what it runs. Returns when to look again. */
usec stop_watch(struct worker *worker, usec limit, usec now);

/* One that is late with going gets the next harder signal; returns when that is due. */
usec stop_step(struct worker *worker, usec now);

#endif
