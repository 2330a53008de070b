/*
 * handoff - what is in force, told to the program that replaces us; and put in force again there.
 *
 * Owns:      which descriptors go over, and the configuration that carried pools have until the file
 *            is read: no more of it than the ends of their workers need.
 * Knows not: when, and whether the other program can read it.
 * Called by: upgrade, master.
 * Runs in:   the master.
 */
#ifndef PREFORKD_MASTER_HANDOFF_H
#define PREFORKD_MASTER_HANDOFF_H

#include "reload.h"
#include "state.h"

/* Adds the pools, workers, listeners and passed sockets. 0 or -errno. */
int handoff_save(const struct runtime *runtime, struct state *state);

/* Whether a program that we execute gets the descriptors that a state names. */
void handoff_inherit(const struct state *state, bool wanted);

/* Puts in force what a state says; `file` is that of the configuration. 0 or -errno. */
int handoff_adopt(struct runtime *runtime, const struct state *state, const char *file);

/* Whether pools are left that run under what was carried. */
bool handoff_is_left(const struct runtime *runtime);

#endif
