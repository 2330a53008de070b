/*
 * wrap - a sentence in as many lines as a terminal of so many columns needs.
 *
 * Called by: status_view.
 * Runs in:   preforkctl.
 */
#ifndef PREFORKD_CTL_WRAP_H
#define PREFORKD_CTL_WRAP_H

#include "colour.h"

#include <stdio.h>

/* Breaks the line at spaces, and a word that is longer than a line anywhere. Further lines are
 * indented. 0 columns: one line. */
void wrap_print(FILE *out, const char *text, int columns, enum colour paint);

#endif
