/*
 * export - publishes the state of the pools: in the overview, which all reports read, and as the
 * status that systemd shows.
 *
 * Called by: main_loop, commands.
 * Runs in:   the master.
 */
#ifndef PREFORKD_MASTER_EXPORT_H
#define PREFORKD_MASTER_EXPORT_H

#include "pool.h"

struct export
{
    unsigned generation; /* of the listeners in the overview; 0: publish them again */
    char status[512];    /* the last STATUS= */
    usec status_at;      /* when it was made */
    bool changed;        /* a pool was published since then */
};

/* Publishes one pool, after a step. */
void export_pool(struct export *export, const struct runtime *runtime, struct pool *pool, usec now);

/* Publishes the listeners, the generation and the host. */
void export_runtime(struct export *export, const struct runtime *runtime);

/* Sends READY=1 and a line of status to systemd; later, a changed line, once a second at most.
 * Returns the time of the next call. */
void export_ready(struct export *export, const struct runtime *runtime, usec now);
usec export_status(struct export *export, const struct runtime *runtime, usec now);

/* Logs the state of each pool. */
void export_log(struct runtime *runtime);

#endif
