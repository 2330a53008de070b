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

/* Forks per round. Signals must not wait until a thousand workers are forked. */
enum { STARTS_A_ROUND = 64 };

/* Signals and ends of processes per round. A pool's user can cause more without an end, by stopping
 * and continuing its processes. */
enum { SIGNALS_A_ROUND = 64, REAPED_A_ROUND = 4096 };

/* If the master wakes so long after its deadline, the machine or this process was stopped, and
 * maybe the workers too. So no worker counts as late for some time. */
#define CLOCK_JUMP (2 * USEC_SECOND)
#define GRACE      (2 * USEC_SECOND)

/* Between two looks of all pools. */
#define LOOKS_APART (USEC_SECOND / 100)

/* `last_round` is when the last round read the clock: we may have been stopped since then. */
static void wait_until(struct master *master, usec deadline, usec last_round)
{
    loop_wait(&master->loop, deadline);
    usec now = clock_now(), due = deadline > last_round ? deadline : last_round;
    if (now > due && now - due > CLOCK_JUMP)
        master->runtime.spawner.grace_until = now + GRACE;
}

/* The name of a process for the log; "?" if the process has ended or is hidden from us. */
static const char *process_name(pid_t pid, struct procfs_stat *stat)
{
    return procfs_stat(pid, stat) == 0 ? stat->command : "?";
}

/* Returns whether SIGCHLD was among the signals. */
static bool obey_signals(struct master *master)
{
    bool deaths = false;
    struct signalfd_siginfo info;
    int number;
    for (int i = 0; i < SIGNALS_A_ROUND && (number = loop_signal(&master->loop, &info)) != 0; i++) {
        struct procfs_stat stat;
        const struct command *command = commands_by_signal(number);
        /* The kernel sends WINCH if our terminal is resized. That must not drain anything. */
        bool resized = number == SIGWINCH && info.ssi_code == SI_KERNEL;
        deaths = deaths || number == SIGCHLD;
        if (!command || !command->run || resized)
            continue;
        log_notice("SIG%s from pid %d (%s) uid %d: %s", daemon_signal_word(number),
                   (int)info.ssi_pid,
                   info.ssi_pid ? process_name((pid_t)info.ssi_pid, &stat) : "the kernel",
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
        log_event(command->read_only ? LOG_DEBUG : LOG_NOTICE,
                  "preforkctl %s%s%.80s%s%.80s from pid %d (%s) uid %d: %s", command->word,
                  argument ? " " : "", argument ? argument : "", more ? " " : "", more ? more : "",
                  (int)request->pid, process_name(request->pid, &stat), (int)request->uid,
                  commands_help(command));
        command->run(master, request);
        if (request->status && !command->read_only)
            log_notice("preforkctl %s refused: %.*s", command->word, (int)request->errors.used - 1,
                       request->errors.at ? request->errors.at : "");
    }
}

/* The worker may have taken a wake-up for a connection without accepting it. If its pool was
 * removed or gave up a listener, the connection may wait at a listener that belongs to another pool
 * by now. */
static void lose_wakeup(struct master *master, const struct worker *worker)
{
    const struct pool *pool = master->runtime.pools;
    while (pool && &pool->resources != worker->resources)
        pool = pool->next;
    resources_ask_wakeup(worker->resources);
    if (pool && !pool_has_listeners_of(pool, worker))
        worker->resources->wakeups.elsewhere = true;
}

/* Returns whether there may be more to reap. */
static bool reap(struct master *master)
{
    struct spawner *spawner = &master->runtime.spawner;
    struct rusage usage;
    int status, count = 0;
    pid_t pid;
    while (count < REAPED_A_ROUND && (pid = wait4(-1, &status, WNOHANG | WUNTRACED, &usage)) > 0) {
        count++;
        struct worker *worker = spawn_find(spawner, pid);
        usec now = clock_now();
        if (worker && WIFSTOPPED(status)) {
            lose_wakeup(master, worker); /* stopped by SIGSTOP, or by a terminal */
        } else if (worker) {
            bool ended_by_master = worker->cause != DEATH_OWN && worker->cause != DEATH_RETIRED;
            bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
            worker->out_of_memory = killed && !ended_by_master && oom_claim(&master->oom, now);
            stop_leftovers(worker, now);
            spawn_reaped(spawner, worker, status, &usage, now);
            lose_wakeup(master, worker);
        } else if (!WIFSTOPPED(status) &&
                   !reload_reaped(&master->reload, &master->runtime, pid, status) &&
                   !upgrade_reaped(&master->upgrade, pid, status)) {
            log_debug("reaped %d, which is no worker pid=%d", (int)pid, (int)pid);
        }
    }
    return count == REAPED_A_ROUND;
}

/* The start is over once each pool has a worker ready, and its others are ready or have failed. */
static void watch_start(struct master *master, usec now)
{
    bool serving = true;
    char why[sizeof master->runtime.pools->trouble];
    for (const struct pool *p = master->runtime.pools; p; p = p->next) {
        struct counts counts = pool_counts(p);
        bool tried = counts.ready + counts.failed >= pool_target(p);
        bool wanted = pool_target(p) > 0; /* 0: the first connection starts the first worker */
        if (wanted && counts.ready == 0 &&
            ((p->trouble[0] && tried) || now >= master->start_deadline)) {
            pool_trouble(p, why, sizeof why);
            log_err("%s:%d: pool %s: %s%s pool=%s", p->conf->origin.file, p->conf->origin.line,
                    p->name, why,
                    why[0] ? ": no worker becomes ready"
                           : "no worker became ready within ready_timeout",
                    p->name);
            master->exit_status = EXIT_START_FAILED;
            master_stop(master); /* gracefully, because other pools may serve already */
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
    master_publish_listeners(master);
    master_publish_ready(master, now);
    master->on_serving(master->owner);
}

/* Asks all pools to look, which they do in the next round, at once. A worker that floods us with
 * requests can't make every pool look in every round. Returns when to ask. */
static usec look_everywhere(struct master *master, usec now)
{
    if (!master->look_everywhere || now < master->look_at)
        return master->look_everywhere ? master->look_at : USEC_NEVER;
    for (struct pool *p = master->runtime.pools; p; p = p->next)
        resources_ask_wakeup(&p->resources);
    master->look_everywhere = false;
    master->look_at = now + LOOKS_APART;
    return USEC_NEVER;
}

/* Steps the pools that have changed or are due. Any other pool costs two comparisons. */
static usec step_pools(struct master *master, usec now)
{
    int starts = STARTS_A_ROUND;
    usec next = USEC_NEVER;
    for (struct pool *p = master->runtime.pools; p; p = p->next) {
        if (p->resources.changed || now >= p->due) {
            p->due = maintain_step(p, &master->runtime.spawner, now, &starts);
            master_publish_pool(master, p, now);
            master->look_everywhere = master->look_everywhere || p->resources.wakeups.elsewhere;
            p->resources.wakeups.elsewhere = false;
        }
        next = clock_earlier(next, p->due);
    }
    stderr_log_end_round(master->runtime.spawner.lines, starts == 0, now);
    return clock_earlier(next, look_everywhere(master, now));
}

/* Returns when the next round is due. */
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
    bool listeners_changed =
        listener_upkeep_step(&runtime->upkeep, runtime->listeners, runtime->control, now, &next);
    bool empty = true;
    for (struct pool *p = runtime->pools; p; p = p->next) {
        if (listeners_changed)
            pool_touch(p);
        if (p->resources.changed) /* since it was stepped in this round */
            next = now;
        empty = empty && pool_has_ended(p);
    }
    control_listen(&master->control, runtime->control ? runtime->control->fd : -1,
                   runtime->config->control_gid);
    if (master->phase == PHASE_STOPPING && empty) {
        log_notice("stopped");
        master->phase = PHASE_ENDED;
    }
    return next;
}

/* Publishes what has changed, and tells systemd that we are alive. */
static usec announce(struct master *master, usec now)
{
    usec period = sysd_watchdog_period();
    master_publish_listeners(master);
    if (master->log_state)
        master_log_state(master);
    master->log_state = false;
    usec next = master_publish_status(master, now, false);
    if (period && now >= master->watchdog_at) {
        sysd_try_notify("WATCHDOG=1");
        master->watchdog_at = now + period;
    }
    return clock_earlier(next, period ? master->watchdog_at : USEC_NEVER);
}

/* Whether a request can be answered. What `systemctl status` shows is right before the client has
 * the answer; sending it waits for nobody. */
static bool is_settled(struct master *master, struct request *request)
{
    bool settled = commands_settled(master, request);
    if (settled)
        master_publish_status(master, clock_now(), true);
    return settled;
}

int main_loop_run(struct master *master)
{
    usec next = 0, now = clock_now();
    bool more = true; /* before an upgrade, the old binary may have read a child's SIGCHLD */
    while (master->phase != PHASE_ENDED) {
        wait_until(master, next, now);
        /* A child that ends after the signals are read raises SIGCHLD again, which wakes the next
         * round. Without SIGCHLD we don't call waitpid(), which walks over all children: there may
         * be ten thousand. */
        if (obey_signals(master) || more)
            more = reap(master);
        obey_requests(master);
        now = clock_now();
        next = step(master, now);
        next = clock_earlier(next, announce(master, now)); /* what an answer lets a client expect */
        next = clock_earlier(next, control_step(&master->control, is_settled, master, now));
        next = more ? now : next;
    }
    return master->exit_status;
}
