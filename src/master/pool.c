#include "pool.h"

#include "../base/arena.h"
#include "../handlers/handler.h"
#include "stop.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* From one restart because of a lost listener to the next. A pool whose programs shut down each new
 * socket would keep the master busy else. */
#define RESTARTS_APART (10 * USEC_SECOND)

/* How the log treats the output of its workers. */
static void set_rate(struct pool *pool)
{
    pool->resources.rate.is_output = handler_of(pool->conf->handler)->exec != NULL;
    pool->resources.rate.most_workers = pool_config_most(pool->conf);
}

struct pool *pool_new(struct spawner *spawner, struct config *config,
                      const struct pool_config *conf, unsigned generation)
{
    int place = overview_add_pool(spawner->boards.overview, conf->name);
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

void pool_save(const struct pool *pool, struct state_pool *saved)
{
    *saved = (struct state_pool){
        .place = pool->resources.place,
        .generation = pool->generation,
        .workers = pool_target(pool),
        .graceful_timeout = pool->conf->graceful_timeout,
        .request_timeout = pool->conf->request_timeout,
        .model = pool->conf->model,
        .seats = pool->conf->seats,
        .drained = pool->drained,
        .removed = pool->removed,
        .limits_fd = pool->resources.limits_fd,
        .limits_layout = limits_layout(),
    };
    snprintf(saved->name, sizeof saved->name, "%s", pool->name);
    snprintf(saved->handler, sizeof saved->handler, "%s", pool->conf->handler->name);
}

struct pool *pool_adopt(struct spawner *spawner, const struct state_pool *saved,
                        struct config *config, const struct pool_config *conf)
{
    int fd = (int)saved->limits_fd;
    struct pool *pool = pool_new(spawner, config, conf, (unsigned)saved->generation);
    if (!pool)
        return NULL;
    if (fd > STDERR_FILENO) {
        /* If the layout is another, new counters start at 0. */
        bool same = saved->limits_layout == limits_layout();
        pool->resources.limits = same ? limits_map(fd) : NULL;
        pool->resources.limits_fd = pool->resources.limits ? fd : -1;
        if (!pool->resources.limits)
            close(fd);
    }
    pool->drained = saved->drained;
    pool->removed = saved->removed;
    pool->carried = true;
    return pool;
}

static void note_connection(void *owner)
{
    pool_touch(owner);
}

void pool_unwatch(struct pool *pool)
{
    for (int i = 0; i < pool->watch_count; i++)
        loop_remove(pool->loop, &pool->watches[i]);
    free(pool->watches);
    pool->watches = NULL;
    pool->watch_count = 0;
}

bool pool_watch(struct pool *pool, struct loop *loop)
{
    if (pool->watches)
        return true;
    pool->watches = calloc((size_t)pool->listener_count, sizeof *pool->watches);
    pool->loop = loop;
    while (pool->watches && pool->watch_count < pool->listener_count) {
        struct loop_watch *watch = &pool->watches[pool->watch_count];
        *watch = (struct loop_watch){
            .fd = pool->listeners[pool->watch_count]->fd, .ready = note_connection, .owner = pool};
        if (loop_add(loop, watch) == 0)
            pool->watch_count++;
        else
            pool_unwatch(pool);
    }
    return pool->watches;
}

void pool_configure(struct pool *pool, struct config *config, const struct pool_config *conf,
                    unsigned generation, struct listener **listeners, int count)
{
    pool_unwatch(pool);
    if (pool->drained || !pool_config_is_dynamic(pool->conf))
        pool->scale = (struct scale){.goal = pool_counts(pool).active}; /* the first goal */
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
    pool_unwatch(pool);
    free(pool->listeners);
    pool->listeners = listeners;
}

static void forget_listeners(struct pool *pool)
{
    pool_unwatch(pool);
    free(pool->listeners);
    pool->listeners = NULL;
    pool->listener_count = 0;
}

void pool_remove(struct pool *pool)
{
    forget_listeners(pool);
    pool->removed = true;
    pool_touch(pool);
}

bool pool_polls(const struct pool_config *conf, int listener_count)
{
    bool many = listener_count > 1 || conf->model == MODEL_EVENT ||
                pool_config_most_seats(conf) >= POOL_POLLS_FROM;
    return many && !handler_of(conf->handler)->exec;
}

bool pool_is_current(const struct pool *pool, const struct worker *worker)
{
    return worker->role == ROLE_ACTIVE && worker->generation == pool->generation;
}

/* The stub of a worker that an upgrade carried over has no addresses: nobody knows. And what a new
 * pool on trial listens at may still be another pool's. */
bool pool_has_listeners_of(const struct pool *pool, const struct worker *worker)
{
    const struct pool_config *conf = worker->conf;
    if (pool->removed || pool->on_trial)
        return false;
    if (pool_is_current(pool, worker))
        return true;
    for (int i = 0; i < conf->listen_count; i++) {
        int at = 0;
        while (at < pool->listener_count && !listener_is(pool->listeners[at], &conf->listens[i]))
            at++;
        if (at == pool->listener_count)
            return false;
    }
    return conf->listen_count > 0;
}

/* A killed worker that does not end serves nobody: else any process that traces one (see stop.c)
 * could hold up each job. */
static bool is_ready(const struct worker *worker)
{
    return !worker->stuck && (spawn_is_ready(worker) || worker->continues);
}

/* Ready for min_ready_time. If such a process ends in order, this holds until its successor is
 * ready. */
static bool has_stayed(const struct worker *worker)
{
    if (worker->stuck)
        return false;
    return (spawn_is_ready(worker) && (worker->stayed || !worker->conf->min_ready_time)) ||
           (worker->expected && worker->stayed);
}

struct counts pool_counts(const struct pool *pool)
{
    struct counts counts = {0};
    for (const struct worker *w = pool->workers; w; w = w->next) {
        if (w->role == ROLE_RETIRING) {
            counts.retiring++;
            counts.retiring_idle += w->pid && !spawn_is_busy(w);
        } else if (w->role == ROLE_CANARY) {
            counts.canaries += !w->stuck;
            counts.canaries_stayed += has_stayed(w);
        } else if (!pool_is_current(pool, w)) {
            counts.stale++;
        } else {
            counts.active++;
            counts.ready += is_ready(w);
            counts.stayed += has_stayed(w);
            /* What ended in order gets more tries, until it is late. */
            bool failed = w->stuck || (!w->pid && w->respawn_at > 0 && (!w->expected || w->late));
            counts.failed += failed;
            /* One that dies later than BACKOFF_EARLY is respawned at once, each time. */
            counts.tried += has_stayed(w) || failed || w->failures >= ROLL_FAILURES;
            counts.degraded = counts.degraded || w->backoff.degraded;
        }
    }
    return counts;
}

struct pool_seats pool_seats(const struct pool *pool)
{
    struct pool_seats seats = {0};
    for (const struct worker *w = pool->workers; w; w = w->next) {
        if (!pool_is_current(pool, w) || !is_ready(w))
            continue;
        seats.count += (int)w->seats;
        seats.busy += spawn_is_ready(w) ? (int)seats_busy(w->slot, w->seats) : 0;
    }
    return seats;
}

int pool_room(const struct pool *pool)
{
    int room = SCOREBOARD_SLOTS;
    for (const struct worker *w = pool->workers; w; w = w->next)
        room -= (int)w->seats;
    return room;
}

bool pool_has_ended(const struct pool *pool)
{
    const struct group *group = pool->resources.groups.first;
    const struct worker *worker = pool->workers;
    while (group && group->stuck)
        group = group->next;
    while (worker && worker->stuck)
        worker = worker->next;
    return !worker && !group;
}

bool pool_is_empty(const struct pool *pool)
{
    return !pool->workers && pool_has_ended(pool);
}

int pool_target(const struct pool *pool)
{
    if (pool->removed || pool->drained || pool->on_trial)
        return 0;
    if (pool_config_is_dynamic(pool->conf))
        return pool->scale.goal;
    int target = pool->conf->workers + pool->extra;
    return target > 1 ? target : 1;
}

struct roll pool_roll(const struct pool *pool, const struct counts *counts)
{
    const struct pool_config *conf = pool->conf;
    int target = pool_target(pool) - pool->resources.groups.stuck; /* stuck groups keep seats */
    return (struct roll){
        .stayed = counts->stayed,
        .tried = counts->tried,
        .unplaced = pool->unplaced,
        .stale = counts->stale,
        .target = target > 0 ? target : 0,
        .at_once = handler_app_policy(conf->handler, conf->handler_config).roll_at_once,
        .halted = pool->halted,
    };
}

bool pool_has_tried(const struct pool *pool, const struct counts *counts)
{
    struct roll roll = pool_roll(pool, counts);
    return roll_is_over(&roll);
}

void pool_trouble(const struct pool *pool, char *text, size_t size)
{
    if (pool->fork_error)
        snprintf(text, size, "can't fork a worker: %s", strerror(-pool->fork_error));
    else
        snprintf(text, size, "%.*s", (int)size - 1, pool->trouble);
}

bool pool_has_failed(const struct pool *pool, const struct counts *counts, char *why, size_t size)
{
    char trouble[sizeof pool->trouble];
    int target = pool_target(pool);
    bool halted = pool->halted && counts->stale > 0;
    if (target == 0 || (counts->stayed > 0 && !halted))
        return false;
    pool_trouble(pool, trouble, sizeof trouble);
    snprintf(why, size, "%s: %s%s", trouble[0] ? trouble : "no reason is known",
             halted ? "its new workers don't stay ready" : "no worker becomes ready",
             counts->stale > 0 ? ", the old ones go on" : "");
    return true;
}

/* The lowest number that no worker of this generation has, not counting retiring ones. So N
 * programs have the numbers 0 to N-1, and a program's successor gets its number. */
static int free_number(const struct pool *pool, unsigned generation)
{
    int count = 0, number = 0;
    for (const struct worker *w = pool->workers; w; w = w->next)
        count++;
    bool *taken = calloc((size_t)count + 1, sizeof *taken);
    for (const struct worker *w = pool->workers; taken && w; w = w->next)
        if (w->generation == generation && w->role != ROLE_RETIRING && w->number < count)
            taken[w->number] = true;
    while (taken && taken[number])
        number++;
    free(taken);
    return taken ? number : count;
}

static void join(struct pool *pool, struct worker *worker, bool polls)
{
    worker->polls = polls;
    worker->next = pool->workers;
    pool->workers = worker;
}

static struct worker *add_worker(struct pool *pool, struct spawner *spawner, struct config *config,
                                 const struct pool_config *conf, unsigned generation, bool polls)
{
    struct worker *worker = spawn_prepare(spawner, &pool->resources, config, conf, generation);
    if (!worker)
        return NULL;
    if (spawn_is_app(worker))
        worker->number = free_number(pool, generation);
    join(pool, worker, polls);
    return worker;
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
    if (worker)
        join(pool, worker, !spawn_is_app(worker)); /* it may, and this is only for may_block */
    return worker;
}

int pool_fork(struct pool *pool, struct spawner *spawner, struct worker *worker, usec now)
{
    bool canary = worker->role == ROLE_CANARY;
    if (!worker->trying_since)
        worker->trying_since = now;
    int error = canary ? spawn_fork(spawner, worker, pool->trial, pool->trial_count)
                       : spawn_fork(spawner, worker, pool->listeners, pool->listener_count);
    worker->respawn_at = error ? now + POOL_FORK_RETRY : 0;
    pool->fork_error = error;
    return error;
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
    pool->trial = listeners;
    pool->trial_count = count;
    pool->trouble[0] = '\0';
    pool_touch(pool);
    return pool_fork(pool, spawner, worker, clock_now());
}

void pool_promote_canaries(struct pool *pool)
{
    for (struct worker *w = pool->workers; w; w = w->next)
        if (w->role == ROLE_CANARY)
            w->role = ROLE_ACTIVE;
    pool->trial = NULL;
    pool->halted = false;
    pool->unplaced = 0;
    pool->unplaced_since = 0;
    /* Another pool may have looked, in vain, for somebody to serve at these listeners. */
    resources_ask_wakeup(&pool->resources);
}

void pool_retire(const struct pool *pool, struct worker *worker)
{
    usec grace = pool->conf->graceful_timeout * USEC_SECOND;
    stop_retire(worker, spawn_is_app(worker) ? clock_now() + grace : USEC_NEVER);
}

void pool_dismiss_canaries(struct pool *pool)
{
    for (struct worker *w = pool->workers; w; w = w->next)
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
    for (struct worker *w = pool->workers; w; w = w->next)
        stop_retire(w, deadline);
}

void pool_stop_now(struct pool *pool, usec now)
{
    pool->removed = true;
    pool_touch(pool);
    process_groups_kill(&pool->resources.groups, now);
    for (struct worker *w = pool->workers; w; w = w->next)
        stop_now(w, now);
}

void pool_heal_listeners(struct pool *pool, pid_t pid)
{
    int lost = pool->removed ? 0 /* its listeners are closed */
                             : listener_upkeep_heal(pool->listeners, pool->listener_count,
                                                    pool->name, pool->conf->backlog, pid);
    if (lost && !pool->restart_at)
        pool->restart_at = pool->restarted ? pool->restarted + RESTARTS_APART : 1;
}

bool pool_restart_is_due(struct pool *pool, usec now, usec *next)
{
    if (!pool->restart_at)
        return false;
    if (now < pool->restart_at) {
        *next = clock_earlier(*next, pool->restart_at);
        return false;
    }
    pool->restart_at = 0;
    bool lost = false; /* a reload may have bound them anew */
    for (int i = 0; i < pool->listener_count; i++)
        lost = lost || (listener_is_shut(pool->listeners[i]) &&
                        pool->listeners[i]->origin != LISTENER_ACTIVATED);
    if (pool->removed || pool->drained || pool->carried || !lost)
        return false;
    pool->restarted = now;
    return true;
}

/* --- the runtime ------------------------------------------------------------------------------ */

struct pool *runtime_find(const struct runtime *runtime, const char *name)
{
    struct pool *pool = runtime->pools;
    while (pool && (pool->removed || strcmp(pool->name, name) != 0))
        pool = pool->next;
    return pool;
}

bool runtime_is_carried(const struct runtime *runtime)
{
    for (const struct pool *pool = runtime->pools; pool; pool = pool->next)
        if (pool->carried && !pool->removed)
            return true;
    return false;
}

void runtime_append(struct runtime *runtime, struct pool *pool)
{
    struct pool **end = &runtime->pools;
    while (*end)
        end = &(*end)->next;
    *end = pool;
}

void runtime_sweep(struct runtime *runtime)
{
    struct pool **at = &runtime->pools;
    while (*at) {
        struct pool *pool = *at;
        if (!pool->removed || !pool_is_empty(pool)) {
            at = &pool->next;
            continue;
        }
        *at = pool->next;
        forget_listeners(pool);
        stderr_log_leave(runtime->spawner.lines, &pool->resources.rate);
        overview_remove_pool(runtime->spawner.boards.overview, pool->resources.place);
        process_groups_free(&pool->resources.groups);
        resources_free(&pool->resources);
        config_unref(pool->config);
        munmap(pool, sizeof *pool);
    }
}

void runtime_close(struct runtime *runtime)
{
    for (struct pool *pool = runtime->pools; pool; pool = pool->next) {
        for (struct worker *w = pool->workers; w; w = w->next)
            spawn_release(&runtime->spawner, w);
        pool->workers = NULL;
        pool->removed = true;
    }
    runtime_sweep(runtime);
}

int runtime_room(const struct runtime *runtime)
{
    int taken = 0;
    for (const struct pool *pool = runtime->pools; pool; pool = pool->next)
        for (const struct worker *worker = pool->workers; worker; worker = worker->next)
            taken++;
    return SCOREBOARD_SLOTS - taken;
}

/* A worker that an upgrade carried over has a stub without addresses: it may have any. */
static bool may_have(const struct worker *worker, const struct listener *listener)
{
    const struct pool_config *conf = worker->conf;
    for (int i = 0; i < conf->listen_count; i++)
        if (listener_is(listener, &conf->listens[i]))
            return true;
    return conf->listen_count == 0;
}

/* What a program leaves of its process group may accept, too. Nobody knows which handler started a
 * group; but each is killed at its deadline, so none delays this for long. A process that left its
 * group is not waited for, because nothing ends it. */
bool runtime_has_program(const struct runtime *runtime, const struct listener *listener)
{
    if (runtime->programs_left)
        return true;
    for (const struct pool *pool = runtime->pools; pool; pool = pool->next) {
        for (const struct group *g = pool->resources.groups.first; g; g = g->next)
            if (!g->stuck)
                return true;
        for (const struct worker *w = pool->workers; w; w = w->next)
            if (w->pid && spawn_is_app(w) && may_have(w, listener))
                return true;
    }
    return false;
}

void runtime_close_listeners(struct runtime *runtime)
{
    for (struct pool *pool = runtime->pools; pool; pool = pool->next)
        forget_listeners(pool);
    while (runtime->listeners) {
        struct listener *next = runtime->listeners->next;
        listener_upkeep_forget(&runtime->upkeep, runtime->listeners);
        listener_close(runtime->listeners);
        runtime->listeners = next;
    }
}
