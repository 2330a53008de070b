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

/* What pools need together. */
struct rules_sizes {
    long long workers, seats;
    long long descriptors; /* that the master holds for them */
};

/* Adds so many workers of a pool. */
void rules_add_size(struct rules_sizes *sizes, const struct pool_config *pool, int workers);

/* The most workers that a pool can have beside the others, which may be below 1. *why: what bounds
 * them, as the end of a sentence. */
long long rules_workers_most(const struct pool_config *pool, const struct rules_sizes *others,
                             const char **why);

/* Notes every fault and fills in what follows from the options. `whole`: all files were read to
 * their end, so what is missing is a fault. */
void rules_apply(struct config *config, bool whole);

#endif
