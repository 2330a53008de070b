/*
 * pager - the part of a text that a terminal has room for: its first paragraph always, of the rest
 * as many lines as fit, from one on.
 *
 * Called by: top.
 * Runs in:   preforkctl.
 */
#ifndef PREFORKD_CTL_PAGER_H
#define PREFORKD_CTL_PAGER_H

#include <stdio.h>

struct pager {
    long first;           /* the line of the rest at the top; the caller may set it to any */
    long shown, all;      /* lines of the rest, by the last pager_print */
    long rows_of_heading; /* of the first paragraph: at most half of the room */
};

/* Prints exactly `rows` lines of the text, and corrects `first` to one that fills them if there are
 * enough. */
void pager_print(struct pager *pager, FILE *out, const char *text, long rows);

/* Moves to the beginning of the next paragraph of the rest, or from the last one to the first. */
void pager_next_paragraph(struct pager *pager, const char *text);

#endif
