#include "check.h"

#include "../base/fd.h"
#include "../base/log.h"
#include "../base/proc.h"
#include "../handlers/handler.h"
#include "../worker/sandbox.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    PROBE_SECONDS = 5, /* for one pool's look at the world */
    STATUS_GOOD = 0,
    STATUS_FAULTS = 1,
};

/* The child is no master, and the master's signals are not for it: `pkill -HUP preforkd` must not
 * end a check. It ends with its parent, or when that has waited long enough. */
static void become_child(pid_t parent)
{
    static const int others[] = {SIGHUP,  SIGINT,  SIGQUIT, SIGTERM, SIGUSR1,
                                 SIGUSR2, SIGTTIN, SIGTTOU, SIGWINCH};
    sigset_t blocked;
    sigemptyset(&blocked);
    for (unsigned i = 0; i < sizeof others / sizeof *others; i++)
        sigaddset(&blocked, others[i]);
    sigprocmask(SIG_SETMASK, &blocked, NULL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(STATUS_FAULTS);
}

static _Noreturn void probe_child(const struct pool_config *pool, struct faults *faults,
                                  pid_t parent)
{
    char why[256];
    unsigned before = faults->count;
    const struct handler *handler = handler_of(pool->handler);
    become_child(parent);
    alarm(PROBE_SECONDS);
    if (sandbox_enter(pool, why, sizeof why) != 0)
        faults_add(faults, pool->origin.file, pool->origin.line, "pool %s: %s", pool->name, why);
    else if (handler->check)
        handler->check(pool->name, pool->handler_config, &pool->handler_origin, faults);
    _exit(faults->count == before ? STATUS_GOOD : STATUS_FAULTS);
}

static void probe(const struct pool_config *pool, struct faults *faults)
{
    int status;
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0)
        probe_child(pool, faults, parent);
    if (pid < 0) {
        faults_add(faults, pool->origin.file, pool->origin.line, "pool %s: can't fork: %s",
                   pool->name, strerror(errno));
        return;
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
        faults_add(faults, pool->origin.file, pool->origin.line,
                   "pool %s: its check took more than %d s", pool->name, PROBE_SECONDS);
    else if (WIFSIGNALED(status))
        faults_add(faults, pool->origin.file, pool->origin.line,
                   "pool %s: its check was killed by signal %d (%s)", pool->name, WTERMSIG(status),
                   strsignal(WTERMSIG(status)));
}

static _Noreturn void check_child(struct config *config, const char *file, pid_t parent)
{
    int kept[2];
    become_child(parent);
    fd_keep_only(kept, log_descriptors(kept));
    char title[256];
    snprintf(title, sizeof title, "preforkd: checking %s", file);
    proc_title(title);
    config_load(config, file, handler_sections);
    if (config->faults.count == 0)
        for (int i = 0; i < config->pool_count; i++)
            probe(config->pools[i], &config->faults);
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

bool check_passed(struct config *config, const char *file, int status)
{
    if (WIFEXITED(status) && WEXITSTATUS(status) == STATUS_GOOD && config->faults.count == 0)
        return true;
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
