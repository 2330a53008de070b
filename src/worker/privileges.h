/*
 * privileges - the privilege drop, before a worker touches a connection.
 *
 * It sets limits, niceness, root directory, groups, user, capabilities and the list of system
 * calls, in the one right order. There is no way back. A worker runs it, and the child of
 * master/check tries it.
 */
#ifndef PREFORKD_WORKER_PRIVILEGES_H
#define PREFORKD_WORKER_PRIVILEGES_H

#include "../config/config.h"
#include "../handlers/handler.h"

/* Why a step failed. */
struct privileges_refusal {
    const char *option; /* of the pool, or of its limits */
    char why[256];      /* a sentence: which step failed, and why */
};

/* The master calls this before its first fork. It asks libcap-ng for the bounding set that the
 * children will have, so that no worker maps the library or asks the kernel. */
void privileges_prepare(void);

/* Drops all privileges but system calls. 0; or -errno, with a refusal. */
int privileges_enter(const struct pool_config *pool, enum handler_calls calls,
                     struct privileges_refusal *refusal);

/* Restricts all threads to the system calls that the handler makes (seccomp(2)). Call it before the
 * first byte of a stranger's is read. Any other call kills the process, and the log shows signal
 * 31: either the process no longer runs our code, or the list has a fault that must be seen. If the
 * call merely failed, an intruder would go on and try the next one. 0; or -errno, with a
 * refusal. */
int privileges_drop_calls(const struct pool_config *pool, enum handler_calls calls,
                          struct privileges_refusal *refusal);

#endif
