#include "main_loop.h"

#include "../base/daemon.h"
#include "../base/log.h"
#include "../base/procfs.h"
#include "../base/sysd.h"
#include "../board/exitcode.h"
#include "commands.h"
#include "maintain.h"
#include "stop.h"

#include <sys/resource.h>
#include <sys/wait.h>

/* Forks in one round, so that signals are not kept waiting while a thousand workers are forked. */
enum { STARTS_A_ROUND = 64 };

/* Awake far later than asked for: the machine, or this process, was stopped, and so may have been
 * the workers that were to do something meanwhile. None is judged late for a while. */
#define LEAP  (2 * USEC_SECOND)
#define GRACE (2 * USEC_SECOND)

/* `looked` is when this round looked at the clock: we may have been stopped after that. */
static void wait_until(struct master *master, usec deadline, usec looked)
{
    loop_wait(&master->loop, deadline);
    usec now = clock_now(), due = deadline > looked ? deadline : looked;
    if (now > due && now - due > LEAP)
        master->runtime.spawner.grace_until = now + GRACE;
}

/* The name of a process, for people; "?" if it is gone or not to be seen. */
static const char *name_of(pid_t pid, struct procfs_stat *stat)
{
    return procfs_stat(pid, stat) == 0 ? stat->command : "?";
}

/* Whether a child's death was among the signals. */
static bool obey_signals(struct master *master)
{
    bool deaths = false;
    struct signalfd_siginfo info;
    int number;
    while ((number = loop_signal(&master->loop, &info)) != 0) {
        struct procfs_stat stat;
        const struct command *command = commands_by_signal(number);
        /* The terminal that we run in was resized: nobody asked for a drain. */
        bool resized = number == SIGWINCH && info.ssi_code == SI_KERNEL;
        deaths = deaths || number == SIGCHLD;
        if (!command || !command->run || resized)
            continue;
        log_notice("SIG%s from pid %d (%s) uid %d: %s", daemon_signal_word(number),
                   (int)info.ssi_pid,
                   info.ssi_pid ? name_of((pid_t)info.ssi_pid, &stat) : "the kernel",
                   (int)info.ssi_uid, commands_help(command));
        command->run(master, NULL);
    }
    return deaths;
}

static void obey_requests(struct master *master)
{
    struct request *request;
    while ((request = control_next(&master->control))) {
        struct procfs_stat stat;
        const struct command *command = commands_by_request(request);
        if (!command)
            continue;
        const char *argument = request_argument(request, 1), *more = request_argument(request, 2);
        log_event(command->asks ? LOG_DEBUG : LOG_NOTICE,
                  "preforkctl %s%s%.80s%s%.80s from pid %d (%s) uid %d: %s", command->word,
                  argument ? " " : "", argument ? argument : "", more ? " " : "", more ? more : "",
                  (int)request->pid, name_of(request->pid, &stat), (int)request->uid,
                  commands_help(command));
        command->run(master, request);
        if (request->status && !command->asks)
            log_notice("preforkctl %s refused: %.*s", command->word, (int)request->failed.used - 1,
                       request->failed.at ? request->failed.at : "");
    }
}

/* Whether a pool listens on all that one of its earlier configurations did. */
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

/* A worker of a pool that is gone, or that gave up a listener, may have left a connection at a
 * listener that is another pool's by now: all pools look. */
static void look_for_its_connection(struct master *master, const struct worker *dead)
{
    struct pool *pools = master->runtime.pools;
    const struct pool *its = pools;
    while (its && &its->resources != dead->resources)
        its = its->next;
    bool same =
        its && !its->removed && (dead->generation == its->generation || has_all(its, dead->conf));
    for (struct pool *p = its && !same ? pools : NULL; p; p = p->next)
        resources_ask_wakeup(&p->resources);
}

static void reap(struct master *master)
{
    struct spawner *spawner = &master->runtime.spawner;
    struct rusage usage;
    int status;
    pid_t pid;
    while ((pid = wait4(-1, &status, WNOHANG | WUNTRACED, &usage)) > 0) {
        struct worker *worker = spawn_find(spawner, pid);
        usec now = clock_now();
        if (worker && WIFSTOPPED(status)) {
            /* By a signal that no process can take, or by a terminal. */
            resources_ask_wakeup(worker->resources);
        } else if (worker) {
            bool ours = worker->cause != DEATH_OWN && worker->cause != DEATH_RETIRED;
            bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
            worker->out_of_memory = killed && !ours && oom_claim(&master->oom, now);
            stop_leftovers(worker, now);
            spawn_reaped(spawner, worker, status, &usage, now);
            look_for_its_connection(master, worker);
        } else if (!WIFSTOPPED(status) &&
                   !reload_reaped(&master->reload, &master->runtime, pid, status) &&
                   !upgrade_reaped(&master->upgrade, pid, status)) {
            log_debug("reaped %d, which is no worker pid=%d", (int)pid, (int)pid);
        }
    }
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
            log_err("%s:%d: pool %s: %s%s pool=%s", p->conf->origin.file, p->conf->origin.line,
                    p->name, p->trouble,
                    p->trouble[0] ? ": no worker becomes ready"
                                  : "no worker became ready within ready_timeout",
                    p->name);
            master->exit_status = EXIT_START_FAILED;
            master_stop(master); /* other pools may serve already: their connections may end */
            return;
        }
        serving = serving && (counts.ready || !wanted) && (tried || now >= master->start_deadline);
    }
    if (!serving)
        return;
    master->phase = PHASE_SERVING;
    master->start_deadline = USEC_NEVER;
    log_errors_to_stderr(false);
    log_named(LOG_NAME_READY, LOG_NOTICE, "ready: every pool serves pools=%d generation=%u",
              master->runtime.config->pool_count, master->runtime.generation);
    export_runtime(&master->export, &master->runtime);
    export_ready(&master->export, &master->runtime, now);
    master->serving(master->owner);
}

/* Pools to which something happened, or whose time has come. Each of the others costs a look at two
 * words. */
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

/* Returns when the next round must be. */
static usec step(struct master *master, usec now)
{
    struct runtime *runtime = &master->runtime;
    usec next = step_pools(master, now);
    next = clock_earlier(next, stderr_log_step(runtime->spawner.lines, now));
    if (master->phase == PHASE_STARTING) {
        watch_start(master, now);
        next = clock_earlier(next, master->start_deadline);
    } else {
        next = clock_earlier(next, reload_step(&master->reload, runtime, now));
        next = clock_earlier(next, upgrade_step(&master->upgrade, runtime, &master->reload, now));
    }
    bool listeners_changed = listener_watch_step(&runtime->listener_watch, runtime->listeners,
                                                 runtime->control, now, &next);
    bool empty = true;
    for (struct pool *p = runtime->pools; p; p = p->next) {
        if (listeners_changed)
            pool_touch(p);
        if (p->resources.changed) /* by what was done since it was looked at */
            next = now;
        empty = empty && pool_is_empty(p);
    }
    control_listen(&master->control, runtime->control ? runtime->control->fd : -1,
                   runtime->config->control_gid);
    if (master->phase == PHASE_STOPPING && empty) {
        log_notice("stopped");
        master->phase = PHASE_ENDED;
    }
    return next;
}

/* What changed, for all that read it; and that we are alive. */
static usec announce(struct master *master, usec now)
{
    usec period = sysd_watchdog_period();
    export_runtime(&master->export, &master->runtime);
    if (master->log_state)
        export_log(&master->runtime);
    master->log_state = false;
    usec next = export_status(&master->export, &master->runtime, now);
    if (period && now >= master->watchdog_at) {
        sysd_offer("WATCHDOG=1");
        master->watchdog_at = now + period;
    }
    return clock_earlier(next, period ? master->watchdog_at : USEC_NEVER);
}

int main_loop_run(struct master *master)
{
    usec next = 0, now = clock_now();
    bool first = true; /* the SIGCHLD of a child may have been taken before an upgrade */
    while (master->phase != PHASE_ENDED) {
        wait_until(master, next, now);
        /* A death after the signals were taken is pending again, and wakes the next round. Without
         * a signal waitpid() is not asked, since it looks at each of ten thousand children. */
        if (obey_signals(master) || first)
            reap(master);
        obey_requests(master);
        now = clock_now();
        next = step(master, now);
        next = clock_earlier(next, control_step(&master->control, commands_settled, master, now));
        next = clock_earlier(next, announce(master, now));
        first = false;
    }
    return master->exit_status;
}
