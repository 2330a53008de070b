#include "privileges.h"

#include "../base/daemon.h"
#include "build-config.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

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
        const char *name = limit_rows[kind].name;
        if (setrlimit(limit_resources[kind], &limit) != 0)
            return failed(refusal, name, "can't set the limit", name);
    }
    return 0;
}

/* --- the bounding set ------------------------------------------------------------------------- */

/* A bit for each capability in the set. Others need not be dropped: each drop copies the
 * credentials, and dropping all of them takes a tenth of a worker's start. */
static uint64_t bounding;
static int bounding_error; /* errno: why the set is unknown; 0: it is known */

#if HAVE_CAPNG

#include <cap-ng.h>
#include <dlfcn.h>

void privileges_prepare(void)
{
    void *library = dlopen("libcap-ng.so.0", RTLD_NOW | RTLD_LOCAL);
    bounding = 0;
    bounding_error = ELIBACC;
    if (!library)
        return;
    int (*get)(void) = (int (*)(void))dlsym(library, "capng_get_caps_process");
    int (*have)(capng_type_t, unsigned) =
        (int (*)(capng_type_t, unsigned))dlsym(library, "capng_have_capability");
    bounding_error = !get || !have ? ELIBBAD : get() != 0 ? EIO : 0;
    for (unsigned i = 0; !bounding_error && i <= CAP_LAST_CAP; i++)
        if (have(CAPNG_BOUNDING_SET, i) > 0)
            bounding |= UINT64_C(1) << i;
    dlclose(library);
}

#else

/* The bounding set stays: no_new_privs alone keeps a file from granting a capability. */
void privileges_prepare(void)
{
}

#endif

/* Call it while the process is still root. Root may not be allowed to (EPERM); that is no error. */
static int drop_bounding_set(struct privileges_refusal *refusal)
{
    errno = bounding_error;
    for (uint64_t left = errno ? 0 : bounding; left; left &= left - 1)
        if (prctl(PR_CAPBSET_DROP, (unsigned long)__builtin_ctzll(left), 0, 0, 0) != 0)
            break;
    return errno && errno != EPERM
               ? failed(refusal, "no_new_privs", "can't drop the", "bounding set of capabilities")
               : 0;
}

/* --- the list of system calls ----------------------------------------------------------------- */

#if HAVE_SECCOMP

#include <linux/filter.h>
#include <linux/seccomp.h>

#include "seccomp-lists.h" /* serve_list, report_list, by seccomp_build.c */

static const struct sock_fprog lists[] = {
    [CALLS_SERVE] = {sizeof serve_list / sizeof *serve_list, (struct sock_filter *)serve_list},
    [CALLS_REPORT] = {sizeof report_list / sizeof *report_list, (struct sock_filter *)report_list},
};

static int load_list(enum handler_calls calls)
{
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC,
                        &lists[calls]);
}

#else

static int load_list(enum handler_calls calls)
{
    (void)calls;
    return 0;
}

#endif

/* Whether system calls are restricted. Without no_new_privs only root may load a list, and the list
 * would take nothing from a process that may execute anything. */
static bool is_listed(const struct pool_config *pool, enum handler_calls calls)
{
    return HAVE_SECCOMP && pool->no_new_privs && calls != CALLS_ANY;
}

int privileges_drop_calls(const struct pool_config *pool, enum handler_calls calls,
                          struct privileges_refusal *refusal)
{
    return is_listed(pool, calls) && load_list(calls) != 0
               ? failed(refusal, "no_new_privs", "can't load the", "list of system calls")
               : 0;
}

/* --- the user --------------------------------------------------------------------------------- */

/* Without no_new_privs the bounding set stays, because it limits set-user-ID programs as well: sudo
 * in a script, or a login by sshd, would be root without root's rights. It stays under a list, too:
 * the set matters only when a process executes something, and no list has execve(). Dropping it
 * there would cost a worker's start a fifth of its time, 40 copies of the credentials, for
 * nothing. */
static bool loses_bounding_set(const struct pool_config *pool, enum handler_calls calls)
{
    return pool->no_new_privs && pool->identity.uid != 0 && !is_listed(pool, calls);
}

/* Sets the groups before the user, who may not change them any more, and checks that the process
 * can't become root again. */
static int drop_root(const struct pool_config *pool, enum handler_calls calls,
                     struct privileges_refusal *refusal)
{
    const struct identity *user = &pool->identity;
    if (geteuid() != 0)
        return 0;
    int error = loses_bounding_set(pool, calls) ? drop_bounding_set(refusal) : 0;
    if (error)
        return error;
    if (setgroups((size_t)user->group_count, user->groups) != 0)
        return failed(refusal, "user", "can't set the groups of", user->user);
    if (setresgid(user->gid, user->gid, user->gid) != 0)
        return failed(refusal, "group", "can't become the group", user->group);
    if (setresuid(user->uid, user->uid, user->uid) != 0)
        return failed(refusal, "user", "can't become the user", user->user);
    if (user->uid != 0 && setuid(0) == 0) {
        errno = EPERM;
        return failed(refusal, "user", "could become root again after", user->user);
    }
    return 0;
}

/* --- capabilities ----------------------------------------------------------------------------- */

enum { WORDS = _LINUX_CAPABILITY_U32S_3 };

static bool set_all(uint32_t bits)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[WORDS];
    for (int i = 0; i < WORDS; i++)
        data[i] = (struct __user_cap_data_struct){bits, bits, bits};
    return syscall(SYS_capset, &header, data) == 0;
}

static bool has_any(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[WORDS] = {{0}};
    if (syscall(SYS_capget, &header, data) != 0)
        return true;
    for (int i = 0; i < WORDS; i++)
        if (data[i].effective | data[i].permitted | data[i].inheritable)
            return true;
    return false;
}

/* Leaves no capability to a process that isn't root, however the daemon got its own: as root, by a
 * unit's AmbientCapabilities, by a file's capabilities. The ambient set is emptied with the others,
 * because the kernel keeps it within the permitted and the inheritable set. A process that was root
 * has lost all its capabilities with the user, and saves a copy of the credentials. At last it
 * checks that no capability comes back. */
static int drop_capabilities(struct privileges_refusal *refusal)
{
    if (geteuid() == 0)
        return 0;
    bool had_some = has_any();
    if (had_some && !set_all(0))
        return failed(refusal, "user", "can't drop", "capabilities");
    if (!set_all(~0U) && (!had_some || !has_any()))
        return 0;
    errno = ENOTRECOVERABLE;
    return failed(refusal, "user", "capabilities came back after", "they were dropped");
}

int privileges_enter(const struct pool_config *pool, enum handler_calls calls,
                     struct privileges_refusal *refusal)
{
    long long core = pool->limits.value[LIMIT_CORE];
    int error = set_limits(&pool->limits, refusal);
    if (error)
        return error;
    if (pool->nice && setpriority(PRIO_PROCESS, 0, pool->nice) != 0)
        return failed(refusal, "nice", "can't set", "nice");
    umask((mode_t)pool->umask);
    if (pool->chroot && (chroot(pool->chroot) != 0 || chdir("/") != 0))
        return failed(refusal, "chroot", "can't chroot to", pool->chroot);
    error = drop_root(pool, calls, refusal);
    if (error == 0)
        error = drop_capabilities(refusal);
    if (error)
        return error;
    if (pool->no_new_privs && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return failed(refusal, "no_new_privs", "can't set", "no_new_privs");
    if (chdir(pool->directory) != 0)
        return failed(refusal, "directory", "can't change to the directory", pool->directory);
    /* A process that changed its user dumps no core (prctl(2), PR_SET_DUMPABLE), unless the pool
     * asks for cores by limits { core = ... }. */
    if (core == OPTION_UNLIMITED || core > 0)
        prctl(PR_SET_DUMPABLE, 1);
    return 0;
}
