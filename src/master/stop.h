/*
 * stop - which worker is late, and how one is made to end: by signals that grow harder, each with
 * its deadline.
 *
 * Owns:      role and cause of a worker that has to go, and what it is sent when.
 * Knows not: why a worker is not wanted any more, or which one replaces it.
 * Called by: pool, maintain, in the master.
 */
#ifndef PREFORKD_MASTER_STOP_H
#define PREFORKD_MASTER_STOP_H

#include "spawn.h"

/* Puts those first that it hurts least to lose: a worker that is not forked, one that is not ready,
 * the one that has been idle longest. */
void stop_sort(struct worker **workers, int count);

/* Finish the connection in hand, if any, and go: by the deadline, if there is one. */
void stop_retire(struct worker *worker, usec deadline);

/* Go now. */
void stop_now(struct worker *worker, usec now);

/* Ends a worker, with what it runs, if its request has been going on for longer than `limit`, by
 * what was just read of its seats. Returns when to look again. */
usec stop_watch(struct worker *worker, const struct seats_load *load, usec limit, usec now);

/* Speaks for a worker that became a program, which can't write into its slot: when it is ready, and
 * when it hangs. Returns when to look again. Before grace_until nobody is late. */
usec stop_watch_program(struct worker *worker, usec grace_until, usec now);

/* A worker that is late with going gets the next harder signal; returns when that is due. */
usec stop_step(struct worker *worker, usec now);

#endif
