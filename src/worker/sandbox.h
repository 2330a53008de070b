/*
 * sandbox - what a worker becomes before it touches a connection: limits, niceness, root
 * directory, groups, user, in the one right order.
 *
 * Knows not: slots, listeners, handlers.
 * Called by: the worker; master/check, whose child tries it.
 * Runs in:   a child, once; there is no way back.
 */
#ifndef PREFORKD_WORKER_SANDBOX_H
#define PREFORKD_WORKER_SANDBOX_H

#include "../config/config.h"

/* 0; or -errno with a sentence that says which step failed and why. */
int sandbox_enter(const struct pool_config *pool, char *why, size_t size);

#endif
