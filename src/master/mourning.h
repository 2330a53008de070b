/*
 * mourning - what is done about a death, but for the successor itself: it is noted, its successor's
 * hour is set, and it is told.
 *
 * Knows not: whether there is to be a successor, and how one is made (keeper): that comes in between,
 *            because it is in a hurry, and words are not.
 * Called by: keeper.
 * Runs in:   the master.
 */
#ifndef PREFORKD_MASTER_MOURNING_H
#define PREFORKD_MASTER_MOURNING_H

#include "obituary.h"
#include "spawn.h"

/* Takes the facts, and puts them into the ledger. */
void mourning_begin(struct worker *worker, struct overview *overview, struct obituary *obituary);

/* It is to have a successor, at an hour that depends on how it lived. */
void mourning_set_respawn(struct worker *worker, struct obituary *obituary, usec now);

/* Says it. */
void mourning_end(const struct obituary *obituary);

#endif
