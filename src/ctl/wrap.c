#include "wrap.h"

#include <string.h>

enum { INDENT = 4, LEAST = 2 * INDENT }; /* columns: fewer are none */

/* Bytes of the text that stand in the first line: a character takes one column. */
static size_t line_of(const char *text, int columns)
{
    size_t i = 0, space = 0;
    for (int used = 0; text[i]; used++) {
        if (used == columns)
            return space ? space : i;
        if (text[i] == ' ' && i && text[i - 1] != ' ')
            space = i;
        i++;
        while (((unsigned char)text[i] & 0xc0) == 0x80)
            i++;
        if (used + 1 == columns && text[i] == ' ')
            return i;
    }
    return i;
}

void wrap_print(FILE *out, const char *text, int columns, enum colour paint)
{
    int indent = 0;
    do {
        size_t length = columns >= LEAST ? line_of(text, columns - indent) : strlen(text);
        fprintf(out, "%*s%s%.*s%s\n", indent, "", colour_begin(paint), (int)length, text,
                colour_end(paint));
        text += length;
        text += strspn(text, " ");
        indent = INDENT;
    } while (*text);
}
