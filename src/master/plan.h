/*
 * plan - what becomes of each pool and listener under a new configuration, before anything does.
 *
 * Owns:      the matching of old to new, and the listeners that are opened on trial.
 * Knows not: when it is carried out.
 * Called by: reload.
 * Runs in:   the master.
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
extern const char *const plan_words[];

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
    struct plan *at;
    int count;
    struct listener *opened; /* not in force yet */
};

/* Makes the plan, opens the new listeners. 0; or -1 with the faults noted in the configuration:
 * plans_abandon then undoes what was done. `current` is NULL at the start. */
int plans_make(struct plans *plans, struct config *config, const struct config *current,
               struct pool *pools, struct listener *listeners);

/* Closes what was opened, frees. */
void plans_abandon(struct plans *plans);

/* Frees what nobody took over. */
void plans_done(struct plans *plans);

/* Whether its workers must be new ones. */
bool plan_needs_workers(const struct plan *plan);

/* What of a pool's configuration sits on its sockets, whose workers poll them, or don't. */
struct listener_options plan_listener_options(const struct pool_config *conf, bool polls);

#endif
