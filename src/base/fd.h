/*
 * fd - descriptors: which ones a child keeps, messages that carry them, whole writes, flags; and
 * memory that processes share by a descriptor (shm_), made so that no process can harm another
 * through it.
 *
 * Shared memory has its size sealed (fcntl(2), F_SEAL_SHRINK), because a process that shortened it
 * would end its readers by SIGBUS. Only root and its owner can reopen the descriptor, for more
 * rights, by /proc/self/fd.
 */
#ifndef PREFORKD_BASE_FD_H
#define PREFORKD_BASE_FD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <unistd.h>

/* For locals: `__attribute__((cleanup(fd_cleanup))) int fd = ...` closes it at the end of the
 * block. */
void fd_cleanup(int *fd);

/* Closes every descriptor from 3 on that is not in the list. Negative entries are ignored. Neither
 * sorts nor copies the list, which would cost each worker pages of its own. 0, or -errno: then some
 * may still be open. */
int fd_keep_only(const int *fds, int count);

/* Makes every descriptor from `first` on close at exec; if the system can't do that, closes them at
 * once, except `needed` (-1: none). Allocates no memory. 0, or -errno: then the caller must not
 * execute anything. */
int fd_shut_at_exec(int first, int needed);

enum { FD_MESSAGE_MAX = 64 }; /* descriptors in one message; unix(7) allows 253 */

/* Sends a message with `count` descriptors, which stay open here too, through a Unix socket
 * (unix(7), SCM_RIGHTS). Neither blocks nor raises SIGPIPE. 0 or -errno. */
int fd_send(int socket, const void *data, size_t size, const int *fds, int count);

/* Receives a message, and at most `count` descriptors, close-on-exec; -1 fills the rest of `fds`.
 * The kernel closes those for which there is no room. Does not block. Its size or -errno. */
ssize_t fd_receive(int socket, void *data, size_t size, int *fds, int count);

/* Any process that may write to a Unix socket can send descriptors through it. Whoever receives the
 * message drops them if it has no room for them, and so does whoever closes a socket with unread
 * messages. To drop the last copy of a socket may take as long as its owner likes: for its unsent
 * data (socket(7), SO_LINGER), or for another socket in its queue. These functions do not wait for
 * that. Their process has one thread. */

/* Receives a message without its descriptors, which never become ours: to close one of a file asks
 * its file system (FUSE, NFS), and no signal ends that wait. `sender`, unless it is NULL: who sent
 * it (SO_PASSCRED); zero if that is unknown. Does not block. The message's size, larger than `size`
 * if it was cut; or -errno. */
ssize_t fd_receive_foreign(int socket, void *data, size_t size, struct ucred *sender);

/* Closes a socket to which a foreign process may have sent descriptors. */
void fd_close_foreign(int socket);

/* Writes all of it. 0 or -errno. */
int fd_write(int fd, const void *data, size_t size);

/* Whether a program that this process executes inherits the descriptor. Close-on-exec is a flag of
 * the one descriptor. 0 or -errno. */
int fd_set_inherited(int fd, bool wanted);

/* Sets O_NONBLOCK of the open file description, which other processes may share (open(2)). 0 or
 * -errno. */
int fd_set_nonblocking(int fd, bool wanted);
bool fd_is_nonblocking(int fd);

/* Makes zeroed shared memory. A close-on-exec descriptor, or -errno. /proc/PID/maps shows
 * `name`. */
int shm_create(const char *name, size_t size);

/* Maps it. Children forked later don't inherit the mapping. NULL with errno set: EPROTO if the
 * descriptor is not sealed memory of this size. munmap(2) unmaps it. */
void *shm_map(int fd, size_t size, bool writable);

/* Whether children forked from now on inherit the mapping. */
void shm_lend(void *memory, size_t size, bool lent);

/* Opens another close-on-exec descriptor that can be read but never written. Or -errno. */
int shm_reader(int fd);

/* Forbids all further writes and writable mappings; existing mappings keep working (fcntl(2),
 * F_SEAL_FUTURE_WRITE). 0 or -errno. */
int shm_seal(int fd);

#endif
