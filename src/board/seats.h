/*
 * seats - the seats of one worker: so many slots of its scoreboard, one after another.
 *
 * A seat has room for one connection, and whoever serves it writes its slot: the worker, one of its
 * threads, its loop for one of its connections. The first slot is the worker's head: there alone
 * stand `ready`, `program`, `failed_starts` and `reason`. A seat that no worker has opened yet is
 * SLOT_FREE.
 *
 * Knows not: whose they are. What is read here is the workers' word.
 * Called by: spawn, stop, pool, accept_wakeup, slow, exits, handoff in the master; snapshot in any
 * process that has the scoreboard mapped.
 */
#ifndef PREFORKD_BOARD_SEATS_H
#define PREFORKD_BOARD_SEATS_H

#include "scoreboard.h"

/* What they do, and how many connections they took and are done with, at one look. */
struct seats_load {
    uint32_t busy;
    const struct slot *longest; /* of the busy: whose connection lasts longest; NULL: none is */
    usec since;                 /* when that began; or when the last connection ended */
    uint64_t accepted, served;
};
void seats_look(const struct slot *first, uint32_t count, struct seats_load *load);

uint32_t seats_busy(const struct slot *first, uint32_t count);

/* Whether one is in this state, or in another one: looks no further than that. */
bool seats_have(const struct slot *first, uint32_t count, enum slot_state state);
bool seats_have_other(const struct slot *first, uint32_t count, enum slot_state state);

/* What was counted in all of them; a slot with counts that can't be is left out: then false. */
bool seats_read(const struct slot *first, uint32_t count, usec age, struct slot_counts *sum);
uint64_t seats_accepted(const struct slot *first, uint32_t count);
uint64_t seats_served(const struct slot *first, uint32_t count);

/* By the master: none of them takes another connection. */
void seats_retire(struct slot *first, uint32_t count);

/* By the master, while no worker lives: nobody sits in any. The counts stay. */
void seats_close(struct slot *first, uint32_t count);

#endif
