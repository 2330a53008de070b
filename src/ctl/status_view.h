/*
 * status_view - the daemon's status as a terminal shows it.
 *
 * Owns:      the tables, the words and the colours.
 * Knows not: where the JSON is from. Nothing in it is trusted: see fields.
 * Called by: report. Not there if the build has no jansson.
 * Runs in:   preforkctl.
 */
#ifndef PREFORKD_CTL_STATUS_VIEW_H
#define PREFORKD_CTL_STATUS_VIEW_H

#include "arrange.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

/* The daemon, tables of its pools, what is wrong with them, their listeners. False if memory was
 * wanting. */
bool status_view(FILE *out, const json_t *status, const struct wish *wish);

#endif
