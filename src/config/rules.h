/*
 * rules - what options mean together, and what they ask of the system.
 *
 * Owns:      the checks beyond one value; what follows from the values: who a worker becomes, the
 *            addresses, the words that defaults depend on.
 * Knows not: files, statements, libconfuse.
 * Called by: config.
 * Runs in:   the checking child: it asks for users, groups, names of hosts, which may block.
 */
#ifndef PREFORKD_CONFIG_RULES_H
#define PREFORKD_CONFIG_RULES_H

#include "config.h"

/* Whether what a dump would print of this row of a pool could be read again: an option that the
 * pool's handler or listeners refuse has a default, but no place in a file. */
bool rules_pool_takes(const struct pool_config *pool, const struct option_row *row);

/* Notes every fault and fills in what follows. `whole`: nothing of the files is left out, so what
 * is missing is missing. */
void rules_apply(struct config *config, bool whole);

#endif
