/*
 * rules - what options mean together, and what they ask of the system: the checks beyond one value,
 * and what follows from the values.
 *
 * Must not know: files, statements, libconfuse.
 * Called by config, in the checking child: it asks for users, groups and names of hosts, which may
 * block.
 */
#ifndef PREFORKD_CONFIG_RULES_H
#define PREFORKD_CONFIG_RULES_H

#include "config.h"

/* Whether a file may set this option of the pool: its handler, its size and its listeners do not
 * refuse it. A refused option has a default, but no place in a dump. */
bool rules_pool_takes(const struct pool_config *pool, const struct option_row *row);

/* Notes every fault and fills in what follows. `whole`: nothing of the files is left out, so what
 * is missing is missing. */
void rules_apply(struct config *config, bool whole);

#endif
