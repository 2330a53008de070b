#include "timers.h"

#include <errno.h>
#include <stdlib.h>

int timers_open(struct timers *timers, uint32_t most)
{
    timers->heap = calloc(most, sizeof *timers->heap);
    timers->places = calloc(most, sizeof *timers->places);
    timers->count = 0;
    if (timers->heap && timers->places)
        return 0;
    timers_close(timers);
    return -ENOMEM;
}

void timers_close(struct timers *timers)
{
    free(timers->heap);
    free(timers->places);
    timers->heap = NULL;
    timers->places = NULL;
}

static void put(struct timers *timers, uint32_t at, struct timer timer)
{
    timers->heap[at] = timer;
    timers->places[timer.number] = at + 1;
}

static void rise(struct timers *timers, uint32_t at, struct timer timer)
{
    for (; at && timers->heap[(at - 1) / 2].due > timer.due; at = (at - 1) / 2)
        put(timers, at, timers->heap[(at - 1) / 2]);
    put(timers, at, timer);
}

static void sink(struct timers *timers, uint32_t at, struct timer timer)
{
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child + 1 < timers->count && timers->heap[child + 1].due < timers->heap[child].due)
            child++;
        if (child >= timers->count || timers->heap[child].due >= timer.due)
            break;
        put(timers, at, timers->heap[child]);
        at = child;
    }
    put(timers, at, timer);
}

void timers_set(struct timers *timers, uint32_t number, usec due)
{
    struct timer timer = {.due = due, .number = number};
    uint32_t place = timers->places[number];
    if (!place)
        rise(timers, timers->count++, timer);
    else if (timers->heap[place - 1].due > due)
        rise(timers, place - 1, timer);
}

uint32_t timers_take(struct timers *timers)
{
    uint32_t number = timers->heap[0].number;
    timers->places[number] = 0;
    timers->count--;
    if (timers->count)
        sink(timers, 0, timers->heap[timers->count]);
    return number;
}
