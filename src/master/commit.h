/*
 * commit - a plan is tried, and put in force or undone.
 *
 * Owns:      the order in which it happens: what can fail is in commit_try; in commit_apply nothing
 *            can.
 * Knows not: who asked for it, whether the canaries came to be.
 * Called by: reload.
 * Runs in:   the master.
 */
#ifndef PREFORKD_MASTER_COMMIT_H
#define PREFORKD_MASTER_COMMIT_H

#include "plan.h"

/* Makes the pools that are new. 0; or -1 with the fault noted. */
int commit_add_pools(struct runtime *runtime, struct plans *plans, unsigned generation);

/* Makes the new pools, and forks a canary of each that needs new workers. 0; or -1 with the fault
 * noted: commit_undo then undoes it. */
int commit_try(struct runtime *runtime, struct plans *plans);

/* How many canaries have not been ready for min_ready_time; -1 with the fault noted where one is dead.
 */
int commit_missing(const struct plans *plans);

/* Puts it in force, and frees the plans. Pools whose workers it concerns get the number of the job. A
 * renewal, where the configuration stays as it is, leaves
 * alone what was done to pools by hand: sizes and drains. */
void commit_apply(struct runtime *runtime, struct plans *plans, uint64_t job, bool renewal);

/* All is as it was before commit_try. */
void commit_undo(struct runtime *runtime, struct plans *plans);

#endif
