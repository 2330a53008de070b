/*
 * listens - the words of `listen` into addresses, and which addresses are in each other's way.
 *
 * Must not know: sockets.
 * Called by rules, in the checking child: look-ups of names and directories may block.
 */
#ifndef PREFORKD_CONFIG_LISTENS_H
#define PREFORKD_CONFIG_LISTENS_H

#include "config.h"

enum { LISTENS_MAX = 4096 }; /* addresses of one configuration */

/* Reads the addresses of a pool's words into `specs`, at most `room`. Each wrong word is a fault.
 * Returns how many addresses there are. */
int listens_read(const struct pool_config *pool, struct listen_spec *specs, int room,
                 struct faults *faults);

/* Looks whether the daemon can make a Unix socket of this path. False: with a sentence in `why`. */
bool listens_can_bind(const char *path, struct inode *directory, char *why, size_t size);

/* Whether a path is right in the directory of the default places, which root makes if it is
 * missing. */
bool listens_in_default_place(const char *path);

/* Whether both can't be opened: one address, or a wildcard and an address of its port. */
bool listens_overlap(const struct listen_spec *a, const struct listen_spec *b);

#endif
