/*
 * bell - a worker that takes one of its pool's last free seats tells the master.
 *
 * Knows not: whether the pool grows then, or why the master asked.
 * Called by: the lane.
 * Runs in:   a worker. While nobody asked it costs a fence and one load of a word that hardly ever
 *            changes.
 */
#ifndef PREFORKD_WORKER_BELL_H
#define PREFORKD_WORKER_BELL_H

#include "../shared/scoreboard.h"

#include <stdbool.h>

struct bell {
    const struct slot *slots; /* all of the scoreboard's */
    struct scoreboard_pool *pool;
    uint32_t place; /* the pool's */
    uint32_t seat;  /* the worker's own slot */
    int fd;         /* an eventfd of the master's */
};

/* Counts free seats in the ring of the pool's slots, and rings where there are too few. */
void bell_look(const struct bell *bell);

/* Whether another worker of the pool has a free seat. */
bool bell_finds_seat(const struct bell *bell);

/* To be called after the slot says that its seat is taken. Of two workers who take the last seats
 * together, at least one sees, behind the fence, that the other's is taken too; and whoever comes
 * after the master has armed the bell sees that, or the master sees the seat taken: it looks again
 * behind a fence of its own. */
static inline void bell_seat_taken(const struct bell *bell)
{
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load_explicit(&bell->pool->armed, memory_order_relaxed))
        bell_look(bell);
}

#endif
