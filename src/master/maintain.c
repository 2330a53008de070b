#include "maintain.h"

#include "../handlers/handler.h"
#include "accept_wakeup.h"
#include "exits.h"
#include "listener_repair.h"
#include "roll.h"
#include "slow.h"
#include "stop.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* After a fork that failed. */
#define FORK_PATIENCE (USEC_SECOND / 2)

/* Programs that lived longer than the first are not asked for strays; two such questions are as far
 * apart as the second. */
#define STRAYS_AGE   (10 * USEC_SECOND)
#define STRAYS_PAUSE USEC_SECOND

/* Births. */

static void try_fork(struct pool *pool, struct spawner *spawner, struct worker *worker, usec now)
{
    unsigned missed;
    bool canary = worker->role == ROLE_CANARY;
    if (!worker->trying_since)
        worker->trying_since = now;
    int error = canary ? spawn_fork(spawner, worker, pool->trial, pool->trial_count)
                       : spawn_fork(spawner, worker, pool->listeners, pool->listener_count);
    worker->respawn_at = error ? now + FORK_PATIENCE : 0;
    if (error && log_rate_ok(&pool->fork_failures, 60 * USEC_SECOND, &missed))
        log_err("pool %s: can't fork a worker: %s; trying again pool=%s errno=%d missed=%u",
                pool->name, strerror(-error), pool->name, -error, missed);
}

/* Returns how many are missing still. */
static int grow(struct pool *pool, struct spawner *spawner, usec now, int missing, int *starts)
{
    unsigned missed;
    for (; missing > 0 && *starts > 0; missing--, (*starts)--) {
        struct worker *worker = pool_add_worker(pool, spawner);
        if (worker) {
            try_fork(pool, spawner, worker, now);
            continue;
        }
        int error = errno;
        if (log_rate_ok(&pool->no_seat, 60 * USEC_SECOND, &missed))
            log_err("pool %s: no room for another worker (there is room for %d): %s pool=%s "
                    "missed=%u",
                    pool->name, SCOREBOARD_SLOTS, strerror(error), pool->name, missed);
        return missing;
    }
    return missing;
}

/* Deaths. */

/* The most workers of the generation in force that there may be. One that can't be ended keeps its
 * seat; and where a roll has stopped, those that it did not come to are not wanted. */
static int most_of(const struct pool *pool, const struct counts *counts)
{
    struct roll roll = pool_roll(pool, counts);
    return pool->halted ? roll_allowed(&roll) : roll.target;
}

/* Whether a dead one is to have a successor in its slot. A canary's death is the reload's answer, but
 * where it ended in order: then it has another try, until ready_timeout. Who asked for it may be gone
 * by then, and with it the listeners of the trial. */
static bool is_replaced(const struct pool *pool, const struct worker *worker,
                        const struct counts *counts, usec now)
{
    usec patience = worker->conf->ready_timeout * USEC_SECOND;
    bool late = worker->trying_since && now - worker->trying_since >= patience;
    if (worker->role == ROLE_CANARY)
        return pool->trial && worker->expected && !late;
    return pool_is_current(pool, worker) && counts->active <= most_of(pool, counts) &&
           !pool->carried;
}

/* Twice in a row, new workers did not stay: the old ones do. */
static void halt(struct pool *pool, const struct counts *counts)
{
    if (pool->halted || !counts->stale || !pool->conf->min_ready_time)
        return;
    pool->halted = true;
    log_err("pool %s: %s: new workers don't stay, the old ones go on pool=%s old=%d", pool->name,
            pool->trouble, pool->name, counts->stale);
}

static void note_failure(struct pool *pool, struct worker *worker, const struct counts *counts)
{
    worker->failures++;
    if (worker->failures >= ROLL_FAILURES && pool_is_current(pool, worker))
        halt(pool, counts);
}

static void note_trouble(struct pool *pool, const struct exit_report *o)
{
    if (exit_report_is_trouble(o))
        exit_report_print_trouble(o, pool->trouble, sizeof pool->trouble);
}

/* First the successor, then the words about the dead: but what those refer to is gone by then. */
static void replace(struct pool *pool, struct spawner *spawner, struct worker *worker,
                    struct exit_report *report, usec now)
{
    static char last[STDERR_LOG_LAST], reason[SCOREBOARD_REASON];
    report->last = memcpy(last, worker->lines.last, sizeof last);
    report->reason = memcpy(reason, worker->slot->reason, sizeof reason);
    try_fork(pool, spawner, worker, now);
    report->replacement = worker->pid;
}

/* One that ended in order is asked whether it went into the background; not one that was there for
 * long, since that is seen soon if at all, and no more often than once a second: all processes are
 * looked at. */
static void look_for_strays(struct pool *pool, const struct spawner *spawner, struct worker *worker,
                            usec now)
{
    bool orderly = worker->was_program && worker->status == 0 && worker->cause == DEATH_OWN;
    bool trial = worker->role == ROLE_CANARY && pool->trial;
    struct listener *const *listeners = trial ? pool->trial : pool->listeners;
    if (!orderly || worker->left_group || worker->died - worker->born > STRAYS_AGE ||
        now < pool->background_looked + STRAYS_PAUSE || !listeners)
        return;
    pid_t stray = process_groups_background(spawner->master, worker->lines.pid, listeners[0]->fd,
                                            &pool->resources.groups);
    worker->left_group = stray > 0;
    pool->background_looked = stray ? 0 : now; /* the next one is likely to do the same */
    if (stray)
        log_notice("pool %s: process %d, which worker %d left in a session of its own, goes on "
                   "pool=%s pid=%d",
                   pool->name, (int)stray, (int)worker->lines.pid, pool->name, (int)stray);
}

/* Whether it has a successor, or is to have one. */
static bool mourn(struct pool *pool, struct spawner *spawner, struct worker *worker,
                  const struct counts *counts, usec now)
{
    struct exit_report report;
    look_for_strays(pool, spawner, worker, now);
    exits_begin(worker, spawner->boards.overview, &report);
    listeners_heal(pool, report.pid); /* before its successor tries to accept there */
    note_trouble(pool, &report);
    if (report.ended_early)
        note_failure(pool, worker, counts);
    bool replaced = is_replaced(pool, worker, counts, now);
    if (replaced)
        exits_set_respawn(worker, &report, now);
    if (replaced && report.delay == 0)
        replace(pool, spawner, worker, &report, now);
    exits_end(&report);
    return replaced;
}

static bool has_dead(const struct pool *pool)
{
    const struct worker *worker = pool->ring.first;
    while (worker && worker->pid)
        worker = worker->next;
    return worker;
}

/* Each dead worker is mourned, and replaced or buried. Most rounds have none. */
static void tend_dead(struct pool *pool, struct spawner *spawner, usec now, int *starts)
{
    if (!has_dead(pool))
        return;
    struct counts counts = pool_counts(pool);
    struct worker **at = &pool->ring.first;
    while (*at) {
        struct worker *worker = *at;
        bool replaced = true;
        if (!worker->pid && worker->exit_handled)
            replaced = is_replaced(pool, worker, &counts, now);
        else if (!worker->pid && *starts > 0)
            *starts -= replaced = mourn(pool, spawner, worker, &counts, now);
        if (!worker->pid && worker->exit_handled && !replaced) {
            counts.active -= pool_is_current(pool, worker);
            worker_list_leave(at);
            spawn_release(spawner, worker);
            continue;
        }
        if (!worker->pid && worker->exit_handled && now >= worker->respawn_at && *starts > 0) {
            (*starts)--;
            try_fork(pool, spawner, worker, now);
        }
        at = &worker->next;
    }
}

/* Out of memory, there is another day. */
static void shrink(struct pool *pool, int active, int surplus)
{
    if (surplus <= 0)
        return;
    struct worker **going = calloc((size_t)active, sizeof *going);
    int count = 0;
    for (struct worker *w = pool->ring.first; going && w; w = w->next)
        if (pool_is_current(pool, w) && count < active)
            going[count++] = w;
    if (going)
        stop_sort(going, count);
    for (int i = 0; i < count && i < surplus; i++)
        pool_retire(pool, going[i]);
    free(going);
}

/* From one generation to the next. */

static bool is_stale(const struct pool *pool, const struct worker *worker)
{
    return worker->role == ROLE_ACTIVE && !pool_is_current(pool, worker);
}

/* All that there are; or, of programs, those with the lowest numbers, which the new ones have first.
 */
static void retire_stale(struct pool *pool, int count, bool all)
{
    for (struct worker *w = pool->ring.first; all && w; w = w->next)
        if (is_stale(pool, w))
            pool_retire(pool, w);
    for (; !all && count > 0; count--) {
        struct worker *first = NULL;
        for (struct worker *w = pool->ring.first; w; w = w->next)
            if (is_stale(pool, w) && (!first || w->number <= first->number))
                first = w;
        if (first)
            pool_retire(pool, first);
    }
}

/* Notes who is ready, and who has been so for as long as it was to be. Returns when the next one will
 * have. */
static usec prove(const struct pool *pool, usec now)
{
    usec next = USEC_NEVER;
    for (struct worker *w = pool->ring.first; w; w = w->next) {
        if (!spawn_is_ready(w) || w->role == ROLE_RETIRING || w->cause != DEATH_OWN)
            continue;
        if (!w->ready_at)
            w->ready_at = now;
        w->trying_since = 0;
        w->late = w->continues = false;
        usec due = w->ready_at + w->conf->min_ready_time * USEC_SECOND - w->backoff.ready;
        w->stayed = w->stayed || now >= due;
        if (w->stayed)
            w->failures = 0;
        else
            next = clock_earlier(next, due);
    }
    return next;
}

static usec tend_programs(struct pool *pool, usec grace_until, usec now)
{
    usec next = USEC_NEVER;
    for (struct worker *w = pool->programs ? pool->ring.first : NULL; w; w = w->next)
        next = clock_earlier(next, stop_watch_program(w, grace_until, now));
    return next;
}

/* One that serves; returns when it must be looked at again. */
static usec tend_ready(struct worker *worker, usec now)
{
    struct backoff *backoff = &worker->backoff;
    worker->deadline = USEC_NEVER; /* that of getting ready is over */
    if (!worker->ready_at)
        worker->ready_at = now;
    if (!backoff->degraded)
        return USEC_NEVER;
    usec before = backoff->ready; /* of those that ended in order */
    backoff_alive(backoff, spawn_has_accepted(worker), before + now - worker->ready_at);
    return backoff->degraded ? worker->ready_at + BACKOFF_HEALED - before : USEC_NEVER;
}

/* The longest that a request may take; 0: for ever. */
static usec request_limit(const struct pool *pool)
{
    usec limit = pool->conf->request_timeout * USEC_SECOND;
    return limit ? limit + handler_of(pool->conf->handler)->patience : 0;
}

/* Looks after each worker; returns when that must be done again. Before grace_until nobody is judged
 * late, since it may be us who were. */
static usec tend_living(struct pool *pool, struct spawner *spawner, usec now)
{
    usec limit = request_limit(pool), next = USEC_NEVER, grace_until = spawner->grace_until;
    usec slow = pool->conf->slow_threshold * USEC_SECOND;
    bool judged = now >= grace_until;
    for (struct worker *w = pool->ring.first; w; w = w->next) {
        if (limit)
            next = clock_earlier(next, judged ? stop_watch(w, limit, now) : grace_until);
        if (slow)
            next = clock_earlier(next, slow_watch(w, spawner, slow, now));
        if (!w->pid)
            next = clock_earlier(next,
                                 w->exit_handled && w->role != ROLE_RETIRING ? w->respawn_at : now);
        else if (spawn_is_ready(w) && w->role != ROLE_RETIRING && w->cause == DEATH_OWN)
            next = clock_earlier(next, tend_ready(w, now));
        else
            next = clock_earlier(next, judged ? stop_step(w, now) : grace_until);
    }
    return next;
}

/* A size that follows the load. */

static bool follows_load(const struct pool *pool)
{
    return pool_config_is_dynamic(pool->conf) && !pool->removed && !pool->drained &&
           !pool->on_trial;
}

static struct load_scene scene_of(struct pool *pool, const struct spawner *spawner, usec now)
{
    const struct board *board = pool_board(pool);
    return (struct load_scene){
        .conf = pool->conf,
        .board = board ? board->map : NULL,
        .changed = &pool->resources.changed,
        .loop = spawner->loop,
        .listeners = pool->listeners,
        .listener_count = pool->listener_count,
        .blind = handler_of(pool->conf->handler)->exec != NULL,
        .now = now,
    };
}

static void follow_load(struct pool *pool, const struct spawner *spawner,
                        const struct counts *counts, usec now)
{
    if (!follows_load(pool))
        return;
    struct load_scene scene = scene_of(pool, spawner, now);
    load_step(&pool->load, &scene, counts->ready, counts->ready - counts->busy);
}

/* Sees to it that the master is woken when the size must change. Returns when it wants to look
 * again. */
static usec await_load(struct pool *pool, const struct spawner *spawner, usec now)
{
    struct load_scene scene = scene_of(pool, spawner, now);
    if (!follows_load(pool)) {
        load_stop(&pool->load, scene.board);
        return USEC_NEVER;
    }
    usec next = load_await(&pool->load, &scene);
    struct counts counts = pool_counts(pool); /* what happened before it was armed */
    return load_is_missed(&pool->load, &scene, counts.ready - counts.busy) ? now : next;
}

/* Written when it changes alone, since workers have it in their caches. */
static void show_size(struct pool *pool, struct overview *overview)
{
    const struct pool_config *conf = pool->conf;
    struct overview_pool *shown = &overview->pools[pool->resources.place];
    struct board *board = pool_board(pool);
    if (board && board->map->min_spare != (uint32_t)conf->min_spare)
        board->map->min_spare = (uint32_t)conf->min_spare;
    if (pool->shown == conf)
        return;
    bool dynamic = pool_config_is_dynamic(conf);
    shown->min_workers = dynamic ? conf->min_workers : conf->workers;
    shown->max_workers = pool_config_most(conf);
    shown->min_spare = conf->min_spare;
    shown->max_spare = conf->max_spare;
    pool->shown = conf;
}

usec maintain_step(struct pool *pool, struct spawner *spawner, usec now, int *starts)
{
    pool->resources.changed = false;
    usec next = process_groups_step(&pool->resources.groups, pool->name, now);
    tend_dead(pool, spawner, now, starts);
    resources_sweep(&pool->resources);
    next = clock_earlier(next, tend_programs(pool, spawner->grace_until, now));
    next = clock_earlier(next, prove(pool, now));
    show_size(pool, spawner->boards.overview);
    struct counts counts = pool_counts(pool);
    follow_load(pool, spawner, &counts, now);
    pool->halted = pool->halted && counts.stale;
    struct roll roll = pool_roll(pool, &counts);
    int due = roll_allowed(&roll) - counts.active;
    int missing = pool->carried ? 0 : grow(pool, spawner, now, due, starts);
    shrink(pool, counts.active, counts.active - most_of(pool, &counts));
    if (counts.stale)
        retire_stale(pool, roll_surplus(&roll), roll_surplus(&roll) == counts.stale);
    next = clock_earlier(next, stderr_log_rate_step(&pool->resources.rate, pool->name, now));
    next = clock_earlier(next, tend_living(pool, spawner, now));
    next = clock_earlier(next, await_load(pool, spawner, now));
    next = clock_earlier(next, accept_wakeup_step(pool, now));
    if (*starts == 0)
        return now;
    return missing > 0 ? clock_earlier(next, now + FORK_PATIENCE) : next;
}
