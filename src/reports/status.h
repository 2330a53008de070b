/*
 * status - what the overview and the scoreboards say, for people and for programs.
 *
 * Owns:      the reports' form: the lines of a terminal, the names of the JSON.
 * Knows not: the master. Any byte of a scoreboard may be a hostile worker's: no text of it is
 *            taken to be ended, to be UTF-8, or to be fit for a terminal.
 * Called by: those who answer `preforkctl`; the status handler.
 * Runs in:   any process that has them mapped, be it for reading alone.
 *
 * Each function returns a text from malloc(), ended by a newline and NUL; NULL where there is no
 * memory, or, for JSON, no libjansson.
 */
#ifndef PREFORKD_REPORTS_STATUS_H
#define PREFORKD_REPORTS_STATUS_H

#include "../board/overview.h"
#include "procstat.h"

enum status_form { STATUS_PLAIN, STATUS_COLOURED };

/* The daemon, a line a pool, what is wrong with them, their listeners. */
char *status_text(const struct view *view, const struct procstat *figures, enum status_form form,
                  usec now);
char *status_json(const struct view *view, const struct procstat *figures, usec now);

/* The ledger, the oldest death first. */
char *deaths_text(const struct overview *overview);
char *deaths_json(const struct overview *overview);

#endif
