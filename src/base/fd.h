/*
 * fd - descriptors: what a child keeps, whole writes, one flag.
 */
#ifndef PREFORKD_BASE_FD_H
#define PREFORKD_BASE_FD_H

#include <stdbool.h>
#include <stddef.h>
#include <unistd.h>

/* For locals: `__attribute__((cleanup(fd_cleanup))) int fd = ...`, closed at the end of its block.
 */
void fd_cleanup(int *fd);

/* Closes every descriptor from 3 on but those on the list. It neither sorts nor copies
 * that, which would cost each worker pages of its own. Negative ones on the
 * list are let pass. 0 or -errno: then some may still be open. */
int fd_keep_only(const int *fds, int count);

/* Every descriptor from `first` on closes as a program is executed, or where nothing else can be
 * had does so at once, but for the one that is `needed` until then (-1: none). No memory is taken
 * for it. 0 or -errno: then nothing may be executed. */
int fd_shut_at_exec(int first, int needed);

/* Writes all of it. 0 or -errno. */
int fd_write(int fd, const void *data, size_t size);

/* Whether a program that this process executes gets it: close-on-exec is the flag of one
 * descriptor. 0 or -errno. */
int fd_set_inherited(int fd, bool wanted);

/* O_NONBLOCK of the open file description, which other processes share (open(2)). 0 or -errno. */
int fd_set_nonblocking(int fd, bool wanted);
bool fd_is_nonblocking(int fd);

/* Makes it, zeroed: a close-on-exec descriptor, or -errno. `name` is for /proc/PID/maps. */
int shm_create(const char *name, size_t size);

/* Maps it; children forked later don't get the mapping. NULL with errno set: EPROTO if the
 * descriptor is no memory of this size. munmap(2) gives it back. */
void *shm_map(int fd, size_t size, bool writable);

/* Whether children that are forked from now on get the mapping. */
void shm_lend(void *memory, size_t size, bool lent);

/* Another descriptor of it, by which it can be read and never written; close-on-exec. Or -errno. */
int shm_reader(int fd);

/* From here on nobody can map it for writing any more, nor write to it; mappings that are there
 * stay as they are (fcntl(2), F_SEAL_FUTURE_WRITE). 0 or -errno. */
int shm_seal(int fd);

#endif
