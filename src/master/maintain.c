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

/* A program that lived longer than STRAYS_AGE is not suspected of having gone into the background.
 * Two searches are at least STRAYS_PAUSE apart. */
#define STRAYS_AGE   (10 * USEC_SECOND)
#define STRAYS_PAUSE USEC_SECOND

/* A worker of several seats is searched for late requests no more often than this: the limits are
 * whole seconds. */
#define CHECKS_APART USEC_SECOND

/* From one look at the listeners to the next, while a wake-up may be lost. If all workers are busy,
 * a connection waits for good reason: five looks a second cost nothing beside what they serve. */
#define LOOK_FIRST (USEC_SECOND / 100)
#define LOOK_MOST  (USEC_SECOND / 5)

/* The most workers that may finish by their own decision, for each worker of the pool's target. */
enum { FINISHING_MOST = 4 };

/* --- starts ----------------------------------------------------------------------------------- */

static void fork_worker(struct pool *pool, struct spawner *spawner, struct worker *worker, usec now)
{
    unsigned missed;
    int error = pool_fork(pool, spawner, worker, now);
    if (error && log_rate_ok(&pool->fork_failures, 60 * USEC_SECOND, &missed))
        log_err("pool %s: can't fork a worker: %s; trying again pool=%s errno=%d missed=%u",
                pool->name, strerror(-error), pool->name, -error, missed);
}

/* Idle workers that were told to finish give their seats back in milliseconds. */
#define PLACE_TIMEOUT (2 * USEC_SECOND)

/* A missing worker has no seats, or no memory. It is tried again soon; nobody waits for it longer
 * than PLACE_TIMEOUT. */
static void note_no_place(struct pool *pool, int missing, int error, usec now)
{
    unsigned missed;
    if (log_rate_ok(&pool->no_seat, 60 * USEC_SECOND, &missed))
        log_err("pool %s: no room for another worker (there is room for %d): %s pool=%s missed=%u",
                pool->name, SCOREBOARD_SLOTS, strerror(error), pool->name, missed);
    snprintf(pool->trouble, sizeof pool->trouble, "no room for another worker%s%s",
             error == ENOSPC ? "" : ": ", error == ENOSPC ? "" : strerror(error));
    if (!pool->unplaced_since)
        pool->unplaced_since = now;
    pool->unplaced = now - pool->unplaced_since >= PLACE_TIMEOUT ? missing : 0;
}

/* Forks the missing workers. Returns how many are missing still. */
static int grow(struct pool *pool, struct spawner *spawner, usec now, int missing, int *starts)
{
    for (; missing > 0 && *starts > 0; missing--, (*starts)--) {
        struct worker *worker = pool_add_worker(pool, spawner);
        if (!worker) {
            note_no_place(pool, missing, errno, now);
            return missing;
        }
        fork_worker(pool, spawner, worker, now);
    }
    pool->unplaced = 0;
    pool->unplaced_since = 0;
    return missing;
}

/* --- exits ------------------------------------------------------------------------------------ */

/* The most workers of the generation in force that there may be. A group that can't be killed keeps
 * its worker's seat; and a halted roll allows only the new workers that it got to. */
static int most_of(const struct pool *pool, const struct counts *counts)
{
    struct roll roll = pool_roll(pool, counts);
    return pool->halted ? roll_allowed(&roll) : roll.target;
}

/* Whether a dead worker gets a successor in its slot. A canary's death decides the reload, unless
 * the canary ended in order: then it has another try, until ready_timeout. The reload, and with it
 * the listeners of the trial, may be gone by then. */
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

/* A program that ended in order may have gone into the background. The search reads all processes.
 * So it is made only for short-lived programs, because a program does that at its start if at all,
 * and at most once a second. */
static void find_stray(struct pool *pool, const struct spawner *spawner, struct worker *worker,
                       usec now)
{
    bool orderly = worker->was_program && worker->exit_status == 0 && worker->cause == DEATH_OWN;
    bool trial = worker->role == ROLE_CANARY && pool->trial;
    struct listener *const *listeners = trial ? pool->trial : pool->listeners;
    if (!orderly || worker->left_group || worker->died - worker->born > STRAYS_AGE ||
        now < pool->background_looked + STRAYS_PAUSE || !listeners)
        return;
    pid_t stray = process_groups_background(spawner->master, worker->lines.pid, listeners[0]->fd,
                                            &pool->resources.groups);
    worker->left_group = stray > 0;
    pool->background_looked = stray ? 0 : now; /* the next program is likely to do the same */
    if (stray)
        log_notice("pool %s: process %d, which worker %d left in a session of its own, goes on "
                   "pool=%s pid=%d",
                   pool->name, (int)stray, (int)worker->lines.pid, pool->name, (int)stray);
}

/* Whether the dead worker has, or will have, a successor. */
static bool handle_exit(struct pool *pool, struct spawner *spawner, struct worker *worker,
                        const struct counts *counts, usec now)
{
    static char last[STDERR_LOG_LAST];
    struct exit_report report;
    find_stray(pool, spawner, worker, now);
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
        /* The successor comes before the log line, but overwrites the report's `last`. */
        report.last = memcpy(last, worker->lines.last, sizeof last);
        fork_worker(pool, spawner, worker, now);
        report.replacement = worker->pid;
    }
    exits_end(&report);
    return replaced;
}

/* Handles the exit of each dead worker once. Then the worker is respawned when that is due, or
 * released. Most rounds have no dead worker, and count nothing. */
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

/* --- surplus workers -------------------------------------------------------------------------- */

/* Retires workers of the generation in force. Out of memory, it does so in a later round. */
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

/* Retires workers of earlier generations: all of them, or the `count` with the lowest numbers,
 * which the new programs get first. */
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

/* --- living workers --------------------------------------------------------------------------- */

static bool is_serving(const struct worker *worker)
{
    return spawn_is_ready(worker) && worker->role != ROLE_RETIRING && worker->cause == DEATH_OWN;
}

/* A worker of several seats that accepts no more connections, because of max_requests or a TERM
 * from outside, may serve the last ones for hours: so it is retired, and another one is started.
 * That it is finishing is the worker's word. The word is believed like an exit, once the worker has
 * accepted a connection or been ready for a second. But such a worker stays: so it is believed only
 * while there are no more than four of them for each worker that the pool should have. Returns when
 * to look again. */
static usec step_finishing(struct pool *pool, struct worker *worker, usec now)
{
    usec due = worker->ready_at + USEC_SECOND;
    if (worker->seats == 1 || !worker->slot->retiring || !pool_is_current(pool, worker))
        return USEC_NEVER;
    if (now < due && !spawn_has_accepted(worker))
        return due;
    if (pool_counts(pool).retiring < FINISHING_MOST * pool_target(pool))
        pool_retire(pool, worker);
    return USEC_NEVER; /* if there are too many, the next exit causes the next look */
}

/* Notes which workers are ready, which have been ready for min_ready_time, and whose back-off ends.
 * Returns when to look again. */
static usec step_ready(struct pool *pool, usec grace_until, usec now)
{
    usec next = USEC_NEVER;
    for (struct worker *w = pool->workers; w; w = w->next) {
        next = clock_earlier(next, stop_watch_program(w, grace_until, now));
        if (!is_serving(w))
            continue;
        if (!w->ready_at)
            w->ready_at = now;
        w->deadline = USEC_NEVER; /* it was that of ready_timeout */
        w->trying_since = 0;
        w->late = w->continues = false;
        usec began = w->ready_at - w->backoff.ready; /* its orderly predecessors count */
        usec due = began + w->conf->min_ready_time * USEC_SECOND;
        w->stayed = w->stayed || now >= due;
        if (w->stayed)
            w->failures = 0;
        else
            next = clock_earlier(next, due);
        if (w->backoff.degraded)
            backoff_alive(&w->backoff, spawn_has_accepted(w), now - began);
        if (w->backoff.degraded) /* an accept heals it too, and wakes nobody */
            next = clock_earlier(next, clock_earlier(began + BACKOFF_HEALED, now + USEC_SECOND));
        next = clock_earlier(next, step_finishing(pool, w, now));
    }
    return next;
}

/* Checks how long a worker's requests take: against `limit`, and `slow`; 0: none. Returns when to
 * look again. */
static usec check_requests(struct worker *worker, struct spawner *spawner, usec limit, usec slow,
                           usec now)
{
    usec next = USEC_NEVER, grace_until = spawner->grace_until;
    if (!limit && !slow)
        return USEC_NEVER;
    if (worker->seats > 1 && now < worker->requests_checked_at + CHECKS_APART)
        return worker->requests_checked_at + CHECKS_APART;
    worker->requests_checked_at = now;
    struct seats_load load = spawn_load(worker, now);
    if (limit)
        next = now < grace_until ? grace_until : stop_late_request(worker, &load, limit, now);
    if (slow)
        next = clock_earlier(next, slow_watch(worker, spawner, &load, slow, now));
    return next;
}

/* Ends overdue workers. Before grace_until none is judged late, because the master itself may have
 * been late. Returns when to look again. */
static usec step_living(struct pool *pool, struct spawner *spawner, usec now)
{
    usec slow = pool->conf->slow_threshold * USEC_SECOND, grace_until = spawner->grace_until;
    usec next = USEC_NEVER;
    bool judged = now >= grace_until;
    for (struct worker *w = pool->workers; w; w = w->next) {
        usec limit = stop_request_limit(w, pool->conf);
        next = clock_earlier(next, check_requests(w, spawner, limit, slow, now));
        if (!w->pid)
            next = clock_earlier(next,
                                 w->exit_handled && w->role != ROLE_RETIRING ? w->respawn_at : now);
        else if (!is_serving(w))
            next = clock_earlier(next, judged ? stop_step(w, now) : grace_until);
    }
    return next;
}

/* --- a size that follows the load: scale decides ---------------------------------------------- */

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

/* How many connections wait at the pool's listeners. */
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

/* Whether a connection waits at one of the pool's listeners, which is cheaper than to ask how many.
 * A listener that was shut down stays readable, and nobody can accept there. `or_shut` counts it
 * too, so that a worker is forked: that worker ends, and its exit has the listener healed. */
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

/* Sets how many workers there should be, and logs whether the pool is full. */
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
    } else { /* nobody knows which programs are idle */
        if (counts->ready && pool->queue_looked && now - pool->queue_looked < SCALE_LOOK_SHORT / 2)
            return; /* something else woke the master */
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

/* Arranges that the master wakes when the size must change: by a listener, if no worker is there to
 * do it, or by the workers. While the wake-up is armed, each worker that takes a seat checks
 * whether it must wake the master. Seats taken before that are counted here, after arming. Returns
 * when to look again. */
static usec await_load(struct pool *pool, const struct spawner *spawner, usec now)
{
    const struct scale_orders *orders = &pool->scale_orders;
    bool follows = follows_load(pool), arm = follows && orders->arm;
    /* NULL: no worker of this generation was forked yet. */
    struct board *board = resources_find_board(&pool->resources, pool->generation);
    usec next = follows ? orders->look : USEC_NEVER;
    if (!follows || !orders->watch)
        pool_unwatch(pool);
    else if (!pool_watch(pool, spawner->loop))
        next = clock_earlier(next, now + WATCH_RETRY);
    /* Written only if it changes: the line is in all workers' caches. */
    if (board && board->map->min_spare != (uint32_t)pool->conf->min_spare)
        board->map->min_spare = (uint32_t)pool->conf->min_spare;
    if (board && arm) {
        atomic_store_explicit(&board->map->armed, 1, memory_order_relaxed);
        atomic_thread_fence(memory_order_seq_cst); /* pairs with the one in worker/serve.h */
    } else if (board && atomic_load_explicit(&board->map->armed, memory_order_relaxed)) {
        atomic_store_explicit(&board->map->armed, 0, memory_order_relaxed);
    }
    if (!arm)
        return next;
    struct scale_limits limits = limits_of(pool->conf);
    struct pool_seats seats = pool_seats(pool);
    return scale_has_spare(&limits, seats.count - seats.busy) ? next : now;
}

/* Lost wake-ups. A new connection wakes one worker. If that worker doesn't accept, the kernel wakes
 * no other. So whatever can keep a worker from it (a death, a stop, too few descriptors) calls
 * resources_ask_wakeup, and the master looks at the listeners. The argument stands in
 * src/README.md. */

/* Wakes a worker with a free seat. Workers take turns by their seats, because one that says it is
 * idle may be stopped, or unable to accept. False: no worker is ready and stays. Then a worker that
 * is not ready or not forked yet will look at the listeners itself, before it waits.
 *
 * A signal needs no trust in any worker: it never blocks, workers share nothing that they could
 * spoil, it reaches workers of each generation, in accept() as well as in epoll_wait(). It goes to
 * the thread that accepts, because a module may have others. A woken worker that doesn't wait by
 * now finds nothing; then the next look finds the connection still there, and wakes another
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

/* Whether a worker that polls may wait in accept() nevertheless: programs have the listener, which
 * blocks, and one of them was faster. If all such workers wait, nobody sees a connection at another
 * listener. This ends with the last program, or with the last such worker. */
static bool may_block(const struct pool *pool)
{
    bool lent = false;
    for (int i = 0; i < pool->listener_count; i++)
        lent = lent || pool->listeners[i]->lent;
    for (const struct worker *w = lent ? pool->workers : NULL; w; w = w->next)
        if (w->pid && w->polls)
            return true;
    return false;
}

/* A worker of this generation was woken and can't accept. Nobody knows which one. */
static void note_unserved(struct pool *pool, unsigned generation)
{
    struct wakeups *wakeups = &pool->resources.wakeups;
    wakeups->asked = true;
    for (const struct worker *w = pool->workers; w; w = w->next)
        if (!wakeups->elsewhere && w->generation == generation)
            wakeups->elsewhere = !pool_has_listeners_of(pool, w);
}

static usec step_wakeups(struct pool *pool, usec now)
{
    struct wakeups *wakeups = &pool->resources.wakeups;
    for (struct board *board = pool->resources.boards; board; board = board->next)
        if (atomic_load_explicit(&board->map->unserved, memory_order_relaxed) &&
            atomic_exchange(&board->map->unserved, 0))
            note_unserved(pool, board->generation);
    if (wakeups->asked) {
        wakeups->asked = false;
        wakeups->looking = true;
        wakeups->due = now;
        wakeups->pause = LOOK_FIRST / 2;
    }
    if (wakeups->looking && now >= wakeups->due) {
        wakeups->looking =
            !pool->removed && connection_waits(pool, /* or_shut: */ false) && wake_next(pool);
        wakeups->pause = 2 * wakeups->pause < LOOK_MOST ? 2 * wakeups->pause : LOOK_MOST;
        wakeups->due = now + wakeups->pause;
    }
    if (!wakeups->looking && may_block(pool)) {
        wakeups->looking = true;
        wakeups->pause = LOOK_MOST;
        wakeups->due = now + LOOK_MOST;
    }
    return wakeups->looking ? wakeups->due : USEC_NEVER;
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
    roll = pool_roll(pool, &counts); /* by now it is known how many workers find no place */
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
