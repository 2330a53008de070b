/*
 * carry_figures - counts and the ledger of deaths, as a program tells them to the one that replaces it.
 *
 * Called by: carry.
 * Runs in:   the master.
 */
#ifndef PREFORKD_MASTER_CARRY_FIGURES_H
#define PREFORKD_MASTER_CARRY_FIGURES_H

#include "../shared/overview.h"
#include "state.h"

#include <stdbool.h>

void carry_print_counts(struct state_counts *saved, const struct slot_counts *counts);
void carry_read_counts(const struct state_counts *saved, struct slot_counts *counts);

/* False where there is no memory. */
bool carry_save_deaths(const struct overview *overview, struct state *state);

/* Puts them into a ledger that has none. */
void carry_adopt_deaths(struct overview *overview, const struct state *state);

#endif
