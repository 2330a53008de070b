/*
 * access - decides which accepted connections are served, by queue_timeout, the PROXY header, allow
 * and deny, and the limits per source. Runs in a worker; a pool with none of these skips it.
 */
#ifndef PREFORKD_WORKER_ACCESS_H
#define PREFORKD_WORKER_ACCESS_H

#include "../board/scoreboard.h"
#include "../board/source_limits.h"
#include "../config/config.h"
#include "../conn/conn.h"

#include <stdbool.h>

#define ADMITTED REFUSALS /* an enum refusal that is none */

/* What a seat needs to decide. */
struct access {
    const struct pool_config *pool;
    const struct scoreboard *board;
    struct slot *slot;
    struct limits *limits; /* per source; NULL: none */
    uint32_t seat;
    bool answers;      /* the handler answers connections that exceed queue_timeout */
    int leave_timeout; /* milliseconds to wait for workers that are about to finish */
    uint8_t *header;   /* memory of PROXY_MAX bytes for connections without a waiter */
};

/* Initialises `access` and returns it; NULL if the pool admits every connection. `limits` is NULL
 * if the pool has none. `answers`: the handler answers a connection that exceeds queue_timeout, if
 * it would be admitted otherwise. `gives_away`: a program alone has the connection, so the client
 * may see its end before the worker does. */
struct access *access_open(struct access *access, const struct pool_config *pool,
                           struct scoreboard *board, struct limits *limits, uint32_t seat,
                           bool answers, bool gives_away);

/* Returns ADMITTED if the accepted connection is to be served; its peer is then the client that a
 * PROXY header names. Otherwise returns the reason, which it has counted and logged, and the caller
 * closes the connection. Waits for a PROXY header for proxy_timeout at most. */
enum refusal access_admit(struct access *access, struct conn *conn);

/* Call this when the connection is over, served or refused. */
void access_leave(struct access *access);

#endif
