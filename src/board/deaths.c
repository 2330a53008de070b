#include "deaths.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

void deaths_write(struct overview *overview, const struct death *facts)
{
    uint64_t number = overview->deaths_written + 1;
    struct death *entry = &overview->deaths[number % SCOREBOARD_DEATHS];
    size_t behind = sizeof entry->number;
    atomic_store_explicit(&entry->number, 0, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    memcpy((char *)entry + behind, (const char *)facts + behind, sizeof *entry - behind);
    atomic_store_explicit(&entry->number, number, memory_order_release);
    overview->deaths_written = number;
}

/* False if it is empty, or was written meanwhile. */
static bool copy_entry(const struct death *entry, uint64_t place, struct death *copy)
{
    uint64_t number = atomic_load_explicit(&entry->number, memory_order_acquire);
    if (number == 0 || number % SCOREBOARD_DEATHS != place)
        return false;
    memcpy((void *)copy, (const void *)entry, sizeof *copy);
    atomic_thread_fence(memory_order_acquire);
    copy->number = number;
    copy->pool[sizeof copy->pool - 1] = '\0';
    copy->why[sizeof copy->why - 1] = '\0';
    copy->core[sizeof copy->core - 1] = '\0';
    copy->last[sizeof copy->last - 1] = '\0';
    return atomic_load_explicit(&entry->number, memory_order_relaxed) == number;
}

static int by_number(const void *a, const void *b)
{
    uint64_t first = ((const struct death *)a)->number, second = ((const struct death *)b)->number;
    return (first > second) - (first < second);
}

int deaths_list(const struct overview *overview, struct death list[static SCOREBOARD_DEATHS])
{
    int count = 0;
    for (int i = 0; i < SCOREBOARD_DEATHS; i++)
        count += copy_entry(&overview->deaths[i], (uint64_t)i, &list[count]);
    qsort(list, (size_t)count, sizeof *list, by_number);
    return count;
}
