/*
 * access_list - what allow, deny and proxy_from mean: the tables by which a worker lets peers in; and where
 * queue_timeout can't be kept.
 *
 * Owns:      these options' rules.
 * Knows not: connections.
 * Called by: rules.
 * Runs in:   the checking child.
 */
#ifndef PREFORKD_CONFIG_ACCESS_LIST_H
#define PREFORKD_CONFIG_ACCESS_LIST_H

#include "rule_context.h"

#define GATES_NO_WAIT                                                                              \
    "how long a connection waited, the kernel doesn't tell of Unix sockets, of TCP alone"

/* Reads the lists of one pool. */
void access_list_apply(const struct rule_context *context, struct pool_config *pool);

#endif
