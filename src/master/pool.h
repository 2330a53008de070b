/*
 * pool - a named set of like workers: how many there are, how many there should be.
 *
 * Owns:      its workers, and which configuration and generation they are of.
 * Knows not: other pools, reloads, signals. It is told its size and its configuration by those
 *            above, and keeper makes it so.
 * Called by: reload, maintain, master.
 * Runs in:   the master.
 */
#ifndef PREFORKD_MASTER_POOL_H
#define PREFORKD_MASTER_POOL_H

#include "../base/log.h"
#include "load.h"
#include "roll.h"
#include "spawn.h"
#include "state.h"
#include "worker_list.h"

enum {
    /* So many workers, and more, wait in epoll: blocked in accept() they are woken in turn, and past
     * some hundred each one is cold when its turn comes. */
    POOL_POLLS_FROM = 128,
};

struct pool {
    struct pool *next;
    char name[POOL_NAME_MAX + 1];
    struct resources resources; /* that its workers share */
    usec due;                   /* when it must be looked at, whatever happens */

    struct config *config; /* counted: that in which `conf` lies */
    const struct pool_config *conf;
    const struct pool_config *shown; /* whose size is shown */
    unsigned generation;             /* workers of an earlier one are stale */
    struct listener **listeners;
    int listener_count;

    bool programs; /* some of its workers become programs, or once did */

    bool polls; /* how its generation waits; a resize alone changes nothing in it */

    struct load load; /* where its size follows it */

    int ready, retiring; /* workers, when it was last looked at */
    int unreachable;     /* listeners, then */

    int extra;     /* workers more than configured, by TTIN and TTOU; may be negative */
    bool on_trial; /* a new pool whose canary is not ready yet: no worker but that */
    bool drained;  /* by WINCH: no worker, the sockets stay */
    bool removed;  /* no longer configured: gone when its last worker is */
    bool halted;   /* its roll has stopped: new workers did not stay, and old ones go on */
    bool carried;  /* over from the program before: `conf` has just what its workers' ends need, and
                      no worker can be forked of it */

    uint64_t job; /* the latest one that changed its workers */

    struct listener *const *trial; /* of its canaries; NULL: it has none. The plan's */
    int trial_count;

    struct worker_list ring; /* its workers */
    usec background_looked;  /* when it was last asked who is left of its programs */
    struct log_rate fork_failures, no_seat;
    usec restart_at; /* since a listener of its was shut down, see heal; 0: none is to be */
    usec restarted;  /* for that, the last time; 0: never */
    char trouble[SCOREBOARD_REASON + 32]; /* why its latest worker could not start; empty: none */
};

/* What its workers do, counted at one look. */
struct counts {
    int active; /* of the pool's generation, those that wait for a respawn too */
    int ready;  /* of these: ready */
    int stayed; /* of these: ready for min_ready_time */
    int failed; /* of these: dead before they had stayed */
    int busy;   /* of the ready ones */
    int stale;  /* active, of an earlier generation */
    int retiring;
    int retiring_idle; /* of these: those that hold no connection */
    int canaries, canaries_stayed;
    bool degraded;
};

/* A pool without workers. NULL where there is no room. */
struct pool *pool_new(struct spawner *spawner, struct config *config,
                      const struct pool_config *conf, unsigned generation);

/* For the program that replaces us, and in it: what `pool_save` said makes a pool again, without
 * its workers, of a configuration that says as much. */
void pool_save(const struct pool *pool, struct state_pool *saved);
struct pool *pool_adopt(struct spawner *spawner, const struct state_pool *saved,
                        struct config *config, const struct pool_config *conf);

/* Takes one of its workers over, under a `conf` of its own. False where it can't be: then the pool has
 * no scoreboard of its generation, or no memory is left. */
bool pool_adopt_worker(struct pool *pool, struct spawner *spawner, const struct state_worker *saved,
                       struct config *config, const struct pool_config *conf);

/* Something happened to it: it is looked at in this round. */
static inline void pool_touch(struct pool *pool)
{
    pool->resources.changed = true;
}

/* It must have no worker. */
void pool_free(struct spawner *spawner, struct pool *pool);

/* Puts a configuration in force, with its listeners (taken over). Workers of an earlier generation
 * are stale from now on. */
void pool_configure(struct pool *pool, struct config *config, const struct pool_config *conf,
                    unsigned generation, struct listener **listeners, int count);

/* Gives it others in the place of the same (taken over). */
void pool_exchange_listeners(struct pool *pool, struct listener **listeners);
/* They are closed while its workers live on: before that, so that nobody looks at them again. */
void pool_forget_listeners(struct pool *pool);

struct counts pool_counts(const struct pool *pool);

/* The scoreboard of the generation in force; NULL: none of its workers was born yet. */
struct board *pool_board(const struct pool *pool);

/* Whether nothing is left of it: no worker, and no process that one left and that can be ended. */
bool pool_is_empty(const struct pool *pool);

/* Whether workers of this configuration wait in epoll. */
bool pool_polls(const struct pool_config *conf, int listener_count);

/* No longer configured: its workers are retired, and then it is nothing. */
void pool_remove(struct pool *pool);

int pool_target(const struct pool *pool); /* how many workers it should have */

/* How far its workers are with giving way to those of the generation in force. */
struct roll pool_roll(const struct pool *pool, const struct counts *counts);

/* Whether all that can come of it has: its workers had their try, and it has enough of them, of
 * whatever generation; or why not, as a sentence. */
bool pool_has_tried(const struct pool *pool, const struct counts *counts);
bool pool_has_failed(const struct pool *pool, const struct counts *counts, char *why, size_t size);

/* Forks one of a coming generation, beside the pool's own. 0 or -errno. */
int pool_add_canary(struct pool *pool, struct spawner *spawner, struct config *config,
                    const struct pool_config *conf, unsigned generation,
                    struct listener *const *listeners, int count);

/* The canary's generation is in force: it is a worker like others. Or it never will be. */
void pool_promote_canaries(struct pool *pool);
void pool_dismiss_canaries(struct pool *pool);

/* Whether a worker is of the generation in force, and goes on. */
bool pool_is_current(const struct pool *pool, const struct worker *worker);

/* Takes a slot for one more of these, not yet born. NULL where there is no slot left. */
struct worker *pool_add_worker(struct pool *pool, struct spawner *spawner);

/* It may finish what it has in hand for as long as that takes; a program, of which nobody knows
 * whether it has anything, for graceful_timeout. */
void pool_retire(const struct pool *pool, struct worker *worker);

/* Retires all for good. Those not done within the pool's graceful_timeout are ended. */
void pool_stop(struct pool *pool, usec now);

/* Ends all at once. */
void pool_stop_now(struct pool *pool, usec now);

#endif
