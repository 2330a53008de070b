#include "snapshot.h"

#include "../board/scoreboard.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum {
    TRIES_MOST = 16,
    FAILED_STARTS = 3, /* in a row: no accident */
};

/* How long failed starts count if there is no further attempt. A balancer sends nothing to a
 * degraded pool, so it would otherwise never learn that the program works again. */
#define FAILED_USEC (60 * USEC_SECOND)

static int bounded(uint32_t end, int most)
{
    return end < (uint32_t)most ? (int)end : most;
}

int snapshot_workers(const struct overview *overview)
{
    return bounded(overview->workers_end, SCOREBOARD_SLOTS);
}

int snapshot_listeners(const struct overview *overview)
{
    return bounded(overview->listeners_end, SCOREBOARD_LISTENERS);
}

const char *snapshot_status(const struct snapshot_worker *worker,
                            char text[static TEXT_CLEAN(SCOREBOARD_REASON)])
{
    char reason[SCOREBOARD_REASON]; /* a copy: others may write while it is cleaned */
    if (!snapshot_is_program(worker) || !worker->slot->reason[0])
        return NULL;
    memcpy(reason, worker->slot->reason, sizeof reason);
    return text_clean(text, TEXT_CLEAN(SCOREBOARD_REASON), reason, sizeof reason);
}

const char *snapshot_listener(const struct overview *overview, int number,
                              char text[static TEXT_CLEAN(SCOREBOARD_ADDRESS)])
{
    const struct overview_listener *listener = &overview->listeners[number];
    if (!listener->used)
        return NULL;
    return text_clean(text, TEXT_CLEAN(SCOREBOARD_ADDRESS), listener->text, SCOREBOARD_ADDRESS);
}

const char *snapshot_peer(const struct slot_peer *peer, char text[static ADDR_TEXT])
{
    struct addr addr = {0};
    text[0] = '\0';
    if (peer->family == AF_UNIX) {
        snprintf(text, ADDR_TEXT, peer->uid == (uint32_t)-1 ? "unix" : "unix,uid=%u", peer->uid);
        return text;
    }
    if (peer->family == AF_INET || peer->family == AF_INET6)
        addr_from_bytes(&addr, peer->family, peer->ip, peer->port);
    return addr_print(&addr, text);
}

/* The state of a living worker. The worker wrote it, so it may be any number. */
static enum slot_state state_of_living(const struct slot *slot, const struct seats_load *load)
{
    uint32_t state = slot->state;
    if (load->busy)
        return SLOT_BUSY;
    if (state == SLOT_STARTING || state == SLOT_IDLE)
        return (enum slot_state)state;
    return slot->ready ? SLOT_IDLE : SLOT_STARTING;
}

static void read_slots(const struct slot *slot, struct snapshot_worker *worker)
{
    struct seats_load load;
    seats_look(slot, worker->seats, &load);
    worker->program = slot->program;
    worker->since = load.since > worker->born ? load.since : worker->born;
    worker->served = load.served;
    worker->accepted = load.accepted;
    if (worker->state == SLOT_WAITING)
        return;
    worker->state = state_of_living(slot, &load);
    worker->busy = load.busy;
    if (load.longest)
        worker->peer = load.longest->peer;
}

bool snapshot_worker(const struct view *view, int number, struct snapshot_worker *worker)
{
    const struct overview_worker *entry = &view->overview->workers[number];
    uint32_t state = entry->state;
    pid_t pid = entry->pid;
    if (state == SLOT_FREE)
        return false;
    *worker = (struct snapshot_worker){
        .number = number,
        .pool = entry->pool,
        .slot = view_slot(view, entry),
        .seats = entry->seats,
        .pid = pid > 0 ? pid : 0,
        .generation = entry->generation,
        .state = state == SLOT_WAITING ? SLOT_WAITING : SLOT_STARTING,
        .retiring = entry->retiring,
        .stuck = entry->stuck,
        .slow = entry->slow,
        .since = entry->born,
        .born = entry->born,
    };
    if (worker->slot)
        read_slots(worker->slot, worker);
    return true;
}

bool snapshot_slow(const struct overview *overview, const struct snapshot_worker *worker,
                   struct slow *slow)
{
    if (worker->state != SLOT_BUSY || worker->slow == 0 || worker->slow > SCOREBOARD_SLOW)
        return false;
    const struct slow *entry = &overview->slow[worker->slow - 1];
    uint64_t turn = atomic_load_explicit(&entry->turn, memory_order_acquire);
    memcpy((void *)slow, (const void *)entry, sizeof *slow);
    atomic_thread_fence(memory_order_acquire);
    bool whole = turn % 2 == 0 && turn == atomic_load_explicit(&entry->turn, memory_order_relaxed);
    if (!whole || slow->slot != (uint32_t)worker->number || slow->since != worker->since)
        return false;
    if (slow->child_count < 0 || slow->child_count > SCOREBOARD_CHILDREN)
        slow->child_count = 0;
    return true;
}

const char *snapshot_process_state(char letter)
{
    switch (letter) {
    case 'R': return "running";
    case 'S': return "sleeping";
    case 'D': return "disk sleep";
    case 'T': return "stopped";
    case 't': return "traced";
    case 'Z': return "zombie";
    case 'I': return "idle";
    case 'X': return "dead";
    default: return NULL;
    }
}

/* Bounds a time that a hostile worker may have written, so that sums don't overflow. */
static usec bounded_time(usec time)
{
    static const usec most = INT64_MAX / 4;
    if (time < 0)
        return 0;
    return time < most ? time : most;
}

static void copy_pool(const struct overview_pool *from, struct snapshot_pool *to)
{
    to->used = from->used;
    if (!to->used)
        return;
    to->serial = from->serial;
    text_clean(to->name, sizeof to->name, from->name, sizeof from->name);
    text_clean(to->handler, sizeof to->handler, from->handler, sizeof from->handler);
    text_clean(to->trouble, sizeof to->trouble, from->trouble, sizeof from->trouble);
    to->state = from->state < POOL_STATES ? (enum pool_state)from->state : POOL_STARTING;
    to->state_since = from->state_since;
    to->generation = from->generation;
    to->target = from->target;
    to->min_workers = from->min_workers;
    to->max_workers = from->max_workers;
    to->model = from->model < SERVE_MODELS ? (enum serve_model)from->model : MODEL_PROCESS;
    to->seats_each = (int)from->seats;
    to->min_spare = from->min_spare;
    to->max_spare = from->max_spare;
    to->counts = from->counts;
    to->retirements = from->retirements;
    to->deaths = from->deaths;
    to->exited_user = to->cpu_user = bounded_time(from->cpu_user);
    to->exited_system = to->cpu_system = bounded_time(from->cpu_system);
}

/* Whether a worker is ready, not retiring, and of the current generation. */
static bool is_ready(const struct snapshot_pool *pool, const struct snapshot_worker *worker)
{
    return (worker->state == SLOT_BUSY || worker->state == SLOT_IDLE) && !worker->retiring &&
           worker->generation >= pool->generation;
}

static void count_worker(struct snapshot_pool *pool, const struct snapshot_worker *worker)
{
    if (worker->state == SLOT_WAITING)
        pool->waiting++;
    else if (worker->retiring || worker->generation < pool->generation)
        pool->retiring++;
    else if (worker->state == SLOT_BUSY)
        pool->busy++;
    else if (worker->state == SLOT_IDLE)
        pool->idle++;
    else
        pool->starting++;
    if (is_ready(pool, worker)) {
        pool->seats += (int)worker->seats;
        pool->seats_busy += (int)worker->busy;
    }
}

/* A worker that can't start its program looks idle, but serves nobody. The worker wrote these
 * numbers. */
static void count_failing(struct snapshot_pool *pool, const struct snapshot_worker *worker,
                          const struct slot *slot)
{
    if (slot->failed_starts < FAILED_STARTS || !is_ready(pool, worker) ||
        snapshot_span(worker->since, clock_now()) > FAILED_USEC)
        return;
    if (pool->failing++ == 0 || worker->since < pool->failing_since)
        pool->failing_since = worker->since;
    if (pool->trouble[0])
        return;
    char why[SCOREBOARD_REASON];
    snprintf(why, sizeof why, "its program can't be started: %s", strerror((int)slot->start_error));
    text_clean(pool->trouble, sizeof pool->trouble, why, sizeof why);
}

/* Adds what was read about a worker's process. If it was not read yet, it had used nothing when it
 * was born. */
static void add_process(struct snapshot_pool *pool, const struct procstat_process *process,
                        usec born, usec now)
{
    usec age = snapshot_span(process ? process->read_at : born, now);
    bool hidden = process && process->read_at < 0;
    if (process) {
        pool->cpu_user += process->user;
        pool->cpu_system += process->system;
        pool->memory += process->memory;
        pool->template_memory += process->template_memory;
    }
    if (hidden)
        pool->age = -1;
    else if (pool->age >= 0 && age > pool->age)
        pool->age = age;
}

static void add_worker(const struct view *view, const struct procstat *procstat, int number,
                       usec now, struct snapshot *snapshot)
{
    struct snapshot_worker worker;
    struct slow slow;
    const struct overview *overview = view->overview;
    if (!snapshot_worker(view, number, &worker) || worker.pool >= (uint32_t)snapshot->count)
        return;
    struct snapshot_pool *pool = &snapshot->pools[worker.pool];
    count_worker(pool, &worker);
    pool->slow += snapshot_slow(overview, &worker, &slow);
    /* Leave out counts that a worker can't have reached: they would spoil the sums of its pool. */
    struct slot_counts counts;
    if (worker.slot) {
        seats_read(worker.slot, worker.seats, now - overview->started, &counts);
        slot_counts_add(&pool->counts, &counts);
        count_failing(pool, &worker, worker.slot);
    }
    if (procstat && worker.pid)
        add_process(pool, procstat_process(procstat, overview, number), worker.born,
                    procstat->looked_at);
    if (worker.state == SLOT_BUSY && worker.since > pool->busy_since)
        pool->busy_since = worker.since;
}

/* The master does not learn of each connection, so it can't set this state itself. */
static void mark_full(struct snapshot_pool *pool)
{
    bool full =
        pool->max_workers > 0 && snapshot_free_seats(pool) == 0 && pool->busy >= pool->max_workers;
    if (pool->state != POOL_SERVING || !full)
        return;
    pool->state = POOL_FULL;
    if (pool->busy_since > pool->state_since)
        pool->state_since = pool->busy_since;
}

static void mark_degraded(struct snapshot_pool *pool)
{
    if (!pool->failing || pool->state == POOL_DRAINED || pool->state == POOL_REMOVED)
        return;
    if (pool->state != POOL_DEGRADED && pool->failing_since > pool->state_since)
        pool->state_since = pool->failing_since;
    pool->state = POOL_DEGRADED;
}

static void read_all(const struct view *view, const struct procstat *procstat,
                     struct snapshot *snapshot)
{
    int workers = snapshot_workers(view->overview);
    usec now = clock_now();
    memset(snapshot->pools, 0, (size_t)snapshot->count * sizeof *snapshot->pools);
    for (int i = 0; i < snapshot->count; i++)
        copy_pool(&view->overview->pools[i], &snapshot->pools[i]);
    for (int i = 0; i < snapshot->count && (!procstat || !procstat->processes); i++)
        snapshot->pools[i].age = -1;
    for (int i = 0; i < workers; i++)
        add_worker(view, procstat, i, now, snapshot);
}

/* Reads everything again if the master moved counts meanwhile: on their way from a slot to its pool
 * counts may be seen in neither, and a sum would go back. The number of tries is bounded, because
 * the master may be stopped in the middle of a move. */
static void read_consistently(const struct view *view, const struct procstat *procstat,
                              struct snapshot *snapshot)
{
    const struct overview *overview = view->overview;
    for (int tries = 0; tries < TRIES_MOST; tries++) {
        uint32_t moves = atomic_load_explicit(&overview->moves, memory_order_acquire);
        read_all(view, procstat, snapshot);
        atomic_thread_fence(memory_order_acquire);
        if (moves % 2 == 0 && moves == atomic_load_explicit(&overview->moves, memory_order_relaxed))
            return;
    }
}

/* Raises both values to the larger one. Other reporters may do so at the same time. */
static void raise_both(_Atomic int64_t *noted, usec *shown)
{
    int64_t before = *noted;
    while (before < *shown && !atomic_compare_exchange_weak(noted, &before, *shown))
        continue;
    if (before > *shown)
        *shown = bounded_time(before);
}

/* Keeps the shown times from going back: another reporter may have read them more recently. */
static void share_times(struct shown_time *shown, struct snapshot_pool *pool)
{
    if (shown->pool != pool->serial) {
        shown->user = shown->system = 0; /* those of an earlier pool at this place */
        shown->pool = pool->serial;
    }
    raise_both(&shown->user, &pool->cpu_user);
    raise_both(&shown->system, &pool->cpu_system);
}

static void add_queues(const struct overview *overview, const struct procstat *procstat,
                       struct snapshot *snapshot)
{
    for (int i = 0; i < snapshot->count; i++)
        snapshot->pools[i].queued = -1;
    for (int i = 0; procstat && i < snapshot_listeners(overview); i++) {
        const struct overview_listener *listener = &overview->listeners[i];
        const struct accept_queue *queue = accept_queues_find(&procstat->queues, listener->inode);
        uint32_t place = listener->pool;
        if (!listener->used || !queue || place >= (uint32_t)snapshot->count)
            continue;
        int *queued = &snapshot->pools[place].queued;
        *queued = (*queued < 0 ? 0 : *queued) + queue->depth;
    }
}

struct snapshot *snapshot_take(const struct view *view, const struct procstat *procstat)
{
    int count = bounded(view->overview->pools_end, SCOREBOARD_POOLS);
    struct snapshot *snapshot =
        calloc(1, sizeof *snapshot + (size_t)count * sizeof *snapshot->pools);
    if (!snapshot)
        return NULL;
    snapshot->count = count;
    read_consistently(view, procstat, snapshot);
    add_queues(view->overview, procstat, snapshot);
    for (int i = 0; i < count; i++) {
        mark_full(&snapshot->pools[i]);
        mark_degraded(&snapshot->pools[i]);
        if (procstat && procstat->shown && snapshot->pools[i].age >= 0)
            share_times(&procstat->shown[i], &snapshot->pools[i]);
    }
    return snapshot;
}

const char *const ailment_words[AILMENTS] = {
    [AILS_NOTHING] = "serving", [AILS_MAYBE_FULL] = "serving", [AILS_FULL] = "full",
    [AILS_DRAINED] = "drained", [AILS_DEGRADED] = "degraded",  [AILS_UNREACHABLE] = "unreachable",
};

bool health_serves(const struct snapshot_pool *pool)
{
    return strcmp(pool->handler, "status") != 0 && strcmp(pool->handler, "agent") != 0;
}

/* Whether connections wait, or may wait because the queue is unknown, and need all free seats. */
static bool is_full(const struct snapshot_pool *pool)
{
    int seats = snapshot_free_seats(pool);
    int free = pool->queued > seats ? 0 : seats - (pool->queued > 0 ? pool->queued : 0);
    return pool->queued != 0 && free == 0 && pool->max_workers > 0 &&
           pool->busy + pool->idle >= pool->max_workers;
}

/* A pool counts as full since its last seat was taken, or since we first saw it full, whichever is
 * earlier: with short connections the last seat was always taken just now. */
static enum ailment fullness(usec *full_since, const struct snapshot_pool *pool, usec now)
{
    if (!is_full(pool) || !health_serves(pool)) {
        *full_since = 0;
        return AILS_NOTHING;
    }
    if (*full_since == 0)
        *full_since = pool->state == POOL_FULL && pool->state_since < now ? pool->state_since : now;
    return now - *full_since >= USEC_SECOND ? AILS_FULL : AILS_MAYBE_FULL;
}

enum ailment health_of(struct health *health, int place, const struct snapshot_pool *pool, usec now)
{
    if (!pool->used)
        return AILS_NOTHING;
    switch (pool->state) {
    case POOL_DEGRADED: return AILS_DEGRADED;
    case POOL_UNREACHABLE: return AILS_UNREACHABLE;
    case POOL_DRAINED: return AILS_DRAINED;
    default: return fullness(&health->full_since[place], pool, now);
    }
}
