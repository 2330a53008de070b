/*
 * serve - one connection's way through a worker: count, admit, serve, close, count, log.
 *
 * Unless the connection is logged, serve allocates nothing, takes no lock, formats no text, and
 * makes no system call but the handler's and close(2). This room also wakes the master.
 */
#ifndef PREFORKD_WORKER_SERVE_H
#define PREFORKD_WORKER_SERVE_H

#include "../board/scoreboard.h"
#include "../config/config.h"
#include "../handlers/handler.h"
#include "access.h"

#include <signal.h>

/* Makes an eventfd readable; -1: none. If the eventfd is full, it is readable already.
 * Async-signal-safe. */
void wakeup_eventfd(int fd);

/* How a seat wakes the master. */
struct wakeup {
    struct scoreboard *board;
    uint32_t head; /* the worker's first slot */
    uint32_t seat; /* the seat's own slot */
    int fd;        /* the pool's eventfd, which wakes the master */
};

/* Wakes the master. If the eventfd is full, a wake-up is pending already, and it covers this one:
 * the master empties the eventfd first and looks at the pool afterwards. */
void wakeup_send(const struct wakeup *wakeup);

/* Tells the master that a connection may be waiting for which no worker is awake. `unserved` is
 * written before the wake-up, so the master finds it set. */
void wakeup_unserved(const struct wakeup *wakeup);

/* Counts free seats in the pool's slots, and wakes the master if there are too few. */
void wakeup_if_short(const struct wakeup *wakeup);

/* Call this once the slot says that its seat is taken. If two workers take the last seats at the
 * same time, the fence makes at least one of them see that the other seat is taken too. If the
 * master arms the wake-up meanwhile, either this worker sees `armed`, or the master sees the seat
 * taken, because it looks again behind a fence of its own. */
static inline void wakeup_seat_taken(const struct wakeup *wakeup)
{
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load_explicit(&wakeup->board->armed, memory_order_relaxed))
        wakeup_if_short(wakeup);
}

/* What the seats of a worker share. This is private memory: no other process can write to it. */
struct worker_state {
    struct slot *head; /* the first seat's slot, which stands for the whole worker: the master says
                          there that the worker retires, the worker says why it can't go on */
    _Atomic int stopping;   /* set by TERM: finish the connections in hand, accept no other */
    _Atomic long long left; /* connections until the worker is replaced; -1: no limit */
    struct serve *seats;
    int count; /* of seats */
};

/* A seat, which serves one connection after the other. */
struct serve {
    struct worker_state *worker;
    const struct pool_config *pool;
    const struct handler *handler;
    struct service service;
    struct slot *slot;
    _Atomic(pid_t) program; /* the process group that the handler runs; 0: none */
    _Atomic usec began;     /* when the connection in hand was accepted; 0: none is in hand */
    _Atomic int fd;         /* the connection's socket, while it is ours to close; -1: none */
    _Atomic usec late;      /* `began` of the connection that has exceeded request_timeout */
    bool shut_down;         /* the connection in hand was shut down for that */
    bool own_timeouts;      /* it sets each connection's: see struct worker_start */
    struct wakeup wakeup;
    struct access *access;  /* decides which connections are admitted; NULL: all */
    char *title_word;       /* "idle" or "busy" in the title that ps shows; NULL: no room for it */
    int log_level;          /* of the line about each connection; -1: none */
    uint64_t waits_counted; /* connections of slot->accepted that the wait histogram stands for */
    bool waited;            /* the last connection that was measured had waited */
    usec took;              /* how long the last connection was served */
    struct access access_memory;
};

/* Call the handler's lane_start and lane_stop, in the lane's thread. 0; or -1, with a sentence in
 * `why`. */
int serve_open_lane(struct serve *serve, char *why, size_t size);
void serve_close_lane(struct serve *serve);

/* Shuts down the socket of the connection in hand if that connection is `late`; the handler then
 * reads the end of the stream. Async-signal-safe. It must run in the thread that serves the
 * connection, so that it can't hit the next one. */
void serve_end_late(struct serve *serve);

/* Whether no seat of the worker has a connection. */
bool serve_all_free(const struct worker_state *worker);

/* Serves an accepted connection to its end, or refuses it. */
void serve_connection(struct serve *serve, struct conn *conn);

/* Closes and counts the connection in hand, whose handler ended its thread. Call it in that thread,
 * once the stack is unwound. */
void serve_abandon(struct serve *serve, struct conn *conn);

/* The functions of struct service: see handlers/handler.h. */
void serve_renew(struct service *service);
void serve_count_request(struct service *service, usec began);
bool serve_crowded(struct service *service);
unsigned serve_same_peer(const struct service *service);

/* Tells the master, unless it said so itself, that no seat accepts another connection, although
 * some still serve one. The master then starts another worker and retires this one. Only a worker
 * with several seats needs this. */
void serve_tell_finishing(struct worker_state *worker);

/* Whether programs, or another pool, may have set the listeners: connections may then inherit other
 * timeouts, and accept4() may wait. */
static inline bool serve_shares_listeners(const struct serve *serve)
{
    return serve->own_timeouts ||
           atomic_load_explicit(&serve->wakeup.board->own_timeouts, memory_order_relaxed);
}

/* Whether another connection may be accepted. The master's order to retire stands in the slot as
 * well, because a handler may have made the worker deaf to signals. */
static inline bool serve_may_accept(const struct serve *serve)
{
    const struct worker_state *worker = serve->worker;
    return !worker->stopping && worker->left != 0 &&
           !atomic_load_explicit(&worker->head->retiring, memory_order_relaxed);
}

#endif
