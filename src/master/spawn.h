/*
 * spawn - the master's record of a worker, from the seats it gets until it is reaped.
 *
 * Owns:      struct worker: pid, role, pipes, signals sent; the fork.
 * Knows not: how many workers a pool should have (pool), why a worker has to go (stop), what
 *            follows from its exit (exits).
 * Called by: pool, maintain, stop, exits, master, in the master. The forked child calls worker_run.
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

/* What the master needs to start any worker. */
struct spawner {
    struct loop *loop;
    struct stderr_log_set *lines; /* the pipes of standard error */
    struct boards boards;
    struct worker *workers; /* by number; sparse, and not mapped in children: each page that the
                               master goes on writing would cost each child a copy */
    uint32_t *by_pid;       /* a living worker's number, plus 1; not mapped in children either */
    pid_t master;
    int lowest_free;                       /* no number below it is free */
    uint32_t slow_owners[SCOREBOARD_SLOW]; /* the worker of each slow entry: its number, plus 1 */
    usec slow_second;                      /* when a second began, for the log of slow requests */
    int slow_lines;                        /* lines that were logged about them in that second */
    usec grace_until; /* until then no worker is late: the machine or the master stood still */
};

/* An upgrade hands these numbers to the next binary: add new ones at the end. */
enum worker_role {
    ROLE_ACTIVE,   /* replaced when it ends */
    ROLE_CANARY,   /* the first of a generation that is not in force yet */
    ROLE_RETIRING, /* told to finish, not replaced */
};

/* When a worker that ended is respawned: see exits. */
struct backoff {
    unsigned early; /* early exits in a row */
    usec delay;     /* of the last respawn; 0: at once */
    bool degraded;  /* until a worker accepts or has been ready for BACKOFF_HEALED */

    /* Sums over the processes in this seat that ended in order, one after another. */
    usec alive; /* how long programs lived, less a part of the gaps between them */
    usec ready; /* how long they were ready */
};

struct worker {
    struct worker *next;           /* in its pool */
    struct slot *slot;             /* the first of its slots; NULL: this number is free */
    struct overview_worker *shown; /* what reporters see of it */
    struct resources *resources;
    struct board *board;
    uint32_t seat;  /* the number of its first slot, and of its claim on the limits per source */
    uint32_t seats; /* how many slots it has, and how many connections it serves at once */

    struct config *config; /* counted: the worker is forked under this configuration */
    const struct pool_config *conf;
    unsigned generation;
    bool polls;                   /* waits in epoll, as its whole generation does */
    struct app_policy app_policy; /* if the worker becomes a program */
    int number;                   /* of that program in its pool and generation, from 0 on */

    pid_t pid; /* 0: not forked yet, or reaped */
    usec born;
    usec ready_at;                           /* when the master saw it ready; 0: not yet */
    uint64_t accepted_before, served_before; /* the counts of its slots when it was forked */
    enum worker_role role;

    enum death_cause cause; /* why the master ended it */
    bool hung;              /* it had asked for that, by WATCHDOG=trigger */
    int next_signal;        /* sent at `deadline`, harder than the one before; 0: none */
    usec deadline;
    usec killed_at; /* when KILL was first sent; 0: it was not */
    bool stuck;     /* killed, and not reaped after KILLED_TIMEOUT: that was logged */

    usec requests_checked_at; /* when its seats were last searched for late requests */

    /* A slow request: see slow. */
    int slow;                 /* its entry in the overview, plus 1; 0: none */
    usec slow_since;          /* when the inspected request began */
    usec slow_logged;         /* when the logged request began */
    usec slow_next;           /* when to inspect it again */
    usec slow_cpu, slow_wait; /* the process's times at the first inspection */

    struct backoff backoff;
    usec respawn_at;   /* if its process was reaped */
    usec trying_since; /* the first fork since a process was last ready in this seat; 0: none */
    bool late;         /* none became ready within ready_timeout since then */
    bool expected;     /* the last process ended in order */
    bool continues;    /* and counts as ready until its successor is */
    bool stayed; /* ready for min_ready_time, together with predecessors that ended in order */
    unsigned failures;         /* exits in a row, in its seat, before min_ready_time was over */
    struct stderr_log lines;   /* keeps the pid after the process is reaped */
    struct reporter *reporter; /* NULL: the worker does not report, or was reaped */
    struct notify *notify;     /* NULL: not a program that says when it is ready, or reaped */

    /* Its exit, valid from the reaping until it is logged. */
    bool exit_handled;
    int exit_status; /* of wait4(2) */
    usec died;
    bool was_ready;
    usec cpu_user, cpu_system;
    int64_t memory;        /* peak, bytes */
    bool out_of_memory;    /* killed by the kernel's OOM killer */
    bool was_program;      /* it had become a program */
    bool left_group;       /* it left processes running */
    uint32_t in_hand;      /* connections it was serving */
    struct slot_peer peer; /* the client, if it was serving just one; family 0: none */
};

/* Makes the overview and the table of workers. 0 or -errno. */
int spawn_open(struct spawner *spawner, struct loop *loop);
void spawn_close(struct spawner *spawner);

/* Takes a number and seats for a worker that is not forked yet. NULL with errno set; ENOSPC: no
 * number or no seats are left. */
struct worker *spawn_prepare(struct spawner *spawner, struct resources *resources,
                             struct config *config, const struct pool_config *conf,
                             unsigned generation);

/* Gives a reaped worker's number and seats back. Its counts are added to those of its pool. */
void spawn_release(struct spawner *spawner, struct worker *worker);

/* Hand a worker, with its seats, to the next binary. `conf` is a stub, which says as much as the
 * worker needs. A worker without a process is adopted as retiring and reaped. NULL: no number is
 * free, or its seats are taken. */
void spawn_save(const struct worker *worker, struct state_worker *saved);
struct worker *spawn_adopt(struct spawner *spawner, const struct state_worker *saved,
                           struct resources *resources, struct board *board, struct config *config,
                           const struct pool_config *conf);

/* Forks a worker that was prepared or whose last process was reaped. 0 or -errno. */
int spawn_fork(struct spawner *spawner, struct worker *worker, struct listener *const *listeners,
               int listener_count);

/* Records the exit that wait4(2) reported. Its CPU time is added to that of its pool. */
void spawn_reaped(struct spawner *spawner, struct worker *worker, int status,
                  const struct rusage *usage, usec now);

/* Warns, once a scoreboard, that it holds what its workers can't rightly have written. */
void spawn_warn_broken(const struct worker *worker, const char *what);

/* The living worker with this pid; NULL: none. */
struct worker *spawn_find(const struct spawner *spawner, pid_t pid);

/* Whether a worker becomes, or has become, a program; and whether it has. */
static inline bool spawn_is_app(const struct worker *worker)
{
    return worker->app_policy.stop_signal != 0;
}
static inline bool spawn_is_program(const struct worker *worker)
{
    return spawn_is_app(worker) && worker->pid && worker->slot->program == worker->pid;
}

/* Once the master has seen a worker ready, it stays ready until its end, whatever its slot says: a
 * reload of all pools waits for it. */
static inline bool spawn_is_ready(const struct worker *worker)
{
    return worker->pid && (worker->ready_at || worker->slot->ready);
}

/* Whether a worker serves a connection, and whether it has a free seat. Each reads all of its seats
 * at most. */
static inline bool spawn_is_busy(const struct worker *worker)
{
    return worker->pid && seats_have(worker->slot, worker->seats, SLOT_BUSY);
}
static inline bool spawn_has_room(const struct worker *worker)
{
    return worker->pid && seats_have_other(worker->slot, worker->seats, SLOT_BUSY);
}

/* Whether the present process has accepted a connection. */
static inline bool spawn_has_accepted(const struct worker *worker)
{
    struct seats_load load;
    seats_look(worker->slot, worker->seats, &load);
    return load.accepted != worker->accepted_before;
}

static inline int spawn_number(const struct spawner *spawner, const struct worker *worker)
{
    return (int)(worker - spawner->workers);
}

/* Clamps a time that a worker wrote to between its start and now. */
static inline usec spawn_time(const struct worker *worker, usec time, usec now)
{
    return time < worker->born ? worker->born : time > now ? now : time;
}

/* What a worker's seats say that it is doing, with `since` clamped. */
static inline struct seats_load spawn_load(const struct worker *worker, usec now)
{
    struct seats_load load;
    seats_look(worker->slot, worker->seats, &load);
    load.since = spawn_time(worker, load.since, now);
    return load;
}

#endif
