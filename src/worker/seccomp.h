/*
 * seccomp - the strict list of system calls, under which a worker whose handler is ours takes what
 * strangers send it (seccomp(2)).
 *
 * A call that isn't on the list kills the process, which the log tells with signal 31: whoever makes
 * one is not our code any more, or is a fault of ours that must be seen. An error in its place would
 * leave the intruder running, to try the next.
 * The list is made at build time by filter_build.c, over libseccomp: no process maps that library.
 * Called by: privileges.
 * Runs in:   a worker, and the child that checks.
 */
#ifndef PREFORKD_WORKER_SECCOMP_H
#define PREFORKD_WORKER_SECCOMP_H

#include "../handlers/handler.h"

#include <stdbool.h>

/* Whether there is a list: not for code of somebody else's, nor in a build without libseccomp. */
bool seccomp_filter_exists(enum handler_calls calls);

/* Puts the list in force, for good. The process must have set no_new_privs. 0 or -errno. */
int seccomp_filter_load(enum handler_calls calls);

#endif
