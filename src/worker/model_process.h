/*
 * model_process - one connection at a time: wait in accept(), serve, wait again.
 *
 * A small pool on one listener: the worker blocks in accept() itself, which is cheapest, and wakes
 * workers in turn. Several listeners, or many workers: an epoll set of its own, where each
 * connection wakes one worker (EPOLLEXCLUSIVE), then an accept() that does not block. Of all that
 * wait the kernel wakes the one that joined the listener's queue first, so mostly the oldest: the
 * others stay asleep, and what they have in the processor's caches is not asked for.
 *
 * A worker that was woken must accept, or another must be woken: src/README.md has the argument.
 */
#ifndef PREFORKD_WORKER_MODEL_PROCESS_H
#define PREFORKD_WORKER_MODEL_PROCESS_H

#include "serve.h"

struct process_model {
    struct serve *serve;
    const int *listeners;
    int count;
    /* With the first connection in hand, of which no byte was looked at yet. 0; or the worker's
     * exit status, with its reason in the slot. */
    int (*first)(void);
    int wake_fd; /* readable once the serve is to stop, or is to look; -1: it blocks in accept() */
    int epoll_fd;
    int failures; /* of accept(), in a row, for want of something: we stand aside meanwhile */
    usec failing_since;
};

/* Serves until the serve closes. Returns the worker's exit status. */
int model_process_run(struct process_model *model);

#endif
