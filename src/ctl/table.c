#include "table.h"

#include "../base/arena.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static void add(struct table *table, enum colour colour, const char *format, va_list args)
    __attribute__((format(printf, 3, 0)));

static void add(struct table *table, enum colour colour, const char *format, va_list args)
{
    char *plain, *cell;
    if (!list_grow(&table->cells, &table->room, (uint32_t)table->count + 1, sizeof(char *)) ||
        vasprintf(&plain, format, args) < 0) {
        table->failed = true;
        return;
    }
    colour = table->coloured ? colour : COLOUR_NONE;
    if (asprintf(&cell, "%s%s%s", colour_begin(colour), plain, colour_end(colour)) >= 0)
        table->cells[table->count++] = cell;
    else
        table->failed = true;
    free(plain);
}

void table_add(struct table *table, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    add(table, COLOUR_NONE, format, args);
    va_end(args);
}

void table_paint(struct table *table, enum colour colour, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    add(table, colour, format, args);
    va_end(args);
}

void table_bar(struct table *table, long long part, long long whole, enum colour colour)
{
    enum { WIDTH = 10 };
    static const char full[] = "##########", empty[] = "----------";
    bool all = whole > 0 && part >= whole;
    int taken = all                     ? WIDTH
                : whole > 0 && part > 0 ? (int)((double)part * WIDTH / (double)whole)
                                        : 0;
    if (taken < 1 && part > 0)
        taken = 1;
    if (taken > WIDTH - 1 && !all)
        taken = WIDTH - 1;
    table_paint(table, colour, "[%.*s%.*s]", taken, full, WIDTH - taken, empty);
}

/* The width on a terminal. A character takes one column, a colour sequence none. */
static int width_of(const char *text)
{
    int width = 0;
    size_t left = strlen(text), step;
    for (; left; text += step, left -= step) {
        size_t colour = colour_length(text, left);
        width += !colour && ((unsigned char)*text & 0xc0) != 0x80;
        step = colour ? colour : 1;
    }
    return width;
}

/* Measures the columns, and returns their number. */
static int measure(const struct table *table, int widths[static TABLE_COLUMNS])
{
    int columns = 0;
    for (; columns < TABLE_COLUMNS && table->heads[columns]; columns++)
        widths[columns] = width_of(table->heads[columns]) - (table->heads[columns][0] == '>');
    for (int i = 0; i < table->count; i++) {
        int width = width_of(table->cells[i]);
        if (width > widths[i % columns])
            widths[i % columns] = width;
    }
    return columns;
}

static void print_cell(FILE *out, const char *text, enum colour colour, int width, bool right,
                       bool last)
{
    int blank = width - width_of(text);
    fprintf(out, "%*s%s%s%s", right ? blank : 0, "", colour_begin(colour), text,
            colour_end(colour));
    if (last)
        fputc('\n', out);
    else
        fprintf(out, "%*s", right ? 2 : blank + 2, "");
}

bool table_print(struct table *table, FILE *out)
{
    int widths[TABLE_COLUMNS];
    int columns = measure(table, widths);
    for (int i = 0; table->count && i < columns; i++) {
        bool right = table->heads[i][0] == '>';
        print_cell(out, table->heads[i] + right, table->coloured ? COLOUR_HEAD : COLOUR_NONE,
                   widths[i], right, i == columns - 1);
    }
    for (int i = 0; i < table->count; i++) {
        int at = i % columns;
        print_cell(out, table->cells[i], COLOUR_NONE, widths[at], table->heads[at][0] == '>',
                   at == columns - 1);
        free(table->cells[i]);
    }
    free(table->cells);
    table->cells = NULL;
    table->count = 0;
    table->room = 0;
    return !table->failed;
}
