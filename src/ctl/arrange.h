/*
 * arrange - which pools of a status are shown, and in which order.
 *
 * Owns:      what an idle pool is, and which trouble comes first.
 * Knows not: how a pool is shown.
 * Called by: status_view. Not there if the build has no jansson.
 * Runs in:   preforkctl.
 */
#ifndef PREFORKD_CTL_ARRANGE_H
#define PREFORKD_CTL_ARRANGE_H

#include "wish.h"

#include <jansson.h>

struct arranged {
    json_t *pools;             /* an array that the caller gives back; NULL: no memory */
    long long idle, unmatched; /* pools that are not in it: folded, or without `pattern` */
};

struct arranged arrange(const json_t *pools, const struct wish *wish);

/* Connections that wait at all listeners of a pool. */
long long arrange_queue(const json_t *pool);

#endif
