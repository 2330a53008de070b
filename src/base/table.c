#include "table.h"

#include <stdarg.h>
#include <stdlib.h>

static bool make_room(struct table *table)
{
    if (table->count < table->room)
        return true;
    int room = table->room ? 2 * table->room : 64;
    char **cells = realloc(table->cells, (size_t)room * sizeof *cells);
    if (!cells)
        return false;
    table->cells = cells;
    table->room = room;
    return true;
}

void table_add(struct table *table, const char *format, ...)
{
    char *cell;
    va_list args;
    va_start(args, format);
    bool made = make_room(table) && vasprintf(&cell, format, args) >= 0;
    va_end(args);
    if (made)
        table->cells[table->count++] = cell;
    else
        table->failed = true;
}

/* On a terminal: the bytes of a character beyond its first take no room. */
static int width_of(const char *text)
{
    int width = 0;
    for (; *text; text++)
        width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

/* How many columns there are. */
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

static void print_cell(FILE *out, const char *text, int width, bool right, bool last)
{
    int blank = width - width_of(text);
    fprintf(out, "%*s%s", right ? blank : 0, "", text);
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
        print_cell(out, table->heads[i] + right, widths[i], right, i == columns - 1);
    }
    for (int i = 0; i < table->count; i++) {
        int at = i % columns;
        print_cell(out, table->cells[i], widths[at], table->heads[at][0] == '>', at == columns - 1);
        free(table->cells[i]);
    }
    free(table->cells);
    table->cells = NULL;
    table->count = table->room = 0;
    return !table->failed;
}
