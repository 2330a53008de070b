#include "spawn.h"

#include "../base/arena.h"
#include "../base/fd.h"
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
    PIDS = 1 << 22, /* the highest pid_max (proc(5)) */
    PIDS_SIZE = PIDS * sizeof(uint32_t),
};

_Static_assert(sizeof WORKER_TITLE_BEGIN + POOL_NAME_MAX + sizeof WORKER_TITLE_END <= WORKER_TITLE,
               "a title has room for each name");

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

/* Shows reporters a worker. */
static void show_worker(struct spawner *spawner, const struct worker *worker)
{
    struct overview *overview = spawner->boards.overview;
    uint32_t number = (uint32_t)spawn_number(spawner, worker);
    struct overview_worker *shown = worker->shown;
    shown->pool = (uint32_t)worker->resources->place;
    shown->seat = worker->seat;
    shown->seats = worker->seats;
    shown->board = worker->board->number;
    shown->serial = worker->board->serial;
    shown->generation = worker->generation;
    shown->born = worker->born;
    shown->slow = 0;
    shown->pid = worker->pid;
    shown->retiring = worker->role == ROLE_RETIRING;
    shown->stuck = worker->stuck;
    shown->state = worker->pid ? SLOT_STARTING : SLOT_WAITING;
    if (overview->workers_end <= number)
        overview->workers_end = number + 1;
}

void spawn_warn_broken(const struct worker *worker, const char *what)
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

/* --- numbers and seats ------------------------------------------------------------------------ */

static struct worker *free_worker(struct spawner *spawner)
{
    int number = spawner->lowest_free;
    while (number < SCOREBOARD_SLOTS && spawner->workers[number].slot)
        number++;
    spawner->lowest_free = number;
    return number < SCOREBOARD_SLOTS ? &spawner->workers[number] : NULL;
}

/* Clears what the workers before left in these slots; their counts were added to their pool's. A
 * slot never used is zero already, and its page may not exist yet. */
static void clear_slots(const struct board *board, uint32_t seat, uint32_t seats)
{
    for (uint32_t i = seat; i < seat + seats && i < board->end; i++)
        memset(&board->map->slots[i], 0, sizeof(struct slot));
}

static void init_worker(struct spawner *spawner, struct worker *worker, struct resources *resources,
                        struct board *board, struct config *config, const struct pool_config *conf,
                        uint32_t seat)
{
    *worker = (struct worker){
        .slot = &board->map->slots[seat],
        .shown = &spawner->boards.overview->workers[worker - spawner->workers],
        .resources = resources,
        .board = board,
        .seat = seat,
        .config = config,
        .conf = conf,
        .deadline = USEC_NEVER,
        .lines.watch.fd = -1,
        .exit_handled = true,
    };
    board->workers++;
    config_ref(config);
}

struct worker *spawn_prepare(struct spawner *spawner, struct resources *resources,
                             struct config *config, const struct pool_config *conf,
                             unsigned generation)
{
    struct worker *worker = free_worker(spawner);
    struct board *board = resources_board(resources, &spawner->boards, generation);
    if (!board || resources_open_limits(resources, conf) != 0)
        return NULL;
    uint32_t seats = (uint32_t)conf->seats;
    int seat = worker ? resources_take_seats(resources, seats) : -1;
    if (seat < 0) {
        errno = ENOSPC;
        return NULL;
    }
    init_worker(spawner, worker, resources, board, config, conf, (uint32_t)seat);
    worker->seats = seats;
    worker->generation = generation;
    worker->app_policy = handler_app_policy(conf->handler, conf->handler_config);
    clear_slots(board, worker->seat, seats);
    resources_extend(resources, board, worker->seat + seats);
    worker->slot->state = SLOT_WAITING;
    show_worker(spawner, worker);
    return worker;
}

/* Standard error stays open: it is read to its end. */
static void close_channels(struct worker *worker)
{
    notify_close(worker->notify);
    worker->notify = NULL;
    reporter_close(worker->reporter);
    worker->reporter = NULL;
}

void spawn_release(struct spawner *spawner, struct worker *worker)
{
    struct overview *overview = spawner->boards.overview;
    struct slot_counts counts;
    stderr_log_close(&worker->lines);
    close_channels(worker);
    /* Impossible counts are left out. */
    if (!seats_read(worker->slot, worker->seats, clock_now() - overview->started, &counts))
        spawn_warn_broken(worker, "counts that are too large");
    overview_begin_move(overview);
    slot_counts_add(&overview->pools[worker->resources->place].counts, &counts);
    worker->shown->state = SLOT_FREE;
    overview_end_move(overview);
    /* The slots keep their counts until they are taken again: a reporter from before an upgrade
     * still has an overview in which this worker lives. */
    worker->slot->state = SLOT_FREE;
    resources_give_seats(worker->resources, worker->seat, worker->seats);
    worker->board->workers--;
    config_unref(worker->config);
    worker->slot = NULL;
    int number = spawn_number(spawner, worker);
    if (number < spawner->lowest_free)
        spawner->lowest_free = number;
}

/* --- over an upgrade -------------------------------------------------------------------------- */

void spawn_save(const struct worker *worker, struct state_worker *saved)
{
    const struct slot *slot = worker->slot;
    *saved = (struct state_worker){
        .seat = worker->seat,
        .seats = worker->seats,
        .request_timeout = worker->conf->request_timeout,
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
        .reporter_fd = worker->reporter ? worker->reporter->watch.fd : -1,
        .watchdog = worker->notify ? worker->notify->watchdog : 0,
        .alive_at = worker->notify ? worker->notify->alive_at : 0,
        .uid = worker->conf->identity.uid,
        .core = worker->conf->limits.value[LIMIT_CORE],
        .was_ready = worker->pid && slot->ready,
        .slow_told = worker->slow_logged,
        .program = spawn_is_program(worker),
    };
    snprintf(saved->last, sizeof saved->last, "%s", worker->lines.last);
}

/* If this fails, the program's notices are lost, and its watchdog is off. */
static void adopt_notify(const struct spawner *spawner, struct worker *worker,
                         const struct state_worker *saved)
{
    if (saved->notify_fd < STDERR_FILENO + 1)
        return;
    worker->notify = notify_adopt(spawner->loop, (int)saved->notify_fd, (uid_t)saved->uid,
                                  worker->slot->reason, sizeof worker->slot->reason);
    if (!worker->notify) {
        fd_close_foreign((int)saved->notify_fd);
        return;
    }
    worker->notify->changed = &worker->resources->changed;
    worker->notify->pid = worker->pid;
    worker->notify->watchdog = saved->watchdog;
    worker->notify->alive_at = saved->alive_at;
}

struct worker *spawn_adopt(struct spawner *spawner, const struct state_worker *saved,
                           struct resources *resources, struct board *board, struct config *config,
                           const struct pool_config *conf)
{
    struct worker *worker = free_worker(spawner);
    uint32_t seat = (uint32_t)saved->seat, seats = saved->seats ? (uint32_t)saved->seats : 1;
    if (!worker || (saved->pid && spawn_find(spawner, (pid_t)saved->pid)) ||
        !resources_take_these_seats(resources, seat, seats))
        return NULL;
    init_worker(spawner, worker, resources, board, config, conf, seat);
    struct slot *slot = worker->slot;
    worker->seats = seats;
    worker->generation = (unsigned)saved->generation;
    worker->app_policy.stop_signal = (int)saved->stop_signal;
    worker->pid = (pid_t)saved->pid;
    worker->born = saved->born;
    worker->ready_at = saved->ready_at;
    worker->accepted_before = board->fd < 0 ? 0 : (uint64_t)saved->accepted;
    worker->served_before = board->fd < 0 ? 0 : (uint64_t)saved->served;
    worker->role = saved->pid ? (enum worker_role)saved->role : ROLE_RETIRING;
    worker->cause = saved->cause < DEATH_CAUSES ? (enum death_cause)saved->cause : DEATH_OWN;
    worker->next_signal = (int)saved->next_signal;
    worker->deadline = saved->deadline;
    worker->slow_logged = saved->slow_told;
    if (board->fd < 0) {
        /* The worker writes to a scoreboard that this binary can't read. The state says that it
         * lives and whether it was ready; the worker only has to finish. */
        slot->state = saved->was_ready ? SLOT_BUSY : SLOT_STARTING;
        slot->ready = saved->was_ready != 0;
        slot->since = saved->ready_at ? saved->ready_at : saved->born;
        slot->program = saved->program ? (pid_t)saved->pid : 0;
    }
    resources_extend(resources, board, seat + seats);
    show_worker(spawner, worker);
    note_pid(spawner, worker, worker->pid, true);
    adopt_notify(spawner, worker, saved);
    if (saved->reporter_fd > STDERR_FILENO) /* if it fails, it reports what was before */
        worker->reporter = reporter_adopt(&spawner->boards, (int)saved->reporter_fd);
    stderr_log_adopt(&worker->lines, spawner->lines, conf->name, &resources->rate,
                     (int)saved->error_fd);
    worker->lines.accepted = &slot->accepted;
    worker->lines.took = &slot->service.sum;
    worker->lines.pid = worker->pid;
    snprintf(worker->lines.last, sizeof worker->lines.last, "%.*s", STDERR_LOG_LAST - 1,
             saved->last);
    return worker;
}

/* --- the fork --------------------------------------------------------------------------------- */

/* WATCHDOG_USEC in the program's configured environment, else ready_timeout. */
static usec watchdog_of(const struct pool_config *conf)
{
    static const char name[] = "WATCHDOG_USEC=";
    usec set = 0;
    for (int i = 0; i < conf->environment.count; i++) {
        const char *variable = conf->environment.at[i];
        if (strncmp(variable, name, sizeof name - 1) == 0)
            set = strtoll(variable + sizeof name - 1, NULL, 10);
    }
    return set > 0 ? set : conf->ready_timeout * USEC_SECOND;
}

/* Opens the worker's channels to the master: the pipe of standard error, whose writing end is put
 * into *error_fd; a program's notify socket; a reporter's socket, whose other end is put into
 * *boards_fd. 0 or -errno. */
static int open_channels(struct spawner *spawner, struct worker *worker, int *error_fd,
                         int *boards_fd)
{
    const struct pool_config *conf = worker->conf;
    struct slot *slot = worker->slot;
    int fd = stderr_log_open(&worker->lines, spawner->lines, conf->name, &worker->resources->rate);
    worker->lines.accepted = &slot->accepted;
    worker->lines.took = &slot->service.sum;
    if (fd < 0)
        return fd;
    *error_fd = fd;
    if (worker->app_policy.notifies) {
        worker->notify = notify_open(spawner->loop, conf->identity.uid, conf->chroot != NULL,
                                     slot->reason, sizeof slot->reason);
        if (!worker->notify)
            return -errno;
        worker->notify->changed = &worker->resources->changed;
        worker->notify->watchdog = watchdog_of(conf);
    }
    if (!handler_of(conf->handler)->reads_board)
        return 0;
    worker->reporter = reporter_open(&spawner->boards, boards_fd);
    return worker->reporter ? 0 : -errno;
}

/* Resets the record and the slot before the fork, because the child may write its slot before the
 * master returns from fork(). */
static void begin_record(struct worker *worker, usec now)
{
    struct slot *slot = worker->slot;
    struct seats_load load;
    seats_look(slot, worker->seats, &load);
    worker->born = now;
    worker->ready_at = 0;
    worker->accepted_before = load.accepted;
    worker->served_before = load.served;
    worker->cause = DEATH_OWN;
    worker->hung = false;
    worker->out_of_memory = false;
    worker->exit_handled = true;
    worker->left_group = false;
    slot->ready = false;
    slot->program = 0;
    slot->failed_starts = 0;
    for (int i = 0; i < TEMPLATES_MOST; i++)
        slot->templates.pids[i] = 0;
    slot->peer.family = 0;
    slot->retiring = 0;
    slot->since = now;
    slot->reason[0] = '\0';
    slot->state = SLOT_STARTING;
}

/* Whether the listener has other timeouts than the worker's connections need. The worker then sets
 * them itself. Programs may have set any on a listener that is lent to them. */
static bool has_other_timeouts(const struct listener *listener, const struct pool_config *conf)
{
    return listener->lent ||
           listener->timeouts != handler_timeouts(conf->handler, conf->idle_timeout);
}

static void fill_start(struct worker_start *start, const struct spawner *spawner,
                       const struct worker *worker, struct listener *const *listeners, int count)
{
    start->pool = worker->conf;
    start->log = worker->role == ROLE_CANARY ? &worker->config->log : NULL;
    start->master = spawner->master;
    start->seat = worker->seat;
    start->board = worker->board->map;
    start->limits = worker->resources->limits;
    start->overview_fd = spawner->boards.overview_reader;
    start->generation = worker->generation;
    start->wakeup = worker->board->wakeup.fd;
    start->polls = worker->polls;
    start->listener_count = count;
    start->sockets = listeners;
    start->number = worker->number;
    start->notify = worker->notify ? worker->notify->address : NULL;
    start->watchdog = worker->notify ? worker->notify->watchdog : 0;
    /* snprintf(3) would touch one more page of stack, which each fork would copy. */
    char *end = stpcpy(start->title, WORKER_TITLE_BEGIN);
    end = stpcpy(stpcpy(end, worker->conf->name), WORKER_TITLE_END);
    start->title_length = (size_t)(end - start->title);
    start->own_timeouts = false;
    for (int i = 0; i < count; i++) {
        start->listeners[i] = listeners[i]->fd;
        start->own_timeouts = start->own_timeouts || has_other_timeouts(listeners[i], worker->conf);
    }
}

/* Maps into the next child what its pool's workers share. Other pools' children never get it. */
static void share_memory(const struct worker_start *start, bool shared)
{
    shm_lend(start->board, sizeof *start->board, shared);
    if (start->limits)
        shm_lend(start->limits, sizeof *start->limits, shared);
}

/* Records a fork; without a pid, that it failed. */
static void note_fork(struct spawner *spawner, struct worker *worker, pid_t pid, usec now)
{
    bool lives = pid > 0;
    worker->pid = worker->lines.pid = lives ? pid : 0;
    note_pid(spawner, worker, pid, lives);
    if (worker->notify)
        worker->notify->pid = worker->pid;
    worker->next_signal = lives ? SIGKILL : 0;
    worker->deadline = lives ? now + worker->conf->ready_timeout * USEC_SECOND : USEC_NEVER;
    if (!lives) {
        close_channels(worker);
        worker->slot->state = SLOT_WAITING;
    }
    show_worker(spawner, worker);
}

int spawn_fork(struct spawner *spawner, struct worker *worker, struct listener *const *listeners,
               int listener_count)
{
    struct worker_start start; /* on the page of stack that fork() touches anyway */
    usec now = clock_now();
    int error_fd __attribute__((cleanup(fd_cleanup))) = -1;
    int boards_fd __attribute__((cleanup(fd_cleanup))) = -1;
    stderr_log_close(&worker->lines); /* the last process's */
    int error = open_channels(spawner, worker, &error_fd, &boards_fd);
    begin_record(worker, now);
    if (error) {
        fd_cleanup(&error_fd); /* or stderr_log would keep the pipe for this writer */
        stderr_log_close(&worker->lines);
        note_fork(spawner, worker, 0, now);
        return error;
    }
    fill_start(&start, spawner, worker, listeners, listener_count);
    start.error_fd = error_fd;
    start.boards_fd = boards_fd;
    share_memory(&start, true);
    pid_t pid = fork(); /* with all of the master's signals blocked: see loop */
    if (pid == 0)
        worker_run(&start);
    error = pid < 0 ? -errno : 0;
    share_memory(&start, false);
    note_fork(spawner, worker, pid, now);
    return error;
}

/* --- the exit --------------------------------------------------------------------------------- */

void spawn_reaped(struct spawner *spawner, struct worker *worker, int status,
                  const struct rusage *usage, usec now)
{
    struct overview *overview = spawner->boards.overview;
    struct overview_pool *pool = &overview->pools[worker->resources->place];
    note_pid(spawner, worker, worker->pid, false);
    worker->resources->changed = true;
    worker->resources->wakeups.asked = true; /* the worker may have died with a wake-up */
    worker->exit_status = status;
    worker->died = now;
    worker->was_ready = worker->ready_at || worker->slot->ready;
    if (worker->was_ready && !worker->ready_at)
        worker->ready_at = now;
    worker->exit_handled = false;
    worker->next_signal = 0;
    worker->deadline = USEC_NEVER;
    worker->killed_at = 0;
    worker->stuck = false;
    worker->shown->stuck = 0;
    /* Which clients it served is the worker's word: it is shown, and nothing depends on it. */
    struct seats_load load = spawn_load(worker, now);
    worker->in_hand = load.busy;
    worker->peer = load.busy == 1 ? load.longest->peer : (struct slot_peer){0};
    worker->cpu_user = usage->ru_utime.tv_sec * USEC_SECOND + usage->ru_utime.tv_usec;
    worker->cpu_system = usage->ru_stime.tv_sec * USEC_SECOND + usage->ru_stime.tv_usec;
    worker->memory = usage->ru_maxrss * 1024;
    close_channels(worker);
    if (worker->resources->limits)
        source_limits_forget(worker->resources->limits, worker->seat, worker->seats);
    seats_close(worker->slot, worker->seats);
    worker->slot->state = SLOT_WAITING;
    /* One move for reporters: they count this process's CPU time exactly once. */
    overview_begin_move(overview);
    pool->cpu_user += worker->cpu_user;
    pool->cpu_system += worker->cpu_system;
    worker->shown->pid = worker->pid = 0;
    worker->shown->state = SLOT_WAITING;
    worker->shown->slow = 0;
    worker->slow = 0;
    overview_end_move(overview);
}
