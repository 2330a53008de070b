/*
 * table - columns of words, as wide as what stands in them.
 *
 * Called by: reports/.
 * Runs in:   any process.
 */
#ifndef PREFORKD_BASE_TABLE_H
#define PREFORKD_BASE_TABLE_H

#include "colour.h"

#include <stdbool.h>
#include <stdio.h>

enum { TABLE_COLUMNS = 10 };

struct table {
    const char *heads[TABLE_COLUMNS]; /* where one begins with '>' its column stands to the right;
                                         NULL: no column more */
    char **cells;                     /* row by row */
    int count, room;
    bool failed; /* memory was wanting */
    bool coloured;
};

/* Adds a cell: rows fill from left to right. */
void table_add(struct table *table, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same, in a colour where the table is coloured. */
void table_paint(struct table *table, enum colour paint, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* A bar, ten wide: how much of a whole is taken. Nothing is empty, all is full, and whatever is
 * between the two looks so. */
void table_bar(struct table *table, int part, int whole, enum colour paint);

/* Prints the table, or nothing where it has no row, and gives back its cells. Whether nothing was
 * lost. */
bool table_print(struct table *table, FILE *out);

#endif
