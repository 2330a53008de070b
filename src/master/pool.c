#include "pool.h"

#include "../base/arena.h"
#include "../handlers/handler.h"
#include "stop.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* What is said of its workers' output, and how much. */
static void set_rate(struct pool *pool)
{
    pool->resources.rate.is_output = handler_of(pool->conf->handler)->exec != NULL;
    pool->resources.rate.most_workers = pool_config_most(pool->conf);
}

static struct pool *make(int place, struct config *config, const struct pool_config *conf,
                         unsigned generation)
{
    struct pool *pool = place < 0 ? NULL : arena_unforked(sizeof *pool);
    if (!pool)
        return NULL;
    snprintf(pool->name, sizeof pool->name, "%s", conf->name);
    resources_init(&pool->resources, place);
    pool->config = config;
    pool->conf = conf;
    pool->generation = generation;
    set_rate(pool);
    config_ref(config);
    return pool;
}

struct pool *pool_new(struct spawner *spawner, struct config *config,
                      const struct pool_config *conf, unsigned generation)
{
    return make(overview_add_pool(spawner->boards.overview, conf->name), config, conf, generation);
}

void pool_save(const struct pool *pool, struct state_pool *saved)
{
    *saved = (struct state_pool){
        .place = pool->resources.place,
        .generation = pool->generation,
        .workers = pool_target(pool),
        .graceful_timeout = pool->conf->graceful_timeout,
        .request_timeout = pool->conf->request_timeout,
        .drained = pool->drained,
        .removed = pool->removed,
        .limits_fd = pool->resources.limits_fd,
        .limits_layout = limits_layout(),
    };
    snprintf(saved->name, sizeof saved->name, "%s", pool->name);
    snprintf(saved->handler, sizeof saved->handler, "%s", pool->conf->handler->name);
}

/* Limits that are laid out otherwise are made anew, with nothing held. */
static void adopt_limits(struct resources *resources, const struct state_pool *saved)
{
    int fd = (int)saved->limits_fd;
    if (fd <= STDERR_FILENO)
        return;
    resources->limits = saved->limits_layout == limits_layout() ? limits_map(fd) : NULL;
    if (resources->limits)
        resources->limits_fd = fd;
    else
        close(fd);
}

struct pool *pool_adopt(struct spawner *spawner, const struct state_pool *saved,
                        struct config *config, const struct pool_config *conf)
{
    int place = overview_add_pool(spawner->boards.overview, saved->name);
    struct pool *pool = make(place, config, conf, (unsigned)saved->generation);
    if (!pool)
        return NULL;
    adopt_limits(&pool->resources, saved);
    pool->drained = saved->drained;
    pool->removed = saved->removed;
    pool->carried = true;
    return pool;
}

void pool_free(struct spawner *spawner, struct pool *pool)
{
    wakeup_events_unwatch(&pool->load.wakeup_events);
    stderr_log_leave(spawner->lines, &pool->resources.rate);
    overview_remove_pool(spawner->boards.overview, pool->resources.place);
    resources_free(&pool->resources);
    config_unref(pool->config);
    free(pool->listeners);
    munmap(pool, sizeof *pool);
}

void pool_configure(struct pool *pool, struct config *config, const struct pool_config *conf,
                    unsigned generation, struct listener **listeners, int count)
{
    wakeup_events_unwatch(&pool->load.wakeup_events); /* of listeners that may be closed next */
    if (pool->drained || !pool_config_is_dynamic(pool->conf))
        pool->load.scale = (struct scale){.goal = pool_counts(pool).active}; /* to begin with */
    if (!pool->listeners || generation != pool->generation)
        pool->polls = pool_polls(conf, count);
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
    pool->carried = false;
    set_rate(pool);
    pool_touch(pool);
}

void pool_exchange_listeners(struct pool *pool, struct listener **listeners)
{
    wakeup_events_unwatch(&pool->load.wakeup_events);
    free(pool->listeners);
    pool->listeners = listeners;
}

void pool_forget_listeners(struct pool *pool)
{
    wakeup_events_unwatch(&pool->load.wakeup_events);
    pool->listener_count = 0;
}

bool pool_polls(const struct pool_config *conf, int listener_count)
{
    bool many = listener_count > 1 || pool_config_most(conf) >= POOL_POLLS_FROM;
    return many && !handler_of(conf->handler)->exec;
}

void pool_remove(struct pool *pool)
{
    pool_forget_listeners(pool); /* which are closed next, or another pool's */
    pool->removed = true;
    pool_touch(pool);
}

bool pool_is_current(const struct pool *pool, const struct worker *worker)
{
    return worker->role == ROLE_ACTIVE && worker->generation == pool->generation;
}

/* Ready for as long as it was to be; or it follows one that was, and ended in order. */
static bool has_stayed(const struct worker *worker)
{
    return (spawn_is_ready(worker) && (worker->stayed || !worker->conf->min_ready_time)) ||
           (worker->expected && worker->stayed);
}

/* Dead before it had stayed. Where programs end in order there is another try until they are late. */
static bool has_failed(const struct worker *worker)
{
    return !worker->pid && worker->respawn_at > 0 && (!worker->expected || worker->late);
}

static void count_current(struct counts *counts, const struct worker *worker)
{
    counts->active++;
    counts->ready += spawn_is_ready(worker) || worker->continues;
    counts->stayed += has_stayed(worker);
    counts->failed += has_failed(worker);
    counts->busy += spawn_is_ready(worker) && spawn_is_busy(worker);
    counts->degraded = counts->degraded || worker->backoff.degraded;
}

struct board *pool_board(const struct pool *pool)
{
    return resources_find_board(&pool->resources, pool->generation);
}

bool pool_is_empty(const struct pool *pool)
{
    const struct group *group = pool->resources.groups.first;
    while (group && group->stuck)
        group = group->next;
    return !pool->ring.first && !group;
}

struct counts pool_counts(const struct pool *pool)
{
    struct counts counts = {0};
    for (const struct worker *w = pool->ring.first; w; w = w->next) {
        if (w->role == ROLE_RETIRING) {
            counts.retiring++;
            counts.retiring_idle += w->pid && !spawn_is_busy(w);
        } else if (w->role == ROLE_CANARY) {
            counts.canaries++;
            counts.canaries_stayed += has_stayed(w);
        } else if (pool_is_current(pool, w)) {
            count_current(&counts, w);
        } else {
            counts.stale++;
        }
    }
    return counts;
}

int pool_target(const struct pool *pool)
{
    if (pool->removed || pool->drained || pool->on_trial)
        return 0;
    if (pool_config_is_dynamic(pool->conf))
        return pool->load.scale.goal;
    int target = pool->conf->workers + pool->extra;
    return target > 1 ? target : 1;
}

struct roll pool_roll(const struct pool *pool, const struct counts *counts)
{
    const struct pool_config *conf = pool->conf;
    int target = pool_target(pool) - pool->resources.groups.stuck; /* which keep their seats */
    return (struct roll){
        .stayed = counts->stayed,
        .tried = counts->stayed + counts->failed,
        .stale = counts->stale,
        .target = target > 0 ? target : 0,
        .at_once = handler_terms(conf->handler, conf->handler_config).roll_at_once,
        .halted = pool->halted,
    };
}

bool pool_has_tried(const struct pool *pool, const struct counts *counts)
{
    struct roll roll = pool_roll(pool, counts);
    return roll_is_over(&roll);
}

bool pool_has_failed(const struct pool *pool, const struct counts *counts, char *why, size_t size)
{
    int target = pool_target(pool);
    bool halted = pool->halted && counts->stale > 0;
    if (target == 0 || (counts->stayed > 0 && !halted))
        return false;
    snprintf(why, size, "%s: %s%s", pool->trouble[0] ? pool->trouble : "no reason is known",
             halted ? "its new workers don't stay" : "no worker becomes ready",
             counts->stale > 0 ? ", the old ones go on" : "");
    return true;
}

static struct worker *append(struct pool *pool, struct worker *worker, bool polls)
{
    if (worker) {
        pool->programs = pool->programs || spawn_becomes(worker);
        worker->polls = polls;
        worker_list_join(&pool->ring, worker);
    }
    return worker;
}

static struct worker *add_worker(struct pool *pool, struct spawner *spawner, struct config *config,
                                 const struct pool_config *conf, unsigned generation, bool polls)
{
    struct worker *worker = spawn_prepare(spawner, &pool->resources, config, conf, generation);
    if (worker && spawn_becomes(worker))
        worker->number = worker_list_free_number(&pool->ring, generation);
    return append(pool, worker, polls);
}

struct worker *pool_add_worker(struct pool *pool, struct spawner *spawner)
{
    return add_worker(pool, spawner, pool->config, pool->conf, pool->generation, pool->polls);
}

bool pool_adopt_worker(struct pool *pool, struct spawner *spawner, const struct state_worker *saved,
                       struct config *config, const struct pool_config *conf)
{
    struct board *board =
        resources_board(&pool->resources, &spawner->boards, (unsigned)saved->generation);
    struct worker *worker =
        board ? spawn_adopt(spawner, saved, &pool->resources, board, config, conf) : NULL;
    return append(pool, worker, pool->polls) != NULL;
}

int pool_add_canary(struct pool *pool, struct spawner *spawner, struct config *config,
                    const struct pool_config *conf, unsigned generation,
                    struct listener *const *listeners, int count)
{
    struct worker *worker =
        add_worker(pool, spawner, config, conf, generation, pool_polls(conf, count));
    if (!worker)
        return -errno;
    worker->role = ROLE_CANARY;
    worker->trying_since = clock_now();
    pool->trial = listeners;
    pool->trial_count = count;
    pool->trouble[0] = '\0';
    pool_touch(pool);
    return spawn_fork(spawner, worker, listeners, count);
}

void pool_promote_canaries(struct pool *pool)
{
    for (struct worker *w = pool->ring.first; w; w = w->next)
        if (w->role == ROLE_CANARY)
            w->role = ROLE_ACTIVE;
    pool->trial = NULL;
    pool->halted = false;
    pool_touch(pool);
}

void pool_retire(const struct pool *pool, struct worker *worker)
{
    usec grace = pool->conf->graceful_timeout * USEC_SECOND;
    stop_retire(worker, spawn_becomes(worker) ? clock_now() + grace : USEC_NEVER);
}

void pool_dismiss_canaries(struct pool *pool)
{
    for (struct worker *w = pool->ring.first; w; w = w->next)
        if (w->role == ROLE_CANARY)
            pool_retire(pool, w);
    pool->trial = NULL;
    pool_touch(pool);
}

void pool_stop(struct pool *pool, usec now)
{
    usec deadline = now + pool->conf->graceful_timeout * USEC_SECOND;
    if (deadline == now) {
        pool_stop_now(pool, now);
        return;
    }
    pool->removed = true;
    pool_touch(pool);
    for (struct worker *w = pool->ring.first; w; w = w->next)
        stop_retire(w, deadline);
}

void pool_stop_now(struct pool *pool, usec now)
{
    pool->removed = true;
    pool_touch(pool);
    process_groups_kill(&pool->resources.groups, now);
    for (struct worker *w = pool->ring.first; w; w = w->next)
        stop_now(w, now);
}
