/*
 * table - columns of words, as wide as their cells.
 *
 * Called by: status_view.
 * Runs in:   preforkctl.
 */
#ifndef PREFORKD_CTL_TABLE_H
#define PREFORKD_CTL_TABLE_H

#include "terminal.h"

#include <stdbool.h>
#include <stdio.h>

enum { TABLE_COLUMNS = 10 };

struct table {
    /* A '>' at its beginning aligns the column to the right; NULL: no further column. */
    const char *heads[TABLE_COLUMNS];
    char **cells; /* row by row */
    int count, room;
    bool failed; /* memory was wanting */
    bool coloured;
};

/* Adds a cell: rows fill from left to right. */
void table_add(struct table *table, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same, in a colour if the table is coloured. */
void table_paint(struct table *table, enum colour paint, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* A bar, ten wide: how much of a whole is taken. It is empty only for nothing, and full only for
 * all. */
void table_bar(struct table *table, long long part, long long whole, enum colour paint);

/* Prints the table, or nothing if it has no row, and frees its cells. False if memory was
 * wanting. */
bool table_print(struct table *table, FILE *out);

#endif
