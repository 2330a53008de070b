/*
 * worker_list - a pool's workers, in a list.
 *
 * Called by: pool, maintain.
 * Runs in:   the master.
 */
#ifndef PREFORKD_MASTER_WORKER_LIST_H
#define PREFORKD_MASTER_WORKER_LIST_H

#include "spawn.h"

struct worker_list {
    struct worker *first; /* from it on by `next`; NULL: there is none */
};

/* The latest stands first. */
void worker_list_join(struct worker_list *ring, struct worker *worker);

/* `at` is what points to it: the list's first, or the worker before it. */
void worker_list_leave(struct worker **at);

/* The lowest number that no other worker of the generation has which is to stay: so N programs have 0
 * to N-1, and a program's successor has its number. */
int worker_list_free_number(const struct worker_list *ring, unsigned generation);

#endif
