/*
 * failing_calls - a preloaded library that makes calls fail while a file exists:
 *   $FAILING_FORK         fork() with EAGAIN; each call adds a byte to the file
 *   $FAILING_CLOSE_RANGE  close_range() with EPERM, or the error number in the file
 *   $FAILING_ACCEPT       accept4() with EMFILE
 *   $FAILING_SECCOMP      seccomp() with ENOMEM
 *   $FAILING_EPOLL        every second epoll_ctl() that adds a listener with ENOMEM; each such call
 *                         adds a byte to the file
 *   $FAILING_IPV6         socket() for IPv6 with EAFNOSUPPORT
 *   $FAILING_SEND         every second non-blocking send() with EAGAIN
 *   $LEAPING_CLOCK        none; the clocks are ahead by the number of seconds in the file
 *   $HELD_WAKEUP          none; the first child whose epoll_wait() has an event writes its pid into
 *                         the file, and returns only when the file is gone
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static bool fails(const char *variable)
{
    const char *path = getenv(variable);
    return path && access(path, F_OK) == 0;
}

static int fail(const char *variable, int error)
{
    int count = open(getenv(variable), O_WRONLY | O_APPEND | O_CLOEXEC);
    if (count >= 0 && write(count, "x", 1) == 1)
        close(count);
    errno = error;
    return -1;
}

pid_t fork(void)
{
    pid_t (*real)(void);
    void *found = dlsym(RTLD_NEXT, "fork");
    memcpy(&real, &found, sizeof real);
    return fails("FAILING_FORK") ? fail("FAILING_FORK", EAGAIN) : real();
}

static long (*real_syscall)(long, ...);

__attribute__((constructor)) static void find_syscall(void)
{
    void *found = dlsym(RTLD_NEXT, "syscall");
    memcpy(&real_syscall, &found, sizeof real_syscall);
}

/* The file may hold the error number. A child that shares its parent's memory calls this, so it may
 * only make system calls. */
long syscall(long number, ...)
{
    long argument[6];
    va_list args;
    va_start(args, number);
    for (int i = 0; i < 6; i++)
        argument[i] = va_arg(args, long);
    va_end(args);
    if (number == SYS_close_range && fails("FAILING_CLOSE_RANGE")) {
        char text[8] = "";
        int fd = open(getenv("FAILING_CLOSE_RANGE"), O_RDONLY | O_CLOEXEC);
        ssize_t n = read(fd, text, sizeof text - 1);
        close(fd);
        errno = n > 0 ? atoi(text) : EPERM;
        return -1;
    }
    if (number == SYS_seccomp && fails("FAILING_SECCOMP")) {
        errno = ENOMEM;
        return -1;
    }
    return real_syscall(number, argument[0], argument[1], argument[2], argument[3], argument[4],
                        argument[5]);
}

int accept4(int fd, struct sockaddr *addr, socklen_t *length, int flags)
{
    int (*real)(int, struct sockaddr *, socklen_t *, int);
    void *found = dlsym(RTLD_NEXT, "accept4");
    memcpy(&real, &found, sizeof real);
    if (!fails("FAILING_ACCEPT"))
        return real(fd, addr, length, flags);
    errno = EMFILE;
    return -1;
}

int epoll_ctl(int epoll_fd, int operation, int fd, struct epoll_event *event)
{
    static int listeners;
    if (operation == EPOLL_CTL_ADD && event->events & EPOLLEXCLUSIVE && fails("FAILING_EPOLL") &&
        ++listeners % 2 == 0)
        return fail("FAILING_EPOLL", ENOMEM);
    return (int)syscall(SYS_epoll_ctl, epoll_fd, operation, fd, event);
}

int socket(int domain, int type, int protocol)
{
    if (domain == AF_INET6 && fails("FAILING_IPV6")) {
        errno = EAFNOSUPPORT;
        return -1;
    }
    return (int)syscall(SYS_socket, domain, type, protocol);
}

ssize_t send(int fd, const void *data, size_t size, int flags)
{
    static bool was_full;
    was_full = flags & MSG_DONTWAIT && !was_full && fails("FAILING_SEND");
    if (!was_full)
        return syscall(SYS_sendto, fd, data, size, flags, NULL, 0);
    errno = EAGAIN;
    return -1;
}

static long leap(void)
{
    char text[32] = "";
    const char *path = getenv("LEAPING_CLOCK");
    int error = errno, fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd >= 0 && read(fd, text, sizeof text - 1) < 0)
        text[0] = '\0';
    if (fd >= 0)
        close(fd);
    errno = error;
    return atol(text);
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    if (syscall(SYS_clock_gettime, clock, now) != 0)
        return -1;
    now->tv_sec += leap();
    return 0;
}

static pid_t first;

__attribute__((constructor)) static void note_first(void)
{
    first = getpid();
}

/* The first process to get the lock waits; the others go on, even if it has died. */
static void hold(const char *path)
{
    static const struct timespec moment = {.tv_nsec = 1000000};
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return;
    if (flock(fd, LOCK_EX | LOCK_NB) == 0 && lseek(fd, 0, SEEK_END) == 0 &&
        dprintf(fd, "%d\n", (int)getpid()) > 0)
        while (access(path, F_OK) == 0)
            nanosleep(&moment, NULL);
    close(fd);
}

int epoll_wait(int epoll_fd, struct epoll_event *events, int most, int timeout)
{
    int n = (int)syscall(SYS_epoll_pwait, epoll_fd, events, most, timeout, NULL, 8);
    int error = errno;
    if (n > 0 && getpid() != first && getenv("HELD_WAKEUP"))
        hold(getenv("HELD_WAKEUP"));
    errno = error;
    return n;
}
