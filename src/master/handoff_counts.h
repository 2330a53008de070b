/*
 * handoff_counts - counts and the ledger of deaths, as a program tells them to the one that replaces it.
 *
 * Called by: handoff.
 * Runs in:   the master.
 */
#ifndef PREFORKD_MASTER_HANDOFF_COUNTS_H
#define PREFORKD_MASTER_HANDOFF_COUNTS_H

#include "../board/overview.h"
#include "state.h"

#include <stdbool.h>

void handoff_print_counts(struct state_counts *saved, const struct slot_counts *counts);
void handoff_read_counts(const struct state_counts *saved, struct slot_counts *counts);

/* False where there is no memory. */
bool handoff_save_deaths(const struct overview *overview, struct state *state);

/* Puts them into a ledger that has none. */
void handoff_adopt_deaths(struct overview *overview, const struct state *state);

#endif
