#include "spawn.h"

#include "../base/arena.h"
#include "../base/fd.h"
#include "../base/launch.h"
#include "../shared/exitcode.h"
#include "../shared/sources.h"
#include "../worker/worker.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TABLE_SIZE = SCOREBOARD_SLOTS * sizeof(struct worker) };

int spawn_open(struct spawner *spawner)
{
    worker_prepare();
    spawner->workers = arena_unforked(TABLE_SIZE);
    return spawner->workers ? 0 : -errno;
}

void spawn_close(struct spawner *spawner)
{
    if (spawner->workers)
        munmap(spawner->workers, TABLE_SIZE);
}

struct worker *spawn_prepare(struct spawner *spawner, int board_pool, struct config *config,
                             const struct pool_config *conf, unsigned generation)
{
    int number = spawner->lowest_free;
    while (number < SCOREBOARD_SLOTS && spawner->workers[number].slot)
        number++;
    spawner->lowest_free = number;
    if (number == SCOREBOARD_SLOTS)
        return NULL;
    struct worker *worker = &spawner->workers[number];
    *worker = (struct worker){
        .slot = scoreboard_take(spawner->board, number, board_pool),
        .board_pool = board_pool,
        .config = config,
        .conf = conf,
        .generation = generation,
        .terms = handler_terms(conf->handler, conf->handler_config),
        .deadline = USEC_NEVER,
        .lines.watch.fd = -1,
        .mourned = true,
    };
    config_ref(config);
    return worker;
}

void spawn_save(const struct spawner *spawner, const struct worker *worker,
                struct state_worker *saved)
{
    *saved = (struct state_worker){
        .slot = spawn_number(spawner, worker),
        .place = worker->board_pool,
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
        .overdue_program = worker->overdue_program,
        .program_deadline = worker->program_deadline,
        .error_fd = worker->lines.watch.fd,
        .stop_signal = worker->terms.stop_signal,
        .notify_fd = worker->notify ? worker->notify->watch.fd : -1,
        .watchdog = worker->notify ? worker->notify->watchdog : 0,
        .alive_at = worker->notify ? worker->notify->alive_at : 0,
        .uid = worker->conf->identity.uid,
        .core = worker->conf->limits.value[LIMIT_CORE],
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
    worker->notify->pid = worker->pid;
    worker->notify->watchdog = saved->watchdog;
    worker->notify->alive_at = saved->alive_at;
}

/* The program before has told of the request that it showed as slow. */
static usec told_of(const struct scoreboard *board, const struct slot *slot)
{
    uint32_t entry = slot->slow;
    return entry && entry <= SCOREBOARD_SLOW ? board->slow[entry - 1].since : 0;
}

struct worker *spawn_adopt(struct spawner *spawner, const struct state_worker *saved,
                           struct config *config, const struct pool_config *conf,
                           struct lines_rate *rate)
{
    if (saved->slot >= SCOREBOARD_SLOTS || spawner->workers[saved->slot].slot)
        return NULL;
    struct worker *worker = &spawner->workers[saved->slot];
    *worker = (struct worker){
        .slot = &spawner->board->slots[saved->slot],
        .board_pool = (int)saved->place,
        .config = config,
        .conf = conf,
        .generation = (unsigned)saved->generation,
        .terms.stop_signal = (int)saved->stop_signal,
        .pid = (pid_t)saved->pid,
        .born = saved->born,
        .ready_at = saved->ready_at,
        .accepted_before = (uint64_t)saved->accepted,
        .served_before = (uint64_t)saved->served,
        .role = saved->pid ? (enum worker_role)saved->role : ROLE_RETIRING,
        .cause = saved->cause < DEATH_CAUSES ? (enum death_cause)saved->cause : DEATH_OWN,
        .next_signal = (int)saved->next_signal,
        .deadline = saved->deadline,
        .overdue_program = (pid_t)saved->overdue_program,
        .program_deadline = saved->program_deadline,
        .mourned = true,
    };
    worker->slow_told = told_of(spawner->board, worker->slot);
    worker->slot->slow = 0;
    config_ref(config);
    adopt_notify(spawner, worker, saved);
    lines_adopt(&worker->lines, spawner->loop, conf->name, rate, (int)saved->error_fd);
    worker->lines.pid = worker->pid;
    snprintf(worker->lines.last, sizeof worker->lines.last, "%.*s", LINES_LAST - 1, saved->last);
    return worker;
}

static void close_notify(struct worker *worker)
{
    notify_close(worker->notify);
    worker->notify = NULL;
}

void spawn_release(struct spawner *spawner, struct worker *worker)
{
    int number = spawn_number(spawner, worker);
    lines_close(&worker->lines);
    close_notify(worker);
    scoreboard_give(spawner->board, number, worker->board_pool);
    config_unref(worker->config);
    worker->slot = NULL;
    if (number < spawner->lowest_free)
        spawner->lowest_free = number;
}

_Static_assert(sizeof WORKER_TITLE_BEGIN + POOL_NAME_MAX + sizeof WORKER_TITLE_END <= WORKER_TITLE,
               "a title has room for every name");

/* What the master knows of a new life, before the fork: the child may be faster than we are. */
static void begin_life(struct worker *worker, usec now)
{
    struct slot *slot = worker->slot;
    worker->born = slot->born = now;
    worker->ready_at = 0;
    worker->accepted_before = slot->accepted;
    worker->served_before = slot->served;
    worker->cause = DEATH_OWN;
    worker->out_of_memory = false;
    worker->mourned = true;
    slot->generation = worker->generation;
    slot->ready = false;
    slot->program = 0;
    slot->peer.family = 0;
    slot->retiring = 0;
    slot->since = now;
    slot->reason[0] = '\0';
    slot->state = SLOT_STARTING;
}

static void give_birth(struct worker_birth *birth, const struct spawner *spawner,
                       const struct worker *worker, struct listener *const *listeners, int count)
{
    birth->pool = worker->conf;
    birth->log = worker->role == ROLE_CANARY ? &worker->config->log : NULL;
    birth->board = spawner->board;
    birth->slot = worker->slot;
    birth->master = spawner->master;
    birth->board_pool = worker->board_pool;
    birth->bell = spawner->bell;
    birth->polls = worker->polls;
    birth->listener_count = count;
    birth->sockets = listeners;
    birth->number = worker->number;
    birth->notify = worker->notify ? worker->notify->address : NULL;
    birth->watchdog = worker->notify ? worker->notify->watchdog : 0;
    /* Not by snprintf(3), whose stack would be one more page to copy after each fork. */
    char *end = stpcpy(birth->title, WORKER_TITLE_BEGIN);
    end = stpcpy(stpcpy(end, worker->conf->name), WORKER_TITLE_END);
    birth->title_length = (size_t)(end - birth->title);
    for (int i = 0; i < count; i++)
        birth->listeners[i] = listeners[i]->fd;
}

/* Whoever is told by the pool's environment, is taken at its word. */
static usec watchdog_of(const struct pool_config *conf)
{
    static const char name[] = "WATCHDOG_USEC=";
    usec told = 0;
    for (int i = 0; i < conf->environment.count; i++) {
        const char *variable = conf->environment.at[i];
        if (strncmp(variable, name, sizeof name - 1) == 0)
            told = strtoll(variable + sizeof name - 1, NULL, 10);
    }
    return told > 0 ? told : conf->ready_timeout * USEC_SECOND;
}

/* What is heard of it: its standard error, whose writing end this returns; and its notices. Or
 * -errno. */
static int open_ears(const struct spawner *spawner, struct worker *worker, struct lines_rate *rate)
{
    int error_fd = lines_open(&worker->lines, spawner->loop, worker->conf->name, rate);
    if (error_fd < 0 || !worker->terms.notifies)
        return error_fd;
    worker->notify = notify_open(spawner->loop, worker->conf->identity.uid, worker->slot->reason,
                                 sizeof worker->slot->reason);
    if (!worker->notify) {
        int error = -errno;
        lines_close(&worker->lines);
        close(error_fd);
        return error;
    }
    worker->notify->watchdog = watchdog_of(worker->conf);
    return error_fd;
}

int spawn_fork(const struct spawner *spawner, struct worker *worker,
               struct listener *const *listeners, int listener_count, struct lines_rate *rate)
{
    struct worker_birth birth; /* on the page of stack that fork() writes to anyway */
    usec now = clock_now();
    lines_close(&worker->lines); /* of the life before */
    int error_fd = open_ears(spawner, worker, rate);
    if (error_fd < 0)
        return error_fd;
    begin_life(worker, now);
    give_birth(&birth, spawner, worker, listeners, listener_count);
    birth.error_fd = error_fd;
    pid_t pid = fork(); /* every signal that the master takes is blocked: see loop */
    if (pid == 0)
        worker_run(&birth);
    int error = pid < 0 ? -errno : 0;
    close(error_fd);
    worker->pid = worker->lines.pid = error ? 0 : pid;
    if (worker->notify)
        worker->notify->pid = pid;
    if (error)
        close_notify(worker);
    worker->slot->pid = worker->pid;
    worker->next_signal = error ? 0 : SIGKILL;
    worker->deadline = error ? USEC_NEVER : now + worker->conf->ready_timeout * USEC_SECOND;
    if (error)
        worker->slot->state = SLOT_WAITING;
    return error;
}

void spawn_tell_program(const struct worker *worker, pid_t group, int number)
{
    if (group > 1 && group != getpgrp())
        launch_kill_group(worker->conf->identity.uid, group, number);
}

/* The program of a worker that was killed goes on without it: its group is in the slot. And of a
 * program that was told to end, what it started may not have. */
static void end_program(struct worker *worker)
{
    pid_t group = worker->slot->program;
    worker->slot->program = 0;
    spawn_tell_program(worker, group, SIGKILL);
    if (worker->overdue_program != group)
        spawn_tell_program(worker, worker->overdue_program, SIGKILL);
    worker->overdue_program = 0;
}

void spawn_set_retiring(struct worker *worker)
{
    worker->role = ROLE_RETIRING;
    worker->slot->retiring = 1;
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
static void settle(struct scoreboard *board, struct worker *worker)
{
    struct scoreboard_pool *pool = &board->pools[worker->board_pool];
    scoreboard_begin_move(board);
    pool->cpu_user += worker->cpu_user;
    pool->cpu_system += worker->cpu_system;
    worker->slot->pid = worker->pid = 0;
    worker->slot->slow = 0;
    worker->slow = 0;
    scoreboard_end_move(board);
}

void spawn_reaped(const struct spawner *spawner, struct worker *worker, int status,
                  const struct rusage *usage, usec now)
{
    worker->status = status;
    worker->died = now;
    worker->was_ready = worker->slot->ready;
    if (worker->was_ready && !worker->ready_at)
        worker->ready_at = now;
    worker->mourned = false;
    worker->next_signal = 0;
    worker->deadline = USEC_NEVER;
    note_life(worker, usage);
    close_notify(worker);
    end_program(worker);
    worker->slot->reason[SCOREBOARD_REASON - 1] = '\0'; /* its word, not ours */
    sources_forget(worker->slot);
    worker->slot->state = SLOT_WAITING;
    settle(spawner->board, worker);
}

void spawn_tell(struct worker *worker, int number, int next_signal, usec deadline)
{
    if (worker->pid) /* not reaped: the number is still its own */
        kill(worker->pid, number);
    worker->next_signal = next_signal;
    worker->deadline = deadline;
}

/* Why a signal that dumps core left none (core(5)). */
static const char *core_reason(const struct worker *worker)
{
    static char pattern[128];
    long long asked = worker->conf->limits.value[LIMIT_CORE];
    struct rlimit ours;
    if (asked == 0)
        return "limits { core = 0 }";
    if (asked == OPTION_UNSET && getrlimit(RLIMIT_CORE, &ours) == 0 && ours.rlim_cur == 0)
        return "the limit of core files is 0, see limits { core }";
    if (asked == OPTION_UNSET && geteuid() == 0)
        return "it has changed its user, see limits { core }";
    FILE *file = fopen("/proc/sys/kernel/core_pattern", "re");
    char words[64] = "";
    if (file && fgets(words, sizeof words, file))
        words[strcspn(words, "\n")] = '\0';
    if (file)
        fclose(file);
    snprintf(pattern, sizeof pattern, "see directory, its rights, and kernel.core_pattern = %s",
             words);
    return pattern;
}

void spawn_obituary(const struct worker *worker, struct obituary *obituary)
{
    const struct slot *slot = worker->slot;
    int status = worker->status;
    bool asks_core =
        WIFSIGNALED(status) && !WCOREDUMP(status) && obituary_signal_dumps(WTERMSIG(status));
    *obituary = (struct obituary){
        .pool = worker->conf->name,
        .pid = worker->lines.pid,
        .generation = worker->generation,
        .status = status,
        .cause = worker->cause,
        .ready = worker->was_ready,
        .served = slot->served - worker->served_before,
        .age = worker->died - worker->born,
        .cpu_user = worker->cpu_user,
        .cpu_system = worker->cpu_system,
        .memory = worker->memory,
        .out_of_memory = worker->out_of_memory,
        .peer = worker->peer,
        .reason = slot->reason,
        .last = worker->lines.last,
        .program = worker->was_program,
        .stop_signal = worker->terms.stop_signal,
        .no_core = asks_core ? core_reason(worker) : NULL,
    };
}

int spawn_number(const struct spawner *spawner, const struct worker *worker)
{
    return (int)(worker - spawner->workers);
}

bool spawn_is_ready(const struct worker *worker)
{
    return worker->pid && worker->slot->ready;
}

bool spawn_is_busy(const struct worker *worker)
{
    return worker->pid && worker->slot->state == SLOT_BUSY;
}

bool spawn_has_accepted(const struct worker *worker)
{
    return worker->slot->accepted != worker->accepted_before;
}
