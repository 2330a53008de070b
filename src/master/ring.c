#include "ring.h"

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
