/*
 * access_list - allow, deny and proxy_from as tables, by which a worker admits peers.
 *
 * Must not know: connections.
 * Called by rules, in the checking child.
 */
#ifndef PREFORKD_CONFIG_ACCESS_LIST_H
#define PREFORKD_CONFIG_ACCESS_LIST_H

#include "config.h"

/* Why queue_timeout needs TCP. */
#define ACCESS_LIST_NO_QUEUE_TIME                                                                  \
    "how long a connection waited, the kernel doesn't tell of Unix sockets, of TCP alone"

/* Reads the lists of one pool, and notes every fault. */
void access_list_apply(struct config *config, struct pool_config *pool);

#endif
