/*
 * serve - the way of one connection through a worker: count, let in, serve, close, count, tell. Once,
 * for every model of serving.
 *
 * Owns:      the worker's own slot while it lives, and the word of its title.
 * Knows not: how connections are waited for.
 * Called by: the models.
 * Runs in:   a worker. No allocation, no lock, no formatting, no system call but the handler's and
 *            close(2), unless the connection is to be logged.
 */
#ifndef PREFORKD_WORKER_SERVE_H
#define PREFORKD_WORKER_SERVE_H

#include "../board/scoreboard.h"
#include "../config/config.h"
#include "../handlers/handler.h"
#include "access.h"
#include "wakeup.h"

#include <signal.h>

struct serve {
    const struct pool_config *pool;
    const struct handler *handler;
    struct service service;
    struct slot *slot;
    _Atomic(pid_t) program; /* the process group that it runs; 0 none */
    struct wakeup wakeup;
    struct access *access; /* who may come in; NULL: all may */
    char *title_word;    /* "idle" or "busy" in what ps shows; NULL where there is no room for it */
    int log_level;       /* of the line that each connection gets; -1: none */
    long long left;      /* connections until the worker is replaced; -1: no end */
    uint64_t wait_known; /* of slot->accepted, for how many the time that they waited was counted */
    bool waited;         /* the last one that was asked about had waited */
    usec took;           /* the last one, until it was done with */
    volatile sig_atomic_t stopping; /* set by TERM: finish the connection in hand, take no other */
};

/* Serves what was accepted, to its end, or turns it away. */
void serve_connection(struct serve *serve, struct conn *conn);

/* Of the service that it lends: see handlers/handler.h. */
void serve_renew(struct service *service);
void serve_count_request(struct service *service, usec began);
bool serve_crowded(struct service *service);
unsigned serve_same_peer(const struct service *service);

/* Whether another connection may be accepted. The master's word stands in the slot, too: for a
 * worker that its handler made deaf to signals. */
static inline bool serve_open(const struct serve *serve)
{
    return !serve->stopping && serve->left != 0 &&
           !atomic_load_explicit(&serve->slot->retiring, memory_order_relaxed);
}

#endif
