/*
 * privileges - the privilege drop: what a worker becomes before it touches a connection.
 *
 * Limits, niceness, root directory, groups, user, capabilities, list of system calls, in the one
 * right order. There is no way back. A worker does it, and the child of master/check tries it.
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

/* In the master, before its first fork: asks libcap-ng what the children have in their bounding
 * set. So the library isn't mapped in any worker, and none asks the kernel again. */
void privileges_prepare(void);

/* 0; or -errno, with a refusal. */
int privileges_enter(const struct pool_config *pool, enum handler_calls calls,
                     struct privileges_refusal *refusal);

/* Then, for all threads that there are, before the first byte of a stranger's is looked at: no
 * system calls from here on but those that the handler makes (seccomp(2)). Another call kills the
 * process, and the log has signal 31: a process that makes one does not run our code any more, or
 * we have a fault that must be seen. An error in its place would leave the intruder running, to try
 * the next. 0; or -errno, with a refusal. */
int privileges_close(const struct pool_config *pool, enum handler_calls calls,
                     struct privileges_refusal *refusal);

#endif
