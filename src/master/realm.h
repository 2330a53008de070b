/*
 * realm - what is in force: a configuration, its pools and its listeners.
 *
 * Owns:      the list of pools, of which those that were removed stay until their last worker is
 *            gone; the list of listeners; the control socket.
 * Knows not: how one configuration becomes the next (plan, commit, reload).
 * Called by: plan, commit, reload, orders, master.
 * Runs in:   the master.
 */
#ifndef PREFORKD_MASTER_REALM_H
#define PREFORKD_MASTER_REALM_H

#include "pool.h"
#include "reach.h"

struct realm {
    struct spawner spawner;
    struct config *config;
    unsigned generation;
    struct pool *pools;
    struct listener *listeners;
    struct listener *control; /* NULL: none */
    struct reach reach;
};

/* The pool of this name that is configured; NULL: none. */
struct pool *realm_find(const struct realm *realm, const char *name);

void realm_append(struct realm *realm, struct pool *pool);

/* Frees removed pools whose last worker is gone. */
void realm_sweep(struct realm *realm);

/* How many more workers there is room for. */
int realm_room(const struct realm *realm);

/* Closes the pools' sockets: the daemon stops. The control socket stays till the end. */
void realm_close_listeners(struct realm *realm);

#endif
