/*
 * wakeup - a worker that takes one of its pool's last free seats tells the master; so does one that was
 *        woken for a connection, and can't accept it.
 *
 * Knows not: whether the pool grows then, or why the master asked.
 * Called by: the serve.
 * Runs in:   a worker. While nobody asked it costs a fence and one load of a word that hardly ever
 *            changes.
 */
#ifndef PREFORKD_WORKER_WAKEUP_H
#define PREFORKD_WORKER_WAKEUP_H

#include "../board/scoreboard.h"

struct wakeup {
    struct scoreboard *board;
    uint32_t seat; /* the worker's own slot */
    int fd;        /* an eventfd of the pool's, which wakes the master */
};

/* Wakes the master. One that was woken by others so often that the eventfd takes no more will look at
 * what we did, too: it empties it first, and looks then. */
void wakeup_ring(const struct wakeup *wakeup);

/* Tells the master that a connection may wait for which nobody is awake. The word before the ring: who
 * hears the ring finds it. */
void wakeup_hand_on(const struct wakeup *wakeup);

/* Counts free seats in the pool's slots, and rings where there are too few. */
void wakeup_look(const struct wakeup *wakeup);

/* Whether another worker of the pool has a free seat. */
static inline bool wakeup_finds_seat(const struct wakeup *wakeup)
{
    return scoreboard_has_idle(wakeup->board, wakeup->seat, 1);
}

/* To be called after the slot says that its seat is taken. Of two workers who take the last seats
 * together, at least one sees, behind the fence, that the other's is taken too; and whoever comes
 * after the master has armed the wakeup sees that, or the master sees the seat taken: it looks again
 * behind a fence of its own. */
static inline void wakeup_seat_taken(const struct wakeup *wakeup)
{
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load_explicit(&wakeup->board->armed, memory_order_relaxed))
        wakeup_look(wakeup);
}

#endif
