/*
 * publish - the pools' state, put where everybody reads it.
 *
 * Owns:      what of the overview concerns pools: states, sizes, listeners; and what
 *            systemd shows of it. All reports, ours in the log too, read it from there.
 * Knows not: why a pool is as it is.
 * Called by: master.
 * Runs in:   the master.
 */
#ifndef PREFORKD_MASTER_PUBLISH_H
#define PREFORKD_MASTER_PUBLISH_H

#include "realm.h"

struct publish {
    unsigned generation; /* whose listeners are published */
    char said[512];      /* the last STATUS= */
    usec looked_at;      /* when it was last made */
    bool changed;        /* a pool's state was published since */
};

/* Brings what is shown of one pool up to date, after it was looked at. */
void publish_pool(struct publish *publish, const struct realm *realm, struct pool *pool, usec now);

/* The same of all the rest. */
void publish_realm(struct publish *publish, const struct realm *realm);

/* The counts of workers, in a line; in READY=1 the first time, then on a change and once a second
 * at most. Returns when it wants to be called again. */
void publish_ready(struct publish *publish, const struct realm *realm, usec now);
usec publish_status(struct publish *publish, const struct realm *realm, usec now);

/* Writes each pool's state to the log. */
void publish_tell(struct realm *realm);

#endif
