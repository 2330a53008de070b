/*
 * environment - what a program gets to know by its environment: PATH, TZ, LANG, HOME, USER,
 * LOGNAME and what the pool's `environment` says, which wins.
 *
 * Called by: the worker, once.
 * Runs in:   a worker.
 */
#ifndef PREFORKD_WORKER_ENVIRONMENT_H
#define PREFORKD_WORKER_ENVIRONMENT_H

#include "../config/config.h"

/* A list ended by NULL, allocated for the worker's life; NULL where there is no memory. */
char **environment_make(const struct pool_config *pool);

#endif
