#include "bell.h"

#include <unistd.h>

void bell_ring(const struct bell *bell)
{
    static const uint64_t one = 1;
    ssize_t written = write(bell->fd, &one, sizeof one);
    (void)written; /* EAGAIN: it is full, so the master is about to wake */
}

void bell_hand_on(const struct bell *bell)
{
    atomic_store(&bell->board->unserved, 1);
    bell_ring(bell);
}

void bell_look(const struct bell *bell)
{
    int wanted = (int)bell->board->min_spare;
    if (scoreboard_has_idle(bell->board, bell->seat, wanted > 1 ? wanted : 1))
        return;
    if (atomic_exchange(&bell->board->armed, 0))
        bell_ring(bell);
}
