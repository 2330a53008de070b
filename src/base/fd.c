#include "fd.h"

#include "entry.h"
#include "kernel.h"
#include "units.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

void fd_cleanup(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* The descriptor that a name in /proc/self/fd stands for; -1: none. */
static int fd_of_name(const char *name)
{
    uint64_t fd;
    return digits_read(name, INT_MAX, &fd) ? (int)fd : -1;
}

/* Handles the descriptors one by one, as /proc lists them. Does without readdir(3), which
 * allocates: this may run in a child that shares our memory. */
static int shut_listed(int listing, unsigned first, unsigned last, bool at_exec)
{
    union {
        struct dirent64 align;
        char bytes[1024];
    } buffer;
    long size;
    while ((size = syscall(SYS_getdents64, listing, buffer.bytes, sizeof buffer.bytes)) > 0)
        for (long at = 0; at < size;) {
            const struct dirent64 *entry = (const void *)(buffer.bytes + at);
            int fd = fd_of_name(entry->d_name);
            at += entry->d_reclen;
            if (fd < 0 || fd == listing || (unsigned)fd < first || (unsigned)fd > last)
                continue;
            int result = at_exec ? fcntl(fd, F_SETFD, FD_CLOEXEC) : close(fd);
            if (result != 0 && errno != EBADF && errno != EINTR)
                return -errno;
        }
    return size < 0 ? -errno : 0;
}

/* A container's system call filter may not know close_range(2), and an older kernel not its flag.
 * To ignore that failure would leak descriptors to a foreign program. */
static int shut(unsigned first, unsigned last, bool at_exec)
{
    if (kernel_close_range(first, last, at_exec ? KERNEL_CLOEXEC : 0) == 0)
        return 0;
    int listing = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (listing < 0)
        return -errno;
    int error = shut_listed(listing, first, last, at_exec);
    close(listing);
    return error;
}

/* In a new root without /proc, on a kernel before 5.11, which has no CLOSE_RANGE_CLOEXEC, the
 * descriptors close now. */
int fd_shut_at_exec(int first, int needed)
{
    int error = shut((unsigned)first, UINT_MAX, true);
    if (error == 0)
        return 0;
    unsigned from = (unsigned)(needed >= first ? needed + 1 : first);
    if (needed > first && kernel_close_range((unsigned)first, (unsigned)needed - 1, 0) != 0)
        return error;
    return kernel_close_range(from, UINT_MAX, 0) == 0 ? 0 : error;
}

/* The smallest descriptor in the list from `from` on; INT_MAX if there is none. */
static int next_kept(const int *fds, int count, int from)
{
    int next = INT_MAX;
    for (int i = 0; i < count; i++)
        if (fds[i] >= from && fds[i] < next)
            next = fds[i];
    return next;
}

int fd_keep_only(const int *fds, int count)
{
    int from = STDERR_FILENO + 1;
    int kept;
    while ((kept = next_kept(fds, count, from)) != INT_MAX) {
        int error = kept > from ? shut((unsigned)from, (unsigned)kept - 1, false) : 0;
        if (error)
            return error;
        from = kept + 1;
    }
    return shut((unsigned)from, UINT_MAX, false);
}

/* Memory for the descriptors in a message. */
union rights {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int) * FD_MESSAGE_MAX)];
};

int fd_send(int socket, const void *data, size_t size, const int *fds, int count)
{
    size_t room = sizeof *fds * (size_t)count;
    union rights rights = {
        .header = {.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(room)}};
    struct iovec part = {.iov_base = (void *)data, .iov_len = size};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (count > 0) {
        memcpy(CMSG_DATA(&rights.header), fds, room);
        message.msg_control = &rights;
        message.msg_controllen = CMSG_SPACE(room);
    }
    for (;;) {
        if (sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
            return 0;
        if (errno != EINTR)
            return -errno;
    }
}

/* Receives a message, and the content of its control message of this type: at most `size` bytes of
 * it, so there is no room for another. */
static ssize_t receive(int socket, struct iovec part, int flags, int type, void *content,
                       size_t size)
{
    union rights control;
    /* CMSG_SPACE, which is rounded up, may have room for one descriptor more. */
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = content ? &control : NULL,
                             .msg_controllen = content ? CMSG_LEN(size) : 0};
    ssize_t n = recvmsg(socket, &message, flags | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n < 0)
        return -errno;
    const struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == type)
        memcpy(content, CMSG_DATA(header), header->cmsg_len - CMSG_LEN(0));
    return n;
}

ssize_t fd_receive(int socket, void *data, size_t size, int *fds, int count)
{
    struct iovec part = {.iov_base = data, .iov_len = size};
    for (int i = 0; i < count; i++)
        fds[i] = -1;
    return receive(socket, part, 0, SCM_RIGHTS, fds, sizeof *fds * (size_t)count);
}

static void ignore_alarm(int number)
{
    (void)number;
}

/* From now on a wait that signals interrupt ends after a millisecond. The signal repeats, because
 * the first may come before the wait. A socket whose close is interrupted still sends its data. */
static void begin_bounded(struct sigaction *before)
{
    static const struct sigaction alarm = {.sa_handler = ignore_alarm};
    static const struct itimerval often = {{.tv_usec = 1000}, {.tv_usec = 1000}};
    sigaction(SIGALRM, &alarm, before);
    setitimer(ITIMER_REAL, &often, NULL);
}

static void end_bounded(const struct sigaction *before)
{
    static const struct itimerval never;
    setitimer(ITIMER_REAL, &never, NULL);
    sigaction(SIGALRM, before, NULL);
}

/* No room for a descriptor: the kernel drops all of them before the call returns. */
ssize_t fd_receive_foreign(int socket, void *data, size_t size, struct ucred *sender)
{
    struct iovec part = {.iov_base = data, .iov_len = size};
    struct sigaction before;
    if (sender)
        *sender = (struct ucred){0};
    begin_bounded(&before);
    ssize_t n = receive(socket, part, MSG_TRUNC, SCM_CREDENTIALS, sender, sizeof *sender);
    end_bounded(&before);
    return n;
}

void fd_close_foreign(int socket)
{
    struct sigaction before;
    begin_bounded(&before);
    close(socket);
    end_bounded(&before);
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

int shm_create(const char *name, size_t size)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -errno;
    if (ftruncate(fd, (off_t)size) == 0 && fchmod(fd, S_IRUSR) == 0 &&
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) == 0)
        return fd;
    int error = -errno;
    close(fd);
    return error;
}

void *shm_map(int fd, size_t size, bool writable)
{
    struct stat file;
    if (fstat(fd, &file) != 0)
        return NULL;
    int seals = fcntl(fd, F_GET_SEALS); /* -1: can't have seals */
    if (file.st_size != (off_t)size || seals < 0 || !(seals & F_SEAL_SHRINK)) {
        errno = EPROTO;
        return NULL;
    }
    void *memory = mmap(NULL, size, PROT_READ | (writable ? PROT_WRITE : 0),
                        MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (memory == MAP_FAILED)
        return NULL;
    if (madvise(memory, size, MADV_DONTFORK) == 0)
        return memory;
    int error = errno;
    munmap(memory, size);
    errno = error;
    return NULL;
}

void shm_lend(void *memory, size_t size, bool lent)
{
    madvise(memory, size, lent ? MADV_DOFORK : MADV_DONTFORK);
}

int shm_reader(int fd)
{
    char name[ENTRY_HELD];
    int reader = open(entry_held(name, fd), O_RDONLY | O_CLOEXEC);
    return reader < 0 ? -errno : reader;
}

int shm_seal(int fd)
{
    return fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) == 0 ? 0 : -errno;
}
