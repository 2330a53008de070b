/*
 * identity - users and groups, by name or number, as the system knows them: those of the workers,
 * and the owners of the sockets.
 *
 * Must not know: the options beside user, group, socket_user, socket_group, control_group.
 * Called by rules, in the checking child: a lookup may block.
 */
#ifndef PREFORKD_CONFIG_IDENTITY_H
#define PREFORKD_CONFIG_IDENTITY_H

#include "config.h"

#define IDENTITY_NO_GROUP ((gid_t)-1)

/* Fills in the identities of all pools and the owners of all sockets, and notes every fault.
 * `whole`: nothing of the files is left out. Without root every identity is the daemon's own. */
void identity_apply(struct config *config, bool whole);

#endif
