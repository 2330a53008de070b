/*
 * pool - a named set of like workers: how many there are, how many there should be. And the
 * runtime, which is all that is in force: the configuration, its pools and their listeners.
 *
 * Owns:      the list of pools, in which a removed one stays until its last worker is gone; each
 *            pool's workers, and their configuration and generation.
 * Knows not: signals, and how one configuration becomes the next (plan, reload). Upper rooms set a
 *            pool's size and configuration, and maintain makes it so.
 * Called by: maintain, plan, reload, handoff, commands, master, main_loop.
 * Runs in:   the master.
 */
#ifndef PREFORKD_MASTER_POOL_H
#define PREFORKD_MASTER_POOL_H

#include "../base/log.h"
#include "listener_upkeep.h"
#include "scale.h"
#include "spawn.h"
#include "state.h"

enum {
    /* A pool that may have so many seats waits in epoll. The kernel wakes workers blocked in
     * accept() in turn, and beyond some hundred of them each is cold when its turn comes. */
    POOL_POLLS_FROM = 128,
};

/* From a failed fork to the next try. */
#define POOL_FORK_RETRY (USEC_SECOND / 2)

struct pool {
    struct pool *next;
    char name[POOL_NAME_MAX + 1];
    struct resources resources; /* shared by its workers */
    struct worker *workers;     /* a list, the latest first */
    usec due;                   /* the next round of maintain, at the latest */

    struct config *config; /* counted: `conf` is a part of it */
    const struct pool_config *conf;
    unsigned generation; /* workers of an earlier one are stale */
    struct listener **listeners;
    int listener_count;

    bool polls; /* its generation waits in epoll; a resize does not change that */

    struct scale scale;               /* if its size follows the load */
    struct scale_orders scale_orders; /* of the last step */
    usec queue_looked;                /* when a pool of programs last looked at its queue */
    bool full_logged;
    struct loop *loop;          /* of `watches` */
    struct loop_watch *watches; /* one for each listener; NULL: they are not watched */
    int watch_count;

    int ready, retiring; /* workers, at the last export */
    int unreachable;     /* listeners, at the last export */

    int unplaced;        /* missing workers that have had no seats, or no memory, for a while */
    usec unplaced_since; /* 0: every worker found a place at the last try */
    int extra;     /* workers beyond the configured number, by TTIN and TTOU; may be negative */
    bool on_trial; /* a new pool whose canary is not ready yet: it has no other worker */
    bool drained;  /* by WINCH: no workers; the sockets stay */
    bool removed;  /* no longer configured: freed with its last worker */
    bool halted;   /* its roll has stopped: new workers did not stay ready, the old ones go on */
    bool carried;  /* over an upgrade: `conf` is a stub, which suffices for the ends of its workers
                      but not to fork one */

    uint64_t job; /* the latest job that changed its workers */

    struct listener *const *trial; /* the canaries' listeners, the plan's; NULL: no canary */
    int trial_count;

    usec background_looked; /* when processes in the background were last searched for */
    struct log_rate fork_failures, no_seat, full;
    int fork_error;  /* -errno of its last fork; 0: that succeeded */
    usec restart_at; /* because a listener was shut down, see pool_heal_listeners; 0: no restart */
    usec restarted;  /* for that reason, the last time; 0: never */
    char trouble[SCOREBOARD_REASON + 32]; /* why its latest worker did not start; empty: none */
};

/* Counts of a pool's workers. */
struct counts {
    int active; /* of the pool's generation, processes or waiting for a respawn */
    int ready;  /* of the active ones */
    int stayed; /* of the active ones: ready for min_ready_time */
    int failed; /* of the active ones: ended before that, or killed without an end */
    int tried;  /* of the active ones: stayed, failed, or ended ROLL_FAILURES times before that */
    int stale;  /* active, of an earlier generation */
    int retiring;
    int retiring_idle; /* of these: without a connection */
    int canaries, canaries_stayed;
    bool degraded;
};

/* Counts of the seats of a pool's ready workers. */
struct pool_seats {
    int count, busy;
};

/* A pool without workers. NULL: there is no room for another pool, or no memory. */
struct pool *pool_new(struct spawner *spawner, struct config *config,
                      const struct pool_config *conf, unsigned generation);

/* Hand a pool, without its workers, to the next binary. `conf` is a stub. */
void pool_save(const struct pool *pool, struct state_pool *saved);
struct pool *pool_adopt(struct spawner *spawner, const struct state_pool *saved,
                        struct config *config, const struct pool_config *conf);

/* Adopts one of its workers, under a `conf` of the worker's own. False: the pool has no scoreboard
 * of that generation, the seats are taken, or no memory is left. */
bool pool_adopt_worker(struct pool *pool, struct spawner *spawner, const struct state_worker *saved,
                       struct config *config, const struct pool_config *conf);

/* Something happened to the pool: maintain looks at it in this round. */
static inline void pool_touch(struct pool *pool)
{
    pool->resources.changed = true;
}

/* Puts a configuration in force, with its listeners, and takes over that array. Workers of earlier
 * generations are stale from now on. */
void pool_configure(struct pool *pool, struct config *config, const struct pool_config *conf,
                    unsigned generation, struct listener **listeners, int count);

/* Replaces its listeners, one by one. Takes over the array. */
void pool_exchange_listeners(struct pool *pool, struct listener **listeners);

/* The pool is no longer configured: retires its workers, and forgets its listeners, which the
 * caller closes or gives to another pool. */
void pool_remove(struct pool *pool);

/* Touches the pool while a connection waits at one of its listeners. False: the listeners can't be
 * watched, and none is. */
bool pool_watch(struct pool *pool, struct loop *loop);
void pool_unwatch(struct pool *pool);

/* Whether workers of this configuration wait in epoll. */
bool pool_polls(const struct pool_config *conf, int listener_count);

/* Whether a worker is active and of the generation in force. */
bool pool_is_current(const struct pool *pool, const struct worker *worker);

/* Whether the pool has all listeners of one of its workers. */
bool pool_has_listeners_of(const struct pool *pool, const struct worker *worker);

struct counts pool_counts(const struct pool *pool);
struct pool_seats pool_seats(const struct pool *pool);
int pool_room(const struct pool *pool);   /* how many seats are left beside its workers' */
int pool_target(const struct pool *pool); /* how many workers it should have */

/* How far the roll to the generation in force has got. */
struct roll pool_roll(const struct pool *pool, const struct counts *counts);

/* Why workers are missing: the last fork failed, or else how one ended. Empty: unknown. */
void pool_trouble(const struct pool *pool, char *text, size_t size);

/* Whether nothing more is to be expected of the pool soon: its new workers are ready or have
 * failed. And whether it has failed, and why, as a sentence. */
bool pool_has_tried(const struct pool *pool, const struct counts *counts);
bool pool_has_failed(const struct pool *pool, const struct counts *counts, char *why, size_t size);

/* Whether neither a worker nor a process group is left that can be ended; and whether moreover no
 * worker is left. */
bool pool_has_ended(const struct pool *pool);
bool pool_is_empty(const struct pool *pool);

/* Adds a worker, which is not forked yet. NULL with errno set. */
struct worker *pool_add_worker(struct pool *pool, struct spawner *spawner);

/* Forks a worker, a canary with the listeners of its trial. 0; or -errno, with the next try due
 * after POOL_FORK_RETRY. */
int pool_fork(struct pool *pool, struct spawner *spawner, struct worker *worker, usec now);

/* Adds and forks a canary: a worker of the coming generation. 0 or -errno. */
int pool_add_canary(struct pool *pool, struct spawner *spawner, struct config *config,
                    const struct pool_config *conf, unsigned generation,
                    struct listener *const *listeners, int count);

/* The canaries' generation is in force, and they become active; or it never will be, and they
 * retire. */
void pool_promote_canaries(struct pool *pool);
void pool_dismiss_canaries(struct pool *pool);

/* Retires a worker, which may take as long as it needs to finish its connections; a program gets
 * graceful_timeout, because nobody knows whether it serves any. */
void pool_retire(const struct pool *pool, struct worker *worker);

/* Removes the pool and retires its workers. Those not done within graceful_timeout are ended. */
void pool_stop(struct pool *pool, usec now);

/* Removes the pool and ends its workers, and the groups they left, at once. */
void pool_stop_now(struct pool *pool, usec now);

/* Heals listeners that were shut down, after a worker, `pid`, died. TCP listeners listen again at
 * once. The others must be bound anew, for new workers: pool->restart_at is set. */
void pool_heal_listeners(struct pool *pool, pid_t pid);

/* Whether it is time for that restart. If not yet, *next is lowered to when it is. */
bool pool_restart_is_due(struct pool *pool, usec now, usec *next);

struct runtime {
    struct spawner spawner;
    struct config *config;
    unsigned generation;
    struct pool *pools;
    struct listener *listeners;
    struct listener *control; /* NULL: none */
    struct listener_upkeep upkeep;
    bool programs_left; /* by a binary whose state is unusable: no pool knows them */
};

/* The configured pool of this name; NULL: none. */
struct pool *runtime_find(const struct runtime *runtime, const char *name);

/* Whether a pool still has the stub of a configuration that an upgrade carried over: no reload has
 * put the file in force since, and the pool can't fork workers. */
bool runtime_is_carried(const struct runtime *runtime);

/* The message about the file then. */
#define RUNTIME_CARRIED " is not in force since the upgrade: reload it"

/* What the restart of a drained pool is told; it takes the pool's name. */
#define POOL_IS_DRAINED "pool %s is drained: resume it instead"

void runtime_append(struct runtime *runtime, struct pool *pool);

/* Frees removed pools whose last worker is gone. */
void runtime_sweep(struct runtime *runtime);

/* Frees the pools that a stop leaves over: those with workers that were killed and do not end. */
void runtime_close(struct runtime *runtime);

/* How many more workers there may be. */
int runtime_room(const struct runtime *runtime);

/* Whether a program that the listener was lent to may still accept there. */
bool runtime_has_program(const struct runtime *runtime, const struct listener *listener);

/* Closes all pools' listeners, because the daemon stops. The control socket stays to the end. */
void runtime_close_listeners(struct runtime *runtime);

#endif
