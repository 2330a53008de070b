#include "seats.h"

static uint32_t state_of(const struct slot *slot)
{
    return atomic_load_explicit(&slot->state, memory_order_acquire);
}

void seats_look(const struct slot *first, uint32_t count, struct seats_load *load)
{
    usec last = first->since;
    *load = (struct seats_load){0};
    for (const struct slot *slot = first; slot < first + count; slot++) {
        bool busy = state_of(slot) == SLOT_BUSY;
        usec since = atomic_load_explicit(&slot->since, memory_order_relaxed);
        if (busy && (!load->busy || since < load->since)) {
            load->longest = slot;
            load->since = since;
        }
        load->busy += busy;
        load->served += slot->served; /* first: a worker that goes on never shows more than taken */
        load->accepted += slot->accepted;
        last = since > last ? since : last;
    }
    if (!load->busy)
        load->since = last;
}

uint32_t seats_busy(const struct slot *first, uint32_t count)
{
    uint32_t busy = 0;
    for (uint32_t i = 0; i < count; i++)
        busy += state_of(&first[i]) == SLOT_BUSY;
    return busy;
}

bool seats_have(const struct slot *first, uint32_t count, enum slot_state state)
{
    uint32_t i = 0;
    while (i < count && state_of(&first[i]) != state)
        i++;
    return i < count;
}

bool seats_have_other(const struct slot *first, uint32_t count, enum slot_state state)
{
    uint32_t i = 0;
    while (i < count && state_of(&first[i]) == state)
        i++;
    return i < count;
}

bool seats_read(const struct slot *first, uint32_t count, usec age, struct slot_counts *sum)
{
    bool possible = true;
    *sum = (struct slot_counts){0};
    for (uint32_t i = 0; i < count; i++) {
        struct slot_counts counts;
        if (first[i].accepted + first[i].errors == 0)
            continue;
        slot_read(&first[i], &counts);
        bool sound = slot_counts_possible(&counts, age);
        if (sound)
            slot_counts_add(sum, &counts);
        possible = possible && sound;
    }
    return possible;
}

uint64_t seats_accepted(const struct slot *first, uint32_t count)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < count; i++)
        sum += first[i].accepted;
    return sum;
}

uint64_t seats_served(const struct slot *first, uint32_t count)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < count; i++)
        sum += first[i].served;
    return sum;
}

void seats_retire(struct slot *first, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        first[i].retiring = 1;
}

void seats_close(struct slot *first, uint32_t count)
{
    first->seats = first->free_seats = 0;
    for (uint32_t i = 0; i < count; i++) {
        first[i].state = SLOT_FREE;
        first[i].retiring = 0;
        first[i].peer.family = 0;
    }
}
