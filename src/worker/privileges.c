#include "privileges.h"

#include "../base/daemon.h"
#include "capabilities.h"
#include "seccomp.h"

#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct {
    int resource;
    const char *name;
} limits[LIMIT_KINDS] = {
    [LIMIT_NOFILE] = {RLIMIT_NOFILE, "nofile"}, [LIMIT_AS] = {RLIMIT_AS, "as"},
    [LIMIT_CORE] = {RLIMIT_CORE, "core"},       [LIMIT_NPROC] = {RLIMIT_NPROC, "nproc"},
    [LIMIT_CPU] = {RLIMIT_CPU, "cpu"},
};

static int failed(struct privileges_refusal *refusal, const char *option, const char *step,
                  const char *what)
{
    int error = errno;
    refusal->option = option;
    snprintf(refusal->why, sizeof refusal->why, "%s %s: %s", step, what, strerror(error));
    return -error;
}

static int set_limits(const struct limits_config *config, struct privileges_refusal *refusal)
{
    daemon_restore_nofile();
    for (int kind = 0; kind < LIMIT_KINDS; kind++) {
        long long value = config->value[kind];
        if (value == OPTION_UNSET)
            continue;
        rlim_t most = value == OPTION_UNLIMITED ? RLIM_INFINITY : (rlim_t)value;
        struct rlimit limit = {.rlim_cur = most, .rlim_max = most};
        if (setrlimit((__rlimit_resource_t)limits[kind].resource, &limit) != 0)
            return failed(refusal, limits[kind].name, "can't set the limit", limits[kind].name);
    }
    return 0;
}

static int change_root(const struct pool_config *pool, struct privileges_refusal *refusal)
{
    if (pool->chroot && (chroot(pool->chroot) != 0 || chdir("/") != 0))
        return failed(refusal, "chroot", "can't chroot to", pool->chroot);
    return 0;
}

/* Without no_new_privs the kernel lets nobody but root load a list: and there is nothing that the
 * list could take from who may execute anything. */
static bool is_listed(const struct pool_config *pool, enum handler_calls calls)
{
    return pool->no_new_privs && seccomp_filter_exists(calls);
}

/* Without no_new_privs the bounding set stays, since nobody has more than it by a set-user-ID
 * program: sudo in a script, or a login by sshd, would be root without root's rights. And it counts
 * only for who executes something. Under a list, which has no execve() on it and can't be left any
 * more, nobody does: there it would cost a worker's start a fifth of its time, 40 copies of the
 * credentials, and take nothing. */
static bool loses_bounding_set(const struct pool_config *pool, enum handler_calls calls)
{
    return pool->no_new_privs && pool->identity.uid != 0 && !is_listed(pool, calls);
}

/* Groups before the user, who may not change them any more; then nobody may become root again. */
static int drop_root(const struct pool_config *pool, enum handler_calls calls,
                     struct privileges_refusal *refusal)
{
    const struct identity *who = &pool->identity;
    if (geteuid() != 0)
        return 0;
    if (loses_bounding_set(pool, calls) && (errno = -capabilities_unbound()) != 0)
        return failed(refusal, "no_new_privs", "can't drop the", "bounding set of capabilities");
    if (setgroups((size_t)who->group_count, who->groups) != 0)
        return failed(refusal, "user", "can't set the groups of", who->user);
    if (setresgid(who->gid, who->gid, who->gid) != 0)
        return failed(refusal, "group", "can't become the group", who->group);
    if (setresuid(who->uid, who->uid, who->uid) != 0)
        return failed(refusal, "user", "can't become the user", who->user);
    if (who->uid != 0 && setuid(0) == 0) {
        errno = EPERM;
        return failed(refusal, "user", "could become root again after", who->user);
    }
    return 0;
}

/* Whoever isn't root has none, whatever the daemon was started with: as root, by a unit's
 * AmbientCapabilities, by a file's. */
static int drop_capabilities(struct privileges_refusal *refusal)
{
    if (geteuid() == 0)
        return 0;
    int error = capabilities_drop();
    errno = -error;
    if (error == -ENOTRECOVERABLE)
        return failed(refusal, "user", "capabilities came back after", "they were dropped");
    return error ? failed(refusal, "user", "can't drop", "capabilities") : 0;
}

static int lock_privileges(const struct pool_config *pool, struct privileges_refusal *refusal)
{
    if (pool->no_new_privs && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return failed(refusal, "no_new_privs", "can't set", "no_new_privs");
    return 0;
}

void privileges_prepare(void)
{
    capabilities_learn();
}

/* A process that changed its user writes no core (prctl(2), PR_SET_DUMPABLE). Who asks for cores by
 * limits { core = ... } gets them. */
static void allow_core(const struct limits_config *config)
{
    long long core = config->value[LIMIT_CORE];
    if (core == OPTION_UNLIMITED || core > 0)
        prctl(PR_SET_DUMPABLE, 1);
}

int privileges_enter(const struct pool_config *pool, enum handler_calls calls,
                     struct privileges_refusal *refusal)
{
    int error = set_limits(&pool->limits, refusal);
    if (error)
        return error;
    if (pool->nice && setpriority(PRIO_PROCESS, 0, pool->nice) != 0)
        return failed(refusal, "nice", "can't set", "nice");
    umask((mode_t)pool->umask);
    error = change_root(pool, refusal);
    if (error == 0)
        error = drop_root(pool, calls, refusal);
    if (error == 0)
        error = drop_capabilities(refusal);
    if (error == 0)
        error = lock_privileges(pool, refusal);
    if (error)
        return error;
    if (chdir(pool->directory) != 0)
        return failed(refusal, "directory", "can't change to the directory", pool->directory);
    allow_core(&pool->limits);
    return 0;
}

int privileges_close(const struct pool_config *pool, enum handler_calls calls,
                     struct privileges_refusal *refusal)
{
    errno = is_listed(pool, calls) ? -seccomp_filter_load(calls) : 0;
    return errno ? failed(refusal, "no_new_privs", "can't load the", "list of system calls") : 0;
}
