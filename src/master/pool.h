/*
 * pool - a named set of like workers: how many there are, how many there should be; and the
 * runtime, which is what is in force: a configuration, its pools and its listeners.
 *
 * Owns:      the list of pools, in which removed ones stay until their last worker is gone; the
 *            workers of each, and which configuration and generation they are of.
 * Knows not: how one configuration becomes the next (plan, reload), signals. Those above
 *            set a pool's size and configuration, and maintain makes it so.
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
    /* So many workers, and more, wait in epoll: blocked in accept() they are woken in turn, and
     * past some hundred each one is cold when its turn comes. */
    POOL_POLLS_FROM = 128,
};

/* From a fork that failed to the next try. */
#define POOL_FORK_RETRY (USEC_SECOND / 2)

struct pool {
    struct pool *next;
    char name[POOL_NAME_MAX + 1];
    struct resources resources; /* that its workers share */
    struct worker *workers;     /* from it on by `next`, the latest first */
    usec due;                   /* when it must be looked at, whatever happens */

    struct config *config; /* counted: that in which `conf` lies */
    const struct pool_config *conf;
    unsigned generation; /* workers of an earlier one are stale */
    struct listener **listeners;
    int listener_count;

    bool polls; /* how its generation waits; a resize alone changes nothing in it */

    struct scale scale;               /* where its size follows the load */
    struct scale_orders scale_orders; /* of the last step */
    usec queue_looked;                /* when the queue was last looked at for that, of programs */
    bool full_logged;
    struct loop *loop;          /* of `watches` */
    struct loop_watch *watches; /* one a listener; NULL: they are not watched */
    int watch_count;

    int ready, retiring; /* workers, when it was last looked at */
    int unreachable;     /* listeners, then */

    int extra;     /* workers more than configured, by TTIN and TTOU; may be negative */
    bool on_trial; /* a new pool whose canary is not ready yet: no worker but that */
    bool drained;  /* by WINCH: no worker, the sockets stay */
    bool removed;  /* no longer configured: gone when its last worker is */
    bool halted;   /* its roll has stopped: new workers did not stay, and old ones go on */
    bool carried; /* over from before an upgrade: `conf` has just what the ends of its workers need,
                      and no worker can be forked of it */

    uint64_t job; /* the latest one that changed its workers */

    struct listener *const *trial; /* of its canaries; NULL: it has none. The plan's */
    int trial_count;

    usec background_looked; /* when it was last looked what is left of its programs */
    struct log_rate fork_failures, no_seat, full;
    usec restart_at; /* since a listener was shut down, see pool_heal_listeners; 0: not at all */
    usec restarted;  /* for that, the last time; 0: never */
    char trouble[SCOREBOARD_REASON + 32]; /* why its latest worker could not start; empty: none */
};

/* What its workers do, counted at one look. */
struct counts {
    int active; /* of the pool's generation, waiting for a respawn or not */
    int ready;  /* of these: ready */
    int stayed; /* of these: ready for min_ready_time */
    int failed; /* of these: dead before they had stayed */
    int stale;  /* active, of an earlier generation */
    int retiring;
    int retiring_idle; /* of these: without a connection */
    int canaries, canaries_stayed;
    bool degraded;
};

/* Of its ready workers, at one look at all of them. */
struct pool_seats {
    int count, busy;
};

/* A pool without workers. NULL if there is no room. */
struct pool *pool_new(struct spawner *spawner, struct config *config,
                      const struct pool_config *conf, unsigned generation);

/* For an upgrade: what `pool_save` said makes a pool again, without its workers, of a configuration
 * that says as much. */
void pool_save(const struct pool *pool, struct state_pool *saved);
struct pool *pool_adopt(struct spawner *spawner, const struct state_pool *saved,
                        struct config *config, const struct pool_config *conf);

/* Takes one of its workers over, under a `conf` of its own. False if it can't be: then the pool has
 * no scoreboard of its generation, or no memory is left. */
bool pool_adopt_worker(struct pool *pool, struct spawner *spawner, const struct state_worker *saved,
                       struct config *config, const struct pool_config *conf);

/* Something happened to it: it is looked at in this round. */
static inline void pool_touch(struct pool *pool)
{
    pool->resources.changed = true;
}

/* Puts a configuration in force, with its listeners (taken over). Workers of an earlier generation
 * are stale from now on. */
void pool_configure(struct pool *pool, struct config *config, const struct pool_config *conf,
                    unsigned generation, struct listener **listeners, int count);

/* Gives it others in the place of the same (taken over). */
void pool_exchange_listeners(struct pool *pool, struct listener **listeners);

/* No longer configured: its workers are retired, and its listeners are closed next, or another
 * pool's. */
void pool_remove(struct pool *pool);

/* Looks at the pool while a connection waits at one of its listeners. False if that fails: they are
 * not watched then. */
bool pool_watch(struct pool *pool, struct loop *loop);
void pool_unwatch(struct pool *pool);

/* Whether workers of this configuration wait in epoll. */
bool pool_polls(const struct pool_config *conf, int listener_count);

/* Whether a worker is of the generation in force, and goes on. */
bool pool_is_current(const struct pool *pool, const struct worker *worker);

struct counts pool_counts(const struct pool *pool);
struct pool_seats pool_seats(const struct pool *pool);
int pool_room(const struct pool *pool);   /* how many seats there is room for beside its workers' */
int pool_target(const struct pool *pool); /* how many workers it should have */

/* How far its workers are with giving way to those of the generation in force. */
struct roll pool_roll(const struct pool *pool, const struct counts *counts);

/* Whether all that can come of it has: its workers had their try, and it has enough of them, of
 * whatever generation; or why not, as a sentence. */
bool pool_has_tried(const struct pool *pool, const struct counts *counts);
bool pool_has_failed(const struct pool *pool, const struct counts *counts, char *why, size_t size);

/* Whether nothing is left of it: no worker, and no process that one left and that can be ended. */
bool pool_is_empty(const struct pool *pool);

/* Takes a slot for one more worker, not yet forked. NULL with errno set. */
struct worker *pool_add_worker(struct pool *pool, struct spawner *spawner);

/* Forks a worker, a canary with the listeners of its trial. 0; or -errno, and the next try is due
 * after POOL_FORK_RETRY. */
int pool_fork(struct pool *pool, struct spawner *spawner, struct worker *worker, usec now);

/* Forks one of a coming generation, beside the pool's own. 0 or -errno. */
int pool_add_canary(struct pool *pool, struct spawner *spawner, struct config *config,
                    const struct pool_config *conf, unsigned generation,
                    struct listener *const *listeners, int count);

/* The canary's generation is in force: it is a worker like others. Or it never will be. */
void pool_promote_canaries(struct pool *pool);
void pool_dismiss_canaries(struct pool *pool);

/* The worker may finish what it has in hand for as long as that takes; a program for
 * graceful_timeout, since it is unknown whether it has anything in hand. */
void pool_retire(const struct pool *pool, struct worker *worker);

/* Retires all for good. Those not done within the pool's graceful_timeout are ended. */
void pool_stop(struct pool *pool, usec now);

/* Ends all at once. */
void pool_stop_now(struct pool *pool, usec now);

/* One of its workers, `pid`, died: sees to listeners that were shut down. Those of TCP listen again
 * at once; the others must be bound anew, for new workers, which pool->restart_at says. */
void pool_heal_listeners(struct pool *pool, pid_t pid);

/* Whether it is time to restart the pool for that; if not yet, *next is not later than when it
 * is. */
bool pool_restart_is_due(struct pool *pool, usec now, usec *next);

struct runtime {
    struct spawner spawner;
    struct config *config;
    unsigned generation;
    struct pool *pools;
    struct listener *listeners;
    struct listener *control; /* NULL: none */
    struct listener_watch listener_watch;
};

/* The pool of this name that is configured; NULL: none. */
struct pool *runtime_find(const struct runtime *runtime, const char *name);

/* Whether the configuration in force is what an upgrade carried over: no reload has put the file in
 * force since, and nothing can be started by it. */
bool runtime_is_carried(const struct runtime *runtime);

/* What is said of its file then. */
#define RUNTIME_CARRIED " is not in force since the upgrade: reload it"

void runtime_append(struct runtime *runtime, struct pool *pool);

/* Frees removed pools whose last worker is gone. */
void runtime_sweep(struct runtime *runtime);

/* How many more workers there is room for. */
int runtime_room(const struct runtime *runtime);

/* Closes the pools' sockets: the daemon stops. The control socket stays till the end. */
void runtime_close_listeners(struct runtime *runtime);

#endif
