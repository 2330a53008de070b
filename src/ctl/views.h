/*
 * views - the daemon's reports as a terminal shows them: status_view, deaths_view.
 *
 * Owns:      the tables, the words and the colours.
 * Knows not: where the JSON is from. Nothing in it is trusted: see fields.
 * Called by: report. Not there if the build has no jansson.
 * Runs in:   preforkctl.
 */
#ifndef PREFORKD_CTL_VIEWS_H
#define PREFORKD_CTL_VIEWS_H

#include "wish.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

/* The daemon, tables of its pools, what is wrong with them, their listeners. False if memory was
 * wanting. */
bool status_view(FILE *out, const json_t *status, const struct wish *wish);

/* The list of deaths, the oldest first. */
void deaths_view(FILE *out, const json_t *deaths);

#endif
