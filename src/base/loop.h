/*
 * loop - the master's waiting: descriptors that become readable or writable, signals, a deadline.
 *
 * A signal that was blocked before loop_open is never lost (signalfd(2)).
 */
#ifndef PREFORKD_BASE_LOOP_H
#define PREFORKD_BASE_LOOP_H

#include "clock.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>

/* A descriptor, and what is called while it is readable, or what loop_change says. Embedded in its
 * owner's struct. */
struct loop_watch {
    int fd; /* the owner's, to be closed after loop_remove */
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

/* The same, called once for each thing that comes, whether or not it is read: for a descriptor that
 * other processes share, and could keep readable or empty. 0 or -errno. */
int loop_add_edge(struct loop *loop, struct loop_watch *watch);

/* What a watch waits for: at first that there is something to read. It is called in any case when
 * the other end has hung up. */
enum loop_interest { LOOP_INPUT, LOOP_ROOM_FOR_OUTPUT, LOOP_HANGUP };
void loop_change(struct loop *loop, struct loop_watch *watch, enum loop_interest interest);

void loop_remove(struct loop *loop, struct loop_watch *watch);

/* Waits until something is readable, a signal has come, or the deadline; calls ready() for each
 * watch that is. */
void loop_wait(struct loop *loop, usec deadline);

/* The next signal that has come; 0 if there is none. */
int loop_signal(struct loop *loop, struct signalfd_siginfo *info);

#endif
