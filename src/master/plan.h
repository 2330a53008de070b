/*
 * plan - what a new configuration would change: for each pool whether its workers stay, for each
 * socket whether it is there already, and whether there is room for it all.
 *
 * Owns:      the matching of old to new, the listeners that are opened on trial, and the lines that
 *            say it.
 * Knows not: when it is carried out.
 * Called by: reload, in the master.
 */
#ifndef PREFORKD_MASTER_PLAN_H
#define PREFORKD_MASTER_PLAN_H

#include "pool.h"

enum plan_kind {
    PLAN_KEPT,
    PLAN_ADJUSTED,
    PLAN_RESIZED,
    PLAN_REPLACED,
    PLAN_ADDED,
};

struct plan {
    const struct pool_config *conf;
    struct pool *pool; /* the old one, or the new one on trial */
    enum plan_kind kind;
    char what[200]; /* differs: "user www-data to git"; or empty */
    struct listener **listeners;
    int listener_count;
};

struct plans {
    struct config *config;
    struct faults *faults; /* here goes what is wrong */
    struct plan *at;
    int count;
    const char *only; /* of a restart: its pool; empty: all that aren't drained; else NULL */
    bool dry_run;     /* made to be printed: nothing is opened */
    struct listener *in_force, *opened; /* those of the runtime; and the new ones */
    struct listener *control; /* the control socket that is wanted: that in force, one of its own,
                                 or NULL */
};

/* Makes the plan, opens the new listeners, or, in a dry run, only notes which. 0; or -1 with the
 * faults noted: plans_abandon then undoes what was done. At the start nothing is in force in the
 * runtime. */
int plans_make(struct plans *plans, const struct runtime *runtime);

/* A plan that changes nothing has a pool's workers replaced all the same. */
void plans_renew(struct plans *plans, const struct pool *pool);

/* Whether there is room for all that it makes of workers. 0; or -1 with the fault noted. */
int plans_fit(const struct plans *plans, const struct runtime *runtime);

/* Closes what was opened, frees. */
void plans_abandon(struct plans *plans, const struct runtime *runtime);

/* Frees what was not taken over. */
void plans_done(struct plans *plans);

/* Whether its workers must be new ones. */
bool plan_needs_workers(const struct plan *plan);

/* Whether one of the plans is a pool's. */
bool plans_have(const struct plans *plans, const struct pool *pool);

/* Prints it, a line a pool and a listener: "pool web: resized 4 to 8", "listener [::]:80: kept". */
typedef void plan_line(void *owner, bool changes, const char *line);
void plans_print(const struct plans *plans, const struct runtime *runtime, plan_line *print,
                 void *owner);

/* What of a pool's configuration is set on its sockets, whose workers poll them, or don't; and what
 * of a configuration on the control socket. */
struct listener_options plan_listener_options(const struct pool_config *conf, bool polls);
struct listener_options plan_control_options(const struct config *config);

#endif
