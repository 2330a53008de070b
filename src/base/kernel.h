/*
 * kernel - system calls for which glibc 2.31 or musl 1.2.3 has no wrapper, or one that can do less.
 * Each returns the kernel's result, with errno set.
 */
#ifndef PREFORKD_BASE_KERNEL_H
#define PREFORKD_BASE_KERNEL_H

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { KERNEL_CLOEXEC = 1 << 2 }; /* CLOSE_RANGE_CLOEXEC; Linux before 5.11: EINVAL */

static inline int kernel_close_range(unsigned first, unsigned last, unsigned flags)
{
    return (int)syscall(SYS_close_range, first, last, flags);
}

static inline int kernel_pidfd_open(pid_t pid)
{
    return (int)syscall(SYS_pidfd_open, pid, 0);
}

#define KERNEL_P_PIDFD ((idtype_t)3) /* P_PIDFD of waitid(2) */

enum { KERNEL_NOWAIT = 8 }; /* RWF_NOWAIT */

/* Both use the file's current offset and never block: preadv2(2) and pwritev2(2) with
 * RWF_NOWAIT. */
static inline ssize_t kernel_read_now(int fd, const struct iovec *part)
{
    return syscall(SYS_preadv2, fd, part, 1, -1L, -1L, KERNEL_NOWAIT);
}

static inline ssize_t kernel_write_now(int fd, const struct iovec *part)
{
    return syscall(SYS_pwritev2, fd, part, 1, -1L, -1L, KERNEL_NOWAIT);
}

static inline int kernel_tgkill(pid_t group, pid_t thread, int number)
{
    return (int)syscall(SYS_tgkill, group, thread, number);
}

/* Whether we may execute the open file. glibc's faccessat(3) can't tell before 2.33. */
static inline bool kernel_may_execute(int fd)
{
    char path[32];
    if (syscall(SYS_faccessat2, fd, "", X_OK, AT_EMPTY_PATH | AT_EACCESS) == 0)
        return true;
    if (errno != ENOSYS && errno != EPERM)
        return false;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) == 0;
}

/* Executes the open file. */
static inline int kernel_execute(int fd, char *const *arguments, char *const *environment)
{
    return (int)syscall(SYS_execveat, fd, "", arguments, environment, AT_EMPTY_PATH);
}

#endif
