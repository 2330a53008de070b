/*
 * access - which of the accepted connections are served: not too late, the PROXY header, allow and
 * deny, the limits per source. In a worker; not at all in a pool that asks for none of this.
 */
#ifndef PREFORKD_WORKER_ACCESS_H
#define PREFORKD_WORKER_ACCESS_H

#include "../board/scoreboard.h"
#include "../board/source_limits.h"
#include "../config/config.h"
#include "../conn/conn.h"

#include <stdbool.h>

/* The access of a seat. */
struct access {
    const struct pool_config *pool;
    const struct scoreboard *board;
    struct slot *slot;
    struct limits *limits; /* per source; NULL: none */
    uint32_t seat;
    bool answers;      /* a client that comes too late is told so */
    int leave_timeout; /* milliseconds for workers that are about to leave */
};

/* Opens it in this memory, and returns it; NULL if its pool lets everybody in. `limits` is NULL if
 * the pool has none. `answers`: the handler tells a client that it comes too late; only if it would
 * be served else, and behind the PROXY header. `gives_away`: a program has the connection alone,
 * and its client may see the end before the worker does. */
struct access *access_open(struct access *access, const struct pool_config *pool,
                           struct scoreboard *board, struct limits *limits, uint32_t seat,
                           bool answers, bool gives_away);

/* REFUSALS if a connection just accepted is served; behind a proxy its peer is another one then.
 * Else the reason: it is counted and logged, and the caller closes the connection. May wait for a
 * PROXY header, for no longer than proxy_timeout. */
enum refusal access_admit(struct access *access, struct conn *conn);

/* It was served, or refused. */
void access_leave(struct access *access);

#endif
