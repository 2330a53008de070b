/*
 * serve - the way of one connection through a worker: count, let in, serve, close, count, log.
 *
 * No allocation, no lock, no formatting, no system call but the handler's and close(2), unless the
 * connection is to be logged. Here is also how a worker wakes the master.
 */
#ifndef PREFORKD_WORKER_SERVE_H
#define PREFORKD_WORKER_SERVE_H

#include "../board/scoreboard.h"
#include "../config/config.h"
#include "../handlers/handler.h"
#include "access.h"

#include <signal.h>

struct wakeup {
    struct scoreboard *board;
    uint32_t head; /* the worker's first slot */
    uint32_t seat; /* its own slot */
    int fd;        /* an eventfd of the pool's, which wakes the master */
};

/* Wakes the master. If others woke it so often that the eventfd takes no more, it will look at what
 * we did, too: it empties the eventfd first, and looks then. */
void wakeup_ring(const struct wakeup *wakeup);

/* Tells the master that a connection may wait for which no worker is awake. The word is written
 * before the wake-up: so the master finds it. */
void wakeup_hand_on(const struct wakeup *wakeup);

/* Counts free seats in the pool's slots, and wakes the master if there are too few. */
void wakeup_look(const struct wakeup *wakeup);

/* To be called after the slot says that its seat is taken. Of two workers that take the last seats
 * together, at least one sees, behind the fence, that the other's is taken too. A worker that comes
 * after the master has armed the word sees that, or the master sees the seat taken: it looks again
 * behind a fence of its own. */
static inline void wakeup_seat_taken(const struct wakeup *wakeup)
{
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load_explicit(&wakeup->board->armed, memory_order_relaxed))
        wakeup_look(wakeup);
}

/* What the seats of a worker share. In its own memory: no other process can write to it. */
struct life {
    struct slot *head; /* of the worker as a whole, which is the first seat's: the master tells it
                          there that it is retired, it tells the master why it can't go on */
    _Atomic int stopping;   /* by TERM: finish the connections in hand, take no other */
    _Atomic long long left; /* connections until the worker is replaced; -1: no end */
    struct serve *seats;
    int count; /* of them */
};

/* A seat: room for one connection, one after the other. */
struct serve {
    struct life *life;
    const struct pool_config *pool;
    const struct handler *handler;
    struct service service;
    struct slot *slot;
    _Atomic(pid_t) program; /* the process group that it runs; 0 none */
    _Atomic usec began;     /* when the connection in hand was accepted; 0: there is none */
    _Atomic int fd;         /* its socket, as long as it is ours to close; -1: none */
    _Atomic usec late;      /* the connection that began then is to be ended, for request_timeout */
    bool shut_down;         /* this was done to the present one */
    struct wakeup wakeup;
    struct access *access; /* which connections are let in; NULL: all */
    char *title_word;      /* "idle" or "busy" in what ps shows; NULL if there is no room for it */
    int log_level;         /* of the line that each connection gets; -1: none */
    uint64_t wait_known; /* of slot->accepted, for how many the time that they waited was counted */
    bool waited;         /* the last one that was asked about had waited */
    usec took;           /* the last one, until it was done with */
    struct access its_access;
};

/* The handler's part of a lane's beginning and end, in its thread. 0; or -1, with a sentence in
 * `why`. */
int serve_open_lane(struct serve *serve, char *why, size_t size);
void serve_close_lane(struct serve *serve);

/* Shuts down the socket of the connection in hand, if that is `late`: then the handler finds its
 * end. In the thread that serves it, where a signal handler may call it: so no other connection can
 * be meant. */
void serve_end_late(struct serve *serve);

/* Whether no seat of the worker has a connection. */
bool serve_all_free(const struct life *life);

/* Serves what was accepted, to its end, or refuses it. */
void serve_connection(struct serve *serve, struct conn *conn);

/* Of the service that it lends: see handlers/handler.h. */
void serve_renew(struct service *service);
void serve_count_request(struct service *service, usec began);
bool serve_crowded(struct service *service);
unsigned serve_same_peer(const struct service *service);

/* Tells the master that no seat takes another connection, although some still have one: it starts
 * another worker, and retires this one. For a worker of several seats; where it was the master that
 * said so, it knows. */
void serve_tell_finishing(struct life *life);

/* Whether another connection may be accepted. The master's word stands in the slot, too: for a
 * worker that its handler made deaf to signals. */
static inline bool serve_open(const struct serve *serve)
{
    const struct life *life = serve->life;
    return !life->stopping && life->left != 0 &&
           !atomic_load_explicit(&life->head->retiring, memory_order_relaxed);
}

#endif
