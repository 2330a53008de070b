/*
 * status_view - formats the daemon's status for a terminal.
 *
 * Owns:      the tables, the words and the colours.
 * Knows not: where the JSON comes from. It trusts nothing in it, and reads it by base/json's field_
 *            functions.
 * Called by: report. Only built with jansson.
 * Runs in:   preforkctl.
 */
#ifndef PREFORKD_CTL_STATUS_VIEW_H
#define PREFORKD_CTL_STATUS_VIEW_H

#include "arrange.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

/* Prints the daemon, tables of its pools, their troubles, and their listeners. False if memory was
 * short. */
bool status_view(FILE *out, const json_t *status, const struct view_options *options);

#endif
