/*
 * status - reports of the overview and the scoreboards: as JSON, and as a line a pool or a death.
 *
 * Owns:      the names of the JSON.
 * Knows not: the master, and how preforkctl shows it. Any byte of a scoreboard may be a hostile
 *            worker's: no text of it is taken to be ended, to be UTF-8, or to be fit for a
 *            terminal.
 * Called by: master/commands; the status handler.
 * Runs in:   any process that has them mapped, be it for reading alone.
 *
 * Each function returns a text from malloc(), ended by a newline and NUL; NULL if there is no
 * memory, or, for JSON, no libjansson.
 */
#ifndef PREFORKD_REPORTS_STATUS_H
#define PREFORKD_REPORTS_STATUS_H

#include "../board/overview.h"
#include "procstat.h"

/* A brief one has no ledger, and only those workers that have something to tell: a slow request, or
 * a program's status. So 10 000 workers cost the master about as little as one. */
enum status_detail { STATUS_WHOLE, STATUS_BRIEF };

char *status_text(const struct view *view, usec now);
char *status_json(const struct view *view, const struct procstat *figures,
                  enum status_detail detail, usec now);

/* The ledger, the oldest death first. */
char *deaths_text(const struct overview *overview);
char *deaths_json(const struct overview *overview);

#endif
