#include "wakeup.h"

#include <unistd.h>

void wakeup_ring(const struct wakeup *wakeup)
{
    static const uint64_t one = 1;
    ssize_t written = write(wakeup->fd, &one, sizeof one);
    (void)written; /* EAGAIN: it is full, so the master is about to wake */
}

void wakeup_hand_on(const struct wakeup *wakeup)
{
    atomic_store(&wakeup->board->unserved, 1);
    wakeup_ring(wakeup);
}

void wakeup_look(const struct wakeup *wakeup)
{
    int wanted = (int)wakeup->board->min_spare;
    if (scoreboard_has_idle(wakeup->board, wakeup->seat, wanted > 1 ? wanted : 1))
        return;
    if (atomic_exchange(&wakeup->board->armed, 0))
        wakeup_ring(wakeup);
}
