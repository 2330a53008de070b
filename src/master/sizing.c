#include "sizing.h"

static int smaller(int a, int b)
{
    return a < b ? a : b;
}

static int greater(int a, int b)
{
    return a > b ? a : b;
}

bool sizing_has_spare(const struct sizing_limits *limits, int idle)
{
    return idle >= greater(limits->min_spare, 1);
}

/* Ordered, and not ready yet. */
static int on_their_way(const struct sizing *sizing, const struct sizing_facts *facts)
{
    return greater(sizing->goal - facts->ready, 0);
}

/* How many seats are missing, those on their way counted as there. */
static int missing(const struct sizing *sizing, const struct sizing_limits *limits,
                   const struct sizing_facts *facts)
{
    int free = facts->idle + on_their_way(sizing, facts);
    return greater(limits->min_spare - free, facts->waiting && free == 0);
}

/* The last growth lasted at least as long as it took to come about: a burst is no more. Measured by
 * itself, since how long a birth takes is the machine's affair. */
static bool is_calm(const struct sizing *sizing, usec now)
{
    return sizing->batch == 0 ||
           (sizing->settled_at && now - sizing->settled_at > sizing->settled_at - sizing->grown_at);
}

static void grow(struct sizing *sizing, const struct sizing_limits *limits,
                 const struct sizing_facts *facts)
{
    int by = missing(sizing, limits, facts), coming = on_their_way(sizing, facts);
    if (by > 0 && sizing->goal < limits->max_workers) {
        if (is_calm(sizing, facts->now))
            sizing->batch = 0;
        if (coming == 0)
            by = greater(by, 2 * sizing->batch);
        sizing->batch = coming ? sizing->batch + by : by; /* a part of the batch on its way */
        sizing->goal = smaller(sizing->goal + by, limits->max_workers);
        sizing->grown_at = facts->now;
        sizing->settled_at = 0;
    } else if (coming == 0 && sizing->batch && !sizing->settled_at) {
        sizing->settled_at = facts->now;
    }
}

/* How many have been too many for as long as the period, each time that anybody looked. */
static int outlived(struct sizing_surplus *surplus, int count, usec period, usec now)
{
    if (count <= 0) {
        surplus->since = 0;
        return 0;
    }
    if (!surplus->since)
        *surplus = (struct sizing_surplus){.since = now, .least = count};
    surplus->least = smaller(surplus->least, count);
    if (now - surplus->since < period)
        return 0;
    surplus->since = 0;
    return surplus->least;
}

static void shrink(struct sizing *sizing, const struct sizing_limits *limits,
                   const struct sizing_facts *facts)
{
    int most = sizing->goal - limits->min_workers;
    int far = outlived(&sizing->beyond_max, smaller(facts->idle - limits->max_spare, most),
                       SIZING_SPARE_TIME, facts->now);
    int near = outlived(&sizing->beyond_min, smaller(facts->idle - limits->min_spare, most),
                        limits->spare_timeout, facts->now);
    int by = greater(far, near);
    sizing->goal -= by;
    if (by)
        sizing->batch = 0;
}

static void note_full(struct sizing *sizing, const struct sizing_limits *limits,
                      const struct sizing_facts *facts)
{
    bool full = facts->idle == 0 && facts->ready >= limits->max_workers;
    if (!full)
        sizing->full_since = 0;
    else if (!sizing->full_since)
        sizing->full_since = facts->now;
}

/* Nobody tells when a worker becomes idle. So there is a look now and then while workers may go;
 * a pool that has no more than it must have is not looked at. */
static usec next_look(const struct sizing *sizing, const struct sizing_limits *limits,
                      const struct sizing_facts *facts)
{
    if (on_their_way(sizing, facts) && !sizing_has_spare(limits, facts->idle))
        return facts->now + SIZING_LOOK_SHORT;
    if (sizing->goal <= limits->min_workers || sizing->goal <= limits->min_spare)
        return USEC_NEVER;
    if (sizing->beyond_max.since || sizing->beyond_min.since || sizing->goal > limits->max_spare ||
        sizing->goal == limits->max_workers)
        return facts->now + SIZING_LOOK;
    return facts->now + limits->spare_timeout;
}

struct sizing_orders sizing_step(struct sizing *sizing, const struct sizing_limits *limits,
                                 const struct sizing_facts *facts)
{
    sizing->goal = smaller(greater(sizing->goal, limits->min_workers), limits->max_workers);
    grow(sizing, limits, facts);
    shrink(sizing, limits, facts);
    note_full(sizing, limits, facts);
    bool may_grow = sizing->goal < limits->max_workers;
    int left = facts->idle - greater(facts->ready - sizing->goal, 0); /* when all have gone */
    return (struct sizing_orders){
        .arm = may_grow && sizing_has_spare(limits, left),
        .watch = may_grow && limits->min_spare == 0 && left + on_their_way(sizing, facts) <= 0,
        .look = next_look(sizing, limits, facts),
    };
}

/* One that waits at a single look may be about to be accepted; not where there are more of them than
 * workers. */
static bool has_waited(struct sizing *sizing, const struct sizing_blind *facts)
{
    if (facts->queue <= 0)
        sizing->queued_since = 0;
    else if (!sizing->queued_since)
        sizing->queued_since = facts->now;
    if (!sizing->queued_since)
        return false;
    return facts->queue > facts->ready || facts->now - sizing->queued_since >= SIZING_LOOK_SHORT;
}

/* A quarter of what need not be there, after each time that nobody had to wait. */
static void try_fewer(struct sizing *sizing, const struct sizing_limits *limits,
                      const struct sizing_blind *facts)
{
    int over = sizing->goal - greater(limits->min_workers, limits->min_spare);
    if (facts->queue > 0 || over <= 0 || sizing->goal > facts->ready) {
        sizing->empty_since = 0;
        return;
    }
    if (!sizing->empty_since)
        sizing->empty_since = facts->now;
    if (facts->now - sizing->empty_since < limits->spare_timeout)
        return;
    sizing->goal -= greater(over / 4, 1);
    sizing->batch = 0;
    sizing->empty_since = facts->now;
}

struct sizing_orders sizing_step_blind(struct sizing *sizing, const struct sizing_limits *limits,
                                       const struct sizing_blind *facts)
{
    bool waits = has_waited(sizing, facts);
    struct sizing_facts seen = {
        .ready = facts->ready,
        .idle = waits ? 0 : greater(limits->min_spare, 1),
        .waiting = waits,
        .now = facts->now,
    };
    sizing->goal = smaller(greater(sizing->goal, limits->min_workers), limits->max_workers);
    grow(sizing, limits, &seen);
    try_fewer(sizing, limits, facts);
    note_full(sizing, limits, &seen);
    bool nobody = sizing->goal == 0 && facts->ready == 0;
    return (struct sizing_orders){
        .watch = nobody,
        .look = nobody ? USEC_NEVER : facts->now + SIZING_LOOK_SHORT,
    };
}
