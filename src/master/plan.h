/*
 * plan - what a new configuration would change: which pools keep their workers, which sockets exist
 * already, and whether there is room for the new workers.
 *
 * Owns:      the matching of old to new, the listeners that are opened on trial, and the plan as
 *            lines for people.
 * Knows not: when the plan is carried out.
 * Called by: reload, in the master.
 */
#ifndef PREFORKD_MASTER_PLAN_H
#define PREFORKD_MASTER_PLAN_H

#include "pool.h"

enum plan_kind {
    PLAN_KEPT = POOL_KEPT,
    PLAN_ADJUSTED = POOL_ADJUSTED,
    PLAN_RESIZED = POOL_RESIZED,
    PLAN_REPLACED = POOL_REPLACED,
    PLAN_ADDED,
};

struct plan {
    const struct pool_config *conf;
    struct pool *pool; /* the one in force, or a new one on trial */
    enum plan_kind kind;
    char what[200]; /* changes: "user www-data to git"; empty: nothing to add */
    struct listener **listeners;
    int listener_count;
};

struct plans {
    struct config *config;
    struct faults *faults; /* that plans_make and plans_fit find */
    struct plan *at;
    int count;
    const char *only; /* in a restart, its pool; empty: all that aren't drained. Else NULL */
    bool dry_run;     /* nothing is opened */
    struct listener *in_force, *opened; /* the runtime's; and the new ones */
    struct listener *control;           /* wanted: the one in force, a new one, or NULL */
};

/* Makes the plan, and opens the new listeners unless it is a dry run. In a restart, the pools that
 * `only` selects get new workers. 0; or -1 with faults noted: plans_abandon undoes what was done.
 * At the start the runtime has no pools. */
int plans_make(struct plans *plans, const struct runtime *runtime);

/* Whether there is room for the new workers. 0; or -1 with a fault noted. */
int plans_fit(const struct plans *plans, const struct runtime *runtime);

/* Has the present workers of each pool that changes or goes set the timeouts of each connection
 * themselves: call before their listeners get other timeouts. */
void plans_own_timeouts(const struct plans *plans, const struct runtime *runtime);

/* Closes what plans_make has opened, and frees the plans. */
void plans_abandon(struct plans *plans, const struct runtime *runtime);

/* Frees the plans. */
void plans_done(struct plans *plans);

/* Whether the pool needs new workers. */
bool plan_needs_workers(const struct plan *plan);

/* Whether the pool is in the plans. */
bool plans_have(const struct plans *plans, const struct pool *pool);

/* How many pools and listeners a plan leaves as they are. */
struct plans_kept {
    int pools, listeners;
};

/* Prints a line per pool and listener: "pool web: resized 4 to 8", "listener [::]:80: kept". */
typedef void plan_line(void *owner, bool changes, const char *line);
struct plans_kept plans_print(const struct plans *plans, const struct runtime *runtime,
                              plan_line *print, void *owner);

/* The options that a configuration sets on a pool's sockets, if the workers poll or don't, and on
 * the control socket. */
struct listener_options plan_listener_options(const struct pool_config *conf, bool polls);
struct listener_options plan_control_options(const struct config *config);

#endif
