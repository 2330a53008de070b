/*
 * status - what the scoreboard says, for people and for programs.
 *
 * Called by: orders.
 * Runs in:   the master.
 */
#ifndef PREFORKD_SHARED_STATUS_H
#define PREFORKD_SHARED_STATUS_H

#include "scoreboard.h"

/* Each returns a text from malloc(), ended by a newline and NUL; or NULL. */
char *status_text(const struct scoreboard *board, usec now);
char *status_json(const struct scoreboard *board, usec now);
char *deaths_text(const struct scoreboard *board);
char *deaths_json(const struct scoreboard *board);

#endif
