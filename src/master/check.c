#include "check.h"

#include "../base/clock.h"
#include "../base/fd.h"
#include "../base/log.h"
#include "../base/proc.h"
#include "../handlers/handler.h"
#include "../worker/environment.h"
#include "../worker/sandbox.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    PROBE_SECONDS = 5, /* for one pool's look at the world */
    REPORT_ROOM = 4 * 1024 * 1024,
    FAULTS_ROOM = 1280 * 1024, /* for all faults that may be noted after the check */
    STATUS_GOOD = 0,
    STATUS_FAULTS = 1,
};

static void die_with(pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(STATUS_FAULTS);
}

/* The child is no master, and the master's signals are not for it: `pkill -HUP preforkd` must not
 * end a check. It ends with its parent, or when that has waited long enough. */
void check_become_child(pid_t parent)
{
    static const int others[] = {SIGHUP,  SIGINT,  SIGQUIT, SIGTERM, SIGUSR1,
                                 SIGUSR2, SIGTTIN, SIGTTOU, SIGWINCH};
    sigset_t blocked;
    sigemptyset(&blocked);
    for (unsigned i = 0; i < sizeof others / sizeof *others; i++)
        sigaddset(&blocked, others[i]);
    sigprocmask(SIG_SETMASK, &blocked, NULL);
    die_with(parent);
}

/* What a probe tells its parent, in memory that they share: no more than this, so that code which a
 * handler loads can spoil nothing else. */
struct report {
    struct faults faults;
    struct mark mark; /* of the handler's file */
    bool finished;    /* came to its end */
};

/* The configuration is the probe's own from here on, and of its parent's descriptors it has none but
 * the log's; what it prints is no part of what -T prints. */
static int isolate(const struct config *config)
{
    int log_fds[2];
    fd_keep_only(log_fds, log_descriptors(log_fds));
    dup2(STDERR_FILENO, STDOUT_FILENO);
    return arena_own(config->arena, 0);
}

static void look(const struct pool_config *pool, struct report *report)
{
    const struct handler *handler = handler_of(pool->handler);
    struct stat file;
    if (handler->has_environment)
        environ = environment_make(pool);
    if (handler->file && stat(handler->file(pool->handler_config), &file) == 0)
        report->mark = mark_of(&file);
    if (handler->check)
        handler->check(pool->name, pool->handler_config, &pool->handler_origin, &report->faults);
}

static int line_of_refusal(const struct pool_config *pool, const char *option)
{
    return option_is_set(limit_rows, &pool->limits_origin, option)
               ? option_line(limit_rows, &pool->limits_origin, option)
               : option_line(pool_rows, &pool->origin, option);
}

/* What is loaded as we are, and then becoming who the pool says. */
static int enter(const struct pool_config *pool, struct sandbox_refusal *refusal)
{
    const struct handler *handler = handler_of(pool->handler);
    int error = handler->load ? handler->load(refusal->why, sizeof refusal->why) : 0;
    return error ? error : sandbox_enter(pool, refusal);
}

static _Noreturn void probe_child(const struct config *config, const struct pool_config *pool,
                                  struct report *report, pid_t parent)
{
    struct sandbox_refusal refusal = {.option = "", .why = "out of memory"};
    check_become_child(parent);
    int error = isolate(config);
    if (error == 0)
        error = enter(pool, &refusal);
    die_with(parent); /* which becoming somebody else has cleared */
    if (error)
        faults_add(&report->faults, pool->origin.file, line_of_refusal(pool, refusal.option),
                   "pool %s: %s", pool->name, refusal.why);
    else
        look(pool, report);
    report->finished = true;
    _exit(STATUS_GOOD);
}

/* Waits, but not for long: whoever does not come to an end is killed. Returns whether it came to one,
 * with the status of waitpid(2). */
static bool await_probe(pid_t pid, int *status)
{
    struct pollfd end = {.fd = pidfd_open(pid, 0), .events = POLLIN};
    usec deadline = clock_now() + PROBE_SECONDS * USEC_SECOND;
    bool ended = end.fd < 0; /* then it has all the time that we have ourselves */
    while (!ended && clock_now() < deadline)
        ended = poll(&end, 1, (int)((deadline - clock_now()) / 1000) + 1) > 0;
    if (!ended)
        kill(pid, SIGKILL);
    while (waitpid(pid, status, 0) < 0 && errno == EINTR)
        continue;
    if (end.fd >= 0)
        close(end.fd);
    return ended;
}

/* The line at which its end is told: where what it ran is named. */
static int line_of(const struct pool_config *pool)
{
    const char *option = handler_of(pool->handler)->checked_option;
    return option ? option_line(pool->handler->rows, &pool->handler_origin, option)
                  : pool->origin.line;
}

static const char *tell_end(char text[static 128], int status)
{
    if (WIFSIGNALED(status))
        snprintf(text, 128, "crashed in its check by signal %d (%s)", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    else
        snprintf(text, 128, "ended the process in its check, with exit status %d",
                 WEXITSTATUS(status));
    return text;
}

static void take_report(struct faults *faults, const struct report *report)
{
    int left = FAULTS_MAX;
    for (const struct fault *f = report->faults.first; f && left > 0; f = f->next, left--)
        faults_add(faults, f->file, f->line, "%s", f->text);
}

/* The pools are const to everyone but those who fill them. */
static void take_file(const struct pool_config *pool, const struct report *report)
{
    struct pool_config *filled = (struct pool_config *)pool;
    const struct handler *handler = handler_of(pool->handler);
    filled->file = handler->file ? handler->file(pool->handler_config) : NULL;
    filled->mark = report->mark;
}

static void watch_probe(const struct pool_config *pool, struct faults *faults, pid_t pid,
                        const struct report *report)
{
    char text[128];
    int status = 0;
    const char *name = pool->handler->name, *file = pool->origin.file;
    if (!await_probe(pid, &status))
        faults_add(faults, file, line_of(pool), "pool %s: %s: its check took more than %d s",
                   pool->name, name, PROBE_SECONDS);
    else if (!report->finished)
        faults_add(faults, file, line_of(pool), "pool %s: %s: it %s", pool->name, name,
                   tell_end(text, status));
    else
        take_report(faults, report);
    take_file(pool, report);
}

static void fault_of_probe(struct faults *faults, const struct pool_config *pool, const char *what)
{
    faults_add(faults, pool->origin.file, pool->origin.line, "pool %s: %s: %s", pool->name, what,
               strerror(errno));
}

static void probe(const struct config *config, const struct pool_config *pool,
                  struct faults *faults)
{
    pid_t parent = getpid();
    struct arena *arena = arena_open(REPORT_ROOM);
    if (!arena) {
        fault_of_probe(faults, pool, "no memory for its check");
        return;
    }
    struct report *report = arena_take(arena, sizeof *report);
    faults_init(&report->faults, arena);
    pid_t pid = fork();
    if (pid == 0)
        probe_child(config, pool, report, parent);
    if (pid < 0)
        fault_of_probe(faults, pool, "can't fork");
    else
        watch_probe(pool, faults, pid, report);
    arena_close(arena);
}

static _Noreturn void check_child(struct config *config, const char *file, pid_t parent)
{
    int kept[2];
    check_become_child(parent);
    fd_keep_only(kept, log_descriptors(kept));
    char title[256];
    snprintf(title, sizeof title, "preforkd: checking %s", file);
    proc_title(title);
    config_load(config, file, handler_sections);
    if (config->faults.count == 0)
        for (int i = 0; i < config->pool_count; i++)
            probe(config, config->pools[i], &config->faults);
    _exit(config->faults.count == 0 ? STATUS_GOOD : STATUS_FAULTS);
}

pid_t check_start(struct config *config, const char *file)
{
    pid_t parent = getpid();
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        check_child(config, file, parent);
    return pid < 0 ? -errno : pid;
}

/* From here on nobody may change it, whoever has it: workers would else share it with us, and could
 * write who their successors are to be. */
static bool own(struct config *config, const char *file)
{
    int error = arena_own(config->arena, FAULTS_ROOM);
    if (error)
        faults_add(&config->faults, file, 0, "can't keep it: %s", strerror(-error));
    return error == 0;
}

bool check_passed(struct config *config, const char *file, int status)
{
    if (WIFEXITED(status) && WEXITSTATUS(status) == STATUS_GOOD && config->faults.count == 0)
        return own(config, file);
    if (WIFSIGNALED(status))
        faults_add(&config->faults, file, 0, "the check was killed by signal %d (%s)",
                   WTERMSIG(status), strsignal(WTERMSIG(status)));
    else if (config->faults.count == 0)
        faults_add(&config->faults, file, 0, "the check exited with status %d",
                   WEXITSTATUS(status));
    return false;
}

bool check_config(struct config *config, const char *file)
{
    int status;
    pid_t pid = check_start(config, file);
    if (pid < 0) {
        faults_add(&config->faults, file, 0, "can't fork the check: %s", strerror((int)-pid));
        return false;
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    return check_passed(config, file, status);
}
