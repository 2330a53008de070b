/*
 * accept_errors - what a failed accept() is about, and for how long it is left alone then.
 *
 * Knows no model: each does with it what it can, waiting for a moment or serving others. In a
 * worker.
 */
#ifndef PREFORKD_WORKER_ACCEPT_ERRORS_H
#define PREFORKD_WORKER_ACCEPT_ERRORS_H

#include "serve.h"

enum accept_error {
    ACCEPT_NOBODY,  /* there is no connection, or a signal came */
    ACCEPT_PASSING, /* that connection is gone already, or its network: the listener is well */
    ACCEPT_SHORT,   /* descriptors or memory are wanting, or a firewall says no */
    ACCEPT_BROKEN,  /* it is no listener any more */
};
enum accept_error accept_error_of(int error);

/* How long none is tried, in milliseconds: longer each time in a row, and not all workers in
 * step. */
int accept_error_pause(int in_a_row);

/* What follows from ACCEPT_SHORT since that time: 0; or an exit status, with the reason in the
 * worker's slot, if it goes on for so long that a new process is tried. Never while a connection is
 * in hand: it may be those that hold all descriptors. */
int accept_error_short(const struct serve *serve, int error, usec since);

/* The exit status for ACCEPT_BROKEN, with its reason in the worker's slot. */
int accept_error_broken(const struct serve *serve, int error);

#endif
