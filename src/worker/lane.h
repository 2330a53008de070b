/*
 * lane - the accept loop: wait for a connection, serve it, wait again. A worker of the process
 * model is one lane; a worker of the thread model has one lane a thread.
 *
 * In a small pool with one listener, the lane blocks in accept(). That is cheapest, and the kernel
 * wakes lanes in turn. With several listeners, or many seats, each lane waits in an epoll set of
 * its own, where a connection wakes one lane (EPOLLEXCLUSIVE), and then accepts without blocking.
 * There the kernel wakes the lane that joined the listener's queue first, mostly the oldest. The
 * other lanes stay asleep, and need no room in the processor's caches.
 *
 * A lane that was woken must accept, or another lane must be woken: src/README.md has the argument.
 *
 * This room also decides what a failed accept() means; the event model asks it as well.
 */
#ifndef PREFORKD_WORKER_LANE_H
#define PREFORKD_WORKER_LANE_H

#include "serve.h"

#include <signal.h>

struct lane {
    struct serve *serve;
    const int *listeners;
    int count;
    /* See struct model_start. NULL once called. */
    int (*drop_calls)(void);
    int wake_fd; /* an eventfd, which wakes the lane from epoll_wait() to stop or to look at its
                    listeners. -1: the lane blocks in accept(), and a signal has it look at the
                    queue before it waits again (SA_RESTART) */
    int epoll_fd;
    bool beside_others; /* in a worker whose lanes poll, and share the listeners' descriptors */
    volatile sig_atomic_t accepting; /* the descriptor that lane_release takes from accept4(); 0:
                                        none */
    volatile sig_atomic_t released; /* set by lane_release: another descriptor of the listener whose
                                        place the null device took; beside others, that place, which
                                        was the lane's own; 0: none */
    int failures; /* of accept() in a row, for want of resources; meanwhile it is in no queue */
    usec failing_since;
    struct conn conn; /* the one in hand; not on the stack, so that it outlasts the thread */
};

/* Opens what the lane waits by, while all system calls are still allowed. 0 or -errno. */
int lane_open(struct lane *lane, bool polls);

/* Serves until the worker has to end. Returns an exit status. */
int lane_run(struct lane *lane);

/* Gets a lane that polls, and runs in this thread, out of accept4(). Programs that share a listener
 * decide whether it blocks; if it does, accept4() waits once another process was faster. The null
 * device in the listener's place makes the call fail; then accept_at puts the listener back. A lane
 * beside others calls accept4() at a descriptor of its own there, which it closes.
 * Async-signal-safe. */
void lane_release(struct lane *lane);

/* Puts the null device over this process's descriptors of the listeners. accept() on it fails at
 * once, whether the signal arrives before or during the call, and the socket that other workers
 * share is untouched. Async-signal-safe. */
void lane_leave_listeners(const int *listeners, int count);

enum accept_error {
    ACCEPT_NONE,      /* no connection is waiting, or a signal arrived */
    ACCEPT_TRANSIENT, /* that connection or its network is gone; the listener is fine */
    ACCEPT_SHORTAGE,  /* descriptors or memory are short, or a firewall refuses */
    ACCEPT_BROKEN,    /* the descriptor is no listener any more */
};
enum accept_error accept_error_of(int error);

/* How many milliseconds to pause after a shortage: longer each time in a row, with jitter, so that
 * workers don't retry in step. */
int accept_error_pause(int in_a_row);

/* Handles ACCEPT_SHORTAGE, which began at `since`. 0; or, if the shortage lasts so long that a new
 * process should be tried, an exit status, with the reason in the worker's slot. Never that while a
 * connection is in hand: the connections may hold all the descriptors. */
int accept_error_shortage(const struct serve *serve, int error, usec since);

/* Returns the exit status for ACCEPT_BROKEN, and for an epoll set that is none any more. Puts the
 * reason, with the call that failed, into the worker's slot. */
int accept_error_broken(const struct serve *serve, const char *call, int error);

#endif
