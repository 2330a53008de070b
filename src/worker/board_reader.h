/*
 * board_reader - how a worker that reports sees all pools: the overview, and their scoreboards,
 * which come and go while it lives.
 *
 * All is mapped for reading alone. By a socket of its own the worker asks the master for a
 * scoreboard that it has not seen yet.
 */
#ifndef PREFORKD_WORKER_BOARD_READER_H
#define PREFORKD_WORKER_BOARD_READER_H

#include "../board/overview.h"

/* The one of this process. NULL with errno set. The first descriptor may be closed then. */
const struct view *board_reader_open(int overview_fd, int boards_fd);

#endif
