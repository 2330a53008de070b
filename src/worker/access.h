/*
 * access - who of those that were accepted is served: not too late, the PROXY header, allow and deny,
 * the limits per source.
 *
 * Owns:      the worker's seat among those of its source.
 * Knows not: handlers, how connections are waited for.
 * Called by: the serve, before the handler and after it; not at all in a pool that asks for nothing of
 *            this.
 * Runs in:   a worker.
 */
#ifndef PREFORKD_WORKER_ACCESS_H
#define PREFORKD_WORKER_ACCESS_H

#include "../board/scoreboard.h"
#include "../board/source_limits.h"
#include "../config/config.h"
#include "../conn/conn.h"

#include <stdbool.h>

struct access;

/* The access of a worker, one in a process. NULL where its pool lets everybody in. `limits` is NULL
 * where the pool has none. `answers`: who comes too late is told so, by the handler; only who would
 * be served else is, and behind the PROXY header. `gives_away`: a program has the connection alone, and
 * its client may see the end before the worker does. */
struct access *access_open(const struct pool_config *pool, struct scoreboard *board,
                           struct limits *limits, uint32_t seat, bool answers, bool gives_away);

/* REFUSALS where a connection just accepted is served; who is its peer may be another then, behind a
 * proxy. Else why not: it is counted and told of, and the caller closes it. May wait for a PROXY
 * header, for no longer than proxy_timeout. */
enum refusal access_admit(struct access *access, struct conn *conn);

/* It was served, or refused. */
void access_leave(struct access *access);

#endif
