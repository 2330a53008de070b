/*
 * boards - the scoreboards of all pools and generations, and what the workers of one pool share.
 *
 * Owns:      the memory of each scoreboard, the eventfd by which its workers wake the master, and
 *            its number; the sockets by which reporters ask for scoreboards; a pool's seats and its
 *            limits per source.
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
    int fd;        /* -1: a substitute for a scoreboard that we can't map */
    int reader_fd; /* read-only, for reporters; -1: none has asked yet */
    struct scoreboard *map;
    struct loop_watch wakeup; /* an eventfd, shared with all its workers */
    bool *changed;            /* set by a wake-up: the pool must be stepped */
    int workers;              /* that have slots here */
    uint32_t end;             /* slots from here on were never taken; the master's own count */
    bool broken;              /* impossible values were found, and that was logged */
};

struct boards {
    struct loop *loop;
    struct overview *overview;
    int overview_reader; /* read-only, for workers that report */
    struct board **list; /* by number; NULL: free */
    uint32_t room;       /* in the list */
};

/* Makes the overview. 0 or -errno. */
int boards_open(struct boards *boards, struct loop *loop);
void boards_close(struct boards *boards);

/* The master's own view of all boards. */
struct view boards_view(struct boards *boards);

/* The socket by which a worker that reports asks for scoreboards. */
struct reporter {
    struct boards *boards;
    struct loop_watch watch;
};

/* Makes a reporter's socket. *fd, which the caller closes in any case, is the worker's end,
 * close-on-exec. NULL with errno set. */
struct reporter *reporter_open(struct boards *boards, int *fd);

/* Takes over the master's end of a socket that another binary has made, and closes it on failure.
 * NULL with errno set. */
struct reporter *reporter_adopt(struct boards *boards, int fd);
void reporter_close(struct reporter *reporter); /* accepts NULL */

/* The search for connections that wait although a worker is idle: see maintain. */
struct wakeups {
    bool asked;     /* a wake-up may be lost: look in this round */
    bool elsewhere; /* or it was for a listener of another pool: all pools have to look */
    bool looking;   /* a connection waited at the last look: look again at `due` */
    usec due, pause;
    uint32_t last; /* the seat of the worker that was woken last; the next seat is next */
};

/* Process groups that have to end: see stop. */
struct group;
struct groups {
    struct group *first;
    int stuck;
};

/* What the workers of one pool share, across generations. */
struct resources {
    int place;             /* in the overview */
    struct board *boards;  /* one per generation that has workers, and the one in force */
    struct limits *limits; /* per source; NULL: no configuration has had any */
    int limits_fd;
    struct groups groups; /* process groups of its workers that must end */
    struct stderr_log_rate rate;
    struct wakeups wakeups;
    bool changed;                          /* the pool must be stepped in this round */
    uint32_t seats_end;                    /* seats from here on were never taken */
    uint64_t seats[SCOREBOARD_SLOTS / 64]; /* one bit per seat: taken */
};

/* The memory must be zeroed. */
void resources_init(struct resources *resources, int place);
void resources_free(struct resources *resources);

/* Call if a wake-up may be lost: the pool is stepped in this round, and looks for connections that
 * wait. */
static inline void resources_ask_wakeup(struct resources *resources)
{
    resources->wakeups.asked = true;
    resources->changed = true;
}

/* The scoreboard of a generation; NULL: none. */
struct board *resources_find_board(const struct resources *resources, unsigned generation);

/* The same, made if necessary. NULL with errno set. */
struct board *resources_board(struct resources *resources, struct boards *boards,
                              unsigned generation);

/* Adopts a scoreboard that another binary has made, and takes the descriptors over. If the layout
 * differs, or the memory can't be mapped, substitutes private memory, in which all counts are 0 and
 * stay so. NULL with errno set: out of memory. */
struct board *resources_adopt_board(struct resources *resources, struct boards *boards,
                                    unsigned generation, int fd, int wakeup_fd, bool same_layout);

/* Frees scoreboards without workers. */
void resources_sweep(struct resources *resources);

/* Takes `count` consecutive seats: the lowest free ones, and returns the first (-1: not enough); or
 * those from `seat` on (false: one of them is taken). */
int resources_take_seats(struct resources *resources, uint32_t count);
bool resources_take_these_seats(struct resources *resources, uint32_t seat, uint32_t count);
void resources_give_seats(struct resources *resources, uint32_t seat, uint32_t count);

/* A worker has taken seats before `end`: extends the part of the tables that is read. */
void resources_extend(struct resources *resources, struct board *board, uint32_t end);

/* Makes the limits per source if the configuration has any. 0 or -errno. */
int resources_open_limits(struct resources *resources, const struct pool_config *conf);

#endif
