/*
 * oom - whether the kernel killed for want of memory, as the control group counts it.
 *
 * Owns:      the count of `oom_kill` in memory.events of our cgroup (version 2), as last seen.
 * Knows not: workers. The kernel does not tell whom it killed: whoever found a child killed by
 *            SIGKILL, and did not send that, asks here.
 * Called by: master.
 * Runs in:   the master.
 */
#ifndef PREFORKD_MASTER_OOM_H
#define PREFORKD_MASTER_OOM_H

#include "../base/clock.h"

#include <stdbool.h>

enum { OOM_PATH = 512 };

struct oom {
    char path[OOM_PATH]; /* of memory.events; empty: there is none */
    long long seen;
    long long unclaimed; /* of those seen: by no death yet; for a moment */
    usec until;
};

/* Finds our cgroup, by a file as /proc/self/cgroup, below the place where they are mounted. */
void oom_open(struct oom *oom, const char *own, const char *mounted);

/* Whether a child that was found dead now is one of those that the kernel killed: each kill is
 * claimed by one child, at once, or else it was none of ours. */
bool oom_claim(struct oom *oom, usec now);

#endif
