/*
 * export - the pools' state, put where everybody reads it.
 *
 * Owns:      what of the overview concerns pools: states, sizes, listeners; and what
 *            systemd shows of it. All reports, ours in the log too, read it from there.
 * Knows not: why a pool is as it is.
 * Called by: master.
 * Runs in:   the master.
 */
#ifndef PREFORKD_MASTER_EXPORT_H
#define PREFORKD_MASTER_EXPORT_H

#include "runtime.h"

struct export
{
    unsigned generation; /* whose listeners are published */
    char said[512];      /* the last STATUS= */
    usec looked_at;      /* when it was last made */
    bool changed;        /* a pool's state was published since */
};

/* Brings what is shown of one pool up to date, after it was looked at. */
void export_pool(struct export *export, const struct runtime *runtime, struct pool *pool, usec now);

/* The same of all the rest. */
void export_runtime(struct export *export, const struct runtime *runtime);

/* The counts of workers, in a line; in READY=1 the first time, then on a change and once a second
 * at most. Returns when it wants to be called again. */
void export_ready(struct export *export, const struct runtime *runtime, usec now);
usec export_status(struct export *export, const struct runtime *runtime, usec now);

/* Writes each pool's state to the log. */
void export_tell(struct runtime *runtime);

#endif
