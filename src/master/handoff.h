/*
 * handoff - the runtime saved as the state for the binary that replaces us, and restored there.
 *
 * Owns:      the choice of what is saved; and the stub of a configuration that carried pools have
 *            until the file is read, just enough to handle the exits of their workers.
 * Knows not: when this happens, and whether the other binary can read the state.
 * Called by: upgrade, master, in the master.
 */
#ifndef PREFORKD_MASTER_HANDOFF_H
#define PREFORKD_MASTER_HANDOFF_H

#include "reload.h"
#include "state.h"

/* Adds the runtime to the state. */
void handoff_save(const struct runtime *runtime, struct state *state);

/* Sets whether a binary that we execute inherits the descriptors in the state. */
void handoff_inherit(const struct state *state, bool wanted);

/* Fills the runtime from the state. `file` is the configuration file. 0 or -errno. */
int handoff_adopt(struct runtime *runtime, const struct state *state, const char *file);

#endif
