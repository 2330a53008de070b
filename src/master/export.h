/*
 * export - the pools' state, put into the overview, where all reports read it, and what systemd
 * shows of it.
 *
 * Called by: main_loop, commands.
 * Runs in:   the master.
 */
#ifndef PREFORKD_MASTER_EXPORT_H
#define PREFORKD_MASTER_EXPORT_H

#include "pool.h"

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
void export_log(struct runtime *runtime);

#endif
