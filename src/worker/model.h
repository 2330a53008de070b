/*
 * model - the ways in which a worker serves: what it asks of each.
 *
 * A model owns the waiting: for connections, and for what they send. It knows no handler. There is
 * one in a process.
 */
#ifndef PREFORKD_WORKER_MODEL_H
#define PREFORKD_WORKER_MODEL_H

#include "serve.h"

/* What it gets from its worker, for all its life. */
struct model_start {
    struct life *life;
    const int *listeners;
    int count;
    bool polls; /* it waits for connections in epoll, as all of its generation do */
    /* Before the first byte of a stranger's is looked at, once, for all threads. 0; or the worker's
     * exit status, with its reason in the slot. */
    int (*drop_calls)(void);
    void (*quit)(void); /* by QUIT: ends the process. A signal handler may call it */
};

struct model {
    /* Prepares, with the handler ready: what fails here, keeps the worker from becoming ready. 0;
     * or -1, with a sentence in `why`. */
    int (*open)(const struct model_start *start, char *why, size_t size);

    /* Serves until the life is at its end. Returns the worker's exit status. */
    int (*run)(void);

    /* From signal handlers, also before `open`. A connection may wait for which nobody was woken:
     * look. Or the life is stopping: take no further connection. */
    void (*look)(void);
    void (*stop)(const struct model_start *start);
};

extern const struct model model_process, model_thread, model_event;

#endif
