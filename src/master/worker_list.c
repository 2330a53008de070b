#include "worker_list.h"

#include <stddef.h>
#include <stdlib.h>

void worker_list_join(struct worker_list *ring, struct worker *worker)
{
    worker->next = ring->first;
    ring->first = worker;
}

void worker_list_leave(struct worker **at)
{
    *at = (*at)->next;
}

int worker_list_free_number(const struct worker_list *ring, unsigned generation)
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
