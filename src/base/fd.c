#include "fd.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>

void fd_cleanup(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* The smallest on the list that is not below `from`; INT_MAX where there is none. */
static int next_kept(const int *fds, int count, int from)
{
    int next = INT_MAX;
    for (int i = 0; i < count; i++)
        if (fds[i] >= from && fds[i] < next)
            next = fds[i];
    return next;
}

void fd_keep_only(const int *fds, int count)
{
    int from = STDERR_FILENO + 1;
    int kept;
    while ((kept = next_kept(fds, count, from)) != INT_MAX) {
        if (kept > from)
            close_range((unsigned)from, (unsigned)kept - 1, 0);
        from = kept + 1;
    }
    close_range((unsigned)from, UINT_MAX, 0);
}

int fd_write(int fd, const void *data, size_t size)
{
    const char *at = data;
    while (size) {
        ssize_t n = write(fd, at, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        at += n;
        size -= (size_t)n;
    }
    return 0;
}

int fd_set_inherited(int fd, bool wanted)
{
    return fcntl(fd, F_SETFD, wanted ? 0 : FD_CLOEXEC) == 0 ? 0 : -errno;
}

int fd_set_nonblocking(int fd, bool wanted)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0)
        return -errno;
    int next = wanted ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
    return next == flags || fcntl(fd, F_SETFL, next) == 0 ? 0 : -errno;
}

bool fd_is_nonblocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    return flags >= 0 && flags & O_NONBLOCK;
}
