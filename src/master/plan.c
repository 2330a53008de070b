#include "plan.h"

#include "../base/sysd.h"
#include "../handlers/handler.h"
#include "../worker/worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const plan_words[] = {
    [PLAN_KEPT] = "kept",         [PLAN_ADJUSTED] = "adjusted", [PLAN_RESIZED] = "resized",
    [PLAN_REPLACED] = "replaced", [PLAN_ADDED] = "added",
};

struct listener_options plan_listener_options(const struct pool_config *conf, bool polls)
{
    return (struct listener_options){
        .backlog = conf->backlog,
        .mode = conf->socket_mode,
        .uid = conf->socket_uid,
        .gid = conf->socket_gid,
        .keepalive = conf->keepalive,
        .idle_timeout = handler_of(conf->handler)->runs_programs ? 0 : conf->idle_timeout,
        .nonblocking = polls,
    };
}

bool plan_needs_workers(const struct plan *plan)
{
    return plan->kind == PLAN_REPLACED || plan->kind == PLAN_ADDED;
}

/* Making it: what a plan for one pool is made of. */
struct maker {
    struct plans *plans;
    struct listener *listeners; /* in force */
    struct plan *plan;
};

static void fault(struct maker *maker, const struct listen_spec *spec, const char *why)
{
    faults_add(&maker->plans->config->faults, spec->file, spec->line, "pool %s: listen \"%s\": %s",
               maker->plan->conf->name, spec->word, why);
}

static void take(struct maker *maker, const struct listen_spec *spec, struct listener *listener)
{
    struct plan *plan = maker->plan;
    listener->wanted = true;
    if (plan->listener_count == WORKER_LISTENERS_MAX) {
        fault(maker, spec, "more addresses than a pool can have");
        return;
    }
    plan->listeners[plan->listener_count++] = listener;
}

static void take_opened(struct maker *maker, const struct listen_spec *spec,
                        struct listener *listener)
{
    struct listener **end = &maker->plans->opened;
    while (*end)
        end = &(*end)->next;
    *end = listener;
    take(maker, spec, listener);
}

static struct listener *find_old(const struct maker *maker, const struct listen_spec *spec)
{
    struct listener *listener = maker->listeners;
    while (listener && (listener->wanted || !listener_is(listener, spec)))
        listener = listener->next;
    return listener;
}

static void open_new(struct maker *maker, const struct listen_spec *spec)
{
    char why[ADDR_TEXT + 100];
    struct listener *listener;
    for (const struct listener *old = maker->listeners; old; old = old->next)
        if (listener_collides(old, spec)) {
            snprintf(why, sizeof why,
                     "a reload can't go to it from %s: a wildcard and an address of one port "
                     "exclude each other; restart",
                     old->text);
            fault(maker, spec, why);
            return;
        }
    int count = maker->plan->conf->listen_count;
    struct listener_options options =
        plan_listener_options(maker->plan->conf, pool_polls(maker->plan->conf, count));
    if (listener_open(&listener, spec, &options, why, sizeof why) != 0)
        fault(maker, spec, why);
    else
        take_opened(maker, spec, listener);
}

/* Every socket that was passed under the name. */
static void take_passed(struct maker *maker, const struct listen_spec *spec)
{
    char why[200];
    bool found = false;
    for (int i = 0; i < sysd_socket_count(); i++) {
        const struct sysd_socket *passed = sysd_socket(i);
        if (strcmp(passed->name, spec->passed_name) != 0)
            continue;
        found = true;
        struct listener *listener = listener_find(maker->listeners, passed->fd);
        if (listener) {
            take(maker, spec, listener);
            continue;
        }
        listener = listener_adopt(passed->fd, passed->name, why, sizeof why);
        if (listener)
            take_opened(maker, spec, listener);
        else
            fault(maker, spec, why);
    }
    if (!found)
        fault(maker, spec,
              "no socket of this name was passed, see FileDescriptorName= in "
              "systemd.socket(5)");
}

static void plan_listeners(struct maker *maker)
{
    struct plan *plan = maker->plan;
    plan->listeners = calloc(WORKER_LISTENERS_MAX, sizeof(struct listener *));
    if (!plan->listeners) {
        faults_add(&maker->plans->config->faults, plan->conf->origin.file, plan->conf->origin.line,
                   "out of memory");
        return;
    }
    for (int i = 0; i < plan->conf->listen_count; i++) {
        const struct listen_spec *spec = &plan->conf->listens[i];
        struct listener *old = spec->passed_name ? NULL : find_old(maker, spec);
        if (spec->passed_name)
            take_passed(maker, spec);
        else if (old)
            take(maker, spec, old);
        else
            open_new(maker, spec);
    }
}

static struct pool *find_pool(struct pool *pools, const char *name)
{
    while (pools && (pools->removed || strcmp(pools->name, name) != 0))
        pools = pools->next;
    return pools;
}

/* Workers keep the log as it was when they were forked: to change it for them, they must be new. */
static bool log_differs(const struct config *old, const struct config *new, char *what, size_t size)
{
    for (const struct option_row *row = log_rows; row->name; row++) {
        if (option_equal(row, &old->log, &new->log))
            continue;
        char from[64], to[64];
        option_print(row, &old->log, from, sizeof from);
        option_print(row, &new->log, to, sizeof to);
        snprintf(what, size, "log %s %s to %s", row->name, from, to);
        return true;
    }
    return false;
}

static void plan_pool(struct plan *plan, struct pool *pools, const struct config *current,
                      const struct config *config)
{
    static const enum plan_kind kinds[] = {
        [POOL_KEPT] = PLAN_KEPT,
        [POOL_ADJUSTED] = PLAN_ADJUSTED,
        [POOL_RESIZED] = PLAN_RESIZED,
        [POOL_REPLACED] = PLAN_REPLACED,
    };
    plan->kind = PLAN_ADDED;
    plan->pool = find_pool(pools, plan->conf->name);
    if (!plan->pool)
        return;
    if (plan->pool->carried) {
        plan->kind = PLAN_REPLACED;
        snprintf(plan->what, sizeof plan->what, "the program");
        return;
    }
    plan->kind = kinds[config_compare(plan->pool->conf, plan->conf, plan->what, sizeof plan->what)];
    if (plan->kind != PLAN_REPLACED && log_differs(current, config, plan->what, sizeof plan->what))
        plan->kind = PLAN_REPLACED;
}

/* Canaries accept before the new options are in force on sockets that were there already. */
static void prepare_listeners(const struct plan *plan)
{
    bool polls = pool_polls(plan->conf, plan->listener_count);
    struct listener_options options = plan_listener_options(plan->conf, polls);
    for (int i = 0; i < plan->listener_count; i++)
        listener_prepare(plan->listeners[i], &options);
}

int plans_make(struct plans *plans, struct config *config, const struct config *current,
               struct pool *pools, struct listener *listeners)
{
    *plans = (struct plans){.config = config};
    plans->at = calloc((size_t)config->pool_count, sizeof *plans->at);
    if (!plans->at) {
        faults_add(&config->faults, config->file, 0, "out of memory");
        return -1;
    }
    plans->count = config->pool_count;
    for (struct listener *l = listeners; l; l = l->next)
        l->wanted = false;
    for (int i = 0; i < plans->count; i++) {
        struct plan *plan = &plans->at[i];
        plan->conf = config->pools[i];
        plan_pool(plan, pools, current, config);
        plan_listeners(&(struct maker){.plans = plans, .listeners = listeners, .plan = plan});
    }
    if (config->faults.count)
        return -1;
    for (int i = 0; i < plans->count; i++)
        if (plan_needs_workers(&plans->at[i]))
            prepare_listeners(&plans->at[i]);
    return 0;
}

void plans_done(struct plans *plans)
{
    for (int i = 0; i < plans->count; i++)
        free(plans->at[i].listeners);
    free(plans->at);
    *plans = (struct plans){0};
}

void plans_abandon(struct plans *plans)
{
    while (plans->opened) {
        struct listener *next = plans->opened->next;
        listener_close(plans->opened);
        plans->opened = next;
    }
    plans_done(plans);
}
