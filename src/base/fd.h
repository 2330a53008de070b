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

#endif
