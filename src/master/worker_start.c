#include "worker_start.h"

#include "../base/fd.h"
#include "../base/shm.h"
#include "../worker/worker.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

_Static_assert(sizeof WORKER_TITLE_BEGIN + POOL_NAME_MAX + sizeof WORKER_TITLE_END <= WORKER_TITLE,
               "a title has room for every name");

/* What the master knows of a new life, before the fork: the child may be faster than we are. */
static void begin_life(struct worker *worker, usec now)
{
    struct slot *slot = worker->slot;
    worker->born = now;
    worker->ready_at = 0;
    worker->accepted_before = slot->accepted;
    worker->served_before = slot->served;
    worker->cause = DEATH_OWN;
    worker->hung = false;
    worker->out_of_memory = false;
    worker->mourned = true;
    worker->left_group = false;
    slot->ready = false;
    slot->program = 0;
    slot->failed_starts = 0;
    slot->peer.family = 0;
    slot->retiring = 0;
    slot->since = now;
    slot->reason[0] = '\0';
    slot->state = SLOT_STARTING;
}

static void give_birth(struct worker_start *start, const struct spawner *spawner,
                       const struct worker *worker, struct listener *const *listeners, int count)
{
    start->pool = worker->conf;
    start->log = worker->role == ROLE_CANARY ? &worker->config->log : NULL;
    start->master = spawner->master;
    start->seat = worker->seat;
    start->board = worker->board->map;
    start->limits = worker->resources->limits;
    start->overview_fd = spawner->boards.overview_reader;
    start->boards_fd = -1;
    start->generation = worker->generation;
    start->wakeup = worker->board->wakeup.fd;
    start->polls = worker->polls;
    start->listener_count = count;
    start->sockets = listeners;
    start->number = worker->number;
    start->notify = worker->notify ? worker->notify->address : NULL;
    start->watchdog = worker->notify ? worker->notify->watchdog : 0;
    /* Not by snprintf(3), whose stack would be one more page to copy after each fork. */
    char *end = stpcpy(start->title, WORKER_TITLE_BEGIN);
    end = stpcpy(stpcpy(end, worker->conf->name), WORKER_TITLE_END);
    start->title_length = (size_t)(end - start->title);
    for (int i = 0; i < count; i++)
        start->listeners[i] = listeners[i]->fd;
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

static int open_notify(const struct spawner *spawner, struct worker *worker)
{
    if (!worker->app_policy.notifies)
        return 0;
    worker->notify =
        notify_open(spawner->loop, worker->conf->identity.uid, worker->conf->chroot != NULL,
                    worker->slot->reason, sizeof worker->slot->reason);
    if (!worker->notify)
        return -errno;
    worker->notify->changed = &worker->resources->changed;
    worker->notify->watchdog = watchdog_of(worker->conf);
    return 0;
}

static int open_reporter(struct spawner *spawner, struct worker *worker, int *fd)
{
    if (!handler_of(worker->conf->handler)->reads_board)
        return 0;
    worker->reporter = reporter_open(&spawner->boards, fd);
    return worker->reporter ? 0 : -errno;
}

/* The ways between it and us: its standard error, whose writing end goes into *error_fd; its notices;
 * a reporter's questions, whose other end goes into *boards_fd. 0 or -errno. */
static int open_ways(struct spawner *spawner, struct worker *worker, int *error_fd, int *boards_fd)
{
    int fd = stderr_log_open(&worker->lines, spawner->lines, worker->conf->name,
                             &worker->resources->rate);
    worker->lines.accepted = &worker->slot->accepted;
    worker->lines.took = &worker->slot->service.sum;
    if (fd < 0)
        return fd;
    *error_fd = fd;
    int error = open_notify(spawner, worker);
    return error ? error : open_reporter(spawner, worker, boards_fd);
}

/* What the worker shares with its pool, and no other pool's: no other child has it. */
static void lend(const struct worker_start *start, bool lent)
{
    shm_lend(start->board, sizeof *start->board, lent);
    if (start->limits)
        shm_lend(start->limits, sizeof *start->limits, lent);
}

int worker_start_fork(struct spawner *spawner, struct worker *worker,
                      struct listener *const *listeners, int listener_count)
{
    struct worker_start start; /* on the page of stack that fork() writes to anyway */
    usec now = clock_now();
    int error_fd __attribute__((cleanup(fd_cleanup))) = -1;
    int boards_fd __attribute__((cleanup(fd_cleanup))) = -1;
    stderr_log_close(&worker->lines); /* of the life before */
    int error = open_ways(spawner, worker, &error_fd, &boards_fd);
    begin_life(worker, now);
    if (error) {
        fd_cleanup(&error_fd); /* or the pipe would be kept for it */
        stderr_log_close(&worker->lines);
        spawn_born(spawner, worker, 0, now);
        return error;
    }
    give_birth(&start, spawner, worker, listeners, listener_count);
    start.error_fd = error_fd;
    start.boards_fd = boards_fd;
    lend(&start, true);
    pid_t pid = fork(); /* every signal that the master takes is blocked: see loop */
    if (pid == 0)
        worker_run(&start);
    error = pid < 0 ? -errno : 0;
    lend(&start, false);
    spawn_born(spawner, worker, pid, now);
    return error;
}
