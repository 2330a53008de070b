/*
 * failing_calls - a preload under which fork() fails with EAGAIN while the file $FAILING_FORK is
 * there, close_range() with EPERM while $FAILING_CLOSE_RANGE is, accept4() with EMFILE while $FAILING_ACCEPT is, socket() with EAFNOSUPPORT for IPv6 while
 * $FAILING_IPV6 is, every second send() that may not wait with EAGAIN while $FAILING_SEND is, and the
 * clocks are ahead by as many seconds as stand in the file $LEAPING_CLOCK.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static bool fails(const char *variable)
{
    const char *path = getenv(variable);
    return path && access(path, F_OK) == 0;
}

pid_t fork(void)
{
    pid_t (*real)(void);
    void *found = dlsym(RTLD_NEXT, "fork");
    memcpy(&real, &found, sizeof real);
    if (!fails("FAILING_FORK"))
        return real();
    errno = EAGAIN;
    return -1;
}

int close_range(unsigned first, unsigned last, int flags)
{
    if (!fails("FAILING_CLOSE_RANGE"))
        return (int)syscall(SYS_close_range, first, last, flags);
    errno = EPERM;
    return -1;
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
