#include "maintain.h"

#include "../base/kernel.h"
#include "../handlers/handler.h"
#include "../listeners/accept_queue.h"
#include "exits.h"
#include "slow.h"
#include "stop.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* From one try to watch the listeners to the next. */
#define WATCH_RETRY (USEC_SECOND / 2)

/* If a program lived longer than the first, it is not looked for what it left in the background;
 * two such looks are as far apart as the second. */
#define STRAYS_AGE   (10 * USEC_SECOND)
#define STRAYS_PAUSE USEC_SECOND

/* A worker that serves several connections ends a late one by itself, and keeps the others. Beyond
 * so much more it is ended: the one that is late can't be had without it. */
#define SEATS_GRACE (5 * USEC_SECOND)

/* Between two looks at the seats of a worker that has several, at least: times are whole
 * seconds. */
#define LOOKS_APART USEC_SECOND

/* From one look to the next, while a connection waits and a wake-up may be lost. If all workers are
 * busy, it waits for good reason: five looks a second cost nothing beside what they serve. */
#define LOOK_FIRST (USEC_SECOND / 100)
#define LOOK_MOST  (USEC_SECOND / 5)

/* Workers that finish what they have in hand by their own decision, for each that there should
 * be. */
enum { FINISHING_MOST = 4 };

/* Starts. */

static void fork_worker(struct pool *pool, struct spawner *spawner, struct worker *worker, usec now)
{
    unsigned missed;
    int error = pool_fork(pool, spawner, worker, now);
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
        int error = errno;
        if (worker) {
            fork_worker(pool, spawner, worker, now);
            continue;
        }
        if (log_rate_ok(&pool->no_seat, 60 * USEC_SECOND, &missed))
            log_err("pool %s: no room for another worker (there is room for %d): %s pool=%s "
                    "missed=%u",
                    pool->name, SCOREBOARD_SLOTS, strerror(error), pool->name, missed);
        return missing;
    }
    return missing;
}

/* Exits. */

/* The most workers of the generation in force that there may be. One that can't be ended keeps its
 * seat; and if a roll was halted, the workers that it did not come to are not wanted. */
static int most_of(const struct pool *pool, const struct counts *counts)
{
    struct roll roll = pool_roll(pool, counts);
    return pool->halted ? roll_allowed(&roll) : roll.target;
}

/* Whether a dead worker is to have a successor in its slot. A canary's death is the reload's
 * answer, unless it ended in order: then it has another try, until ready_timeout. The reload may be
 * over by then, and with it the listeners of the trial. */
static bool is_replaced(const struct pool *pool, const struct worker *worker,
                        const struct counts *counts, usec now)
{
    usec timeout = worker->conf->ready_timeout * USEC_SECOND;
    bool late = worker->trying_since && now - worker->trying_since >= timeout;
    if (worker->role == ROLE_CANARY)
        return pool->trial && worker->expected && !late;
    return pool_is_current(pool, worker) && counts->active <= most_of(pool, counts) &&
           !pool->carried;
}

/* A program that ended in order may have gone into the background. It is looked for only if the
 * program did not live long, since such an end is seen soon if at all, and no more often than once
 * a second: the look is at all processes. */
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

/* Whether the dead worker has a successor, or is to have one. */
static bool handle_exit(struct pool *pool, struct spawner *spawner, struct worker *worker,
                        const struct counts *counts, usec now)
{
    static char last[STDERR_LOG_LAST], reason[SCOREBOARD_REASON];
    struct exit_report report;
    look_for_strays(pool, spawner, worker, now);
    exits_begin(worker, spawner->boards.overview, &report);
    pool_heal_listeners(pool, report.pid); /* before its successor tries to accept there */
    if (exit_report_is_trouble(&report))
        exit_report_print_trouble(&report, pool->trouble, sizeof pool->trouble);
    worker->failures += report.ended_early;
    if (report.ended_early && worker->failures >= ROLL_FAILURES && pool_is_current(pool, worker) &&
        counts->stale && pool->conf->min_ready_time && !pool->halted) {
        pool->halted = true;
        log_err("pool %s: %s: new workers don't stay ready, the old ones go on pool=%s old=%d",
                pool->name, pool->trouble, pool->name, counts->stale);
    }
    bool replaced = is_replaced(pool, worker, counts, now);
    if (replaced)
        exits_set_respawn(worker, &report, now);
    if (replaced && report.delay == 0) {
        /* First the successor, then the log, whose words must be saved from it. */
        report.last = memcpy(last, worker->lines.last, sizeof last);
        report.reason = memcpy(reason, worker->slot->reason, sizeof reason);
        fork_worker(pool, spawner, worker, now);
        report.replacement = worker->pid;
    }
    exits_end(&report);
    return replaced;
}

/* The exit of each dead worker is handled once; then it is replaced when its time has come, or
 * given up. Most rounds have none. */
static void step_dead(struct pool *pool, struct spawner *spawner, usec now, int *starts)
{
    struct worker **at = &pool->workers;
    while (*at && (*at)->pid)
        at = &(*at)->next;
    if (!*at)
        return;
    struct counts counts = pool_counts(pool);
    while (*at) {
        struct worker *worker = *at;
        if (!worker->pid && !worker->exit_handled && *starts > 0)
            *starts -= handle_exit(pool, spawner, worker, &counts, now);
        bool waits = !worker->pid && worker->exit_handled;
        if (waits && !is_replaced(pool, worker, &counts, now)) {
            counts.active -= pool_is_current(pool, worker);
            *at = worker->next;
            spawn_release(spawner, worker);
            continue;
        }
        if (waits && now >= worker->respawn_at && *starts > 0) {
            (*starts)--;
            fork_worker(pool, spawner, worker, now);
        }
        at = &worker->next;
    }
}

/* Too many. */

/* Of the generation in force. Out of memory, none goes in this round. */
static void shrink(struct pool *pool, int active, int surplus)
{
    if (surplus <= 0)
        return;
    struct worker **going = calloc((size_t)active, sizeof *going);
    int count = 0;
    for (struct worker *w = pool->workers; going && w; w = w->next)
        if (pool_is_current(pool, w) && count < active)
            going[count++] = w;
    if (going)
        stop_sort(going, count);
    for (int i = 0; i < count && i < surplus; i++)
        pool_retire(pool, going[i]);
    free(going);
}

static bool is_stale(const struct pool *pool, const struct worker *worker)
{
    return worker->role == ROLE_ACTIVE && !pool_is_current(pool, worker);
}

/* Of earlier generations: all that there are; or, of programs, those with the lowest numbers, which
 * the new ones have first. */
static void retire_stale(struct pool *pool, int count, bool all)
{
    for (struct worker *w = pool->workers; all && w; w = w->next)
        if (is_stale(pool, w))
            pool_retire(pool, w);
    for (; !all && count > 0; count--) {
        struct worker *first = NULL;
        for (struct worker *w = pool->workers; w; w = w->next)
            if (is_stale(pool, w) && (!first || w->number <= first->number))
                first = w;
        if (first)
            pool_retire(pool, first);
    }
}

/* The living. */

static bool is_serving(const struct worker *worker)
{
    return spawn_is_ready(worker) && worker->role != ROLE_RETIRING && worker->cause == DEATH_OWN;
}

/* A worker of several seats that takes no connection any more, by max_requests or by a TERM from
 * outside, may still have some in hand for hours: so it is retired, and another one started. That
 * it takes none is the worker's word. It is believed like an exit, once the worker accepted a
 * connection or was ready for a second; and since each such worker stays, only as long as there are
 * no more than four for each worker that the pool should have. Returns when to look again. */
static usec step_finishing(struct pool *pool, struct worker *worker, usec now)
{
    usec due = worker->ready_at + USEC_SECOND;
    if (worker->seats == 1 || !worker->slot->retiring || !pool_is_current(pool, worker))
        return USEC_NEVER;
    if (now < due && !spawn_has_accepted(worker))
        return due;
    if (pool_counts(pool).retiring < FINISHING_MOST * pool_target(pool))
        pool_retire(pool, worker);
    return USEC_NEVER; /* if there are too many, the next exit of one is the next look */
}

/* Notes which workers are ready, and which have been so for min_ready_time, or for so long that
 * their back-off ends. Returns when to look again. */
static usec step_ready(struct pool *pool, usec grace_until, usec now)
{
    usec next = USEC_NEVER;
    for (struct worker *w = pool->workers; w; w = w->next) {
        next = clock_earlier(next, stop_watch_program(w, grace_until, now));
        if (!is_serving(w))
            continue;
        if (!w->ready_at)
            w->ready_at = now;
        w->deadline = USEC_NEVER; /* that of getting ready is over */
        w->trying_since = 0;
        w->late = w->continues = false;
        usec began = w->ready_at - w->backoff.ready; /* with those before it that ended in order */
        usec due = began + w->conf->min_ready_time * USEC_SECOND;
        w->stayed = w->stayed || now >= due;
        if (w->stayed)
            w->failures = 0;
        else
            next = clock_earlier(next, due);
        if (w->backoff.degraded)
            backoff_alive(&w->backoff, spawn_has_accepted(w), now - began);
        if (w->backoff.degraded)
            next = clock_earlier(next, began + BACKOFF_HEALED);
        next = clock_earlier(next, step_finishing(pool, w, now));
    }
    return next;
}

/* Looks at the time that a worker's requests take. If its seats are many, they are not all looked
 * at in each round. Returns when to look again. */
static usec watch_requests(struct worker *worker, struct spawner *spawner, usec limit, usec slow,
                           usec now)
{
    usec next = USEC_NEVER, grace_until = spawner->grace_until;
    if (!limit && !slow)
        return USEC_NEVER;
    if (worker->seats > 1 && now < worker->looked_at + LOOKS_APART)
        return worker->looked_at + LOOKS_APART;
    worker->looked_at = now;
    struct seats_load load = spawn_load(worker, now);
    if (limit)
        next = now < grace_until ? grace_until : stop_watch(worker, &load, limit, now);
    if (slow)
        next = clock_earlier(next, slow_watch(worker, spawner, &load, slow, now));
    return next;
}

/* Kills the overdue; returns when that must be done again. Before grace_until none is judged late,
 * since it may be us that were. */
static usec step_living(struct pool *pool, struct spawner *spawner, usec now)
{
    usec limit = pool->conf->request_timeout * USEC_SECOND, next = USEC_NEVER;
    usec slow = pool->conf->slow_threshold * USEC_SECOND, grace_until = spawner->grace_until;
    bool judged = now >= grace_until;
    if (limit)
        limit += pool->conf->seats > 1 ? SEATS_GRACE : handler_of(pool->conf->handler)->grace;
    for (struct worker *w = pool->workers; w; w = w->next) {
        next = clock_earlier(next, watch_requests(w, spawner, limit, slow, now));
        if (!w->pid)
            next = clock_earlier(next,
                                 w->exit_handled && w->role != ROLE_RETIRING ? w->respawn_at : now);
        else if (!is_serving(w))
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

static struct scale_limits limits_of(const struct pool_config *conf)
{
    return (struct scale_limits){
        .min_workers = conf->min_workers,
        .max_workers = conf->max_workers,
        .min_spare = conf->min_spare,
        .max_spare = conf->max_spare,
        .spare_timeout = conf->spare_timeout * USEC_SECOND,
        .seats = conf->seats,
    };
}

static int queue_of(const struct pool *pool)
{
    struct accept_queues queues = {0};
    int all = 0;
    accept_queues_ask(&queues);
    for (int i = 0; i < pool->listener_count; i++) {
        struct stat socket;
        const struct accept_queue *queue = fstat(pool->listeners[i]->fd, &socket) == 0
                                               ? accept_queues_find(&queues, socket.st_ino)
                                               : NULL;
        all += queue ? queue->depth : 0;
    }
    accept_queues_free(&queues);
    return all;
}

/* Whether a connection waits at one of the pool's listeners. One that was shut down is readable for
 * ever, and nobody can accept from it; `or_shut` counts it too: a worker that can't accept there
 * ends, and then it is healed. */
static bool connection_waits(const struct pool *pool, bool or_shut)
{
    for (int i = 0; i < pool->listener_count; i++) {
        struct pollfd input = {.fd = pool->listeners[i]->fd, .events = POLLIN};
        if (poll(&input, 1, 0) == 1 && (or_shut || input.revents == POLLIN))
            return true;
    }
    return false;
}

static void log_full(struct pool *pool, usec now)
{
    int workers = pool->conf->max_workers, seats = pool_config_most_seats(pool->conf);
    usec since = pool->scale.full_since;
    unsigned missed;
    if (!since && pool->full_logged) {
        log_notice("pool %s: no longer full pool=%s", pool->name, pool->name);
        pool->full_logged = false;
    }
    if (!since || now - since < USEC_SECOND || !log_rate_ok(&pool->full, 60 * USEC_SECOND, &missed))
        return;
    int queue = queue_of(pool), seconds = (int)((now - since) / USEC_SECOND);
    if (pool->conf->seats == 1)
        log_named(LOG_NAME_FULL, LOG_WARNING,
                  "pool %s: full for %d s: all %d workers are busy, connections that wait: %d "
                  "pool=%s workers=%d seconds=%d queue=%d",
                  pool->name, seconds, workers, queue, pool->name, workers, seconds, queue);
    else
        log_named(LOG_NAME_FULL, LOG_WARNING,
                  "pool %s: full for %d s: all %d seats of %d workers are taken, connections that "
                  "wait: %d pool=%s workers=%d seats=%d seconds=%d queue=%d",
                  pool->name, seconds, seats, workers, queue, pool->name, workers, seats, seconds,
                  queue);
    pool->full_logged = true;
}

/* Sets how many workers there should be. */
static void follow_load(struct pool *pool, const struct counts *counts, usec now)
{
    struct scale_limits limits = limits_of(pool->conf);
    if (!handler_of(pool->conf->handler)->exec) {
        struct pool_seats seats = pool_seats(pool);
        struct scale_facts facts = {
            .ready = counts->ready,
            .idle = seats.count - seats.busy,
            .waiting = pool->watches && connection_waits(pool, /* or_shut: */ true),
            .now = now,
        };
        pool->scale_orders = scale_step(&pool->scale, &limits, &facts);
    } else { /* its workers are programs: it is unknown which of them are idle */
        if (counts->ready && pool->queue_looked && now - pool->queue_looked < SCALE_LOOK_SHORT / 2)
            return; /* something else woke us */
        struct scale_blind facts = {
            .ready = counts->ready,
            .queue = connection_waits(pool, /* or_shut: */ true) ? queue_of(pool) : 0,
            .now = now,
        };
        pool->queue_looked = now;
        pool->scale_orders = scale_step_blind(&pool->scale, &limits, &facts);
    }
    log_full(pool, now);
}

/* Sees to it that the master is woken when the size must change. While workers are to wake it, each
 * one that takes a seat looks whether it has to; seats that were taken before are counted after
 * that. Returns when to look again. */
static usec await_load(struct pool *pool, const struct spawner *spawner, usec now)
{
    const struct scale_orders *orders = &pool->scale_orders;
    bool follows = follows_load(pool), arm = follows && orders->arm;
    /* NULL: none of the generation's workers was forked yet. */
    struct board *board = resources_find_board(&pool->resources, pool->generation);
    usec next = follows ? orders->look : USEC_NEVER;
    if (!follows || !orders->watch)
        pool_unwatch(pool);
    else if (!pool_watch(pool, spawner->loop))
        next = clock_earlier(next, now + WATCH_RETRY);
    if (board && board->map->min_spare != (uint32_t)pool->conf->min_spare)
        board->map->min_spare =
            (uint32_t)pool->conf->min_spare; /* workers have it in their caches */
    if (board && arm) {
        atomic_store_explicit(&board->map->armed, 1, memory_order_relaxed);
        atomic_thread_fence(memory_order_seq_cst); /* the other half: worker/serve.h */
    } else if (board && atomic_load_explicit(&board->map->armed, memory_order_relaxed)) {
        atomic_store_explicit(&board->map->armed, 0, memory_order_relaxed);
    }
    if (!arm)
        return next;
    struct scale_limits limits = limits_of(pool->conf);
    struct pool_seats seats = pool_seats(pool);
    return scale_has_spare(&limits, seats.count - seats.busy) ? next : now;
}

/* Lost wake-ups. */

/* Wakes a worker with a free seat; they take turns by their seats, since a worker that says that it
 * is idle may be stopped, or unable to accept. False if no worker goes on: one that is not ready
 * yet, or not forked, will look for itself before it waits.
 *
 * By a signal, which needs no worker to be trusted: it never blocks, there is nothing that workers
 * share and could spoil, it reaches those of every generation, and one in accept() as well as one
 * in epoll_wait(). To the thread that accepts: a module may have others. A worker that is not
 * waiting by now finds nothing; then the next look finds the connection still there, and another
 * worker. */
static bool wake_next(struct pool *pool)
{
    struct wakeups *wakeups = &pool->resources.wakeups;
    struct worker *lowest = NULL, *next = NULL;
    bool any = false;
    for (struct worker *w = pool->workers; w; w = w->next) {
        if (!spawn_is_ready(w) || w->role == ROLE_RETIRING || spawn_is_app(w))
            continue;
        any = true;
        if (!spawn_has_room(w))
            continue;
        if (!lowest || w->seat < lowest->seat)
            lowest = w;
        if (w->seat > wakeups->last && (!next || w->seat < next->seat))
            next = w;
    }
    next = next ? next : lowest;
    if (next) {
        kernel_tgkill(next->pid, next->pid, SIGURG);
        wakeups->last = next->seat;
    }
    return any;
}

static usec step_wakeups(struct pool *pool, usec now)
{
    struct wakeups *wakeups = &pool->resources.wakeups;
    /* A worker may have said that it was woken, and can't accept. */
    for (struct board *board = pool->resources.boards; board; board = board->next)
        if (atomic_load_explicit(&board->map->unserved, memory_order_relaxed) &&
            atomic_exchange(&board->map->unserved, 0))
            wakeups->asked = true;
    if (wakeups->asked) {
        wakeups->asked = false;
        wakeups->looking = true;
        wakeups->due = now;
        wakeups->pause = LOOK_FIRST / 2;
    }
    if (!wakeups->looking || now < wakeups->due)
        return wakeups->looking ? wakeups->due : USEC_NEVER;
    wakeups->looking =
        !pool->removed && connection_waits(pool, /* or_shut: */ false) && wake_next(pool);
    if (!wakeups->looking)
        return USEC_NEVER;
    wakeups->pause = 2 * wakeups->pause < LOOK_MOST ? 2 * wakeups->pause : LOOK_MOST;
    wakeups->due = now + wakeups->pause;
    return wakeups->due;
}

usec maintain_step(struct pool *pool, struct spawner *spawner, usec now, int *starts)
{
    pool->resources.changed = false;
    usec next = process_groups_step(&pool->resources.groups, pool->name, now);
    step_dead(pool, spawner, now, starts);
    resources_sweep(&pool->resources);
    next = clock_earlier(next, step_ready(pool, spawner->grace_until, now));

    struct counts counts = pool_counts(pool);
    if (follows_load(pool))
        follow_load(pool, &counts, now);
    pool->halted = pool->halted && counts.stale;
    struct roll roll = pool_roll(pool, &counts);
    int due = roll_allowed(&roll) - counts.active;
    int missing = pool->carried ? 0 : grow(pool, spawner, now, due, starts);
    shrink(pool, counts.active, counts.active - most_of(pool, &counts));
    if (counts.stale)
        retire_stale(pool, roll_surplus(&roll), roll_surplus(&roll) == counts.stale);

    next = clock_earlier(next, stderr_log_rate_step(&pool->resources.rate, pool->name, now));
    next = clock_earlier(next, step_living(pool, spawner, now));
    next = clock_earlier(next, await_load(pool, spawner, now));
    next = clock_earlier(next, step_wakeups(pool, now));
    if (*starts == 0)
        return now;
    return missing > 0 ? clock_earlier(next, now + POOL_FORK_RETRY) : next;
}
