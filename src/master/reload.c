#include "reload.h"

#include "../base/log.h"
#include "../base/procfs.h"
#include "../base/sysd.h"
#include "../base/text.h"
#include "check.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KILLED_TIMEOUT (2 * USEC_SECOND)
#define IDLE_TIMEOUT   (2 * USEC_SECOND)
#define STEP_TIMEOUT   (CHECK_STEP_SECONDS * USEC_SECOND)
#define EXTEND_PERIOD  (30 * USEC_SECOND)

enum { FAULT_ARENA_SIZE = 1024 * 1024 }; /* a restart has one fault per pool at most */

static const char *const job_words[] = {
    [JOB_RELOAD] = "reload",
    [JOB_DRY_RUN] = "dry run",
    [JOB_RESTART] = "restart",
};

/* --- trying a plan: everything that can fail -------------------------------------------------- */

static void fault_of_plan(const struct plans *plans, const struct plan *plan, const char *what)
{
    faults_add(plans->faults, plan->conf->origin.file, plan->conf->origin.line, "pool %s: %s",
               plan->conf->name, what);
}

/* Makes the new pools. 0; or -1 with a fault noted. */
static int add_pools(struct runtime *runtime, struct plans *plans, unsigned generation)
{
    for (int i = 0; i < plans->count; i++) {
        struct plan *plan = &plans->at[i];
        if (plan->kind != PLAN_ADDED)
            continue;
        plan->pool = pool_new(&runtime->spawner, plans->config, plan->conf, generation);
        if (!plan->pool) {
            fault_of_plan(plans, plan, "no room for another pool");
            return -1;
        }
        plan->pool->on_trial = true;
        runtime_append(runtime, plan->pool);
    }
    return 0;
}

/* Makes the new pools, and forks a canary of each pool that needs new workers. 0; or -1 with a
 * fault noted. */
static int try_plans(struct runtime *runtime, struct plans *plans)
{
    char what[200];
    unsigned generation = runtime->generation + 1;
    if (plans_fit(plans, runtime) != 0 || add_pools(runtime, plans, generation) != 0)
        return -1;
    for (int i = 0; i < plans->count; i++) {
        struct plan *plan = &plans->at[i];
        if (!plan_needs_workers(plan))
            continue;
        int error = pool_add_canary(plan->pool, &runtime->spawner, plans->config, plan->conf,
                                    generation, plan->listeners, plan->listener_count);
        if (error) {
            snprintf(what, sizeof what, "can't fork its first worker: %s", strerror(-error));
            fault_of_plan(plans, plan, what);
            return -1;
        }
    }
    return 0;
}

/* How many canaries have not stayed ready for min_ready_time; -1 with a fault noted if one has
 * ended. */
static int missing_canaries(const struct plans *plans)
{
    char what[SCOREBOARD_REASON + 100];
    int missing = 0;
    for (int i = 0; i < plans->count; i++) {
        const struct plan *plan = &plans->at[i];
        if (!plan_needs_workers(plan))
            continue;
        struct counts counts = pool_counts(plan->pool);
        if (counts.canaries == 0) {
            snprintf(what, sizeof what, "%s: its first worker did not %s",
                     plan->pool->trouble[0] ? plan->pool->trouble
                                            : "it died, or was killed and does not end",
                     plan->conf->min_ready_time ? "become ready and stay so" : "become ready");
            fault_of_plan(plans, plan, what);
            return -1;
        }
        missing += counts.canaries_stayed == 0;
    }
    return missing;
}

/* The stub of a carried pool does not have the options. */
static void apply_listeners(const struct pool *pool)
{
    struct listener_options options = plan_listener_options(pool->conf, pool->polls);
    for (int i = 0; i < pool->listener_count && !pool->carried; i++)
        listener_apply(pool->listeners[i], &options);
}

/* Once the last program has ended, its listeners are set as their present handler wants them. This
 * is asked in each round, so all other listeners cost a look at a flag. */
static void reclaim_listeners(const struct runtime *runtime)
{
    for (const struct pool *pool = runtime->pools; pool; pool = pool->next)
        for (int i = 0; i < pool->listener_count; i++) {
            struct listener *listener = pool->listeners[i];
            if (!listener->lent || pool->carried)
                continue;
            struct listener_options options = plan_listener_options(pool->conf, pool->polls);
            if (!options.lent && !runtime_has_program(runtime, listener))
                listener_reclaim(listener, &options);
        }
}

/* Undoes try_plans. */
static void undo_plans(struct runtime *runtime, struct plans *plans)
{
    for (int i = 0; !plans->dry_run && i < plans->count; i++) {
        struct plan *plan = &plans->at[i];
        if (!plan->pool)
            continue;
        pool_dismiss_canaries(plan->pool);
        if (plan->kind == PLAN_ADDED)
            pool_remove(plan->pool);
    }
    /* Those, too, that the plan would have taken from a pool. */
    for (struct pool *p = plans->dry_run ? NULL : runtime->pools; p; p = p->next)
        if (!p->removed)
            apply_listeners(p);
    plans_abandon(plans, runtime);
}

/* --- applying a plan: nothing here can fail --------------------------------------------------- */

/* Logs what is allowed but may surprise. */
static void log_surprises(const struct pool *pool)
{
    const struct pool_config *conf = pool->conf;
    char text[32];
    int most = atoi(procfs_setting("net/core/somaxconn", text, sizeof text));
    if (most && conf->backlog > most)
        log_notice("pool %s: the kernel caps its backlog of %d at net.core.somaxconn = %d "
                   "pool=%s",
                   conf->name, conf->backlog, most, conf->name);
    if (geteuid() == 0 && conf->identity.uid == 0)
        log_notice("pool %s: its workers run as root pool=%s", conf->name, conf->name);
}

/* A pool whose workers change gets the number of the job. */
static void put_in_force(struct plan *plan, struct config *config, unsigned generation,
                         uint64_t job)
{
    struct pool *pool = plan->pool;
    if (plan_needs_workers(plan) || plan->kind == PLAN_RESIZED || pool->drained)
        pool->job = job;
    for (int i = 0; i < plan->listener_count; i++)
        snprintf(plan->listeners[i]->pool, sizeof plan->listeners[i]->pool, "%s", pool->name);
    pool_configure(pool, config, plan->conf,
                   plan_needs_workers(plan) ? generation : pool->generation, plan->listeners,
                   plan->listener_count);
    plan->listeners = NULL;
    pool_promote_canaries(pool);
    apply_listeners(pool);
    if (plan->kind != PLAN_KEPT)
        log_surprises(pool);
}

/* Closes listeners in force that the plan does not want; in a restart, those that have a successor.
 * Adds the listeners that the plan has opened. */
static void apply_listener_list(struct runtime *runtime, struct plans *plans, bool restart)
{
    struct listener **at = &runtime->listeners;
    while (*at) {
        struct listener *listener = *at;
        if (restart ? !listener->successor : listener->wanted) {
            at = &listener->next;
            continue;
        }
        *at = listener->next;
        listener_upkeep_unstore(listener);
        listener_upkeep_forget(&runtime->upkeep, listener);
        listener_close(listener);
    }
    *at = plans->opened;
    plans->opened = NULL;
    listener_upkeep_store(runtime->listeners);
    listener_upkeep_watch(&runtime->upkeep, runtime->listeners);
}

static void apply_control(struct runtime *runtime, struct plans *plans)
{
    struct listener_options options = plan_control_options(plans->config);
    if (runtime->control != plans->control) {
        listener_upkeep_forget(&runtime->upkeep, runtime->control);
        listener_close(runtime->control);
    }
    runtime->control = plans->control;
    if (runtime->control)
        listener_apply(runtime->control, &options);
    listener_upkeep_watch(&runtime->upkeep, runtime->control);
}

/* Warns if the listener was lost and could not be opened again. */
static void warn_unreachable(const char *kind, const struct listener *listener)
{
    char value[LOG_QUOTED(ADDR_TEXT)];
    if (listener && listener->trouble[0])
        log_warning("%s %s: nobody can connect to it, and it can't be opened again: %s listener=%s",
                    kind, listener->text, listener->trouble,
                    log_quoted(value, sizeof value, listener->text));
}

/* A restart keeps the configuration, and so the sizes and drains that commands have set. Frees the
 * plans. */
static void apply_plans(struct runtime *runtime, struct plans *plans, uint64_t job, bool restart)
{
    struct config *config = plans->config;
    if (!restart)
        plans_own_timeouts(plans, runtime);
    unsigned generation = ++runtime->generation;
    for (int i = 0; i < plans->count; i++) {
        struct plan *plan = &plans->at[i];
        if (!restart) {
            put_in_force(plan, config, generation, job);
        } else if (plan_needs_workers(plan)) {
            /* Listeners change too if one was lost. */
            plan->pool->job = job;
            plan->pool->generation = generation;
            pool_exchange_listeners(plan->pool, plan->listeners);
            plan->listeners = NULL;
            pool_promote_canaries(plan->pool); /* so the pool is stepped in this round */
        }
    }
    for (struct pool *pool = runtime->pools; !restart && pool; pool = pool->next)
        if (!pool->removed && !plans_have(plans, pool))
            pool_remove(pool);
    apply_listener_list(runtime, plans, restart);
    if (!restart) {
        apply_control(runtime, plans);
        config_unref(runtime->config);
        runtime->config = config;
    }
    for (const struct listener *l = runtime->listeners; l; l = l->next)
        warn_unreachable("listener", l);
    warn_unreachable("control", runtime->control);
    plans_done(plans);
}

int reload_first(struct reload *reload, struct runtime *runtime, struct config *config)
{
    *reload = (struct reload){.plans = {.config = config, .faults = &config->faults}};
    /* The list may have listeners of the old binary, after an upgrade without a usable state. */
    struct listener **end = &runtime->listeners;
    while (*end)
        end = &(*end)->next;
    *end = listener_upkeep_take(config);
    if (plans_make(&reload->plans, runtime) != 0 || add_pools(runtime, &reload->plans, 1) != 0) {
        plans_abandon(&reload->plans, runtime);
        return -1;
    }
    arena_seal(config->arena);
    apply_plans(runtime, &reload->plans, /* job: */ 0, /* restart: */ false);
    return 0;
}

/* --- jobs and their results ------------------------------------------------------------------- */

uint64_t reload_ask(struct reload *reload, enum job_kind kind, const char *pool)
{
    for (int i = 0; i < reload->queued; i++)
        if (reload->queue[i].kind == kind && strcmp(reload->queue[i].pool, pool) == 0)
            return reload->queue[i].number;
    if (kind == JOB_RESTART && reload->queued >= RELOAD_RESTARTS)
        return 0;
    struct job *job = &reload->queue[reload->queued++];
    *job = (struct job){.kind = kind, .number = ++reload->last};
    snprintf(job->pool, sizeof job->pool, "%s", pool);
    if (reload->state != RELOAD_NONE)
        log_notice("a %s is under way: another %s will follow it", job_words[reload->job.kind],
                   job_words[kind]);
    return job->number;
}

static struct reload_result *current_result(struct reload *reload)
{
    return &reload->results[reload->job.number % RELOAD_RESULTS];
}

const struct reload_result *reload_result(const struct reload *reload, uint64_t number)
{
    const struct reload_result *result = &reload->results[number % RELOAD_RESULTS];
    bool under_way = reload->state != RELOAD_NONE && reload->job.number == number;
    return result->number == number && !under_way ? result : NULL;
}

/* Logs a line of the plan and adds it to the result. Lines without a change are for dry runs: the
 * log has their number (log_kept). */
static void add_plan_line(void *owner, bool changes, const char *line)
{
    struct reload *reload = owner;
    bool dry_run = reload->job.kind == JOB_DRY_RUN;
    char pair[LOG_POOL_PAIR];
    if (changes && !dry_run)
        log_notice("%s: %s%s", job_words[reload->job.kind], line, log_pool_pair(pair, line));
    if (changes || dry_run)
        buffer_print(&current_result(reload)->lines, "%s\n", line);
}

static void log_kept(const struct reload *reload, struct plans_kept kept)
{
    if (kept.pools + kept.listeners > 0)
        log_info("%s: kept %d pool%s and %d listener%s pools=%d listeners=%d",
                 job_words[reload->job.kind], kept.pools, kept.pools == 1 ? "" : "s",
                 kept.listeners, kept.listeners == 1 ? "" : "s", kept.pools, kept.listeners);
}

/* Adds the warnings of a configuration that has passed its check. A dry run does not log them. */
static void add_warnings(struct reload *reload)
{
    char place[FAULT_PLACE], pair[LOG_POOL_PAIR];
    for (const struct fault *f = reload->config->warnings.first; f; f = f->next) {
        fault_place(f, place);
        if (reload->job.kind != JOB_DRY_RUN)
            log_warning("%s: %s: %s%s", job_words[reload->job.kind], place, f->text,
                        log_pool_pair(pair, f->text));
        buffer_print(&current_result(reload)->lines, "%s: warning: %s\n", place, f->text);
    }
}

/* --- the ends of a job ------------------------------------------------------------------------ */

static void finish_job(struct reload *reload)
{
    reload->state = RELOAD_NONE;
    reload->config = NULL;
    arena_close(reload->fault_arena);
    reload->fault_arena = NULL;
    if (reload->job.kind == JOB_RELOAD)
        sysd_notify("READY=1");
}

static enum log_name refusal_name(const struct reload *reload)
{
    return reload->job.kind == JOB_RELOAD ? LOG_NAME_REFUSED : LOG_NAME_NONE;
}

static void refuse(struct reload *reload, struct runtime *runtime)
{
    const struct faults *faults = reload->plans.faults;
    struct reload_result *result = current_result(reload);
    const char *word = job_words[reload->job.kind];
    bool dry_run = reload->job.kind == JOB_DRY_RUN;
    char place[FAULT_PLACE], pair[LOG_POOL_PAIR], why[SCOREBOARD_REASON] = "no reason is known";
    const struct fault *first = faults->first;
    if (first)
        snprintf(why, sizeof why, "%s: %s", fault_place(first, place), first->text);
    /* Noted before the result is complete: a client that gets the result may read the status at
     * once. */
    if (reload->job.kind == JOB_RELOAD)
        overview_note_reload(runtime->spawner.boards.overview, why);
    buffer_done(&result->lines);
    for (const struct fault *f = first; f; f = f->next) {
        fault_place(f, place);
        if (!dry_run)
            log_err("%s: %s: %s%s", word, place, f->text, log_pool_pair(pair, f->text));
        buffer_print(&result->faults, "%s: %s\n", place, f->text);
    }
    if (!dry_run)
        log_named(refusal_name(reload), LOG_ERR,
                  "%s refused, %u fault%s: the old configuration stays in force generation=%u",
                  word, faults->count, faults->count == 1 ? "" : "s", runtime->generation);
    if (faults->count > FAULTS_MAX)
        buffer_print(&result->faults, "and %u more\n", faults->count - FAULTS_MAX);
    result->refused = true;
    undo_plans(runtime, &reload->plans);
    config_unref(reload->config);
    finish_job(reload);
}

static void succeed(struct reload *reload, const struct runtime *runtime)
{
    const char *word = job_words[reload->job.kind];
    bool is_reload = reload->job.kind == JOB_RELOAD;
    double seconds = clock_seconds(clock_now() - reload->began);
    if (is_reload)
        overview_note_reload(runtime->spawner.boards.overview, NULL);
    log_named(is_reload ? LOG_NAME_RELOAD : LOG_NAME_NONE, LOG_NOTICE,
              "%s done: %s generation=%u seconds=%.3f", word,
              is_reload ? "the configuration is in force" : "the workers are new ones",
              runtime->generation, seconds);
    buffer_print(&current_result(reload)->lines, "%s done: generation %u, in %.3f s\n", word,
                 runtime->generation, seconds);
    finish_job(reload);
}

static void note_failure(const struct runtime *runtime, const char *line)
{
    char noted[SCOREBOARD_REASON];
    struct text_line why = {.at = noted, .room = sizeof noted};
    text_add(&why, "it is in force, but %s", line);
    overview_note_reload(runtime->spawner.boards.overview, noted);
}

/* Whether a pool of the job failed in the roll. The configuration stays in force, but the job has
 * failed if its workers don't serve. */
static bool has_failed(struct reload *reload, const struct runtime *runtime)
{
    const char *word = job_words[reload->job.kind];
    struct reload_result *result = current_result(reload);
    char why[SCOREBOARD_REASON + 100], line[POOL_NAME_MAX + SCOREBOARD_REASON + 200];
    for (const struct pool *pool = runtime->pools; pool; pool = pool->next) {
        struct counts counts = pool_counts(pool);
        if (pool->job != reload->job.number || pool->removed ||
            !pool_has_failed(pool, &counts, why, sizeof why))
            continue;
        snprintf(line, sizeof line, "pool %s: %s", pool->name, why);
        log_named(refusal_name(reload), LOG_ERR, "%s failed: %s pool=%s generation=%u", word, line,
                  pool->name, runtime->generation);
        buffer_print(&result->faults, "%s failed: %s\n", word, line);
        if (reload->job.kind == JOB_RELOAD && !result->refused)
            note_failure(runtime, line);
        result->refused = true;
    }
    return result->refused;
}

/* --- the steps of a job ----------------------------------------------------------------------- */

/* Refuses a job before it has begun. */
static void refuse_start(struct reload *reload, struct runtime *runtime, const char *what,
                         const char *why)
{
    char noted[SCOREBOARD_REASON];
    snprintf(noted, sizeof noted, "%s%s", what, why);
    if (reload->job.kind == JOB_RELOAD)
        overview_note_reload(runtime->spawner.boards.overview, noted);
    log_named(refusal_name(reload), LOG_ERR, "%s refused: %s%s", job_words[reload->job.kind], what,
              why);
    buffer_print(&current_result(reload)->faults, "%s%s\n", what, why);
    current_result(reload)->refused = true;
}

static void begin_check(struct reload *reload, struct runtime *runtime)
{
    struct config *config = config_new();
    pid_t checker = config ? check_start(config, runtime->config->file) : -ENOMEM;
    if (checker < 0) {
        refuse_start(reload, runtime, "can't start the check: ", strerror((int)-checker));
        config_unref(config);
        return;
    }
    reload->state = RELOAD_CHECKING;
    reload->config = config;
    reload->checker = checker;
    reload->check_killed = false;
    reload->check_steps = 0;
    reload->deadline = reload->began + STEP_TIMEOUT;
    reload->plans = (struct plans){
        .config = config, .faults = &config->faults, .dry_run = reload->job.kind == JOB_DRY_RUN};
    if (reload->job.kind == JOB_RELOAD) {
        sysd_notify("RELOADING=1\nMONOTONIC_USEC=%lld", (long long)reload->began);
        log_notice("reloading %s", runtime->config->file);
    }
}

/* Makes the plan and tries it. 0; or -1 with faults noted. */
static int prepare(struct reload *reload, struct runtime *runtime)
{
    if (plans_make(&reload->plans, runtime) != 0)
        return -1;
    return reload->job.kind == JOB_DRY_RUN ? plans_fit(&reload->plans, runtime)
                                           : try_plans(runtime, &reload->plans);
}

static void begin_restart(struct reload *reload, struct runtime *runtime)
{
    const char *name = reload->job.pool;
    if (runtime_is_carried(runtime)) {
        refuse_start(reload, runtime, runtime->config->file, RUNTIME_CARRIED);
        return;
    }
    reload->fault_arena = arena_open(FAULT_ARENA_SIZE);
    if (!reload->fault_arena) {
        refuse_start(reload, runtime, "", "out of memory");
        return;
    }
    faults_init(&reload->faults, reload->fault_arena);
    reload->config = runtime->config;
    config_ref(reload->config);
    reload->plans =
        (struct plans){.config = reload->config, .faults = &reload->faults, .only = name};
    reload->state = RELOAD_CANARIES;
    const struct pool *pool = name[0] ? runtime_find(runtime, name) : NULL;
    if (name[0] && !pool)
        faults_add(&reload->faults, reload->config->file, 0, "there is no pool %s any more", name);
    else if (pool && pool->drained) /* while the restart waited for its turn */
        faults_add(&reload->faults, reload->config->file, 0, POOL_IS_DRAINED, name);
    if (reload->faults.count || prepare(reload, runtime) != 0)
        refuse(reload, runtime);
}

static void begin_job(struct reload *reload, struct runtime *runtime)
{
    reload->job = reload->queue[0];
    reload->queued--;
    memmove(reload->queue, reload->queue + 1, (size_t)reload->queued * sizeof *reload->queue);
    reload->began = clock_now();
    struct reload_result *result = current_result(reload);
    buffer_done(&result->lines);
    buffer_done(&result->faults);
    *result = (struct reload_result){.number = reload->job.number};
    if (reload->job.kind == JOB_RESTART)
        begin_restart(reload, runtime);
    else
        begin_check(reload, runtime);
}

bool reload_reaped(struct reload *reload, struct runtime *runtime, pid_t pid, int status)
{
    if (reload->state != RELOAD_CHECKING || pid != reload->checker)
        return false;
    reload->checker = 0;
    bool passed = check_passed(reload->config, runtime->config->file, status, reload->check_killed);
    if (passed)
        add_warnings(reload);
    if (!passed || prepare(reload, runtime) != 0) {
        refuse(reload, runtime);
    } else if (reload->job.kind == JOB_DRY_RUN) {
        plans_print(&reload->plans, runtime, add_plan_line, reload);
        plans_abandon(&reload->plans, runtime);
        config_unref(reload->config);
        finish_job(reload);
    } else {
        reload->state = RELOAD_CANARIES;
    }
    return true;
}

/* Kills a check that makes no step. Its faults are read, and ours added, only after it was reaped,
 * because until then it writes to the same memory. If it does not even end then, a hanging disk
 * holds it in the kernel: the shared memory stays the child's, and our fault goes into an arena of
 * its own. When the child is reaped one day, reload_reaped ignores it. */
static usec await_check(struct reload *reload, struct runtime *runtime, usec now)
{
    if (now < reload->deadline)
        return reload->deadline;
    if (!reload->check_killed && check_goes_on(reload->config, &reload->check_steps)) {
        reload->deadline = now + STEP_TIMEOUT;
        return reload->deadline;
    }
    reload->deadline = now + KILLED_TIMEOUT;
    if (!reload->check_killed) {
        reload->check_killed = true;
        kill(reload->checker, SIGKILL);
        return reload->deadline;
    }
    reload->fault_arena = arena_open(FAULT_ARENA_SIZE);
    if (!reload->fault_arena) /* out of memory: we try again at the deadline */
        return reload->deadline;
    reload->checker = 0;
    faults_init(&reload->faults, reload->fault_arena);
    faults_add(&reload->faults, runtime->config->file, 0, CHECK_STUCK);
    reload->plans.faults = &reload->faults;
    refuse(reload, runtime);
    return now;
}

/* Whether the canaries are ready or have failed. */
static bool await_canaries(struct reload *reload, struct runtime *runtime)
{
    struct config *config = reload->config;
    bool restart = reload->job.kind == JOB_RESTART;
    int missing = missing_canaries(&reload->plans);
    if (missing > 0)
        return false;
    if (missing < 0) {
        refuse(reload, runtime);
        return true;
    }
    if (!restart) {
        arena_seal(config->arena);
        log_configure(config->log.ident, config->log.facility, config->log.level,
                      config->log.format_choice == LOG_FORMAT_JSON);
    }
    log_kept(reload, plans_print(&reload->plans, runtime, add_plan_line, reload));
    apply_plans(runtime, &reload->plans, reload->job.number, restart);
    if (restart)
        config_unref(config);
    reload->state = RELOAD_ROLLING;
    reload->deadline = USEC_NEVER;
    return true;
}

/* The roll is over when the new workers of the job's pools serve or have failed, and the idle old
 * workers have ended: from then on a client that connects meets the new configuration. Old workers
 * with a connection in hand don't delay it, and an idle one that does not end delays it for
 * IDLE_TIMEOUT at most. Nor do pools that the job leaves as they are: one whose workers keep dying
 * would hold up the file that mends it. */
static usec await_roll(struct reload *reload, struct runtime *runtime, usec now)
{
    bool idle_left = false;
    for (const struct pool *pool = runtime->pools; pool; pool = pool->next) {
        struct counts counts = pool_counts(pool);
        if (pool->job == reload->job.number && !pool->removed && !pool_has_tried(pool, &counts))
            return USEC_NEVER;
        idle_left = idle_left || counts.retiring_idle;
    }
    if (reload->deadline == USEC_NEVER)
        reload->deadline = now + IDLE_TIMEOUT;
    if (now < reload->deadline && idle_left)
        return reload->deadline;
    if (has_failed(reload, runtime))
        finish_job(reload);
    else
        succeed(reload, runtime);
    return now;
}

/* `systemctl reload` waits for the job, and for those before it, but no longer than TimeoutStartSec
 * unless we ask for more time again and again. */
static usec extend_timeout(struct reload *reload, usec now)
{
    if (now >= reload->extend_at) {
        sysd_try_notify("EXTEND_TIMEOUT_USEC=%lld", (long long)(2 * EXTEND_PERIOD));
        reload->extend_at = now + EXTEND_PERIOD;
    }
    return reload->extend_at;
}

usec reload_step(struct reload *reload, struct runtime *runtime, usec now)
{
    usec next = USEC_NEVER;
    /* A listener that was shut down and can't listen again in place needs a restart of its pool. */
    bool idle = reload_is_idle(reload);
    for (struct pool *pool = runtime->pools; idle && pool; pool = pool->next)
        if (pool_restart_is_due(pool, now, &next))
            reload_ask(reload, JOB_RESTART, pool->name);
    if (reload->state == RELOAD_NONE && reload->queued) {
        begin_job(reload, runtime);
        reload->extend_at = now;
        next = now; /* canaries have their deadlines */
    }
    if (reload->state != RELOAD_NONE)
        next = clock_earlier(next, extend_timeout(reload, now));
    if (reload->state == RELOAD_CHECKING)
        next = clock_earlier(next, await_check(reload, runtime, now));
    if (reload->state == RELOAD_CANARIES && await_canaries(reload, runtime))
        next = now; /* for the pools to act on it */
    if (reload->state == RELOAD_ROLLING)
        next = clock_earlier(next, await_roll(reload, runtime, now));
    reclaim_listeners(runtime);
    runtime_sweep(runtime);
    return reload->state == RELOAD_NONE && reload->queued ? now : next;
}

void reload_abandon(struct reload *reload, struct runtime *runtime)
{
    reload->queued = 0;
    if (reload->state == RELOAD_CHECKING)
        kill(reload->checker, SIGKILL);
    if (reload->state == RELOAD_CHECKING || reload->state == RELOAD_CANARIES) {
        undo_plans(runtime, &reload->plans);
        config_unref(reload->config);
    }
    arena_close(reload->fault_arena);
    reload->fault_arena = NULL;
    reload->config = NULL;
    reload->state = RELOAD_NONE;
}

void reload_close(struct reload *reload)
{
    for (int i = 0; i < RELOAD_RESULTS; i++) {
        buffer_done(&reload->results[i].lines);
        buffer_done(&reload->results[i].faults);
    }
}
