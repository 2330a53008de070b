/*
 * boards - the scoreboards of all pools and generations: made, found by their numbers, given to
 * reporters, and given up with their last worker.
 *
 * Owns:      each one's memory, the eventfd by which its workers wake the master, and the number by
 *            which the overview names it; the sockets by which reporters ask for them.
 * Knows not: pools, what workers do.
 * Called by: pool, spawn, handoff, master.
 * Runs in:   the master.
 */
#ifndef PREFORKD_MASTER_BOARDS_H
#define PREFORKD_MASTER_BOARDS_H

#include "../base/loop.h"
#include "../board/overview.h"

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
    bool *changed;            /* set when it is rung: its pool must be looked at */
    int workers;              /* that have a slot in it */
    bool broken;              /* nonsense was found in it, and that was logged */
};

/* A reporter's socket. */
struct reporter {
    struct boards *boards;
    struct loop_watch watch;
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

/* Makes one, for a pool that is to be looked at when it is rung. NULL with errno set. */
struct board *board_new(struct boards *boards, unsigned generation, bool *changed);

/* Goes on with one that another program made; or, where its layout is not ours or the descriptors are
 * no such memory, with one that stands in for it, in which nothing was counted and nothing moves.
 * Takes the descriptors over. NULL with errno set: no memory. */
struct board *board_adopt(struct boards *boards, unsigned generation, bool *changed, int fd,
                          int wakeup_fd, bool same_layout);

/* No worker has a slot in it any more. */
void board_free(struct board *board);

/* A way for a reporter to ask for them: *fd is the end that it gets, close-on-exec. NULL with errno
 * set. */
struct reporter *reporter_open(struct boards *boards, int *fd);
void reporter_close(struct reporter *reporter); /* NULL is let pass */

/* The master's own view. */
struct view boards_view(struct boards *boards);

#endif
