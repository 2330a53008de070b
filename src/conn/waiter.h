/*
 * waiter - how a connection waits that shares its thread with others.
 *
 * The model that serves it owns the waiter, one a connection; conn alone calls it. A connection
 * that has its thread to itself has none: its socket blocks. In a worker of the event model.
 */
#ifndef PREFORKD_CONN_WAITER_H
#define PREFORKD_CONN_WAITER_H

#include "../base/clock.h"

enum { WAITER_TURN = 16 }; /* reads and writes, until the others have their turn */

struct waiter {
    /* After a call that would have had to wait. Returns once the socket has one of these events
     * (poll(2)), or is at its end, or perhaps for nothing: 0; or -ETIMEDOUT at the deadline. Others
     * are served meanwhile. */
    int (*wait)(struct waiter *waiter, int fd, short events, usec deadline);

    /* Serves the others that can go on, and returns. */
    void (*yield)(struct waiter *waiter);

    usec idle;     /* idle_timeout */
    unsigned left; /* reads and writes, until it is to yield */
};

#endif
