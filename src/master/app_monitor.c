#include "app_monitor.h"

#include "stop.h"

/* Alive for so long, a program is taken for ready that does not say it; or several, one after another.
 */
#define READY_AFTER USEC_SECOND

/* It can't be late: to be alive for as long is sure to come, or not to. */
static usec await_age(struct worker *worker, usec now)
{
    usec before = worker->backoff.alive;                        /* of those that ended in order */
    usec due = spawn_since(worker, now) + READY_AFTER - before; /* its word, from before */
    if (worker->role != ROLE_RETIRING)
        worker->deadline = USEC_NEVER;
    if (due > now)
        return due;
    spawn_set_ready(worker, now);
    return now;
}

/* Nobody is told twice, nor for this who is told to go anyway. */
static bool is_watched(const struct worker *worker)
{
    return worker->notify && worker->role != ROLE_RETIRING && worker->cause == DEATH_OWN;
}

static void end_hung(struct worker *worker, usec now)
{
    worker->hung = worker->notify->hung;
    stop_abort(worker, now);
}

static usec await_ready(struct worker *worker, usec now)
{
    if (!worker->notify)
        return await_age(worker, now);
    if (!worker->notify->ready && worker->notify->hung && is_watched(worker))
        end_hung(worker, now);
    if (!worker->notify->ready)
        return USEC_NEVER;
    spawn_set_ready(worker, now);
    return now;
}

/* One that gave signs of life has to go on with it, at least until it is told to go. */
static usec await_sign(struct worker *worker, usec grace_until, usec now)
{
    const struct notify *notify = worker->notify;
    if (!is_watched(worker))
        return USEC_NEVER;
    bool watched = notify->alive_at && notify->watchdog < USEC_NEVER - notify->alive_at;
    usec due = watched ? notify->alive_at + notify->watchdog : USEC_NEVER;
    if (now >= due && now < grace_until)
        return grace_until;
    if (now < due && !notify->hung)
        return due;
    end_hung(worker, now);
    return USEC_NEVER;
}

usec app_monitor_tend(struct worker *worker, usec grace_until, usec now)
{
    if (!spawn_is_program(worker))
        return USEC_NEVER;
    return spawn_is_ready(worker) ? await_sign(worker, grace_until, now) : await_ready(worker, now);
}
