/*
 * proxied - a connection that begins with a PROXY header: takes it, and nothing behind it.
 *
 * Owns:      the reading of the header within its time.
 * Knows not: who may send one.
 * Called by: the worker's access.
 * Runs in:   a worker. The socket is left as it came, without a timeout of its own: a program may
 *            get it next.
 */
#ifndef PREFORKD_CONN_PROXIED_H
#define PREFORKD_CONN_PROXIED_H

#include "conn.h"

#include "../base/clock.h"

/* Takes the header, until the deadline at the latest. Where it tells of another connection, the
 * peer becomes that one's, and `local` the address that it came to. NULL, or in words why not. */
const char *proxied_take(struct conn *conn, usec deadline);

#endif
