/*
 * ring - a pool's workers, in a list.
 *
 * Called by: pool, keeper.
 * Runs in:   the master.
 */
#ifndef PREFORKD_MASTER_RING_H
#define PREFORKD_MASTER_RING_H

#include "spawn.h"

struct ring {
    struct worker *first; /* from it on by `next`; NULL: there is none */
};

/* The latest stands first. */
void ring_join(struct ring *ring, struct worker *worker);

/* `at` is what points to it: the list's first, or the worker before it. */
void ring_leave(struct worker **at);

/* The lowest number that no other worker of the generation has which is to stay: so N programs have 0
 * to N-1, and a program's successor has its number. */
int ring_free_number(const struct ring *ring, unsigned generation);

#endif
