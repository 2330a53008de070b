/*
 * runtime - what is in force: a configuration, its pools and its listeners.
 *
 * Owns:      the list of pools, of which those that were removed stay until their last worker is
 *            gone; the list of listeners; the control socket.
 * Knows not: how one configuration becomes the next (plan, commit, reload).
 * Called by: plan, commit, reload, commands, master.
 * Runs in:   the master.
 */
#ifndef PREFORKD_MASTER_RUNTIME_H
#define PREFORKD_MASTER_RUNTIME_H

#include "listener_watch.h"
#include "pool.h"

struct runtime {
    struct spawner spawner;
    struct config *config;
    unsigned generation;
    struct pool *pools;
    struct listener *listeners;
    struct listener *control; /* NULL: none */
    struct listener_watch listener_watch;
};

/* The pool of this name that is configured; NULL: none. */
struct pool *runtime_find(const struct runtime *runtime, const char *name);

void runtime_append(struct runtime *runtime, struct pool *pool);

/* Frees removed pools whose last worker is gone. */
void runtime_sweep(struct runtime *runtime);

/* How many more workers there is room for. */
int runtime_room(const struct runtime *runtime);

/* Closes the pools' sockets: the daemon stops. The control socket stays till the end. */
void runtime_close_listeners(struct runtime *runtime);

#endif
