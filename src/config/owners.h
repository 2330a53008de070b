/*
 * owners - who the workers become, and who has the sockets.
 *
 * Owns:      user, group, socket_user, socket_group, control_group: defaults, lookups, and what
 *            may be asked for without root.
 * Knows not: the other options.
 * Called by: rules.
 * Runs in:   the checking child.
 */
#ifndef PREFORKD_CONFIG_OWNERS_H
#define PREFORKD_CONFIG_OWNERS_H

#include "rule_context.h"

void owners_apply(const struct rule_context *context);

#endif
