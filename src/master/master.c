#include "master.h"

#include "../base/arena.h"
#include "../base/log.h"
#include "../base/sysd.h"
#include "../board/exitcode.h"
#include "../config/identity.h"
#include "maintain.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* Forks in one round, so that signals are not kept waiting while a thousand workers are born. */
enum { STARTS_A_ROUND = 64 };

/* What a stop takes beyond the longest graceful_timeout: QUIT, KILL, and the reaping. */
#define STOP_MARGIN (5 * USEC_SECOND)

int master_open(struct master *master, const sigset_t *signals, const struct upgrade_self *self)
{
    *master = (struct master){.control.socket = -1};
    int error = loop_open(&master->loop, signals);
    if (!error)
        error = spawn_open(&master->runtime.spawner, &master->loop);
    if (!error)
        error = control_open(&master->control, &master->loop);
    if (error)
        return error;
    master->runtime.spawner.master = getpid();
    upgrade_init(&master->upgrade, self, &master->control);
    error = listener_watch_open(&master->runtime.listener_watch, &master->loop);
    if (error)
        log_notice("can't be told when a listener's path is removed: %s; a reload will see it",
                   strerror(-error));
    oom_open(&master->oom, "/proc/self/cgroup", "/sys/fs/cgroup");
    return 0;
}

int master_try(const struct state *state, const char *file)
{
    struct master *master = arena_unforked(sizeof *master);
    sigset_t none;
    sigemptyset(&none);
    int error = master ? loop_open(&master->loop, &none) : -ENOMEM;
    if (!error)
        error = spawn_open(&master->runtime.spawner, &master->loop);
    return error ? error : handoff_adopt(&master->runtime, state, file);
}

void master_inherit(struct master *master, struct listener *listeners, struct listener *control)
{
    master->runtime.listeners = listeners;
    master->runtime.control = control;
}

static usec longest_ready_timeout(const struct config *config)
{
    int longest = 0;
    for (int i = 0; i < config->pool_count; i++)
        if (config->pools[i]->ready_timeout > longest)
            longest = config->pools[i]->ready_timeout;
    return longest * USEC_SECOND;
}

/* A socket that was passed and is in no pool: systemd listens, and nobody will ever accept. */
static void tell_unused_sockets(const struct runtime *runtime)
{
    for (int i = 0; i < sysd_socket_count(); i++) {
        const struct sysd_socket *passed = sysd_socket(i);
        if (!listener_find(runtime->listeners, passed->fd))
            log_warning("the socket that was passed as systemd:%s is in no pool listener=%s",
                        passed->name, passed->name);
    }
}

int master_start(struct master *master, struct config *config)
{
    if (reload_first(&master->reload, &master->runtime, config) != 0)
        return -1;
    master->phase = PHASE_STARTING;
    usec patience = longest_ready_timeout(config) + USEC_SECOND;
    master->start_deadline = clock_now() + patience;
    sysd_notify("EXTEND_TIMEOUT_USEC=%lld", (long long)(patience + STOP_MARGIN));
    for (const struct pool *p = master->runtime.pools; p; p = p->next)
        for (int i = 0; i < p->listener_count; i++)
            log_notice("pool %s: listening on %s pool=%s listener=%s", p->name,
                       p->listeners[i]->text, p->name, p->listeners[i]->text);
    tell_unused_sockets(&master->runtime);
    return 0;
}

int master_resume(struct master *master, const struct state *state)
{
    int error = handoff_adopt(&master->runtime, state, master->upgrade.self.config);
    if (error)
        return error;
    master->phase = PHASE_SERVING;
    master->start_deadline = USEC_NEVER;
    upgrade_arrive(&master->upgrade, state);
    listener_watch_watch(&master->runtime.listener_watch, master->runtime.listeners);
    listener_watch_watch(&master->runtime.listener_watch, master->runtime.control);
    master_reap(master); /* whose SIGCHLD the program before took may be waiting still */
    return 0;
}

void master_close(struct master *master)
{
    runtime_close_listeners(&master->runtime);
    listener_close(master->runtime.control);
    listener_watch_close(&master->runtime.listener_watch);
    control_close(&master->control);
    reload_close(&master->reload);
    config_unref(master->runtime.config);
    spawn_close(&master->runtime.spawner);
    loop_close(&master->loop);
}

/* The end. */

static usec longest_grace(const struct pool *pools)
{
    usec longest = 0;
    for (const struct pool *p = pools; p; p = p->next)
        if (p->conf->graceful_timeout * USEC_SECOND > longest)
            longest = p->conf->graceful_timeout * USEC_SECOND;
    return longest;
}

static void begin_stop(struct master *master)
{
    master->phase = PHASE_STOPPING;
    reload_abandon(&master->reload, &master->runtime);
    upgrade_abandon(&master->upgrade);
    runtime_close_listeners(&master->runtime);
}

void master_stop(struct master *master)
{
    if (master->phase == PHASE_STOPPING) {
        master_stop_now(master);
        return;
    }
    usec now = clock_now();
    usec longest = longest_grace(master->runtime.pools);
    sysd_notify("STOPPING=1\nEXTEND_TIMEOUT_USEC=%lld", (long long)(longest + STOP_MARGIN));
    log_notice("stopping: connections in hand may end within %d s", (int)(longest / USEC_SECOND));
    begin_stop(master);
    for (struct pool *p = master->runtime.pools; p; p = p->next)
        pool_stop(p, now);
}

void master_stop_now(struct master *master)
{
    usec now = clock_now();
    if (!master->stopping_now)
        log_notice("stopping now");
    master->stopping_now = true;
    sysd_notify("STOPPING=1");
    begin_stop(master);
    for (struct pool *p = master->runtime.pools; p; p = p->next)
        pool_stop_now(p, now);
}

/* The parts of a round. */

/* A worker was stopped, by a signal that nobody can take or by a terminal: it may have been woken for a
 * connection just now. */
static void note_stop(struct worker *worker)
{
    worker->resources->wakeups.asked = true;
    worker->resources->changed = true;
}

/* Whether a pool has what was to be listened on by one of its earlier configurations. */
static bool has_all(const struct pool *pool, const struct pool_config *conf)
{
    for (int i = 0; i < conf->listen_count; i++) {
        int at = 0;
        while (at < pool->listener_count && !listener_is(pool->listeners[at], &conf->listens[i]))
            at++;
        if (at == pool->listener_count)
            return false;
    }
    return true;
}

/* One of a pool that is gone, or that gave up a listener, may leave a connection on a listener
 * that is
 * another pool's by now. */
static void look_everywhere(struct master *master, const struct worker *dead)
{
    struct pool *pools = master->runtime.pools;
    const struct pool *its = pools;
    while (its && &its->resources != dead->resources)
        its = its->next;
    if (!its ||
        (!its->removed && (dead->generation == its->generation || has_all(its, dead->conf))))
        return;
    for (struct pool *p = pools; p; p = p->next) {
        p->resources.wakeups.asked = true;
        pool_touch(p);
    }
}

static void reap_one(struct master *master, pid_t pid, int status, const struct rusage *usage)
{
    struct spawner *spawner = &master->runtime.spawner;
    struct worker *worker = spawn_find(spawner, pid);
    usec now = clock_now();
    if (WIFSTOPPED(status)) {
        if (worker)
            note_stop(worker);
        return;
    }
    if (worker) {
        bool ours = worker->cause != DEATH_OWN && worker->cause != DEATH_RETIRED;
        bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
        worker->out_of_memory = killed && !ours && oom_claim(&master->oom, now);
        spawn_reaped(spawner, worker, status, usage, now);
        look_everywhere(master, worker);
        return;
    }
    if (!reload_reaped(&master->reload, &master->runtime, pid, status) &&
        !upgrade_reaped(&master->upgrade, pid, status))
        log_debug("reaped %d, which is no worker pid=%d", (int)pid, (int)pid);
}

void master_reap(struct master *master)
{
    struct rusage usage;
    int status;
    pid_t pid;
    while ((pid = wait4(-1, &status, WNOHANG | WUNTRACED, &usage)) > 0)
        reap_one(master, pid, status, &usage);
}

/* Other pools may serve already: whom they serve has the time that a stop gives. */
static void fail_start(struct master *master, const struct pool *pool, const char *why)
{
    log_err("%s:%d: pool %s: %s: no worker becomes ready pool=%s", pool->conf->origin.file,
            pool->conf->origin.line, pool->name, why, pool->name);
    master->exit_status = EXIT_START_FAILED;
    master_stop(master);
}

/* Every pool serves once its workers are ready, or at least one is and the others had their try. */
static void watch_start(struct master *master, usec now)
{
    bool serving = true;
    for (const struct pool *p = master->runtime.pools; p; p = p->next) {
        struct counts counts = pool_counts(p);
        bool tried = counts.ready + counts.failed >= pool_target(p);
        bool wanted = pool_target(p) > 0; /* 0: its first worker comes with the first connection */
        if (wanted && counts.ready == 0 &&
            ((p->trouble[0] && tried) || now >= master->start_deadline)) {
            fail_start(master, p, p->trouble[0] ? p->trouble : "the time is over");
            return;
        }
        serving = serving && (counts.ready || !wanted) && (tried || now >= master->start_deadline);
    }
    if (!serving)
        return;
    master->phase = PHASE_SERVING;
    master->start_deadline = USEC_NEVER;
    log_errors_to_stderr(false);
    log_notice("ready: every pool serves pools=%d generation=%u",
               master->runtime.config->pool_count, master->runtime.generation);
    export_runtime(&master->export, &master->runtime);
    export_ready(&master->export, &master->runtime, now);
    master->serving(master->owner);
}

static bool anyone_left(const struct master *master)
{
    for (const struct pool *p = master->runtime.pools; p; p = p->next)
        if (!pool_is_empty(p))
            return true;
    return false;
}

/* Those pools to which something happened, or whose time has come. Each of the others costs a look at
 * two words. */
static usec step_pools(struct master *master, usec now)
{
    int starts = STARTS_A_ROUND;
    usec next = USEC_NEVER;
    for (struct pool *p = master->runtime.pools; p; p = p->next) {
        if (p->resources.changed || now >= p->due) {
            p->due = maintain_step(p, &master->runtime.spawner, now, &starts);
            export_pool(&master->export, &master->runtime, p, now);
        }
        next = clock_earlier(next, p->due);
    }
    return next;
}

usec master_step(struct master *master, usec now)
{
    usec next = step_pools(master, now);
    next = clock_earlier(next, stderr_log_step(master->runtime.spawner.lines, now));
    if (master->phase == PHASE_STARTING) {
        watch_start(master, now);
        next = clock_earlier(next, master->start_deadline);
    } else {
        next = clock_earlier(next, reload_step(&master->reload, &master->runtime, now));
        next = clock_earlier(
            next, upgrade_step(&master->upgrade, &master->runtime, &master->reload, now));
    }
    struct runtime *runtime = &master->runtime;
    next = clock_earlier(next, listener_watch_step(&runtime->listener_watch, runtime->listeners,
                                                   runtime->control, now));
    if (runtime->listener_watch.changed) {
        for (struct pool *p = runtime->pools; p; p = p->next)
            pool_touch(p);
        runtime->listener_watch.changed = false;
    }
    for (const struct pool *p = runtime->pools; p; p = p->next)
        if (p->resources.changed) /* by what was done since it was looked at */
            next = now;
    control_listen(&master->control, runtime->control ? runtime->control->fd : -1,
                   runtime->config->control_gid);
    if (master->phase == PHASE_STOPPING && !anyone_left(master)) {
        log_notice("stopped");
        master->phase = PHASE_ENDED;
    }
    return next;
}

/* What changed, for all who read it; and that we are alive. */
usec master_announce(struct master *master, usec now)
{
    usec period = sysd_watchdog_period();
    export_runtime(&master->export, &master->runtime);
    if (master->tell)
        export_tell(&master->runtime);
    master->tell = false;
    usec next = export_status(&master->export, &master->runtime, now);
    if (period && now >= master->watchdog_at) {
        sysd_offer("WATCHDOG=1");
        master->watchdog_at = now + period;
    }
    return clock_earlier(next, period ? master->watchdog_at : USEC_NEVER);
}
