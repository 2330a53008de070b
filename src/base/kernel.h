/*
 * kernel - system calls that glibc wraps only since 2.34 or later: those before, since 2.31, and
 * other C libraries need no wrapper. Each returns what the kernel does, with errno set.
 */
#ifndef PREFORKD_BASE_KERNEL_H
#define PREFORKD_BASE_KERNEL_H

#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

enum { KERNEL_CLOEXEC = 1 << 2 }; /* CLOSE_RANGE_CLOEXEC; before Linux 5.11 it is EINVAL */

static inline int kernel_close_range(unsigned first, unsigned last, unsigned flags)
{
    return (int)syscall(SYS_close_range, first, last, flags);
}

static inline int kernel_pidfd_open(pid_t pid)
{
    return (int)syscall(SYS_pidfd_open, pid, 0);
}

#define KERNEL_P_PIDFD ((idtype_t)3) /* P_PIDFD of waitid(2) */

/* Executes the file that is open behind a descriptor. */
static inline int kernel_execute(int fd, char *const *arguments, char *const *environment)
{
    return (int)syscall(SYS_execveat, fd, "", arguments, environment, AT_EMPTY_PATH);
}

#endif
