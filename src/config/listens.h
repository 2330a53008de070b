/*
 * listens - the words of `listen` into addresses.
 *
 * Owns:      what the words may be, and which addresses are in each other's way.
 * Knows not: sockets.
 * Called by: rules.
 * Runs in:   the checking child: names and directories are asked for, which may block.
 */
#ifndef PREFORKD_CONFIG_LISTENS_H
#define PREFORKD_CONFIG_LISTENS_H

#include "config.h"

enum { LISTENS_MAX = 4096 }; /* addresses of one configuration */

/* The addresses of a pool's words, from `specs` on, in which there is room for `room`. Each wrong
 * word is a fault. Returns how many. */
int listens_read(const struct pool_config *pool, struct listen_spec *specs, int room,
                 struct faults *faults);

/* Looks whether the daemon can make a Unix socket of this path. False: with a sentence in `why`. */
bool listens_can_bind(const char *path, struct inode *directory, char *why, size_t size);

/* Whether a path is right in the directory of the default places, which root makes where nobody did. */
bool listens_in_default_place(const char *path);

/* Whether both can't be opened: one address, or a wildcard and an address of its port. */
bool listens_overlap(const struct listen_spec *a, const struct listen_spec *b);

#endif
