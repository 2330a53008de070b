/*
 * queue - how many connections wait at a listening socket to be accepted.
 *
 * Owns:      the two ways of asking: TCP tells it by the socket itself, a Unix socket by sock_diag(7).
 * Knows not: listeners, pools.
 * Called by: the master.
 * Runs in:   the master.
 */
#ifndef PREFORKD_SHARED_QUEUE_H
#define PREFORKD_SHARED_QUEUE_H

/* How many wait, and how many could. 0 or -errno: outputs are untouched then. */
int queue_read(int listener, int *depth, int *room);

#endif
