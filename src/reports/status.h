/*
 * status - the overview, the scoreboards and the ledger of deaths, as JSON or as text with one line
 * for each pool or death.
 *
 * Owns:      the keys of the JSON.
 * Knows not: the master, and how preforkctl shows the JSON. A hostile worker may have written any
 *            byte of a scoreboard: texts may lack a NUL, may not be UTF-8, and may not be fit for a
 *            terminal.
 * Called by: master/commands; the handler status.
 * Runs in:   any process that has the boards mapped, even if only for reading.
 *
 * Each function returns a text from malloc() that ends with a newline and NUL; NULL if memory is
 * short or, for JSON, if the build has no jansson.
 */
#ifndef PREFORKD_REPORTS_STATUS_H
#define PREFORKD_REPORTS_STATUS_H

#include "../board/overview.h"
#include "procstat.h"

/* A brief status has no ledger, and lists only notable workers: those with a slow request, or with
 * a program that reported a status. So 10 000 workers cost the master hardly more than one. */
enum status_detail { STATUS_WHOLE, STATUS_BRIEF };

char *status_text(const struct view *view, usec now);
char *status_json(const struct view *view, const struct procstat *procstat,
                  enum status_detail detail, usec now);

/* The ledger, the oldest death first. */
char *deaths_text(const struct overview *overview);
char *deaths_json(const struct overview *overview);

#endif
