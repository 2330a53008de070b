/*
 * resources - what the workers of one pool have in common, whatever their generation.
 *
 * Owns:      the seats, of which each worker has one; the scoreboards, one a generation; the limits
 *            per source; the process groups that they left; the rate of their lines; what was done so that
 *            connections find one awake.
 * Knows not: workers.
 * Called by: spawn, pool.
 * Runs in:   the master.
 */
#ifndef PREFORKD_MASTER_RESOURCES_H
#define PREFORKD_MASTER_RESOURCES_H

#include "../board/source_limits.h"
#include "../config/config.h"
#include "boards.h"
#include "process_groups.h"
#include "stderr_log.h"

/* Connections that may wait although somebody is idle: see waker. */
struct wakeups {
    bool asked;   /* a wake-up may be lost: look in this round */
    bool looking; /* a connection waited at the last look: look again at `due` */
    usec due, pause;
    uint32_t last; /* the seat of who was woken last: the next one's turn is next */
};

struct resources {
    int place;             /* in the overview */
    struct board *boards;  /* one a generation of which workers are left, and that in force */
    struct limits *limits; /* per source; NULL: none of its workers had any */
    int limits_fd;
    struct groups groups; /* what they started and that has to end */
    struct stderr_log_rate rate;
    struct wakeups wakeups;
    bool changed;       /* something happened: the pool must be looked at in this round */
    uint32_t seats_end; /* no seat from here on was ever taken */
    uint64_t seats[SCOREBOARD_SLOTS / 64]; /* a bit each: taken */
};

/* A pool's beginning and end. The memory is zeroed. */
void resources_init(struct resources *resources, int place);
void resources_free(struct resources *resources);

/* The scoreboard of a generation; NULL where it is not there. */
struct board *resources_find_board(const struct resources *resources, unsigned generation);

/* The same, made where it is not there yet. NULL with errno set. */
struct board *resources_board(struct resources *resources, struct boards *boards,
                              unsigned generation);

/* Gives up scoreboards that no worker is left of. */
void resources_sweep(struct resources *resources);

/* Takes a seat: the lowest that is free, -1 where none is; or this one, false where it is taken. */
int resources_take_seat(struct resources *resources);
bool resources_take_this_seat(struct resources *resources, uint32_t seat);
void resources_give_seat(struct resources *resources, uint32_t seat);

/* A worker has this seat: the tables reach as far. */
void resources_extend(struct resources *resources, struct board *board, uint32_t seat);

/* Makes the limits per source, where this configuration has some. 0 or -errno. */
int resources_open_limits(struct resources *resources, const struct pool_config *conf);

#endif
