#include "scale.h"

static int smaller(int a, int b)
{
    return a < b ? a : b;
}

static int greater(int a, int b)
{
    return a > b ? a : b;
}

bool scale_has_spare(const struct scale_limits *limits, int idle)
{
    return idle >= greater(limits->min_spare, 1);
}

/* Ordered, and not ready yet. */
static int on_their_way(const struct scale *scale, const struct scale_facts *facts)
{
    return greater(scale->goal - facts->ready, 0);
}

/* How many seats are missing, those on their way counted as there. */
static int missing(const struct scale *scale, const struct scale_limits *limits,
                   const struct scale_facts *facts)
{
    int free = facts->idle + on_their_way(scale, facts);
    return greater(limits->min_spare - free, facts->waiting && free == 0);
}

/* The last growth lasted at least as long as it took to come about: a burst is no more. Measured by
 * itself, since how long a start takes is the machine's affair. */
static bool is_calm(const struct scale *scale, usec now)
{
    return scale->batch == 0 ||
           (scale->settled_at && now - scale->settled_at > scale->settled_at - scale->grown_at);
}

static void grow(struct scale *scale, const struct scale_limits *limits,
                 const struct scale_facts *facts)
{
    int by = missing(scale, limits, facts), coming = on_their_way(scale, facts);
    if (by > 0 && scale->goal < limits->max_workers) {
        if (is_calm(scale, facts->now))
            scale->batch = 0;
        if (coming == 0)
            by = greater(by, 2 * scale->batch);
        scale->batch = coming ? scale->batch + by : by; /* a part of the batch on its way */
        scale->goal = smaller(scale->goal + by, limits->max_workers);
        scale->grown_at = facts->now;
        scale->settled_at = 0;
    } else if (coming == 0 && scale->batch && !scale->settled_at) {
        scale->settled_at = facts->now;
    }
}

/* How many have been too many for as long as the period, each time that anybody looked. */
static int outlived(struct scale_surplus *surplus, int count, usec period, usec now)
{
    if (count <= 0) {
        surplus->since = 0;
        return 0;
    }
    if (!surplus->since)
        *surplus = (struct scale_surplus){.since = now, .least = count};
    surplus->least = smaller(surplus->least, count);
    if (now - surplus->since < period)
        return 0;
    surplus->since = 0;
    return surplus->least;
}

static void shrink(struct scale *scale, const struct scale_limits *limits,
                   const struct scale_facts *facts)
{
    int most = scale->goal - limits->min_workers;
    int far = outlived(&scale->beyond_max, smaller(facts->idle - limits->max_spare, most),
                       SCALE_SPARE_TIME, facts->now);
    int near = outlived(&scale->beyond_min, smaller(facts->idle - limits->min_spare, most),
                        limits->spare_timeout, facts->now);
    int by = greater(far, near);
    scale->goal -= by;
    if (by)
        scale->batch = 0;
}

static void note_full(struct scale *scale, const struct scale_limits *limits,
                      const struct scale_facts *facts)
{
    bool full = facts->idle == 0 && facts->ready >= limits->max_workers;
    if (!full)
        scale->full_since = 0;
    else if (!scale->full_since)
        scale->full_since = facts->now;
}

/* Nobody tells when a worker becomes idle. So there is a look now and then while workers may go;
 * a pool that has no more than it must have is not looked at. */
static usec next_look(const struct scale *scale, const struct scale_limits *limits,
                      const struct scale_facts *facts)
{
    if (on_their_way(scale, facts) && !scale_has_spare(limits, facts->idle))
        return facts->now + SCALE_LOOK_SHORT;
    if (scale->goal <= limits->min_workers || scale->goal <= limits->min_spare)
        return USEC_NEVER;
    if (scale->beyond_max.since || scale->beyond_min.since || scale->goal > limits->max_spare ||
        scale->goal == limits->max_workers)
        return facts->now + SCALE_LOOK;
    return facts->now + limits->spare_timeout;
}

struct scale_orders scale_step(struct scale *scale, const struct scale_limits *limits,
                               const struct scale_facts *facts)
{
    scale->goal = smaller(greater(scale->goal, limits->min_workers), limits->max_workers);
    grow(scale, limits, facts);
    shrink(scale, limits, facts);
    note_full(scale, limits, facts);
    bool may_grow = scale->goal < limits->max_workers;
    int left = facts->idle - greater(facts->ready - scale->goal, 0); /* when all have gone */
    return (struct scale_orders){
        .arm = may_grow && scale_has_spare(limits, left),
        .watch = may_grow && limits->min_spare == 0 && left + on_their_way(scale, facts) <= 0,
        .look = next_look(scale, limits, facts),
    };
}

/* One that waits at a single look may be about to be accepted; not where there are more of them than
 * workers. */
static bool has_waited(struct scale *scale, const struct scale_blind *facts)
{
    if (facts->queue <= 0)
        scale->queued_since = 0;
    else if (!scale->queued_since)
        scale->queued_since = facts->now;
    if (!scale->queued_since)
        return false;
    return facts->queue > facts->ready || facts->now - scale->queued_since >= SCALE_LOOK_SHORT;
}

/* A quarter of what need not be there, after each time that nobody had to wait. */
static void try_fewer(struct scale *scale, const struct scale_limits *limits,
                      const struct scale_blind *facts)
{
    int over = scale->goal - greater(limits->min_workers, limits->min_spare);
    if (facts->queue > 0 || over <= 0 || scale->goal > facts->ready) {
        scale->empty_since = 0;
        return;
    }
    if (!scale->empty_since)
        scale->empty_since = facts->now;
    if (facts->now - scale->empty_since < limits->spare_timeout)
        return;
    scale->goal -= greater(over / 4, 1);
    scale->batch = 0;
    scale->empty_since = facts->now;
}

struct scale_orders scale_step_blind(struct scale *scale, const struct scale_limits *limits,
                                     const struct scale_blind *facts)
{
    bool waits = has_waited(scale, facts);
    struct scale_facts seen = {
        .ready = facts->ready,
        .idle = waits ? 0 : greater(limits->min_spare, 1),
        .waiting = waits,
        .now = facts->now,
    };
    scale->goal = smaller(greater(scale->goal, limits->min_workers), limits->max_workers);
    grow(scale, limits, &seen);
    try_fewer(scale, limits, facts);
    note_full(scale, limits, &seen);
    bool nobody = scale->goal == 0 && facts->ready == 0;
    return (struct scale_orders){
        .watch = nobody,
        .look = nobody ? USEC_NEVER : facts->now + SCALE_LOOK_SHORT,
    };
}
