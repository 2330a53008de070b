/*
 * socket_path - binds Unix sockets to paths, in directories that others may write to.
 *
 * Root acts only on the inode that it made. That inode is known by device and number from the bind
 * on, and each later step checks first that the path still leads to it.
 */
#ifndef PREFORKD_LISTENERS_SOCKET_PATH_H
#define PREFORKD_LISTENERS_SOCKET_PATH_H

#include "../base/addr.h"
#include "../base/entry.h"

struct socket_owner {
    uid_t uid;
    gid_t gid;
    mode_t mode;
};

/* Whether the address has a path. */
bool socket_path_has(const struct addr *addr);

/* Binds a socket to its path, gives the path this owner, and returns the inode in *made. First
 * removes a stale socket, on which nobody listens. 0 or -errno: -EEXIST if the path is taken, but
 * not by a socket; -ESTALE if another process replaced the new socket. */
int socket_path_bind(int fd, const struct addr *addr, const struct socket_owner *owner,
                     struct inode *made);

/* Sets the inode's owner and mode. 0 or -errno: -ESTALE if the path no longer leads to it. */
int socket_path_own(const struct addr *addr, const struct inode *made,
                    const struct socket_owner *owner);

/* Whether the path still leads to the inode. */
bool socket_path_is(const struct addr *addr, const struct inode *made);

/* Unlinks the path if it still leads to the inode. */
void socket_path_unlink(const struct addr *addr, const struct inode *made);

#endif
