#include "reload.h"

#include "../base/log.h"
#include "../base/sysd.h"
#include "check.h"
#include "store.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHECK_PATIENCE  (10 * USEC_SECOND)
#define IDLERS_PATIENCE (2 * USEC_SECOND)

/* Putting in force. */

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

static void put_in_force(struct plan *plan, struct config *config, unsigned generation)
{
    struct pool *pool = plan->pool;
    unsigned its = plan_needs_workers(plan) ? generation : pool->generation;
    pool_configure(pool, config, plan->conf, its, plan->listeners, plan->listener_count);
    plan->listeners = NULL;
    pool_promote_canaries(pool);
    apply_listeners(pool);
    if (plan->kind != PLAN_KEPT)
        tell_oddities(pool);
}

static void append_pool(struct realm *realm, struct pool *pool)
{
    struct pool **end = &realm->pools;
    while (*end)
        end = &(*end)->next;
    *end = pool;
}

/* A new pool is there from its canary on. */
static int add_pools(struct realm *realm, struct plans *plans, unsigned generation)
{
    for (int i = 0; i < plans->count; i++) {
        struct plan *plan = &plans->at[i];
        if (plan->kind != PLAN_ADDED)
            continue;
        plan->pool = pool_new(&realm->spawner, plans->config, plan->conf, generation);
        if (!plan->pool) {
            faults_add(&plans->config->faults, plan->conf->origin.file, plan->conf->origin.line,
                       "pool %s: no room for it in the scoreboard", plan->conf->name);
            return -1;
        }
        plan->pool->on_trial = true;
        append_pool(realm, plan->pool);
    }
    return 0;
}

static bool is_planned(const struct plans *plans, const struct pool *pool)
{
    for (int i = 0; i < plans->count; i++)
        if (plans->at[i].pool == pool)
            return true;
    return false;
}

static void tell_plan(const struct plan *plan)
{
    const char *word = plan_words[plan->kind];
    bool detailed = plan->what[0] && plan->kind == PLAN_RESIZED;
    log_event(plan->kind == PLAN_KEPT ? LOG_INFO : LOG_NOTICE, "reload: pool %s: %s%s%s",
              plan->conf->name, word, plan->what[0] ? (detailed ? " " : ": ") : "", plan->what);
}

static void retire_unplanned(struct realm *realm, const struct plans *plans)
{
    for (struct pool *pool = realm->pools; pool; pool = pool->next)
        if (!pool->removed && !is_planned(plans, pool)) {
            pool_remove(pool);
            log_notice("reload: pool %s: removed", pool->name);
        }
}

/* Those in force that nobody wants any more go, those that were opened come. */
static void exchange_listeners(struct realm *realm, struct plans *plans, bool tell)
{
    struct listener **at = &realm->listeners;
    while (*at) {
        struct listener *listener = *at;
        if (tell)
            log_event(listener->wanted ? LOG_INFO : LOG_NOTICE, "reload: listener %s: %s",
                      listener->text, listener->wanted ? "kept" : "closed");
        if (listener->wanted) {
            at = &listener->next;
            continue;
        }
        *at = listener->next;
        store_release(listener);
        listener_close(listener);
    }
    *at = plans->opened;
    plans->opened = NULL;
    for (const struct listener *l = *at; tell && l; l = l->next)
        log_notice("reload: listener %s: opened", l->text);
}

static void commit(struct realm *realm, struct plans *plans, bool tell)
{
    struct config *config = plans->config;
    realm->generation++;
    arena_seal(config->arena);
    log_configure(config->log.ident, config->log.facility, config->log.level);
    for (int i = 0; i < plans->count; i++) {
        if (tell)
            tell_plan(&plans->at[i]);
        put_in_force(&plans->at[i], config, realm->generation);
    }
    retire_unplanned(realm, plans);
    exchange_listeners(realm, plans, tell);
    store_keep(realm->listeners);
    plans_done(plans);
    config_unref(realm->config);
    realm->config = config;
}

int reload_first(struct reload *reload, struct realm *realm, struct config *config)
{
    *reload = (struct reload){0};
    realm->listeners = store_take(config);
    if (plans_make(&reload->plans, config, NULL, NULL, realm->listeners) != 0 ||
        add_pools(realm, &reload->plans, 1) != 0) {
        plans_abandon(&reload->plans);
        return -1;
    }
    commit(realm, &reload->plans, false);
    return 0;
}

/* The ends of a reload. */

static void finish(struct reload *reload)
{
    reload->state = RELOAD_NONE;
    reload->config = NULL;
    sysd_notify("READY=1");
}

static void rollback(struct reload *reload)
{
    struct plans *plans = &reload->plans;
    for (int i = 0; i < plans->count; i++) {
        struct plan *plan = &plans->at[i];
        if (!plan->pool)
            continue;
        pool_dismiss_canaries(plan->pool);
        if (plan->kind == PLAN_ADDED)
            plan->pool->removed = true;
        else
            apply_listeners(plan->pool);
    }
    plans_abandon(plans);
}

/* The first fault stands for all. */
static void note_refusal(const struct realm *realm, const struct faults *faults)
{
    char place[FAULT_PLACE], why[SCOREBOARD_REASON] = "no reason is known";
    if (faults->first)
        snprintf(why, sizeof why, "%s: %s", fault_place(faults->first, place), faults->first->text);
    scoreboard_note_reload(realm->spawner.board, why);
}

static void refuse(struct reload *reload, struct realm *realm)
{
    struct faults *faults = &reload->config->faults;
    char place[FAULT_PLACE];
    note_refusal(realm, faults);
    for (const struct fault *f = faults->first; f; f = f->next)
        log_err("reload: %s: %s", fault_place(f, place), f->text);
    log_err("reload refused, %u fault%s: the configuration of before stays in force generation=%u",
            faults->count, faults->count == 1 ? "" : "s", realm->generation);
    rollback(reload);
    config_unref(reload->config);
    reload->refused++;
    finish(reload);
}

static void succeed(struct reload *reload, const struct realm *realm)
{
    double seconds = clock_seconds(clock_now() - reload->began);
    reload->done++;
    scoreboard_note_reload(realm->spawner.board, NULL);
    log_notice("reload done: the configuration is in force generation=%u seconds=%.3f",
               realm->generation, seconds);
    finish(reload);
}

/* Its steps. */

void reload_begin(struct reload *reload, const struct realm *realm)
{
    if (reload->state != RELOAD_NONE) {
        reload->again = true;
        log_notice("a reload is under way: another one will follow it");
        return;
    }
    struct config *config = config_new();
    pid_t checker = config ? check_start(config, realm->config->file) : -ENOMEM;
    if (checker < 0) {
        log_err("reload refused: can't start the check: %s", strerror((int)-checker));
        config_unref(config);
        return;
    }
    reload->state = RELOAD_CHECKING;
    reload->config = config;
    reload->checker = checker;
    reload->began = clock_now();
    reload->deadline = reload->began + CHECK_PATIENCE;
    sysd_notify("RELOADING=1\nMONOTONIC_USEC=%lld", (long long)reload->began);
    log_notice("reloading %s", realm->config->file);
}

static int fork_canaries(struct reload *reload, struct realm *realm)
{
    unsigned generation = realm->generation + 1;
    if (add_pools(realm, &reload->plans, generation) != 0)
        return -1;
    for (int i = 0; i < reload->plans.count; i++) {
        struct plan *plan = &reload->plans.at[i];
        if (!plan_needs_workers(plan))
            continue;
        int error = pool_add_canary(plan->pool, &realm->spawner, reload->config, plan->conf,
                                    generation, plan->listeners, plan->listener_count);
        if (error) {
            faults_add(&reload->config->faults, plan->conf->origin.file, plan->conf->origin.line,
                       "pool %s: can't fork its first worker: %s", plan->conf->name,
                       strerror(-error));
            return -1;
        }
    }
    return 0;
}

bool reload_reaped(struct reload *reload, struct realm *realm, pid_t pid, int status)
{
    if (reload->state != RELOAD_CHECKING || pid != reload->checker)
        return false;
    reload->checker = 0;
    struct config *config = reload->config;
    if (!check_passed(config, realm->config->file, status) ||
        plans_make(&reload->plans, config, realm->config, realm->pools, realm->listeners) != 0 ||
        fork_canaries(reload, realm) != 0)
        refuse(reload, realm);
    else
        reload->state = RELOAD_CANARIES;
    return true;
}

/* How many canaries are not ready; -1 with the fault noted where one is dead. */
static int canaries_missing(struct reload *reload)
{
    int missing = 0;
    for (int i = 0; i < reload->plans.count; i++) {
        const struct plan *plan = &reload->plans.at[i];
        if (!plan_needs_workers(plan))
            continue;
        struct census census = pool_census(plan->pool);
        if (census.canaries == 0) {
            faults_add(&reload->config->faults, plan->conf->origin.file, plan->conf->origin.line,
                       "pool %s: its first worker did not become ready: %s", plan->conf->name,
                       plan->pool->trouble[0] ? plan->pool->trouble : "it died");
            return -1;
        }
        missing += census.canaries_ready == 0;
    }
    return missing;
}

/* Whether they have come to an end, good or bad. */
static bool await_canaries(struct reload *reload, struct realm *realm)
{
    int missing = canaries_missing(reload);
    if (missing > 0)
        return false;
    if (missing < 0) {
        refuse(reload, realm);
        return true;
    }
    commit(realm, &reload->plans, true);
    reload->state = RELOAD_ROLLING;
    reload->deadline = USEC_NEVER;
    return true;
}

static bool all_rolled(const struct realm *realm)
{
    for (const struct pool *pool = realm->pools; pool; pool = pool->next) {
        struct census census = pool_census(pool);
        if (!pool->removed && !pool_is_rolled(pool, &census))
            return false;
    }
    return true;
}

static bool idlers_left(const struct realm *realm)
{
    for (const struct pool *pool = realm->pools; pool; pool = pool->next)
        if (pool_census(pool).retiring_idle)
            return true;
    return false;
}

/* It is done when the new workers serve, and the old ones that were idle are gone: whoever connects
 * after that meets the new configuration. Those that finish a connection hold nothing up, nor, for
 * long, does one that does not go. */
static usec await_roll(struct reload *reload, struct realm *realm, usec now)
{
    if (!all_rolled(realm))
        return USEC_NEVER;
    if (reload->deadline == USEC_NEVER)
        reload->deadline = now + IDLERS_PATIENCE;
    if (now < reload->deadline && idlers_left(realm))
        return reload->deadline;
    succeed(reload, realm);
    return now;
}

/* Removed pools whose last worker is gone. */
static void sweep(struct realm *realm)
{
    struct pool **at = &realm->pools;
    while (*at) {
        struct pool *pool = *at;
        if (!pool->removed || pool->workers) {
            at = &pool->next;
            continue;
        }
        *at = pool->next;
        pool_free(&realm->spawner, pool);
    }
}

usec reload_step(struct reload *reload, struct realm *realm, usec now)
{
    usec next = USEC_NEVER;
    if (reload->state == RELOAD_CHECKING && now >= reload->deadline) {
        faults_add(&reload->config->faults, realm->config->file, 0, "the check took more than %d s",
                   (int)(CHECK_PATIENCE / USEC_SECOND));
        reload->deadline = USEC_NEVER;
        kill(reload->checker, SIGKILL);
    }
    if (reload->state == RELOAD_CHECKING)
        next = reload->deadline;
    if (reload->state == RELOAD_CANARIES && await_canaries(reload, realm))
        next = now; /* the pools have new orders */
    if (reload->state == RELOAD_ROLLING)
        next = clock_earlier(next, await_roll(reload, realm, now));
    sweep(realm);
    if (reload->state == RELOAD_NONE && reload->again) {
        reload->again = false;
        reload_begin(reload, realm);
        return now;
    }
    return next;
}

void reload_abandon(struct reload *reload)
{
    reload->again = false;
    if (reload->state == RELOAD_CHECKING)
        kill(reload->checker, SIGKILL);
    if (reload->state == RELOAD_CHECKING || reload->state == RELOAD_CANARIES) {
        rollback(reload);
        config_unref(reload->config);
    }
    reload->config = NULL;
    reload->state = RELOAD_NONE;
}

void reload_close_listeners(struct realm *realm)
{
    while (realm->listeners) {
        struct listener *next = realm->listeners->next;
        listener_close(realm->listeners);
        realm->listeners = next;
    }
}
