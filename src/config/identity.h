/*
 * identity - users and groups, by name or number, as the system knows them.
 *
 * Owns:      the lookups.
 * Knows not: whose they are to be, who may become them (rules does).
 * Called by: rules.
 * Runs in:   the checking child: a lookup may block.
 */
#ifndef PREFORKD_CONFIG_IDENTITY_H
#define PREFORKD_CONFIG_IDENTITY_H

#include "config.h"

#define IDENTITY_NO_GROUP ((gid_t)-1)

/* Fills in the user's name, number and home, and the group that is its own: IDENTITY_NO_GROUP where
 * the user is a number that the system has no name for. False where there is no such user. */
bool identity_user(struct identity *identity, const char *word, struct arena *arena);

/* Fills in the group. False where there is none of this name. */
bool identity_group(struct identity *identity, const char *word, struct arena *arena);

/* Fills in the group's name from its number, and the supplementary groups that the system gives. */
void identity_complete(struct identity *identity, struct arena *arena);

/* Who this process is. */
void identity_self(struct identity *identity, struct arena *arena);

#endif
