/*
 * gate - who of those that were accepted is served: the PROXY header, allow and deny, the limits per
 * source.
 *
 * Owns:      the worker's seat among those of its source.
 * Knows not: handlers, how connections are waited for.
 * Called by: the lane, before the handler and after it; not at all in a pool that asks for nothing of
 *            this.
 * Runs in:   a worker.
 */
#ifndef PREFORKD_WORKER_GATE_H
#define PREFORKD_WORKER_GATE_H

#include "../config/config.h"
#include "../conn/conn.h"
#include "../shared/sources.h"

#include <stdbool.h>

struct gate;

/* The gate of a worker, one in a process. NULL where its pool lets everybody in. `limits` is NULL
 * where the pool has none. */
struct gate *gate_open(const struct pool_config *pool, struct scoreboard *board,
                       struct limits *limits, uint32_t seat);

/* Whether a connection just accepted is served; who is its peer may be another then, behind a proxy.
 * One that is refused is counted and told of; the caller closes it. May wait for a PROXY header, for
 * no longer than proxy_timeout. */
bool gate_admit(struct gate *gate, struct conn *conn);

/* It was served. */
void gate_leave(struct gate *gate);

#endif
