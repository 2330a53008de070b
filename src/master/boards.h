/*
 * boards - the scoreboards of all pools and generations, and what the workers of one pool share.
 *
 * Owns:      the memory of each scoreboard, the eventfd by which its workers wake the master, its
 *            number in the overview; the sockets by which reporters ask for scoreboards; the seats
 *            of a pool and its limits per source.
 * Knows not: pools, workers.
 * Called by: spawn, pool, maintain, handoff.
 * Runs in:   the master.
 */
#ifndef PREFORKD_MASTER_BOARDS_H
#define PREFORKD_MASTER_BOARDS_H

#include "../base/loop.h"
#include "../board/overview.h"
#include "../board/source_limits.h"
#include "../config/config.h"
#include "stderr_log.h"

struct board {
    struct board *next; /* of its pool */
    struct boards *boards;
    uint32_t number;
    uint64_t serial;
    unsigned generation;
    int fd;        /* -1: it stands in for one that can't be mapped */
    int reader_fd; /* given to reporters; -1: none has asked yet */
    struct scoreboard *map;
    struct loop_watch wakeup; /* an eventfd, shared with all of its workers */
    bool *changed;            /* set by a wake-up: the pool must be looked at */
    int workers;              /* that have slots in it */
    uint32_t end;             /* no slot from here on was ever taken; not a worker's word */
    bool broken;              /* nonsense was found in it, and that was logged */
};

struct boards {
    struct loop *loop;
    struct overview *overview;
    int overview_reader; /* by which workers map it */
    struct board **list; /* by number; NULL: free */
    uint32_t room;
};

/* Makes the overview. 0 or -errno. */
int boards_open(struct boards *boards, struct loop *loop);
void boards_close(struct boards *boards);

/* The master's own view. */
struct view boards_view(struct boards *boards);

/* Takes over a scoreboard that another program made. If its layout is not ours, or the descriptors
 * are no such memory, one of our own stands in for it, in which nothing was counted and nothing
 * moves. Takes the descriptors over. NULL with errno set: no memory. */
struct board *board_adopt(struct boards *boards, unsigned generation, bool *changed, int fd,
                          int wakeup_fd, bool same_layout);

/* A reporter's socket. */
struct reporter {
    struct boards *boards;
    struct loop_watch watch;
};

/* A way for a reporter to ask for scoreboards: *fd is its end, close-on-exec. NULL with errno
 * set. */
struct reporter *reporter_open(struct boards *boards, int *fd);
void reporter_close(struct reporter *reporter); /* NULL is let pass */

/* Connections that may wait although a worker is idle: see maintain. */
struct wakeups {
    bool asked;   /* a wake-up may be lost: look in this round */
    bool looking; /* a connection waited at the last look: look again at `due` */
    usec due, pause;
    uint32_t last; /* the seat of the worker that was woken last: the next seat's turn is next */
};

/* Process groups that have to end: see stop. */
struct group;
struct groups {
    struct group *first;
    int stuck;
};

/* What the workers of one pool share, whatever their generation. */
struct resources {
    int place;             /* in the overview */
    struct board *boards;  /* one a generation that has workers, and that in force */
    struct limits *limits; /* per source; NULL: none of its workers had any */
    int limits_fd;
    struct groups groups; /* process groups that its workers started and that have to end */
    struct stderr_log_rate rate;
    struct wakeups wakeups;
    bool changed;       /* something happened: the pool must be looked at in this round */
    uint32_t seats_end; /* no seat from here on was ever taken */
    uint64_t seats[SCOREBOARD_SLOTS / 64]; /* a bit each: taken */
};

/* A pool's beginning and end. The memory is zeroed. */
void resources_init(struct resources *resources, int place);
void resources_free(struct resources *resources);

/* Something happened to a worker that may have been woken for a connection just now: the pool is
 * looked at in this round, and so is whether a connection waits. */
static inline void resources_ask_wakeup(struct resources *resources)
{
    resources->wakeups.asked = true;
    resources->changed = true;
}

/* The scoreboard of a generation; NULL if it is not there. */
struct board *resources_find_board(const struct resources *resources, unsigned generation);

/* The same, made if it is not there yet. NULL with errno set. */
struct board *resources_board(struct resources *resources, struct boards *boards,
                              unsigned generation);

/* Gives up scoreboards that no worker is left of. */
void resources_sweep(struct resources *resources);

/* Takes so many seats, one after another: the lowest that are free, -1 if there are none; or the
 * seats from this one on, false if one of them is taken. */
int resources_take_seats(struct resources *resources, uint32_t count);
bool resources_take_these_seats(struct resources *resources, uint32_t seat, uint32_t count);
void resources_give_seats(struct resources *resources, uint32_t seat, uint32_t count);

/* A worker has the seats before this one: the tables reach as far. */
void resources_extend(struct resources *resources, struct board *board, uint32_t end);

/* Makes the limits per source, if this configuration has some. 0 or -errno. */
int resources_open_limits(struct resources *resources, const struct pool_config *conf);

#endif
