/*
 * accept_wakeup - if a connection waits while a worker is idle, that worker is woken for it.
 *
 * A new connection wakes one worker. If that one doesn't accept it, no other is woken: so whatever
 * keeps a worker from it (a death, a stop, want of descriptors) is a reason to look, which is asked
 * for by resources_ask_wakeup. The argument stands in src/README.md.
 *
 * Knows not: why it was asked to look.
 * Called by: maintain.
 * Runs in:   the master.
 */
#ifndef PREFORKD_MASTER_ACCEPT_WAKEUP_H
#define PREFORKD_MASTER_ACCEPT_WAKEUP_H

#include "pool.h"

/* Looks at a pool's listeners, if that was asked or is due. Returns when to do so next. */
usec accept_wakeup_step(struct pool *pool, usec now);

#endif
