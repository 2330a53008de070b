/*
 * handoff - what is in force, put into the state for the binary that replaces us, and put in force
 * again there; and what that binary does if it can't go on with the state.
 *
 * Owns:      which of it goes over, and the configuration that carried pools have until the file is
 *            read: no more of it than the exits of their workers need.
 * Knows not: when, and whether the other binary can read it.
 * Called by: upgrade, master, main, in the master.
 */
#ifndef PREFORKD_MASTER_HANDOFF_H
#define PREFORKD_MASTER_HANDOFF_H

#include "reload.h"
#include "state.h"

/* Adds the pools, workers, listeners and passed sockets. 0 or -errno. */
int handoff_save(const struct runtime *runtime, struct state *state);

/* Whether a binary that we execute gets the descriptors that a state names. */
void handoff_inherit(const struct state *state, bool wanted);

/* Puts in force what a state says; `file` is that of the configuration. 0 or -errno. */
int handoff_adopt(struct runtime *runtime, const struct state *state, const char *file);

/* What a binary finds that can't go on with the state: open descriptors, and children. */
struct inherited {
    struct listener *listeners;
    struct listener *control; /* NULL: not found */
    int pidfile_fd;           /* -1: none */
};

/* Looks through the open descriptors: listening sockets, and the locked pid file of this path, if
 * it is not NULL. Everything else is closed, but for the standard streams and the log's. */
void inherited_take(struct inherited *inherited, const char *pidfile);

/* Takes the control socket, of this path, out of the listeners. */
void inherited_find_control(struct inherited *inherited, const char *path);

/* Tells every child to finish. They are the workers of before, whose number nobody knows. */
void inherited_retire_children(void);

#endif
