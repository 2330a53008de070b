/*
 * deaths - the ledger in the overview: how the last workers died that were not simply retired.
 *
 * A ring with one writer, the master, and readers that take no lock. Each entry has its number,
 * which is 0 while it is written: a reader that finds the same before and after has read it whole.
 */
#ifndef PREFORKD_BOARD_DEATHS_H
#define PREFORKD_BOARD_DEATHS_H

#include "overview.h"

/* Writes the next entry, over the oldest one; the number is given here. */
void deaths_write(struct overview *overview, const struct death *facts);

/* Copies what is there and whole, the oldest first. Returns how many. */
int deaths_list(const struct overview *overview, struct death list[static SCOREBOARD_DEATHS]);

#endif
