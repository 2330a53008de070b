#include "reload.h"

#include "../base/log.h"
#include "../base/sysd.h"
#include "check.h"
#include "commit.h"
#include "listener_repair.h"
#include "plan_log.h"
#include "store.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define KILLED_PATIENCE (2 * USEC_SECOND)
#define IDLERS_PATIENCE (2 * USEC_SECOND)

enum {
    CHECK_SECONDS = 10,
    NOTES_ROOM = 1024 * 1024, /* for a restart's faults: one a pool at most */
};

static const char *const job_words[] = {
    [JOB_RELOAD] = "reload",
    [JOB_DRY_RUN] = "dry run",
    [JOB_RESTART] = "restart",
};

int reload_first(struct reload *reload, struct runtime *runtime, struct config *config)
{
    *reload = (struct reload){.plans = {.config = config, .faults = &config->faults}};
    struct listener **end =
        &runtime->listeners; /* behind those that we have from the program before */
    while (*end)
        end = &(*end)->next;
    *end = store_take(config);
    if (plans_make(&reload->plans, runtime) != 0 ||
        commit_add_pools(runtime, &reload->plans, 1) != 0) {
        plans_abandon(&reload->plans, runtime);
        return -1;
    }
    arena_seal(config->arena);
    commit_apply(runtime, &reload->plans, /* job: */ 0, /* renewal: */ false);
    return 0;
}

/* Jobs and their results. */

uint64_t reload_ask(struct reload *reload, enum job_kind kind, const char *pool)
{
    for (int i = 0; i < reload->queued; i++)
        if (reload->queue[i].kind == kind && strcmp(reload->queue[i].pool, pool) == 0)
            return reload->queue[i].number;
    if (reload->queued == RELOAD_QUEUE)
        return 0;
    struct job *job = &reload->queue[reload->queued++];
    *job = (struct job){.kind = kind, .number = ++reload->last};
    snprintf(job->pool, sizeof job->pool, "%s", pool);
    if (reload->state != RELOAD_NONE)
        log_notice("a %s is under way: another %s will follow it", job_words[reload->job.kind],
                   job_words[kind]);
    return job->number;
}

static struct reload_result *result_of(struct reload *reload, uint64_t number)
{
    return &reload->results[number % RELOAD_RESULTS];
}

const struct reload_result *reload_result(const struct reload *reload, uint64_t number)
{
    const struct reload_result *result = &reload->results[number % RELOAD_RESULTS];
    bool under_way = reload->state != RELOAD_NONE && reload->job.number == number;
    return result->number == number && !under_way ? result : NULL;
}

static void begin_result(struct reload *reload)
{
    struct reload_result *result = result_of(reload, reload->job.number);
    buffer_done(&result->said);
    buffer_done(&result->faults);
    *result = (struct reload_result){.number = reload->job.number};
}

static struct faults *faults_of(struct reload *reload)
{
    return reload->notes ? &reload->faults : &reload->config->faults;
}

static void note_faults(struct reload_result *result, const struct faults *faults)
{
    char place[FAULT_PLACE];
    for (const struct fault *f = faults->first; f; f = f->next)
        buffer_print(&result->faults, "%s: %s\n", fault_place(f, place), f->text);
    if (faults->count > FAULTS_MAX)
        buffer_print(&result->faults, "and %u more\n", faults->count - FAULTS_MAX);
}

/* A line of the plan, to the log and to who asked. What stays as it is, only a dry_run tells. */
static void tell_line(void *owner, bool changes, const char *line)
{
    struct reload *reload = owner;
    bool dry_run = reload->job.kind == JOB_DRY_RUN;
    if (!dry_run)
        log_event(changes ? LOG_NOTICE : LOG_INFO, "%s: %s", job_words[reload->job.kind], line);
    if (changes || dry_run)
        buffer_print(&result_of(reload, reload->job.number)->said, "%s\n", line);
}

/* What stands in the overview for those who ask later. */
static void record(const struct reload *reload, const struct runtime *runtime,
                   const struct faults *faults)
{
    char place[FAULT_PLACE], why[SCOREBOARD_REASON] = "no reason is known";
    if (faults && faults->first)
        snprintf(why, sizeof why, "%s: %s", fault_place(faults->first, place), faults->first->text);
    if (reload->job.kind == JOB_RELOAD)
        overview_note_reload(runtime->spawner.boards.overview, faults ? why : NULL);
}

/* Its ends. */

static void finish(struct reload *reload)
{
    reload->state = RELOAD_NONE;
    reload->config = NULL;
    arena_close(reload->notes);
    reload->notes = NULL;
    if (reload->job.kind == JOB_RELOAD)
        sysd_notify("READY=1");
}

static void log_refusal(const struct reload *reload, const struct runtime *runtime,
                        const struct faults *faults)
{
    const char *word = job_words[reload->job.kind];
    char place[FAULT_PLACE];
    for (const struct fault *f = faults->first; f; f = f->next)
        log_err("%s: %s: %s", word, fault_place(f, place), f->text);
    log_err("%s refused, %u fault%s: the configuration of before stays in force generation=%u",
            word, faults->count, faults->count == 1 ? "" : "s", runtime->generation);
}

static void refuse(struct reload *reload, struct runtime *runtime)
{
    struct faults *faults = faults_of(reload);
    struct reload_result *result = result_of(reload, reload->job.number);
    record(reload, runtime, faults); /* first: who reads of it may look at once */
    if (reload->job.kind != JOB_DRY_RUN)
        log_refusal(reload, runtime, faults);
    buffer_done(&result->said);
    note_faults(result, faults);
    result->refused = true;
    commit_undo(runtime, &reload->plans);
    config_unref(reload->config);
    finish(reload);
}

static void succeed(struct reload *reload, const struct runtime *runtime)
{
    const char *word = job_words[reload->job.kind];
    double seconds = clock_seconds(clock_now() - reload->began);
    record(reload, runtime, NULL);
    log_notice("%s done: %s generation=%u seconds=%.3f", word,
               reload->job.kind == JOB_RELOAD ? "the configuration is in force"
                                              : "the workers are new ones",
               runtime->generation, seconds);
    buffer_print(&result_of(reload, reload->job.number)->said,
                 "%s done: generation %u, in %.3f s\n", word, runtime->generation, seconds);
    finish(reload);
}

/* Of a configuration that passed its check. A dry_run tells them to who asked, alone. */
static void tell_warnings(struct reload *reload)
{
    char place[FAULT_PLACE];
    for (const struct fault *f = reload->config->warnings.first; f; f = f->next) {
        fault_place(f, place);
        if (reload->job.kind != JOB_DRY_RUN)
            log_warning("%s: %s: %s", job_words[reload->job.kind], place, f->text);
        buffer_print(&result_of(reload, reload->job.number)->said, "%s: warning: %s\n", place,
                     f->text);
    }
}

/* One of the pools that it concerns. */
static void note_failure(struct reload *reload, const struct runtime *runtime,
                         const struct pool *pool, const char *why)
{
    struct reload_result *result = result_of(reload, reload->job.number);
    const char *word = job_words[reload->job.kind];
    char line[POOL_NAME_MAX + SCOREBOARD_REASON + 200];
    snprintf(line, sizeof line, "pool %s: %s", pool->name, why);
    log_err("%s failed: %s pool=%s generation=%u", word, line, pool->name, runtime->generation);
    buffer_print(&result->faults, "%s failed: %s\n", word, line);
    if (reload->job.kind == JOB_RELOAD && !result->refused)
        overview_note_reload(runtime->spawner.boards.overview, line);
    result->refused = true;
}

/* It is in force, and nobody undoes that: but where nobody serves by it, nobody is told that it is
 * done. */
static bool has_failed(struct reload *reload, const struct runtime *runtime)
{
    char why[SCOREBOARD_REASON + 100];
    bool failed = false;
    for (const struct pool *pool = runtime->pools; pool; pool = pool->next) {
        struct counts counts = pool_counts(pool);
        if (pool->job != reload->job.number || pool->removed ||
            !pool_has_failed(pool, &counts, why, sizeof why))
            continue;
        note_failure(reload, runtime, pool, why);
        failed = true;
    }
    return failed;
}

static void end_dry_run(struct reload *reload, struct runtime *runtime)
{
    plans_tell(&reload->plans, runtime, tell_line, reload);
    plans_abandon(&reload->plans, runtime);
    config_unref(reload->config);
    finish(reload);
}

/* Its steps. */

static void begin_check(struct reload *reload, struct runtime *runtime)
{
    struct config *config = config_new();
    pid_t checker = config ? check_start(config, runtime->config->file) : -ENOMEM;
    if (checker < 0) {
        struct reload_result *result = result_of(reload, reload->job.number);
        log_err("%s refused: can't start the check: %s", job_words[reload->job.kind],
                strerror((int)-checker));
        buffer_print(&result->faults, "can't start the check: %s\n", strerror((int)-checker));
        result->refused = true;
        config_unref(config);
        return;
    }
    reload->state = RELOAD_CHECKING;
    reload->config = config;
    reload->checker = checker;
    reload->late = 0;
    reload->deadline = reload->began + CHECK_SECONDS * USEC_SECOND;
    reload->plans = (struct plans){
        .config = config, .faults = &config->faults, .dry_run = reload->job.kind == JOB_DRY_RUN};
    if (reload->job.kind == JOB_RELOAD) {
        sysd_notify("RELOADING=1\nMONOTONIC_USEC=%lld", (long long)reload->began);
        log_notice("reloading %s", runtime->config->file);
    }
}

/* Makes the plan and tries it. 0; or -1 with the faults noted. */
static int prepare(struct reload *reload, struct runtime *runtime)
{
    const char *name = reload->job.pool;
    reload->plans.only = reload->job.kind == JOB_RESTART ? name : NULL;
    if (plans_make(&reload->plans, runtime) != 0)
        return -1;
    for (struct pool *p = runtime->pools; reload->job.kind == JOB_RESTART && p; p = p->next)
        if (name[0] ? strcmp(p->name, name) == 0 : !p->drained)
            plans_renew(&reload->plans, p);
    if (reload->job.kind == JOB_DRY_RUN)
        return plans_fit(&reload->plans, runtime);
    return commit_try(runtime, &reload->plans);
}

static void begin_restart(struct reload *reload, struct runtime *runtime)
{
    const char *name = reload->job.pool;
    reload->notes = arena_open(NOTES_ROOM);
    if (!reload->notes) {
        log_err("restart refused: %s", strerror(errno));
        buffer_print(&result_of(reload, reload->job.number)->faults, "out of memory\n");
        result_of(reload, reload->job.number)->refused = true;
        return;
    }
    faults_init(&reload->faults, reload->notes);
    reload->config = runtime->config;
    config_ref(reload->config);
    reload->plans = (struct plans){.config = reload->config, .faults = &reload->faults};
    reload->state = RELOAD_CANARIES;
    if (name[0] && !runtime_find(runtime, name))
        faults_add(&reload->faults, reload->config->file, 0, "there is no pool %s any more", name);
    if (reload->faults.count || prepare(reload, runtime) != 0)
        refuse(reload, runtime);
}

static void begin(struct reload *reload, struct runtime *runtime)
{
    reload->job = reload->queue[0];
    reload->queued--;
    memmove(reload->queue, reload->queue + 1, (size_t)reload->queued * sizeof *reload->queue);
    reload->began = clock_now();
    begin_result(reload);
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
    bool passed = check_passed(reload->config, runtime->config->file, status, reload->late);
    if (passed)
        tell_warnings(reload);
    if (!passed || prepare(reload, runtime) != 0)
        refuse(reload, runtime);
    else if (reload->job.kind == JOB_DRY_RUN)
        end_dry_run(reload, runtime);
    else
        reload->state = RELOAD_CANARIES;
    return true;
}

static void apply(struct reload *reload, struct runtime *runtime)
{
    struct config *config = reload->config;
    bool renewal = reload->job.kind == JOB_RESTART;
    if (!renewal) {
        arena_seal(config->arena);
        log_configure(config->log.ident, config->log.facility, config->log.level);
    }
    plans_tell(&reload->plans, runtime, tell_line, reload);
    commit_apply(runtime, &reload->plans, reload->job.number, renewal);
    if (renewal)
        config_unref(config);
}

/* Whether the canaries have come to an end, good or bad. */
static bool await_canaries(struct reload *reload, struct runtime *runtime)
{
    int missing = commit_missing(&reload->plans);
    if (missing > 0)
        return false;
    if (missing < 0) {
        refuse(reload, runtime);
        return true;
    }
    apply(reload, runtime);
    reload->state = RELOAD_ROLLING;
    reload->deadline = USEC_NEVER;
    return true;
}

static bool all_rolled(const struct runtime *runtime)
{
    for (const struct pool *pool = runtime->pools; pool; pool = pool->next) {
        struct counts counts = pool_counts(pool);
        if (!pool->removed && !pool_has_tried(pool, &counts))
            return false;
    }
    return true;
}

static bool idlers_left(const struct runtime *runtime)
{
    for (const struct pool *pool = runtime->pools; pool; pool = pool->next)
        if (pool_counts(pool).retiring_idle)
            return true;
    return false;
}

/* It is over when the new workers serve, or have failed, and the old ones that were idle are gone:
 * whoever connects after that meets the new configuration. Those that finish a connection hold nothing
 * up, nor, for long, does one that does not go. */
static usec await_roll(struct reload *reload, struct runtime *runtime, usec now)
{
    if (!all_rolled(runtime))
        return USEC_NEVER;
    if (reload->deadline == USEC_NEVER)
        reload->deadline = now + IDLERS_PATIENCE;
    if (now < reload->deadline && idlers_left(runtime))
        return reload->deadline;
    if (has_failed(reload, runtime))
        finish(reload);
    else
        succeed(reload, runtime);
    return now;
}

/* It was killed, and does not go: a disk that hangs holds it in the kernel. What it shares with us is
 * its own as long as it lives, so that the reason is noted elsewhere. Whenever it is reaped, nobody
 * asks for it. */
static void leave_check(struct reload *reload, struct runtime *runtime, usec now)
{
    reload->deadline = now + KILLED_PATIENCE;
    reload->notes = arena_open(NOTES_ROOM);
    if (!reload->notes)
        return; /* there is another round then */
    reload->checker = 0;
    faults_init(&reload->faults, reload->notes);
    faults_add(&reload->faults, runtime->config->file, 0, CHECK_STUCK);
    reload->plans.faults = &reload->faults;
    refuse(reload, runtime);
}

/* Who is late is killed, and only once it has been reaped are its faults read, and ours added: it
 * writes to the same memory until then. */
static usec await_check(struct reload *reload, struct runtime *runtime, usec now)
{
    if (now < reload->deadline)
        return reload->deadline;
    if (reload->late) {
        leave_check(reload, runtime, now);
        return reload->state == RELOAD_NONE ? now : reload->deadline;
    }
    reload->late = CHECK_SECONDS;
    reload->deadline = now + KILLED_PATIENCE;
    kill(reload->checker, SIGKILL);
    return reload->deadline;
}

/* Pools of which a listener was shut down, and can but be bound anew. */
static usec ask_for_lost(struct reload *reload, const struct runtime *runtime, usec now)
{
    usec next = USEC_NEVER;
    for (struct pool *pool = runtime->pools; pool; pool = pool->next)
        if (listener_repair_is_due(pool, now, &next))
            reload_ask(reload, JOB_RESTART, pool->name);
    return next;
}

usec reload_step(struct reload *reload, struct runtime *runtime, usec now)
{
    usec next = USEC_NEVER;
    if (reload->state == RELOAD_NONE && !reload->queued)
        next = ask_for_lost(reload, runtime, now);
    if (reload->state == RELOAD_NONE && reload->queued) {
        begin(reload, runtime);
        next = now; /* canaries have their deadlines */
    }
    if (reload->state == RELOAD_CHECKING)
        next = clock_earlier(next, await_check(reload, runtime, now));
    if (reload->state == RELOAD_CANARIES && await_canaries(reload, runtime))
        next = now; /* the pools have new orders */
    if (reload->state == RELOAD_ROLLING)
        next = clock_earlier(next, await_roll(reload, runtime, now));
    runtime_sweep(runtime);
    return reload->state == RELOAD_NONE && reload->queued ? now : next;
}

void reload_abandon(struct reload *reload, struct runtime *runtime)
{
    reload->queued = 0;
    if (reload->state == RELOAD_CHECKING)
        kill(reload->checker, SIGKILL);
    if (reload->state == RELOAD_CHECKING || reload->state == RELOAD_CANARIES) {
        commit_undo(runtime, &reload->plans);
        config_unref(reload->config);
    }
    arena_close(reload->notes);
    reload->notes = NULL;
    reload->config = NULL;
    reload->state = RELOAD_NONE;
}

void reload_close(struct reload *reload)
{
    for (int i = 0; i < RELOAD_RESULTS; i++) {
        buffer_done(&reload->results[i].said);
        buffer_done(&reload->results[i].faults);
    }
}
