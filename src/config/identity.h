/*
 * identity - the users and groups of the workers and the owners of the sockets, looked up by name
 * or number.
 *
 * Must not know: any option but user, group, socket_user, socket_group and control_group.
 * Called by rules, in the checking child, because a lookup may block.
 */
#ifndef PREFORKD_CONFIG_IDENTITY_H
#define PREFORKD_CONFIG_IDENTITY_H

#include "config.h"

#define IDENTITY_NO_GROUP ((gid_t)-1)

/* Fills in the identities of all pools and the owners of all sockets, and notes every fault.
 * Without root, every identity is the daemon's own. `whole`: all files were read to their end. */
void identity_apply(struct config *config, bool whole);

#endif
