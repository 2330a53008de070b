/*
 * socket_path - the path of a Unix socket that we bind, in a directory that others may write in.
 *
 * Root acts here on nothing but the inode that it made: it is known by device and number from the
 * bind on, and each later act looks first whether the path still leads there.
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

/* Whether it is an address with a path. */
bool socket_path_has(const struct addr *addr);

/* Binds a socket to its path, which has this owner then, and says which inode was made. What nobody
 * listens on any more is taken away first. 0 or -errno: -EEXIST if no socket is in the way,
 * -ESTALE if somebody exchanged what we made. */
int socket_path_bind(int fd, const struct addr *addr, const struct socket_owner *owner,
                     struct inode *made);

/* Gives what we made this owner. 0 or -errno: -ESTALE if the path leads to it no longer. */
int socket_path_own(const struct addr *addr, const struct inode *made,
                    const struct socket_owner *owner);

/* Whether the path leads to what we made. */
bool socket_path_is(const struct addr *addr, const struct inode *made);

/* Takes the path away, if it leads to what we made. */
void socket_path_unlink(const struct addr *addr, const struct inode *made);

#endif
