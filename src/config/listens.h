/*
 * listens - reads the words of `listen` into addresses, and finds addresses that overlap.
 *
 * Must not know: sockets.
 * Called by rules, in the checking child, because lookups of hosts and directories may block.
 */
#ifndef PREFORKD_CONFIG_LISTENS_H
#define PREFORKD_CONFIG_LISTENS_H

#include "config.h"

enum { LISTENS_MAX = 4096 }; /* addresses of one configuration */

/* Reads the addresses of a pool into `specs`, at most `room`, and returns how many there are, also
 * without room. Each wrong word is a fault. */
int listens_read(struct config *config, const struct pool_config *pool, struct listen_spec *specs,
                 int room);

/* Whether the daemon can make a Unix socket at this path. If not, `why` gets the reason. */
bool listens_can_bind(const char *path, struct inode *directory, char *why, size_t size);

/* Whether something that is no socket has this path: the daemon would not replace it. */
#define LISTENS_TAKEN "a file that is not a socket is there; it is left unchanged"
bool listens_are_taken(const char *path);

/* Whether the path is directly in the default directory, which root makes if it is missing. */
bool listens_in_default_place(const char *path);

/* Whether only one of the two can be opened: they are the same address, or one is a wildcard that
 * covers the other. */
bool listens_overlap(const struct listen_spec *a, const struct listen_spec *b);

#endif
