#include "commit.h"

#include "../base/log.h"
#include "store.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void apply_listeners(const struct pool *pool)
{
    struct listener_options options = plan_listener_options(pool->conf, pool->polls);
    for (int i = 0; i < pool->listener_count; i++)
        listener_apply(pool->listeners[i], &options);
}

/* What is allowed, but should not surprise. */
static void tell_oddities(const struct pool *pool)
{
    const struct pool_config *conf = pool->conf;
    int most = 0;
    FILE *file = fopen("/proc/sys/net/core/somaxconn", "re");
    if (file && fscanf(file, "%d", &most) != 1)
        most = 0;
    if (file)
        fclose(file);
    if (most && conf->backlog > most)
        log_notice("pool %s: the kernel caps its backlog of %d at net.core.somaxconn = %d",
                   conf->name, conf->backlog, most);
    if (geteuid() == 0 && conf->identity.uid == 0)
        log_notice("pool %s: its workers run as root", conf->name);
}

int commit_add_pools(struct runtime *runtime, struct plans *plans, unsigned generation)
{
    for (int i = 0; i < plans->count; i++) {
        struct plan *plan = &plans->at[i];
        if (plan->kind != PLAN_ADDED)
            continue;
        plan->pool = pool_new(&runtime->spawner, plans->config, plan->conf, generation);
        if (!plan->pool) {
            faults_add(plans->faults, plan->conf->origin.file, plan->conf->origin.line,
                       "pool %s: no room for another pool", plan->conf->name);
            return -1;
        }
        plan->pool->on_trial = true;
        runtime_append(runtime, plan->pool);
    }
    return 0;
}

int commit_try(struct runtime *runtime, struct plans *plans)
{
    unsigned generation = runtime->generation + 1;
    if (plans_fit(plans, runtime) != 0 || commit_add_pools(runtime, plans, generation) != 0)
        return -1;
    for (int i = 0; i < plans->count; i++) {
        struct plan *plan = &plans->at[i];
        if (!plan_needs_workers(plan))
            continue;
        int error = pool_add_canary(plan->pool, &runtime->spawner, plans->config, plan->conf,
                                    generation, plan->listeners, plan->listener_count);
        if (error) {
            faults_add(plans->faults, plan->conf->origin.file, plan->conf->origin.line,
                       "pool %s: can't fork its first worker: %s", plan->conf->name,
                       strerror(-error));
            return -1;
        }
    }
    return 0;
}

int commit_missing(const struct plans *plans)
{
    int missing = 0;
    for (int i = 0; i < plans->count; i++) {
        const struct plan *plan = &plans->at[i];
        if (!plan_needs_workers(plan))
            continue;
        struct counts counts = pool_counts(plan->pool);
        if (counts.canaries == 0) {
            faults_add(plans->faults, plan->conf->origin.file, plan->conf->origin.line,
                       "pool %s: %s: its first worker did not %s", plan->conf->name,
                       plan->pool->trouble[0] ? plan->pool->trouble : "it died",
                       plan->conf->min_ready_time ? "become ready and stay so" : "become ready");
            return -1;
        }
        missing += counts.canaries_stayed == 0;
    }
    return missing;
}

static void put_in_force(struct plan *plan, struct config *config, unsigned generation,
                         uint64_t job)
{
    struct pool *pool = plan->pool;
    if (plan_needs_workers(plan) || plan->kind == PLAN_RESIZED || pool->drained)
        pool->job = job;
    unsigned its = plan_needs_workers(plan) ? generation : pool->generation;
    pool_configure(pool, config, plan->conf, its, plan->listeners, plan->listener_count);
    plan->listeners = NULL;
    pool_promote_canaries(pool);
    apply_listeners(pool);
    if (plan->kind != PLAN_KEPT)
        tell_oddities(pool);
}

/* Its workers are to be new ones, and nothing else changes, but for listeners that were lost. */
static void renew(struct plan *plan, unsigned generation, uint64_t job)
{
    plan->pool->job = job;
    plan->pool->generation = generation;
    pool_exchange_listeners(plan->pool, plan->listeners);
    plan->listeners = NULL;
    pool_promote_canaries(plan->pool); /* which is looked at in this round */
}

static void retire_unplanned(struct runtime *runtime, const struct plans *plans)
{
    for (struct pool *pool = runtime->pools; pool; pool = pool->next)
        if (!pool->removed && !plans_have(plans, pool))
            pool_remove(pool);
}

enum { WHOLE = false, RENEWAL = true };

/* Those in force that nobody wants any more go, those that were opened come. In a renewal only those
 * go that have a successor. */
static void exchange_listeners(struct runtime *runtime, struct plans *plans, bool renewal)
{
    struct listener **at = &runtime->listeners;
    while (*at) {
        struct listener *listener = *at;
        if (renewal ? !listener->successor : listener->wanted) {
            at = &listener->next;
            continue;
        }
        *at = listener->next;
        store_release(listener);
        listener_watch_forget(&runtime->listener_watch, listener);
        listener_close(listener);
    }
    *at = plans->opened;
    plans->opened = NULL;
    store_keep(runtime->listeners);
    listener_watch_watch(&runtime->listener_watch, runtime->listeners);
}

static void exchange_control(struct runtime *runtime, struct plans *plans)
{
    struct listener_options options = plan_control_options(plans->config);
    if (runtime->control != plans->control) {
        listener_watch_forget(&runtime->listener_watch, runtime->control);
        listener_close(runtime->control);
    }
    runtime->control = plans->control;
    if (runtime->control)
        listener_apply(runtime->control, &options);
    listener_watch_watch(&runtime->listener_watch, runtime->control);
}

/* The lost ones that could not be opened again. */
static void warn_of_lost(const struct runtime *runtime)
{
    for (const struct listener *l = runtime->listeners; l; l = l->next)
        if (l->trouble[0])
            log_warning("listener %s: nobody can connect to it, and it can't be opened again: %s "
                        "listener=%s",
                        l->text, l->trouble, l->text);
    const struct listener *control = runtime->control;
    if (control && control->trouble[0])
        log_warning("control %s: nobody can connect to it, and it can't be opened again: %s "
                    "listener=%s",
                    control->text, control->trouble, control->text);
}

static void apply_config(struct runtime *runtime, struct plans *plans, uint64_t job)
{
    struct config *config = plans->config;
    for (int i = 0; i < plans->count; i++)
        put_in_force(&plans->at[i], config, runtime->generation, job);
    retire_unplanned(runtime, plans);
    exchange_listeners(runtime, plans, WHOLE);
    exchange_control(runtime, plans);
    config_unref(runtime->config);
    runtime->config = config;
}

void commit_apply(struct runtime *runtime, struct plans *plans, uint64_t job, bool renewal)
{
    runtime->generation++;
    if (!renewal)
        apply_config(runtime, plans, job);
    for (int i = 0; renewal && i < plans->count; i++)
        if (plan_needs_workers(&plans->at[i]))
            renew(&plans->at[i], runtime->generation, job);
    if (renewal)
        exchange_listeners(runtime, plans, RENEWAL);
    warn_of_lost(runtime);
    plans_done(plans);
}

void commit_undo(struct runtime *runtime, struct plans *plans)
{
    for (int i = 0; !plans->dry_run && i < plans->count; i++) {
        struct plan *plan = &plans->at[i];
        if (!plan->pool)
            continue;
        pool_dismiss_canaries(plan->pool);
        if (plan->kind == PLAN_ADDED)
            pool_remove(plan->pool);
        else
            apply_listeners(plan->pool);
    }
    plans_abandon(plans, runtime);
}
