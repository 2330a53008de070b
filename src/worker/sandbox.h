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

/* What could not be had. */
struct sandbox_refusal {
    const char *option; /* of the pool, or of its limits */
    char why[256];      /* a sentence: which step failed, and why */
};

/* 0; or -errno, with a refusal. */
int sandbox_enter(const struct pool_config *pool, struct sandbox_refusal *refusal);

#endif
