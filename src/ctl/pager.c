#include "pager.h"

#include <stdbool.h>
#include <string.h>

static long lines_of(const char *text)
{
    long lines = 0;
    for (; *text; text = strchr(text, '\n') ? strchr(text, '\n') + 1 : "")
        lines++;
    return lines;
}

/* What follows so many lines. */
static const char *behind(const char *text, long lines)
{
    for (; lines > 0 && *text; lines--)
        text = strchr(text, '\n') ? strchr(text, '\n') + 1 : "";
    return text;
}

/* Prints so many lines, and empty ones if the text has fewer. */
static void print(FILE *out, const char *text, long lines)
{
    const char *end = behind(text, lines);
    fwrite(text, 1, (size_t)(end - text), out);
    for (long i = lines_of(text); i < lines; i++)
        fputc('\n', out);
}

/* Lines up to the first empty one, and that. */
static long heading_of(const char *text)
{
    long lines = 0;
    while (*text) {
        bool ends = *text == '\n';
        lines++;
        if (ends)
            break;
        text = behind(text, 1);
    }
    return lines;
}

void pager_print(struct pager *pager, FILE *out, const char *text, long rows)
{
    pager->rows_of_heading = heading_of(text);
    if (pager->rows_of_heading > rows / 2)
        pager->rows_of_heading = rows / 2;
    pager->shown = rows - pager->rows_of_heading;
    pager->all = lines_of(text) - pager->rows_of_heading;
    long last = pager->all > pager->shown ? pager->all - pager->shown : 0;
    if (pager->first > last)
        pager->first = last;
    if (pager->first < 0)
        pager->first = 0;
    print(out, text, pager->rows_of_heading);
    print(out, behind(text, pager->rows_of_heading + pager->first), pager->shown);
}

void pager_next_paragraph(struct pager *pager, const char *text)
{
    long line = pager->rows_of_heading + pager->first;
    bool at_end = pager->first + pager->shown >= pager->all;
    text = behind(text, line);
    while (*text && *text != '\n') {
        text = behind(text, 1);
        line++;
    }
    pager->first = *text && !at_end ? line + 1 - pager->rows_of_heading : 0;
}
