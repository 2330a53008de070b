/*
 * failing_calls - a preload under which fork() fails with EAGAIN while the file $FAILING_FORK is
 * there, and accept4() with EMFILE while $FAILING_ACCEPT is.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
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
