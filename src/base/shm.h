/*
 * shm - memory that processes share by a descriptor, made so that none of them can end another by
 * it.
 *
 * Its size is sealed (fcntl(2), F_SEAL_SHRINK: a process that shortens it would end its readers by
 * SIGBUS), and only root and its owner can open the descriptor anew, for more rights, by
 * /proc/self/fd.
 */
#ifndef PREFORKD_BASE_SHM_H
#define PREFORKD_BASE_SHM_H

#include <stdbool.h>
#include <stddef.h>

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
