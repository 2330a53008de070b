/*
 * loop - waiting: descriptors that become readable or writable, signals, a deadline.
 *
 * Owns:      one epoll set and one signalfd. Whoever watches a descriptor hands in a function; a
 *            signal that was blocked before loop_open is never lost (signalfd(2)).
 * Knows not: what anything means.
 * Called by: the main_loop.
 * Runs in:   the master.
 */
#ifndef PREFORKD_BASE_LOOP_H
#define PREFORKD_BASE_LOOP_H

#include "clock.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>

/* A descriptor to be told of while it is readable, or what loop_change says. Embedded in its owner's
 * struct. */
struct loop_watch {
    int fd; /* the owner's, who closes it after loop_remove */
    void (*ready)(void *owner);
    void *owner;
};

enum { LOOP_BATCH = 64 };

struct loop {
    int epoll_fd;
    int signal_fd;
    struct epoll_event batch[LOOP_BATCH]; /* those being told; loop_remove takes its own out */
    int batch_count;
};

/* Blocks the signals and takes them by signalfd from now on. 0 or -errno. */
int loop_open(struct loop *loop, const sigset_t *signals);
void loop_close(struct loop *loop);

int loop_add(struct loop *loop, struct loop_watch *watch); /* 0 or -errno */

/* The same, to be told once of each thing that comes, whether or not it is read: for a descriptor
 * that others share, who could keep it readable or empty it. 0 or -errno. */
int loop_add_edge(struct loop *loop, struct loop_watch *watch);

/* What a watch is told of: at first that there is something to read. That the other end has hung up
 * is told in any case. */
enum loop_interest { LOOP_INPUT, LOOP_ROOM_FOR_OUTPUT, LOOP_HANGUP };
void loop_change(struct loop *loop, struct loop_watch *watch, enum loop_interest interest);

void loop_remove(struct loop *loop, struct loop_watch *watch);

/* Waits until something is readable, a signal has come, or the deadline; calls ready() for each
 * watch that is. */
void loop_wait(struct loop *loop, usec deadline);

/* The next signal that has come; 0 where there is none. */
int loop_signal(struct loop *loop, struct signalfd_siginfo *info);

#endif
