/*
 * loop - the master's event loop: descriptors that become readable or writable, signals, a
 * deadline.
 *
 * A signal that was blocked before loop_open is never lost (signalfd(2)).
 */
#ifndef PREFORKD_BASE_LOOP_H
#define PREFORKD_BASE_LOOP_H

#include "clock.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>

/* A descriptor, and the function to call while it is readable, or ready as loop_change says.
 * Embedded in its owner's struct. */
struct loop_watch {
    int fd; /* the owner closes it after loop_remove */
    void (*ready)(void *owner);
    void *owner;
};

enum { LOOP_BATCH = 64 };

struct loop {
    int epoll_fd;
    int signal_fd;
    struct epoll_event batch[LOOP_BATCH]; /* being handled; loop_remove takes its watch out */
    int batch_count;
};

/* Blocks the signals, and receives them by a signalfd from now on. 0 or -errno. */
int loop_open(struct loop *loop, const sigset_t *signals);
void loop_close(struct loop *loop);

int loop_add(struct loop *loop, struct loop_watch *watch); /* 0 or -errno */

/* The same, edge-triggered: called once for each event, whether or not the data is read. For a
 * descriptor that other processes share, and could keep readable or drain. 0 or -errno. */
int loop_add_edge(struct loop *loop, struct loop_watch *watch);

/* What a watch waits for; at first, input. A hang-up of the other end calls it in any case. */
enum loop_interest { LOOP_INPUT, LOOP_ROOM_FOR_OUTPUT, LOOP_HANGUP };
void loop_change(struct loop *loop, struct loop_watch *watch, enum loop_interest interest);

void loop_remove(struct loop *loop, struct loop_watch *watch);

/* Waits for a ready watch, a signal, or the deadline, and calls ready() of each ready watch. */
void loop_wait(struct loop *loop, usec deadline);

/* The next pending signal; 0 if there is none. */
int loop_signal(struct loop *loop, struct signalfd_siginfo *info);

#endif
