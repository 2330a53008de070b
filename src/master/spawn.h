/*
 * spawn - a worker's record in the master, from the seat that it gets to the exit that is reaped.
 *
 * Owns:      struct worker: pid, role, pipes, what the worker was sent; the fork.
 * Knows not: how many workers there should be (pool), why one has to go (stop), what follows from
 *            its exit (exits).
 * Called by: pool, maintain, stop, exits, master, in the master; the child that it forks goes into
 *            worker_run.
 */
#ifndef PREFORKD_MASTER_SPAWN_H
#define PREFORKD_MASTER_SPAWN_H

#include "../base/loop.h"
#include "../board/scoreboard.h"
#include "../config/config.h"
#include "../handlers/handler.h"
#include "../listeners/listener.h"
#include "boards.h"
#include "notify.h"
#include "state.h"

struct rusage;
struct worker;

/* What every start needs of the master. */
struct spawner {
    struct loop *loop;
    struct stderr_log_set *lines; /* the pipes of standard error */
    struct boards boards;
    struct worker *workers; /* by number; sparse, and not there in children: what the master goes on
                               writing would cost each of them a page of their own */
    uint32_t *by_pid;       /* a living worker's number, plus 1; the same */
    pid_t master;
    int lowest_free;                       /* no number below it is free */
    uint32_t slow_owners[SCOREBOARD_SLOW]; /* the worker of each slow entry: its number, plus 1 */
    usec slow_second;                      /* since when lines about them were counted, */
    int slow_lines;                        /* and how many there were */
    usec grace_until; /* no worker is late before: the machine, or we, stood still */
};

/* These numbers go over to a binary that replaces us: new ones come last. */
enum worker_role {
    ROLE_ACTIVE,   /* one of its pool's workers: replaced when it ends */
    ROLE_CANARY,   /* the first of a generation that is not in force yet */
    ROLE_RETIRING, /* told to finish: not replaced */
};

/* See exits. */
struct backoff {
    unsigned early; /* early exits in a row */
    usec delay;     /* of the last respawn; 0: at once */
    bool degraded;  /* until a worker accepts, or has been ready for BACKOFF_HEALED */

    /* Of the programs before this one that ended in order, one after another: */
    usec alive; /* how long they lived, less a part of the gaps between them */
    usec ready; /* how long they were ready */
};

struct worker {
    struct worker *next;           /* of its pool */
    struct slot *slot;             /* its first in its scoreboard; NULL: the number is free */
    struct overview_worker *shown; /* what reporters see of it */
    struct resources *resources;
    struct board *board;
    uint32_t seat;  /* the number of that slot, and of its claim on the limits; and */
    uint32_t seats; /* how many it has, one after another: it serves as many connections at once */

    struct config *config; /* counted: that under which it was forked, or is to be */
    const struct pool_config *conf;
    unsigned generation;
    bool polls;                   /* waits in epoll, as all of its generation do */
    struct app_policy app_policy; /* of a worker that becomes a program */
    int number;                   /* among those of its pool and generation that do so, from 0 on */

    pid_t pid; /* 0: it has ended, or was not forked yet */
    usec born;
    usec ready_at;                           /* when the master saw that it is; 0 not yet */
    uint64_t accepted_before, served_before; /* of its slots, at its start */
    enum worker_role role;

    enum death_cause cause; /* what we did to end it */
    bool hung;              /* and that it had said itself, by WATCHDOG=trigger */
    int next_signal;        /* sent at `deadline`, harder than the last; 0: none */
    usec deadline;

    usec looked_at; /* when its seats were last looked at for the time that requests take */

    /* Its request, if that is slow: see master/slow. */
    int slow;                 /* the entry, plus 1; 0: none */
    usec slow_since;          /* when the one began that was looked into */
    usec slow_logged;         /* the same of the one that was logged */
    usec slow_next;           /* when to look again */
    usec slow_cpu, slow_wait; /* what had been used before */

    struct backoff backoff;
    usec respawn_at;   /* of one that has ended */
    usec trying_since; /* when the first in its seat was forked since one got ready there; 0 */
    bool late;         /* none did within ready_timeout */
    bool expected;     /* the last one ended in order */
    bool continues;    /* and its place was ready, as it is in effect while the next one begins */
    bool stayed;       /* it was ready for min_ready_time, or those before it that ended in order */
    unsigned failures; /* exits in a row, in its seat, before they had stayed */
    struct stderr_log lines;   /* keeps the pid of one that has ended */
    struct reporter *reporter; /* of a living one that reports; else NULL */
    struct notify *notify;     /* of a living program that says when it is ready; else NULL */

    /* Its exit, from when it is reaped until it is logged. */
    bool exit_handled;
    int status;
    usec died;
    bool was_ready;
    usec cpu_user, cpu_system;
    int64_t memory;        /* peak, bytes */
    bool out_of_memory;    /* the kernel killed it for that */
    bool was_program;      /* it had become one */
    bool left_group;       /* what it ran was not all gone */
    uint32_t in_hand;      /* connections; and */
    struct slot_peer peer; /* of the only one; family 0: none */
};

/* Makes the overview and the table of workers. 0 or -errno. */
int spawn_open(struct spawner *spawner, struct loop *loop);
void spawn_close(struct spawner *spawner);

/* Takes a number and seats for a worker of a pool's configuration, not yet forked. NULL with errno
 * set: ENOSPC if there are none left. */
struct worker *spawn_prepare(struct spawner *spawner, struct resources *resources,
                             struct config *config, const struct pool_config *conf,
                             unsigned generation);

/* Gives number and seats back. The worker must have ended; what it counted stays with the pool. */
void spawn_release(struct spawner *spawner, struct worker *worker);

/* For the binary that replaces us, and in it: the worker in its seats, as it was, of a
 * configuration that says as much. NULL if they are not free. A worker without a process is
 * retiring, and ended. */
void spawn_save(const struct worker *worker, struct state_worker *saved);
struct worker *spawn_adopt(struct spawner *spawner, const struct state_worker *saved,
                           struct resources *resources, struct board *board, struct config *config,
                           const struct pool_config *conf);

/* Forks a worker that was prepared, or whose last process was reaped. 0 or -errno. */
int spawn_fork(struct spawner *spawner, struct worker *worker, struct listener *const *listeners,
               int listener_count);

/* Notes that wait4(2) reported it. What it used stays with its pool. */
void spawn_reaped(struct spawner *spawner, struct worker *worker, int status,
                  const struct rusage *usage, usec now);

/* Says once that a scoreboard holds what its workers can't rightly have written. */
void spawn_warn_broken(const struct worker *worker, const char *what);

/* The worker that a pid belongs to; NULL: none that lives. */
struct worker *spawn_find(const struct spawner *spawner, pid_t pid);

/* Whether it becomes a program, which it may have done already, and whether it has. */
static inline bool spawn_is_app(const struct worker *worker)
{
    return worker->app_policy.stop_signal != 0;
}
static inline bool spawn_is_program(const struct worker *worker)
{
    return spawn_is_app(worker) && worker->pid && worker->slot->program == worker->pid;
}

/* Once seen it is so until its end, whatever is written into the slot: a reload of all pools waits
 * for it. */
static inline bool spawn_is_ready(const struct worker *worker)
{
    return worker->pid && (worker->ready_at || worker->slot->ready);
}

/* Whether it has a connection in hand, and whether it can take another one. A look at all of its
 * seats at most. */
static inline bool spawn_is_busy(const struct worker *worker)
{
    return worker->pid && seats_have(worker->slot, worker->seats, SLOT_BUSY);
}
static inline bool spawn_has_room(const struct worker *worker)
{
    return worker->pid && seats_have_other(worker->slot, worker->seats, SLOT_BUSY);
}

/* Whether this process has accepted a connection. */
static inline bool spawn_has_accepted(const struct worker *worker)
{
    return seats_accepted(worker->slot, worker->seats) != worker->accepted_before;
}

static inline int spawn_number(const struct spawner *spawner, const struct worker *worker)
{
    return (int)(worker - spawner->workers);
}

/* A time that it wrote, kept between its start and now. */
static inline usec spawn_time(const struct worker *worker, usec time, usec now)
{
    return time < worker->born ? worker->born : time > now ? now : time;
}

/* What its seats say that it is doing, `since` kept so. */
static inline struct seats_load spawn_load(const struct worker *worker, usec now)
{
    struct seats_load load;
    seats_look(worker->slot, worker->seats, &load);
    load.since = spawn_time(worker, load.since, now);
    return load;
}

#endif
