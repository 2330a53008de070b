#include "health.h"

#include <string.h>

const char *const ailment_words[AILMENTS] = {
    [AILS_NOTHING] = "serving", [AILS_MAYBE_FULL] = "serving", [AILS_FULL] = "full",
    [AILS_DRAINED] = "drained", [AILS_DEGRADED] = "degraded",  [AILS_UNREACHABLE] = "unreachable",
};

bool health_serves(const struct snapshot_pool *pool)
{
    return strcmp(pool->handler, "status") != 0 && strcmp(pool->handler, "agent") != 0;
}

/* Whether no seat is free but for the connections in the queue. An unknown queue may have some. */
static bool is_taken(const struct snapshot_pool *pool)
{
    int seats = snapshot_free_seats(pool);
    int free = pool->queued > seats ? 0 : seats - (pool->queued > 0 ? pool->queued : 0);
    return pool->queued != 0 && free == 0 && pool->max_workers > 0 &&
           pool->busy + pool->idle >= pool->max_workers;
}

/* It was full without a break since the last seat was taken, or since we first saw it so: among
 * short connections the last one is always young. */
static enum ailment fullness(usec *full_since, const struct snapshot_pool *pool, usec now)
{
    if (!is_taken(pool) || !health_serves(pool)) {
        *full_since = 0;
        return AILS_NOTHING;
    }
    if (*full_since == 0)
        *full_since = pool->state == POOL_FULL && pool->state_since < now ? pool->state_since : now;
    return now - *full_since >= USEC_SECOND ? AILS_FULL : AILS_MAYBE_FULL;
}

enum ailment health_of(struct health *health, int place, const struct snapshot_pool *pool, usec now)
{
    if (!pool->used)
        return AILS_NOTHING;
    switch (pool->state) {
    case POOL_DEGRADED: return AILS_DEGRADED;
    case POOL_UNREACHABLE: return AILS_UNREACHABLE;
    case POOL_DRAINED: return AILS_DRAINED;
    default: return fullness(&health->full_since[place], pool, now);
    }
}
