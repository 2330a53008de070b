/*
 * gates - what allow, deny and proxy_from mean: the tables by which a worker lets peers in.
 *
 * Owns:      these options' rules.
 * Knows not: connections.
 * Called by: rules.
 * Runs in:   the checking child.
 */
#ifndef PREFORKD_CONFIG_GATES_H
#define PREFORKD_CONFIG_GATES_H

#include "ruling.h"

/* Reads the lists of one pool. */
void gates_apply(const struct ruling *ruling, struct pool_config *pool);

#endif
