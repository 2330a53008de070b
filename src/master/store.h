/*
 * store - systemd keeps our listeners: a master that was killed leaves them there, and the next one
 * takes them back, so that no client that connects in between is refused.
 *
 * Owns:      what is in systemd's store of the unit (FileDescriptorStoreMax= of
 *            systemd.service(5)).
 * Knows not: pools; without systemd it does nothing. Called by: reload, in the master.
 */
#ifndef PREFORKD_MASTER_STORE_H
#define PREFORKD_MASTER_STORE_H

#include "../listeners/listener.h"

/* At the start: the listeners of the master before, as far as the configuration has them. The
 * others are closed. */
struct listener *store_take(const struct config *config);

/* These are in force: systemd gets those that we bound. */
void store_keep(struct listener *listeners);

/* This one is about to be closed for good: systemd must not hold it open. */
void store_release(struct listener *listener);

#endif
