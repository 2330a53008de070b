#include "bell.h"

#include <unistd.h>

static bool is_free(const struct slot *slot)
{
    return atomic_load_explicit(&slot->state, memory_order_relaxed) == SLOT_IDLE &&
           !atomic_load_explicit(&slot->retiring, memory_order_relaxed);
}

/* The master changes the ring while we walk: where it leads us astray, it will look for itself
 * after the change, and one ring too many does no harm. */
static bool finds_free(const struct bell *bell, int wanted)
{
    uint32_t at = bell->slots[bell->seat].next_seat;
    for (int steps = 0; at != bell->seat && steps < SCOREBOARD_SLOTS; steps++) {
        if (at >= SCOREBOARD_SLOTS || bell->slots[at].pool != bell->place)
            return false;
        if (is_free(&bell->slots[at]) && --wanted == 0)
            return true;
        at = bell->slots[at].next_seat;
    }
    return false;
}

bool bell_finds_seat(const struct bell *bell)
{
    return finds_free(bell, 1);
}

void bell_look(const struct bell *bell)
{
    static const uint64_t one = 1;
    int wanted = bell->pool->min_spare;
    if (finds_free(bell, wanted > 1 ? wanted : 1))
        return;
    if (atomic_exchange(&bell->pool->armed, 0) && write(bell->fd, &one, sizeof one) < 0)
        atomic_store(&bell->pool->armed, 1); /* then the next one may try */
}
