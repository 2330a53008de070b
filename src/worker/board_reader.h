/*
 * board_reader - gives a worker that reports a view of all pools: the overview, and the
 * scoreboards, which come and go while the worker lives.
 *
 * It maps them read-only. It asks the master, over a socket of its own, for each scoreboard that it
 * doesn't have yet.
 */
#ifndef PREFORKD_WORKER_BOARD_READER_H
#define PREFORKD_WORKER_BOARD_READER_H

#include "../board/overview.h"

/* Opens the view of this process. NULL with errno set. overview_fd may be closed afterwards. */
const struct view *board_reader_open(int overview_fd, int boards_fd);

/* Call before each report: if another binary has taken over, asks it for its overview, which may
 * have another layout; then the old one stays, with the state from before. */
void board_reader_renew(void);

#endif
