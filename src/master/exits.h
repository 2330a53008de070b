/*
 * exits - what is done about a worker's exit, but for the next one itself: it is counted, the time
 * of the respawn is set, and it is logged; and whether the kernel killed for want of memory.
 *
 * Owns:      the count of `oom_kill` in memory.events of our control group (version 2), as last
 *            seen.
 * Knows not: whether there is to be a next worker, and how one is started (maintain): that comes in
 *            between, because it is in a hurry, and log lines are not.
 * Called by: master, maintain, in the master.
 */
#ifndef PREFORKD_MASTER_EXITS_H
#define PREFORKD_MASTER_EXITS_H

#include "exit_report.h"
#include "spawn.h"

enum { OOM_PATH = 512 };

struct oom {
    char path[OOM_PATH]; /* of memory.events; empty: there is none */
    long long seen;
    long long unclaimed; /* of those seen: by no exit yet; for a moment */
    usec until;
};

/* Finds our control group, by a file as /proc/self/cgroup, below the place where they are
 * mounted. */
void oom_open(struct oom *oom, const char *own, const char *mounted);

/* Whether a child that was reaped now, killed by a SIGKILL that we did not send, is one of those
 * that the kernel killed. The kernel does not say which it was: each kill is claimed by one child,
 * at once, or else it was none of ours. */
bool oom_claim(struct oom *oom, usec now);

/* Takes the facts, and puts them into the ledger. */
void exits_begin(struct worker *worker, struct overview *overview, struct exit_report *report);

/* It is to be respawned, at a time that depends on how it lived. */
void exits_set_respawn(struct worker *worker, struct exit_report *report, usec now);

/* Logs it. */
void exits_end(const struct exit_report *report);

#endif
