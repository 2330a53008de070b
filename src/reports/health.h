/*
 * health - what ails a pool: whether a balancer should send it more.
 *
 * Owns:      what counts as ailing: workers that die early, a drain, no free seat for a second
 *            while somebody waits. Who reports (the pools of status and agent) is busy by being
 *            asked: that is no ailment.
 * Knows not: how it is told.
 * Called by: the handlers status and agent.
 * Runs in:   any process that has the scoreboard mapped, be it for reading alone.
 */
#ifndef PREFORKD_REPORTS_HEALTH_H
#define PREFORKD_REPORTS_HEALTH_H

#include "snapshot.h"

enum ailment {
    AILS_NOTHING,
    AILS_MAYBE_FULL,
    AILS_FULL,
    AILS_DRAINED,
    AILS_UNREACHABLE,
    AILS_DEGRADED,
    AILMENTS
};
extern const char *const ailment_words[AILMENTS];

/* What is remembered of pools between two looks of one question; zeroed before the first. */
struct health {
    usec full_since[SCOREBOARD_POOLS]; /* 0: it was not full at the last look */
};

/* What ails the pool at this place. AILS_MAYBE_FULL: a second has not passed yet; ask again. */
enum ailment health_of(struct health *health, int place, const struct snapshot_pool *pool,
                       usec now);

/* Whether it serves anything but reports of the daemon. */
bool health_serves(const struct snapshot_pool *pool);

#endif
