/*
 * model - the interface of the serving models: process (lane.c), thread, event.
 *
 * A model owns the waiting: for connections, and for the bytes that they send. It knows no handler.
 * A process has one model.
 */
#ifndef PREFORKD_WORKER_MODEL_H
#define PREFORKD_WORKER_MODEL_H

#include "serve.h"

/* What the worker hands to its model, for all its life. */
struct model_start {
    struct worker_state *worker;
    const int *listeners;
    int count;
    bool polls; /* the worker waits for connections in epoll, as its whole generation does */
    /* Gives up system calls, once, for all threads: with the first connection accepted, before the
     * first byte of a stranger's is read. 0; or the worker's exit status, with its reason in the
     * slot. */
    int (*drop_calls)(void);
    void (*quit)(void); /* handles QUIT: ends the process. Async-signal-safe */
};

struct model {
    /* Prepares the model, once the handler is ready. A worker whose model fails here never becomes
     * ready. 0; or -1, with a sentence in `why`. */
    int (*open)(const struct model_start *start, char *why, size_t size);

    /* Serves until the worker has to end. Returns its exit status. */
    int (*run)(void);

    /* Both are called by signal handlers, and possibly before `open`. wake: a connection may be
     * waiting that woke no worker, so look at the listeners. stop: the worker has to finish, so
     * accept no further connection. */
    void (*wake)(void);
    void (*stop)(const struct model_start *start);
};

extern const struct model model_process, model_thread, model_event;

#endif
