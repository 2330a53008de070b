/*
 * lane - one connection at a time: wait in accept(), serve, wait again. A worker of the process
 * model is one, and of the thread model each thread.
 *
 * A small pool on one listener: the lane blocks in accept() itself, which is cheapest, and the
 * kernel wakes lanes in turn. Several listeners, or many seats: an epoll set of its own, where each
 * connection wakes one lane (EPOLLEXCLUSIVE), then an accept() that does not block. Of all that
 * wait the kernel wakes the one that joined the listener's queue first, so mostly the oldest: the
 * others stay asleep, and what they have in the processor's caches is not asked for.
 *
 * A lane that was woken must accept, or another must be woken: src/README.md has the argument.
 */
#ifndef PREFORKD_WORKER_LANE_H
#define PREFORKD_WORKER_LANE_H

#include "serve.h"

struct lane {
    struct serve *serve;
    const int *listeners;
    int count;
    /* With the first connection in hand, of which no byte was looked at yet. 0; or the worker's
     * exit status, with its reason in the slot. NULL: nothing is left to do. */
    int (*first)(void);
    int wake_fd; /* readable once the lane is to stop, or is to look; -1: it blocks in accept() */
    int epoll_fd;
    int failures; /* of accept(), in a row, for want of something: it stands aside meanwhile */
    usec failing_since;
};

/* Opens what it waits by: before any call is given up. 0 or -errno. */
int lane_open(struct lane *lane, bool polls);

/* Serves until the worker's life is at its end. Returns an exit status. */
int lane_run(struct lane *lane);

/* Ends epoll_wait(). What is in the eventfd already does as well: so a failure is none. A lane in
 * accept() is woken by a signal, and looks at the queue before it waits again (SA_RESTART). A
 * signal handler may call it. */
void lane_wake(const struct lane *lane);

/* Puts the null device over the listeners of this process: accept() on it fails at once, whether a
 * signal comes before it or into it, and the socket of the others is untouched. A signal handler
 * may call it. */
void lane_leave_listeners(const int *listeners, int count);

#endif
