/*
 * table - text in columns, each as wide as its widest cell.
 *
 * Called by: status_view.
 * Runs in:   preforkctl.
 */
#ifndef PREFORKD_CTL_TABLE_H
#define PREFORKD_CTL_TABLE_H

#include "terminal.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum { TABLE_COLUMNS = 10 };

struct table {
    /* A leading '>' aligns the column to the right; NULL ends the list. */
    const char *heads[TABLE_COLUMNS];
    char **cells; /* row by row */
    int count;
    uint32_t room;
    bool failed; /* memory was short */
    bool coloured;
};

/* Adds a cell. Rows fill from left to right. */
void table_add(struct table *table, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same, in a colour if the table is coloured. */
void table_paint(struct table *table, enum colour colour, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Adds a bar, ten characters wide: which part of the whole is taken. It is empty only for 0, and
 * full only for the whole. */
void table_bar(struct table *table, long long part, long long whole, enum colour colour);

/* Prints the table, or nothing if it has no row, and frees its cells. False if memory was short. */
bool table_print(struct table *table, FILE *out);

#endif
