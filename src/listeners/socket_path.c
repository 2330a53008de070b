#include "socket_path.h"

#include "../base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

bool socket_path_has(const struct addr *addr)
{
    return addr->sa.sa_family == AF_UNIX && !addr_is_abstract(addr);
}

/* Connects to the socket that a descriptor holds, through the descriptor's name in /proc, so that
 * no other socket can answer. 0, or -errno: -ECONNREFUSED if nobody listens on it. */
static int probe(int held)
{
    char name[ENTRY_HELD];
    struct addr addr;
    int fd __attribute__((cleanup(fd_cleanup))) =
        socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    if (!addr_from_path(&addr, entry_held(name, held)))
        return -EINVAL;
    return connect(fd, &addr.sa, addr.len) == 0 ? 0 : -errno;
}

/* The path is taken. 0 if the path is free now: a stale socket was removed. Only the very inode
 * that was probed is unlinked: see entry_unlink. */
static int unlink_stale(const struct entry *entry)
{
    struct stat there;
    int held __attribute__((cleanup(fd_cleanup))) = entry_hold(entry, &there);
    if (held == -ENOENT)
        return 0;
    if (held < 0)
        return held;
    if (!S_ISSOCK(there.st_mode))
        return -EEXIST;
    struct inode stale = inode_of(&there);
    return probe(held) == -ECONNREFUSED && entry_unlink(entry, &stale) ? 0 : -EADDRINUSE;
}

/* The path has its mode from the bind on: the socket's, less the umask (unix(7)). A default ACL of
 * the directory, or the file system, may reduce that, so own_held checks it later. bind() creates a
 * new name and doesn't follow a link there; links earlier in the path are the configuration's own.
 * bind() gets the whole path, not one below a descriptor, because getsockname(2) shows it to
 * programs and people. */
static int bind_name(int fd, const struct addr *addr, mode_t mode)
{
    if (fchmod(fd, mode) != 0)
        return -errno;
    mode_t mask = umask(0);
    int error = bind(fd, &addr->sa, addr->len) == 0 ? 0 : -errno;
    umask(mask);
    return error;
}

/* Sets owner and mode of what the descriptor holds, if they differ. */
static int own_held(int held, const struct stat *there, const struct socket_owner *owner)
{
    char name[ENTRY_HELD];
    if ((there->st_uid != owner->uid || there->st_gid != owner->gid) &&
        fchownat(held, "", owner->uid, owner->gid, AT_EMPTY_PATH) != 0)
        return -errno;
    if ((there->st_mode & 07777) == owner->mode)
        return 0;
    /* fchmod takes no O_PATH. */
    return chmod(entry_held(name, held), owner->mode) == 0 ? 0 : -errno;
}

/* Identifies the new socket, before anybody listens on it. A user who may write to the directory
 * may have replaced it: by a link or a file, which is no socket; by a socket of that user's, which
 * has another owner; by another listener of ours, which answers. Anything else is a socket of ours
 * that nobody will ever listen on, and giving that an owner does no harm. */
static int own_first(const struct entry *entry, const struct socket_owner *owner,
                     struct inode *made)
{
    struct stat there;
    int held __attribute__((cleanup(fd_cleanup))) = entry_hold(entry, &there);
    if (held == -ENOENT)
        return -ESTALE;
    if (held < 0)
        return held;
    if (!S_ISSOCK(there.st_mode) || there.st_uid != geteuid())
        return -ESTALE;
    int answer = probe(held);
    if (answer == 0 || answer == -EAGAIN) /* EAGAIN: it listens, and its queue is full */
        return -ESTALE;
    *made = inode_of(&there);
    return own_held(held, &there, owner);
}

int socket_path_bind(int fd, const struct addr *addr, const struct socket_owner *owner,
                     struct inode *made)
{
    struct entry entry __attribute__((cleanup(entry_close))) = {.directory = -1};
    int error = entry_open(&entry, addr->un.sun_path);
    if (error)
        return error;
    error = bind_name(fd, addr, owner->mode);
    if (error == -EADDRINUSE) {
        error = unlink_stale(&entry);
        if (!error)
            error = bind_name(fd, addr, owner->mode);
    }
    return error ? error : own_first(&entry, owner, made);
}

int socket_path_own(const struct addr *addr, const struct inode *made,
                    const struct socket_owner *owner)
{
    struct stat there;
    struct entry entry __attribute__((cleanup(entry_close))) = {.directory = -1};
    int error = entry_open(&entry, addr->un.sun_path);
    if (error)
        return error;
    int held __attribute__((cleanup(fd_cleanup))) = entry_hold(&entry, &there);
    if (held < 0)
        return held == -ENOENT ? -ESTALE : held;
    struct inode found = inode_of(&there);
    return inode_equal(&found, made) ? own_held(held, &there, owner) : -ESTALE;
}

bool socket_path_is(const struct addr *addr, const struct inode *made)
{
    struct entry entry __attribute__((cleanup(entry_close))) = {.directory = -1};
    return entry_open(&entry, addr->un.sun_path) == 0 && entry_is(&entry, made);
}

void socket_path_unlink(const struct addr *addr, const struct inode *made)
{
    struct entry entry __attribute__((cleanup(entry_close))) = {.directory = -1};
    if (entry_open(&entry, addr->un.sun_path) == 0)
        entry_unlink(&entry, made);
}
