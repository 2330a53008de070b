#include "ring.h"

#include <stdlib.h>

void ring_join(struct ring *ring, const struct spawner *spawner, struct worker *worker)
{
    uint32_t number = (uint32_t)spawn_number(spawner, worker);
    worker->next = ring->first;
    worker->slot->next_seat = ring->first ? (uint32_t)spawn_number(spawner, ring->first) : number;
    ring->first = worker;
    if (!ring->last)
        ring->last = worker;
    ring->last->slot->next_seat = number;
}

void ring_leave(struct ring *ring, struct worker **at)
{
    struct worker *worker = *at;
    struct worker *before =
        at == &ring->first ? NULL : (struct worker *)((char *)at - offsetof(struct worker, next));
    if (ring->last == worker)
        ring->last = before;
    if (before)
        before->slot->next_seat = worker->slot->next_seat;
    else if (ring->last)
        ring->last->slot->next_seat = worker->slot->next_seat;
    *at = worker->next;
}

int ring_free_number(const struct ring *ring, unsigned generation)
{
    int count = 0, number = 0;
    for (const struct worker *w = ring->first; w; w = w->next)
        count++;
    bool *taken = calloc((size_t)count + 1, sizeof *taken);
    for (const struct worker *w = ring->first; taken && w; w = w->next)
        if (w->generation == generation && w->role != ROLE_RETIRING && w->number < count)
            taken[w->number] = true;
    while (taken && taken[number])
        number++;
    free(taken);
    return taken ? number : count;
}
