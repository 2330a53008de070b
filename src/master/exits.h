/*
 * exits - what is done about a death, but for the successor itself: it is noted, its successor's
 * hour is set, and it is told.
 *
 * Knows not: whether there is to be a successor, and how one is made (keeper): that comes in between,
 *            because it is in a hurry, and words are not.
 * Called by: maintain.
 * Runs in:   the master.
 */
#ifndef PREFORKD_MASTER_EXITS_H
#define PREFORKD_MASTER_EXITS_H

#include "exit_report.h"
#include "spawn.h"

/* Takes the facts, and puts them into the ledger. */
void exits_begin(struct worker *worker, struct overview *overview, struct exit_report *report);

/* It is to have a successor, at an hour that depends on how it lived. */
void exits_set_respawn(struct worker *worker, struct exit_report *report, usec now);

/* Says it. */
void exits_end(const struct exit_report *report);

#endif
