/*
 * privileges - what a worker becomes before it touches a connection: limits, niceness, root
 * directory, groups, user, capabilities, in the one right order.
 *
 * Knows not: slots, listeners; of handlers, no more than which system calls they make.
 * Called by: the worker; master/check, whose child tries it.
 * Runs in:   privileges_prepare in the master; else a child, once; there is no way back.
 */
#ifndef PREFORKD_WORKER_PRIVILEGES_H
#define PREFORKD_WORKER_PRIVILEGES_H

#include "../config/config.h"
#include "../handlers/handler.h"

/* What could not be had. */
struct privileges_refusal {
    const char *option; /* of the pool, or of its limits */
    char why[256];      /* a sentence: which step failed, and why */
};

/* In the master, before its first fork: what all its children need to know. */
void privileges_prepare(void);

/* 0; or -errno, with a refusal. */
int privileges_enter(const struct pool_config *pool, enum handler_calls calls,
                     struct privileges_refusal *refusal);

/* Then, before the first byte of a stranger's is looked at: no system calls from here on but those
 * that the handler makes. 0; or -errno, with a refusal. */
int privileges_close(const struct pool_config *pool, enum handler_calls calls,
                     struct privileges_refusal *refusal);

#endif
