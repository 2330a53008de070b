#include "spawn.h"

#include "../base/arena.h"
#include "../base/log.h"
#include "../worker/worker.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    TABLE_SIZE = SCOREBOARD_SLOTS * sizeof(struct worker),
    PIDS = 1 << 22, /* the most that there can be (proc(5), pid_max) */
    PIDS_SIZE = PIDS * sizeof(uint32_t),
};

int spawn_open(struct spawner *spawner, struct loop *loop)
{
    worker_prepare();
    spawner->loop = loop;
    int error = boards_open(&spawner->boards, loop);
    if (error)
        return error;
    spawner->workers = arena_unforked(TABLE_SIZE);
    spawner->by_pid = spawner->workers ? arena_unforked(PIDS_SIZE) : NULL;
    spawner->lines = spawner->by_pid ? stderr_log_set_new(loop) : NULL;
    return spawner->lines ? 0 : -errno;
}

void spawn_close(struct spawner *spawner)
{
    stderr_log_set_free(spawner->lines);
    if (spawner->workers)
        munmap(spawner->workers, TABLE_SIZE);
    if (spawner->by_pid)
        munmap(spawner->by_pid, PIDS_SIZE);
    boards_close(&spawner->boards);
}

struct worker *spawn_find(const struct spawner *spawner, pid_t pid)
{
    uint32_t number = pid > 0 && pid < PIDS ? spawner->by_pid[pid] : 0;
    return number ? &spawner->workers[number - 1] : NULL;
}

static void note_pid(struct spawner *spawner, const struct worker *worker, pid_t pid, bool lives)
{
    if (pid > 0 && pid < PIDS)
        spawner->by_pid[pid] = lives ? (uint32_t)spawn_number(spawner, worker) + 1 : 0;
}

static void show_worker(struct spawner *spawner, const struct worker *worker)
{
    struct overview *overview = spawner->boards.overview;
    uint32_t number = (uint32_t)spawn_number(spawner, worker);
    struct overview_worker *shown = worker->shown;
    shown->pool = (uint32_t)worker->resources->place;
    shown->seat = worker->seat;
    shown->board = worker->board->number;
    shown->serial = worker->board->serial;
    shown->generation = worker->generation;
    shown->born = worker->born;
    shown->slow = 0;
    shown->pid = worker->pid;
    shown->retiring = worker->role == ROLE_RETIRING;
    shown->state = worker->pid ? SLOT_STARTING : SLOT_WAITING;
    if (overview->workers_end <= number)
        overview->workers_end = number + 1;
}

static void clear_slot(struct slot *slot)
{
    memset(slot, 0, sizeof *slot);
    slot->state = SLOT_WAITING;
}

static struct worker *free_worker(struct spawner *spawner)
{
    int number = spawner->lowest_free;
    while (number < SCOREBOARD_SLOTS && spawner->workers[number].slot)
        number++;
    spawner->lowest_free = number;
    return number < SCOREBOARD_SLOTS ? &spawner->workers[number] : NULL;
}

struct worker *spawn_prepare(struct spawner *spawner, struct resources *resources,
                             struct config *config, const struct pool_config *conf,
                             unsigned generation)
{
    struct worker *worker = free_worker(spawner);
    struct board *board = resources_board(resources, &spawner->boards, generation);
    if (!board || resources_open_limits(resources, conf) != 0)
        return NULL;
    int seat = worker ? resources_take_seat(resources) : -1;
    if (seat < 0) {
        errno = ENOSPC;
        return NULL;
    }
    *worker = (struct worker){
        .slot = &board->map->slots[seat],
        .shown = &spawner->boards.overview->workers[worker - spawner->workers],
        .resources = resources,
        .board = board,
        .seat = (uint32_t)seat,
        .config = config,
        .conf = conf,
        .generation = generation,
        .app_policy = handler_terms(conf->handler, conf->handler_config),
        .deadline = USEC_NEVER,
        .lines.watch.fd = -1,
        .mourned = true,
    };
    board->workers++;
    resources_extend(resources, board, worker->seat);
    clear_slot(worker->slot);
    show_worker(spawner, worker);
    config_ref(config);
    return worker;
}

void spawn_save(const struct worker *worker, struct state_worker *saved)
{
    const struct slot *slot = worker->slot;
    *saved = (struct state_worker){
        .seat = worker->seat,
        .place = worker->resources->place,
        .pid = worker->pid,
        .generation = worker->generation,
        .role = worker->role,
        .born = worker->born,
        .ready_at = worker->ready_at,
        .accepted = (long long)worker->accepted_before,
        .served = (long long)worker->served_before,
        .cause = worker->cause,
        .next_signal = worker->next_signal,
        .deadline = worker->deadline,
        .error_fd = worker->lines.watch.fd,
        .stop_signal = worker->app_policy.stop_signal,
        .notify_fd = worker->notify ? worker->notify->watch.fd : -1,
        .watchdog = worker->notify ? worker->notify->watchdog : 0,
        .alive_at = worker->notify ? worker->notify->alive_at : 0,
        .uid = worker->conf->identity.uid,
        .core = worker->conf->limits.value[LIMIT_CORE],
        .was_ready = worker->pid && slot->ready,
        .slow_told = worker->slow_told,
        .program = spawn_is_program(worker),
    };
    snprintf(saved->last, sizeof saved->last, "%s", worker->lines.last);
}

/* Without it, what the program says is lost, and it is never judged by it. */
static void adopt_notify(const struct spawner *spawner, struct worker *worker,
                         const struct state_worker *saved)
{
    if (saved->notify_fd < STDERR_FILENO + 1)
        return;
    worker->notify = notify_adopt(spawner->loop, (int)saved->notify_fd, (uid_t)saved->uid,
                                  worker->slot->reason, sizeof worker->slot->reason);
    if (!worker->notify) {
        close((int)saved->notify_fd);
        return;
    }
    worker->notify->changed = &worker->resources->changed;
    worker->notify->pid = worker->pid;
    worker->notify->watchdog = saved->watchdog;
    worker->notify->alive_at = saved->alive_at;
}

/* What is known of one whose scoreboard can't be read any more: that it is there, and whether it was
 * ready. It finishes, and nothing else is asked of it. */
static void fill_stand_in(const struct worker *worker, const struct state_worker *saved)
{
    struct slot *slot = worker->slot;
    slot->state = saved->was_ready ? SLOT_BUSY : SLOT_STARTING;
    slot->ready = saved->was_ready != 0;
    slot->since = saved->ready_at ? saved->ready_at : saved->born;
    slot->program = saved->program ? (pid_t)saved->pid : 0;
}

struct worker *spawn_adopt(struct spawner *spawner, const struct state_worker *saved,
                           struct resources *resources, struct board *board, struct config *config,
                           const struct pool_config *conf)
{
    struct worker *worker = free_worker(spawner);
    if (!worker || saved->seat >= SCOREBOARD_SLOTS ||
        (saved->pid && spawn_find(spawner, (pid_t)saved->pid)) ||
        !resources_take_this_seat(resources, (uint32_t)saved->seat))
        return NULL;
    *worker = (struct worker){
        .slot = &board->map->slots[saved->seat],
        .shown = &spawner->boards.overview->workers[worker - spawner->workers],
        .resources = resources,
        .board = board,
        .seat = (uint32_t)saved->seat,
        .config = config,
        .conf = conf,
        .generation = (unsigned)saved->generation,
        .app_policy.stop_signal = (int)saved->stop_signal,
        .pid = (pid_t)saved->pid,
        .born = saved->born,
        .ready_at = saved->ready_at,
        .accepted_before = board->fd < 0 ? 0 : (uint64_t)saved->accepted,
        .served_before = board->fd < 0 ? 0 : (uint64_t)saved->served,
        .role = saved->pid ? (enum worker_role)saved->role : ROLE_RETIRING,
        .cause = saved->cause < DEATH_CAUSES ? (enum death_cause)saved->cause : DEATH_OWN,
        .next_signal = (int)saved->next_signal,
        .deadline = saved->deadline,
        .slow_told = saved->slow_told,
        .mourned = true,
    };
    board->workers++;
    if (board->fd < 0)
        fill_stand_in(worker, saved);
    resources_extend(resources, board, worker->seat);
    show_worker(spawner, worker);
    note_pid(spawner, worker, worker->pid, true);
    config_ref(config);
    adopt_notify(spawner, worker, saved);
    stderr_log_adopt(&worker->lines, spawner->lines, conf->name, &resources->rate,
                     (int)saved->error_fd);
    worker->lines.accepted = &worker->slot->accepted;
    worker->lines.took = &worker->slot->service.sum;
    worker->lines.pid = worker->pid;
    snprintf(worker->lines.last, sizeof worker->lines.last, "%.*s", STDERR_LOG_LAST - 1,
             saved->last);
    return worker;
}

static void close_notify(struct worker *worker)
{
    notify_close(worker->notify);
    worker->notify = NULL;
}

void spawn_tell_broken(const struct worker *worker, const char *what)
{
    const char *name = worker->conf->name;
    if (worker->board->broken)
        return;
    worker->board->broken = true;
    log_warning(
        "pool %s: its scoreboard holds what its workers can't rightly have written: %s; what "
        "is reported of this pool is not to be trusted until it is restarted pool=%s",
        name, what, name);
}

/* What was counted in the slot goes over to the pool, but for what nobody can have counted. */
static void settle_counts(struct spawner *spawner, const struct worker *worker)
{
    struct overview *overview = spawner->boards.overview;
    struct slot_counts counts;
    slot_read(worker->slot, &counts);
    if (!slot_counts_possible(&counts, clock_now() - overview->started)) {
        spawn_tell_broken(worker, "counts that are too large");
        counts = (struct slot_counts){0};
    }
    overview_begin_move(overview);
    overview_add_counts(&overview->pools[worker->resources->place].counts, &counts);
    worker->shown->state = SLOT_FREE;
    overview_end_move(overview);
}

void spawn_release(struct spawner *spawner, struct worker *worker)
{
    int number = spawn_number(spawner, worker);
    struct resources *resources = worker->resources;
    stderr_log_close(&worker->lines);
    close_notify(worker);
    settle_counts(spawner, worker);
    clear_slot(worker->slot);
    worker->slot->state = SLOT_FREE;
    resources_give_seat(resources, worker->seat);
    worker->board->workers--;
    config_unref(worker->config);
    worker->slot = NULL;
    if (number < spawner->lowest_free)
        spawner->lowest_free = number;
}

static void close_reporter(struct worker *worker)
{
    reporter_close(worker->reporter);
    worker->reporter = NULL;
}

void spawn_born(struct spawner *spawner, struct worker *worker, pid_t pid, usec now)
{
    bool lives = pid > 0;
    worker->pid = worker->lines.pid = lives ? pid : 0;
    note_pid(spawner, worker, pid, lives);
    if (worker->notify)
        worker->notify->pid = worker->pid;
    worker->next_signal = lives ? SIGKILL : 0;
    worker->deadline = lives ? now + worker->conf->ready_timeout * USEC_SECOND : USEC_NEVER;
    if (!lives) {
        close_notify(worker);
        close_reporter(worker);
        worker->slot->state = SLOT_WAITING;
    }
    show_worker(spawner, worker);
}

/* What the worker ran goes on without it. Of a program that it became, the processes that are left may
 * finish as long as it might have; of one that it started the rest is killed, as the connection that
 * it served is gone. */
static void end_program(struct worker *worker, usec deadline, usec now)
{
    usec grace = worker->conf->graceful_timeout * USEC_SECOND;
    pid_t group = worker->slot->program;
    int signal = SIGKILL;
    worker->slot->program = 0;
    if (worker->was_program) {
        bool told = worker->role == ROLE_RETIRING;
        bool killed = worker->cause != DEATH_OWN && worker->cause != DEATH_RETIRED;
        group = worker->lines.pid;
        signal = told ? 0 : worker->app_policy.stop_signal;
        deadline = killed ? now : told && deadline != USEC_NEVER ? deadline : now + grace;
    } else {
        deadline = now;
    }
    enum group_kind kind = process_groups_end(&worker->resources->groups, worker->lines.pid, group,
                                              signal, deadline, now);
    worker->left_group = kind == GROUP_OWN;
    if (kind == GROUP_FOREIGN)
        spawn_tell_broken(worker, "a process group that no worker of it runs");
}

void spawn_set_retiring(struct worker *worker)
{
    worker->role = ROLE_RETIRING;
    worker->slot->retiring = 1;
    worker->shown->retiring = 1;
}

bool spawn_is_program(const struct worker *worker)
{
    return spawn_becomes(worker) && worker->pid && worker->slot->program == worker->pid;
}

void spawn_set_ready(struct worker *worker, usec now)
{
    worker->slot->since = now;
    worker->slot->state = SLOT_IDLE;
    worker->slot->ready = true;
}

/* What it was at, and what it took. Whom it served is its own word: text for people, no more. */
static void note_life(struct worker *worker, const struct rusage *usage)
{
    bool busy = worker->slot->state == SLOT_BUSY;
    worker->was_program = spawn_is_program(worker);
    worker->peer = busy ? worker->slot->peer : (struct slot_peer){0};
    worker->cpu_user = usage->ru_utime.tv_sec * USEC_SECOND + usage->ru_utime.tv_usec;
    worker->cpu_system = usage->ru_stime.tv_sec * USEC_SECOND + usage->ru_stime.tv_usec;
    worker->memory = usage->ru_maxrss * 1024;
}

/* Whoever reads meanwhile must not add what the process used to what the dead ones did, nor miss
 * it. */
static void settle(struct spawner *spawner, struct worker *worker)
{
    struct overview *overview = spawner->boards.overview;
    struct overview_pool *pool = &overview->pools[worker->resources->place];
    overview_begin_move(overview);
    pool->cpu_user += worker->cpu_user;
    pool->cpu_system += worker->cpu_system;
    worker->shown->pid = worker->pid = 0;
    worker->shown->state = SLOT_WAITING;
    worker->shown->slow = 0;
    worker->slow = 0;
    overview_end_move(overview);
}

void spawn_reaped(struct spawner *spawner, struct worker *worker, int status,
                  const struct rusage *usage, usec now)
{
    usec deadline = worker->deadline;
    note_pid(spawner, worker, worker->pid, false);
    worker->resources->changed = true;
    worker->resources->wakeups.asked = true; /* it may have been woken for a connection */
    worker->status = status;
    worker->died = now;
    worker->was_ready = worker->ready_at || worker->slot->ready;
    if (worker->was_ready && !worker->ready_at)
        worker->ready_at = now;
    worker->mourned = false;
    worker->next_signal = 0;
    worker->deadline = USEC_NEVER;
    note_life(worker, usage);
    close_notify(worker);
    close_reporter(worker);
    end_program(worker, deadline, now);
    worker->slot->reason[SCOREBOARD_REASON - 1] = '\0'; /* its word, not ours */
    if (worker->resources->limits)
        source_limits_forget(worker->resources->limits, worker->seat);
    worker->slot->state = SLOT_WAITING;
    settle(spawner, worker);
}

void spawn_tell(struct worker *worker, int number, int next_signal, usec deadline)
{
    if (worker->pid) /* not reaped: the number is still its own */
        kill(worker->pid, number);
    worker->next_signal = next_signal;
    worker->deadline = deadline;
}

int spawn_number(const struct spawner *spawner, const struct worker *worker)
{
    return (int)(worker - spawner->workers);
}

/* Once seen it is so until its end, whatever is written into the slot: a reload of all pools waits for
 * it. */
bool spawn_is_ready(const struct worker *worker)
{
    return worker->pid && (worker->ready_at || worker->slot->ready);
}

bool spawn_is_busy(const struct worker *worker)
{
    return worker->pid && worker->slot->state == SLOT_BUSY;
}

usec spawn_since(const struct worker *worker, usec now)
{
    usec since = worker->slot->since;
    return since < worker->born ? worker->born : since > now ? now : since;
}

bool spawn_has_accepted(const struct worker *worker)
{
    return worker->slot->accepted != worker->accepted_before;
}
