/*
 * slow_text - what a slow request is at, as a clause.
 *
 * Called by: status_text, master/slow for the log.
 * Runs in:   any process that has the overview mapped, be it for reading alone.
 */
#ifndef PREFORKD_REPORTS_SLOW_TEXT_H
#define PREFORKD_REPORTS_SLOW_TEXT_H

#include "../board/overview.h"

#include <stdio.h>

/* "sh 31242 is sleeping in do_wait (wait4), 0.02 s of CPU, children: sleep, cat" */
void slow_text(FILE *out, const struct slow *slow);

#endif
