#include "pool.h"

#include "../base/arena.h"
#include "../shared/deaths.h"
#include "../shared/exitcode.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

/* Between QUIT, which lets a worker end its program, and KILL. */
#define QUIT_PATIENCE USEC_SECOND

/* After a fork that failed. */
#define FORK_PATIENCE (USEC_SECOND / 2)

struct pool *pool_new(struct spawner *spawner, struct config *config,
                      const struct pool_config *conf, unsigned generation)
{
    int place = scoreboard_add_pool(spawner->board, conf->name);
    struct pool *pool = place < 0 ? NULL : arena_unforked(sizeof *pool);
    if (!pool)
        return NULL;
    snprintf(pool->name, sizeof pool->name, "%s", conf->name);
    pool->board_pool = place;
    pool->config = config;
    pool->conf = conf;
    pool->generation = generation;
    config_ref(config);
    return pool;
}

void pool_free(struct spawner *spawner, struct pool *pool)
{
    scoreboard_remove_pool(spawner->board, pool->board_pool);
    config_unref(pool->config);
    free(pool->listeners);
    munmap(pool, sizeof *pool);
}

void pool_configure(struct pool *pool, struct config *config, const struct pool_config *conf,
                    unsigned generation, struct listener **listeners, int count)
{
    config_ref(config);
    config_unref(pool->config);
    pool->config = config;
    pool->conf = conf;
    pool->generation = generation;
    free(pool->listeners);
    pool->listeners = listeners;
    pool->listener_count = count;
    pool->extra = 0;
    pool->drained = false;
    pool->on_trial = false;
}

static bool is_current(const struct pool *pool, const struct worker *worker)
{
    return worker->role == ROLE_ACTIVE && worker->generation == pool->generation;
}

static void count_current(struct census *census, const struct worker *worker)
{
    census->active++;
    census->settled += worker->pid ? spawn_is_ready(worker) : worker->respawn_at > 0;
    census->degraded = census->degraded || worker->backoff.degraded;
    if (!spawn_is_ready(worker))
        return;
    census->ready++;
    census->busy += spawn_is_busy(worker);
}

struct census pool_census(const struct pool *pool)
{
    struct census census = {0};
    for (const struct worker *w = pool->workers; w; w = w->next) {
        if (w->role == ROLE_RETIRING) {
            census.retiring++;
            census.retiring_idle += w->pid && !spawn_is_busy(w);
        } else if (w->role == ROLE_CANARY) {
            census.canaries++;
            census.canaries_ready += spawn_is_ready(w);
        } else if (is_current(pool, w)) {
            count_current(&census, w);
        } else {
            census.outdated++;
        }
    }
    return census;
}

int pool_target(const struct pool *pool)
{
    if (pool->removed || pool->drained || pool->on_trial)
        return 0;
    int target = pool->conf->workers + pool->extra;
    return target > 1 ? target : 1;
}

bool pool_is_rolled(const struct pool *pool, const struct census *census)
{
    return census->outdated == 0 && census->settled >= pool_target(pool);
}

static struct worker *add_worker(struct pool *pool, struct spawner *spawner, struct config *config,
                                 const struct pool_config *conf, unsigned generation)
{
    struct worker *worker = spawn_prepare(spawner, pool->board_pool, config, conf, generation);
    if (worker) {
        worker->next = pool->workers;
        pool->workers = worker;
    }
    return worker;
}

int pool_add_canary(struct pool *pool, struct spawner *spawner, struct config *config,
                    const struct pool_config *conf, unsigned generation,
                    struct listener *const *listeners, int count)
{
    struct worker *worker = add_worker(pool, spawner, config, conf, generation);
    if (!worker)
        return -ENOMEM;
    worker->role = ROLE_CANARY;
    pool->trouble[0] = '\0';
    return spawn_fork(spawner, worker, listeners, count, &pool->rate);
}

void pool_promote_canaries(struct pool *pool)
{
    for (struct worker *w = pool->workers; w; w = w->next)
        if (w->role == ROLE_CANARY)
            w->role = ROLE_ACTIVE;
}

static void retire(struct worker *worker, usec deadline)
{
    bool told = worker->role == ROLE_RETIRING;
    if (!spawn_is_ready(worker)) /* it still has to get ready in time, so that it can obey */
        deadline = clock_earlier(deadline, worker->deadline);
    worker->role = ROLE_RETIRING;
    worker->slot->retiring = 1;
    if (worker->cause == DEATH_OWN)
        worker->cause = DEATH_RETIRED;
    if (!told || deadline != USEC_NEVER)
        spawn_tell(worker, SIGTERM, SIGQUIT, deadline);
}

void pool_dismiss_canaries(struct pool *pool)
{
    for (struct worker *w = pool->workers; w; w = w->next)
        if (w->role == ROLE_CANARY)
            retire(w, USEC_NEVER);
}

struct worker *pool_find(const struct pool *pool, pid_t pid)
{
    struct worker *worker = pool->workers;
    while (worker && worker->pid != pid)
        worker = worker->next;
    return worker;
}

void pool_stop(struct pool *pool, usec now)
{
    usec deadline = now + pool->conf->graceful_timeout * USEC_SECOND;
    if (deadline == now) {
        pool_stop_now(pool, now);
        return;
    }
    pool->removed = true;
    for (struct worker *w = pool->workers; w; w = w->next)
        retire(w, deadline);
}

void pool_stop_now(struct pool *pool, usec now)
{
    pool->removed = true;
    for (struct worker *w = pool->workers; w; w = w->next) {
        w->role = ROLE_RETIRING;
        w->slot->retiring = 1;
        w->cause = DEATH_STOPPED;
        spawn_tell(w, SIGQUIT, SIGKILL, now + QUIT_PATIENCE);
    }
}

/* Births. */

static void try_fork(struct pool *pool, struct spawner *spawner, struct worker *worker, usec now)
{
    unsigned missed;
    int error = spawn_fork(spawner, worker, pool->listeners, pool->listener_count, &pool->rate);
    worker->respawn_at = error ? now + FORK_PATIENCE : 0;
    if (error && log_rate_ok(&pool->fork_failures, 60 * USEC_SECOND, &missed))
        log_err("pool %s: can't fork a worker: %s; trying again pool=%s errno=%d missed=%u",
                pool->name, strerror(-error), pool->name, -error, missed);
}

/* Returns how many are missing still. */
static int grow(struct pool *pool, struct spawner *spawner, usec now, int missing, int *births)
{
    unsigned missed;
    for (; missing > 0 && *births > 0; missing--, (*births)--) {
        struct worker *worker =
            add_worker(pool, spawner, pool->config, pool->conf, pool->generation);
        if (worker) {
            try_fork(pool, spawner, worker, now);
            continue;
        }
        if (log_rate_ok(&pool->full_board, 60 * USEC_SECOND, &missed))
            log_err("pool %s: no room for another worker, the scoreboard holds %d pool=%s "
                    "missed=%u",
                    pool->name, SCOREBOARD_SLOTS, pool->name, missed);
        return missing;
    }
    return missing;
}

/* Deaths. */

/* Whether a dead one is to have a successor in its slot. */
static bool is_replaced(const struct pool *pool, const struct worker *worker,
                        const struct census *census)
{
    return is_current(pool, worker) && census->active <= pool_target(pool);
}

static void note_trouble(struct pool *pool, const struct obituary *o)
{
    if (WIFEXITED(o->status) && WEXITSTATUS(o->status) == WORKER_CANT_START)
        snprintf(pool->trouble, sizeof pool->trouble, "%s", o->reason);
    else if (!o->ready)
        snprintf(pool->trouble, sizeof pool->trouble, "worker %d died before it was ready",
                 (int)o->pid);
}

/* The delay that keeps coming back is told of once. */
static int level_of(const struct obituary *o, bool grew)
{
    int level = obituary_level(o);
    if (o->delay && !grew)
        return LOG_DEBUG;
    if (o->delay && level > LOG_WARNING)
        return LOG_WARNING;
    return level;
}

/* When its successor is due. */
static void set_respawn(struct worker *worker, struct obituary *obituary, bool *grew, usec now)
{
    usec ready_for = worker->was_ready ? worker->died - worker->ready_at : -1;
    bool accepted = spawn_has_accepted(worker);
    obituary->replaced = true;
    obituary->delay = backoff_death(&worker->backoff, accepted, ready_for, grew);
    worker->respawn_at = now + obituary->delay;
}

/* First the successor, then the words about the dead: but what those refer to is gone by then. */
static void replace(struct pool *pool, struct spawner *spawner, struct worker *worker,
                    struct obituary *obituary, usec now)
{
    static char last[LINES_LAST], reason[SCOREBOARD_REASON];
    obituary->last = memcpy(last, worker->lines.last, sizeof last);
    obituary->reason = memcpy(reason, worker->slot->reason, sizeof reason);
    try_fork(pool, spawner, worker, now);
    obituary->replacement = worker->pid;
}

/* A plain retirement is counted; every other end has its entry in the ledger, unless a stop asked
 * for it. */
static void record(struct scoreboard *board, int board_pool, const struct obituary *obituary)
{
    struct death death;
    if (obituary_is_expected(obituary)) {
        board->pools[board_pool].retirements++;
        return;
    }
    board->pools[board_pool].deaths++;
    obituary_record(obituary, clock_real(), &death);
    deaths_write(board, &death);
}

static void mourn(struct pool *pool, struct spawner *spawner, struct worker *worker, bool replaced,
                  usec now)
{
    char text[LOG_LINE_MAX];
    struct obituary obituary;
    bool grew = false;
    lines_close(&worker->lines);
    spawn_obituary(worker, &obituary);
    record(spawner->board, worker->board_pool, &obituary);
    worker->mourned = true;
    note_trouble(pool, &obituary);
    if (replaced)
        set_respawn(worker, &obituary, &grew, now);
    if (replaced && obituary.delay == 0)
        replace(pool, spawner, worker, &obituary, now);
    obituary_print(&obituary, text, sizeof text);
    log_event(level_of(&obituary, grew), "%s", text);
}

/* Each dead worker is mourned, and replaced or buried. */
static void tend_dead(struct pool *pool, struct spawner *spawner, usec now, int *births)
{
    struct census census = pool_census(pool);
    struct worker **at = &pool->workers;
    while (*at) {
        struct worker *worker = *at;
        bool replaced = is_replaced(pool, worker, &census);
        if (!worker->pid && !worker->mourned && *births > 0) {
            *births -= replaced;
            mourn(pool, spawner, worker, replaced, now);
        }
        if (!worker->pid && worker->mourned && !replaced) {
            census.active -= is_current(pool, worker);
            *at = worker->next;
            spawn_release(spawner, worker);
            continue;
        }
        if (!worker->pid && worker->mourned && now >= worker->respawn_at && *births > 0) {
            (*births)--;
            try_fork(pool, spawner, worker, now);
        }
        at = &worker->next;
    }
}

/* Who goes first: one that is not born, one that is not ready, an idle one, any. */
enum { GO_UNBORN, GO_UNREADY, GO_IDLE, GO_BUSY, GO_CLASSES };

static int class_of(const struct worker *worker)
{
    if (!worker->pid)
        return GO_UNBORN;
    if (!spawn_is_ready(worker))
        return GO_UNREADY;
    return spawn_is_busy(worker) ? GO_BUSY : GO_IDLE;
}

static void shrink(struct pool *pool, int surplus)
{
    for (int class = GO_UNBORN; class < GO_CLASSES; class ++)
        for (struct worker *w = pool->workers; w && surplus > 0; w = w->next)
            if (is_current(pool, w) && class_of(w) <= class) {
                retire(w, USEC_NEVER);
                surplus--;
            }
}

static void retire_outdated(struct pool *pool)
{
    for (struct worker *w = pool->workers; w; w = w->next)
        if (w->role == ROLE_ACTIVE && !is_current(pool, w))
            retire(w, USEC_NEVER);
}

/* One that is overdue gets the next harder signal. */
static void escalate(struct worker *worker, usec now)
{
    if (now < worker->deadline || !worker->next_signal)
        return;
    if (worker->cause == DEATH_OWN)
        worker->cause = DEATH_NOT_READY;
    else if (worker->cause == DEATH_RETIRED)
        worker->cause = DEATH_OVERDUE;
    bool last = worker->next_signal == SIGKILL;
    spawn_tell(worker, worker->next_signal, last ? 0 : SIGKILL,
               last ? USEC_NEVER : now + QUIT_PATIENCE);
}

/* Looks after one that lives; returns when it must be looked at again. */
static usec tend_living(struct worker *worker, usec now)
{
    if (!worker->pid)
        return worker->mourned && worker->role == ROLE_ACTIVE ? worker->respawn_at : now;
    if (spawn_is_ready(worker) && worker->role != ROLE_RETIRING) {
        worker->deadline = USEC_NEVER; /* that of getting ready is over */
        if (!worker->ready_at)
            worker->ready_at = now;
        if (!worker->backoff.degraded)
            return USEC_NEVER;
        backoff_alive(&worker->backoff, spawn_has_accepted(worker), now - worker->ready_at);
        return worker->backoff.degraded ? worker->ready_at + BACKOFF_HEALED : USEC_NEVER;
    }
    escalate(worker, now);
    return worker->deadline;
}

usec pool_step(struct pool *pool, struct spawner *spawner, usec now, int *births)
{
    tend_dead(pool, spawner, now, births);
    struct census census = pool_census(pool);
    int target = pool_target(pool);
    int missing = grow(pool, spawner, now, target - census.active, births);
    shrink(pool, census.active - target);
    if (census.settled >= target)
        retire_outdated(pool);
    usec next = lines_rate_tell(&pool->rate, pool->name, now);
    for (struct worker *w = pool->workers; w; w = w->next)
        next = clock_earlier(next, tend_living(w, now));
    if (*births == 0)
        return now;
    return missing > 0 ? clock_earlier(next, now + FORK_PATIENCE) : next;
}
