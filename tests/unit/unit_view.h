/*
 * unit_view - an overview and one scoreboard, as what reports of them is given both.
 */
#ifndef PREFORKD_TESTS_UNIT_VIEW_H
#define PREFORKD_TESTS_UNIT_VIEW_H

#include "../../src/reports/snapshot.h"

#include <check.h>
#include <unistd.h>

enum { SERIAL = 5 }; /* of the scoreboard; its number is 0 */

static struct overview *overview;
static struct scoreboard *board;
static struct view view;
static int overview_fd;

static inline const struct scoreboard *find_board(void *owner, uint32_t number, uint64_t serial)
{
    (void)owner;
    return number == 0 && serial == SERIAL ? board : NULL;
}

static inline void view_set_up(void)
{
    int memory = scoreboard_create();
    board = scoreboard_map(memory, true);
    close(memory);
    overview = overview_open(&overview_fd);
    ck_assert(board != NULL && overview != NULL);
    view = (struct view){.overview = overview, .board = find_board};
    board->end = SCOREBOARD_SLOTS;
}

static inline void view_tear_down(void)
{
    overview_close(overview, overview_fd);
    scoreboard_unmap(board);
}

#endif
