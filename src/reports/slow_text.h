/*
 * slow_text - what a slow request is at, as a clause of the log.
 *
 * Called by: master/slow.
 * Runs in:   the master.
 */
#ifndef PREFORKD_REPORTS_SLOW_TEXT_H
#define PREFORKD_REPORTS_SLOW_TEXT_H

#include "../board/overview.h"

#include <stdio.h>

/* "sh 31242 is sleeping in do_wait (wait4), 0.02 s of CPU, children: sleep, cat" */
void slow_text(FILE *out, const struct slow *slow);

#endif
