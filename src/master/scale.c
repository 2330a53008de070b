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

/* Workers ordered but not ready yet. */
static int count_starting(const struct scale *scale, const struct scale_facts *facts)
{
    return greater(scale->goal - facts->ready, 0);
}

static void grow(struct scale *scale, const struct scale_limits *limits,
                 const struct scale_facts *facts)
{
    int starting = count_starting(scale, facts), free = facts->idle + starting * limits->seats;
    int wanted = greater(limits->min_spare - free, facts->waiting && free == 0);
    int by = (greater(wanted, 0) + limits->seats - 1) / limits->seats;
    /* The burst is over if the last growth sufficed for longer than its workers took to start. How
     * long a start takes depends on the machine. */
    bool calm =
        scale->settled_at && facts->now - scale->settled_at > scale->settled_at - scale->grown_at;
    if (by > 0 && scale->goal < limits->max_workers) {
        if (calm)
            scale->batch = 0;
        if (starting == 0)
            by = greater(by, 2 * scale->batch);
        scale->batch = starting ? scale->batch + by : by; /* the batch is still starting */
        scale->goal = smaller(scale->goal + by, limits->max_workers);
        scale->grown_at = facts->now;
        scale->settled_at = 0;
    } else if (starting == 0 && scale->batch && !scale->settled_at) {
        scale->settled_at = facts->now;
    }
}

/* Notes since when a condition has held at each look; 0: it does not hold. */
static usec hold(usec *since, bool holds, usec now)
{
    *since = !holds ? 0 : *since ? *since : now;
    return *since;
}

/* How many workers have been too many at each look of a whole period. */
static int lasting_surplus(struct scale_surplus *surplus, int count, usec period, usec now)
{
    if (!surplus->since)
        surplus->least = count;
    surplus->least = smaller(surplus->least, count);
    if (!hold(&surplus->since, count > 0, now) || now - surplus->since < period)
        return 0;
    surplus->since = 0;
    return surplus->least;
}

/* A worker is too many if enough seats are free without it, even if all of its own are free. */
static void shrink(struct scale *scale, const struct scale_limits *limits,
                   const struct scale_facts *facts)
{
    int most = scale->goal - limits->min_workers;
    int over_max = (facts->idle - limits->max_spare) / limits->seats;
    int over_min = (facts->idle - limits->min_spare) / limits->seats;
    int by = greater(
        lasting_surplus(&scale->beyond_max, smaller(over_max, most), SCALE_SPARE_TIME, facts->now),
        lasting_surplus(&scale->beyond_min, smaller(over_min, most), limits->spare_timeout,
                        facts->now));
    scale->goal -= by;
    if (by)
        scale->batch = 0;
}

/* A worker that becomes idle wakes nobody. So while workers may go, the pool is looked at now and
 * then. A pool at its minimum is not. */
static usec next_look(const struct scale *scale, const struct scale_limits *limits,
                      const struct scale_facts *facts)
{
    if (count_starting(scale, facts) && !scale_has_spare(limits, facts->idle))
        return facts->now + SCALE_LOOK_SHORT;
    int less = (scale->goal - 1) * limits->seats; /* seats with one worker less */
    if (scale->goal <= limits->min_workers || less < limits->min_spare)
        return USEC_NEVER;
    if (scale->beyond_max.since || scale->beyond_min.since || less >= limits->max_spare ||
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
    hold(&scale->full_since, facts->idle == 0 && facts->ready >= limits->max_workers, facts->now);
    bool may_grow = scale->goal < limits->max_workers;
    int surplus = greater(facts->ready - scale->goal, 0), starting = count_starting(scale, facts);
    int left = facts->idle - surplus * limits->seats; /* free seats without the surplus workers */
    return (struct scale_orders){
        .arm = may_grow && scale_has_spare(limits, left),
        .watch = may_grow && limits->min_spare == 0 && left + starting * limits->seats <= 0,
        .look = next_look(scale, limits, facts),
    };
}

struct scale_orders scale_step_blind(struct scale *scale, const struct scale_limits *limits,
                                     const struct scale_blind *facts)
{
    /* A connection seen at a single look may be about to be accepted, unless more wait than there
     * are workers. */
    usec now = facts->now, queued = hold(&scale->queued_since, facts->queue > 0, now);
    bool waits = queued && (facts->queue > facts->ready || now - queued >= SCALE_LOOK_SHORT);
    struct scale_facts seen = {
        .ready = facts->ready,
        .idle = waits ? 0 : greater(limits->min_spare, 1),
        .waiting = waits,
        .now = now,
    };
    scale->goal = smaller(greater(scale->goal, limits->min_workers), limits->max_workers);
    grow(scale, limits, &seen);
    /* After each spare_timeout in which no connection had to wait, a quarter of the dispensable
     * workers goes. */
    int over = scale->goal - greater(limits->min_workers, limits->min_spare);
    bool enough = facts->queue <= 0 && over > 0 && scale->goal <= facts->ready;
    usec empty = hold(&scale->empty_since, enough, now);
    if (empty && now - empty >= limits->spare_timeout) {
        scale->goal -= greater(over / 4, 1);
        scale->batch = 0;
        scale->empty_since = now;
    }
    hold(&scale->full_since, waits && facts->ready >= limits->max_workers, now);
    bool none = scale->goal == 0 && facts->ready == 0;
    return (struct scale_orders){
        .watch = none,
        .look = none ? USEC_NEVER : now + SCALE_LOOK_SHORT,
    };
}

/* --- rolls ------------------------------------------------------------------------------------ */

/* New workers that had their try no longer count for at_once; old workers that end are not
 * respawned. */
int roll_allowed(const struct roll *roll)
{
    int missing = roll->target - roll->stale, some = roll->tried + roll->at_once;
    if (!roll->stale)
        return roll->target;
    if (roll->halted)
        return greater(smaller(roll->stayed, roll->target), missing);
    return !roll->at_once || some > roll->target ? roll->target : greater(some, missing);
}

/* Workers without a place may stay so as long as old workers do. */
static bool all_tried(const struct roll *roll)
{
    return roll->tried + roll->unplaced >= roll->target;
}

int roll_surplus(const struct roll *roll)
{
    int over = roll->stale + roll->stayed - roll->target;
    if (!roll->target || (all_tried(roll) && roll->stayed && !roll->halted))
        return roll->stale;
    if ((!roll->at_once && !roll->halted) || over < 0)
        return 0;
    return smaller(over, roll->stale);
}

bool roll_is_over(const struct roll *roll)
{
    return (roll->halted && roll->stale) || (all_tried(roll) && (!roll->stale || !roll->stayed));
}
