/*
 * inherited - what a program that replaced another finds where it can't go on with the state that the
 * other left: open descriptors, and children.
 *
 * Knows not: what went wrong.
 * Called by: main.
 * Runs in:   the master, before it starts.
 */
#ifndef PREFORKD_MASTER_INHERITED_H
#define PREFORKD_MASTER_INHERITED_H

#include "../listeners/listener.h"

struct inherited {
    struct listener *listeners;
    struct listener *control; /* NULL: not found */
    int pidfile_fd;           /* -1: none */
};

/* Looks through the open descriptors: listening sockets, and the locked pid file of this path, if it is
 * not NULL. Everything else is closed, but for the standard streams and the log's. */
void inherited_take(struct inherited *inherited, const char *pidfile);

/* Takes the control socket, of this path, out of the listeners. */
void inherited_find_control(struct inherited *inherited, const char *path);

/* Tells every child to finish. They are the workers of before, whose number nobody knows. */
void inherited_retire_children(void);

#endif
