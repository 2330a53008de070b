/*
 * rules - checks what options mean together and what they need of the system, and fills in what
 * follows from them.
 *
 * Must not know: files, statements, libconfuse.
 * Called by load, in the checking child, because lookups of users, groups and hosts may block.
 */
#ifndef PREFORKD_CONFIG_RULES_H
#define PREFORKD_CONFIG_RULES_H

#include "config.h"

/* Whether a file may set this option for the pool: neither its handler, size, model nor listeners
 * refuse it. A dump leaves out an option that is refused. */
bool rules_pool_takes(const struct pool_config *pool, const struct option_row *row);

/* How many descriptors the master holds for so many workers of a pool, and how many it may hold for
 * all pools together. */
long long rules_descriptors(const struct pool_config *pool, int workers);
long long rules_descriptors_most(void);

/* Notes every fault and fills in what follows from the options. `whole`: all files were read to
 * their end, so what is missing is a fault. */
void rules_apply(struct config *config, bool whole);

#endif
