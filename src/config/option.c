#include "option.h"

#include "../base/text.h"
#include "../base/units.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { LINE_WIDTH = 80 }; /* a line of a list that is longer gets no further word */

int option_find(const struct option_row *rows, const char *name)
{
    for (int i = 0; rows[i].name; i++)
        if (strcmp(rows[i].name, name) == 0)
            return i;
    return -1;
}

int option_count(const struct option_row *rows)
{
    int count = 0;
    while (rows[count].name)
        count++;
    return count;
}

bool option_is_set(const struct option_row *rows, const struct origin *origin, const char *name)
{
    int index = option_find(rows, name);
    return index >= 0 && origin->lines && origin->lines[index] != 0;
}

int option_line(const struct option_row *rows, const struct origin *origin, const char *name)
{
    return option_is_set(rows, origin, name) ? origin->lines[option_find(rows, name)]
                                             : origin->line;
}

const char *option_file(const struct option_row *rows, const struct origin *origin,
                        const char *name)
{
    int index = option_find(rows, name);
    return index >= 0 && origin->files && origin->files[index] ? origin->files[index]
                                                               : origin->file;
}

static void *field_of(const struct option_row *row, const void *section)
{
    return (char *)section + row->offset;
}

/* --- writing ------------------------------------------------------------------------------- */

/* Writes a string that syntax and libconfuse read back to the same text. */
static void put_quoted(struct text_line *line, const char *text)
{
    text_add(line, "\"");
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '\n' || c == '\t')
            text_add(line, c == '\n' ? "\\n" : "\\t");
        else if (c < 0x20 || c == 0x7f)
            text_add(line, "\\x%02x", c);
        else
            text_add(line, strchr("\"\\$", c) ? "\\%c" : "%c", c);
    }
    text_add(line, "\"");
}

/* Breaks a long list, because syntax reads no line above SYNTAX_LINE_MAX. */
static void put_words(struct text_line *line, const struct words *words)
{
    size_t begin = 0; /* of the last line */
    for (int i = 0; i < words->count; i++) {
        bool full = line->length - begin > LINE_WIDTH;
        begin = full ? line->length : begin;
        text_add(line, i == 0 ? "{ " : full ? ",\n        " : ", ");
        put_quoted(line, words->at[i]);
    }
    if (words->at)
        text_add(line, words->count ? " }" : "{ }");
}

size_t option_print(const struct option_row *row, const void *section, char *text, size_t size)
{
    const void *value = field_of(row, section);
    struct text_line line = {.at = text, .room = size};
    if (size)
        text[0] = '\0';
    switch (row->type) {
    case OPTION_NUMBER:
    case OPTION_SECONDS: text_add(&line, "%d", *(const int *)value); break;
    case OPTION_MODE: text_add(&line, "%#o", (unsigned)*(const int *)value); break;
    case OPTION_BOOL: text_add(&line, *(const bool *)value ? "true" : "false"); break;
    case OPTION_CHOICE: put_quoted(&line, row->choices[*(const int *)value]); break;
    case OPTION_LIMIT:
        if (*(const long long *)value == OPTION_UNLIMITED)
            put_quoted(&line, "unlimited");
        else if (*(const long long *)value != OPTION_UNSET)
            text_add(&line, "%lld", *(const long long *)value);
        break;
    case OPTION_TEXT:
        if (*(const char *const *)value)
            put_quoted(&line, *(const char *const *)value);
        break;
    case OPTION_WORDS: put_words(&line, value); break;
    }
    return line.length;
}

/* --- reading ------------------------------------------------------------------------------- */

static bool in_range(const struct option_row *row, long long value)
{
    return (row->min == 0 && row->max == 0) || (value >= row->min && value <= row->max);
}

/* "a, b or c" */
static void put_choices(struct text_line *line, const char *const *choices)
{
    for (int i = 0; choices[i]; i++) {
        const char *before = i == 0 ? "" : choices[i + 1] ? ", " : " or ";
        text_add(line, "%s%s", before, choices[i]);
    }
}

/* What a row allows, to go behind "takes". `padded`: the value has leading zeroes. */
static void put_allowed(struct text_line *line, const struct option_row *row, bool padded)
{
    static const char *const kinds[] = {
        [OPTION_NUMBER] = "a number",
        [OPTION_SECONDS] = "a number of seconds",
        [OPTION_BOOL] = "true or false",
        [OPTION_MODE] = "an octal number",
        [OPTION_CHOICE] = "",
        [OPTION_LIMIT] = "a number",
        [OPTION_TEXT] = "a text",
        [OPTION_WORDS] = "a list",
    };
    bool counted = row->type == OPTION_TEXT || row->type == OPTION_WORDS;
    text_add(line, "%s", kinds[row->type]);
    if (row->type == OPTION_CHOICE)
        put_choices(line, row->choices);
    else if (counted)
        text_add(line, " of %lld to %lld %s", row->min, row->max,
                 row->type == OPTION_TEXT ? "bytes" : "values");
    else if (row->type == OPTION_LIMIT && row->max == LLONG_MAX)
        text_add(line, " from %lld", row->min);
    else if (row->type == OPTION_MODE && row->max)
        text_add(line, " from %#llo to %#llo", (unsigned long long)row->min,
                 (unsigned long long)row->max);
    else if (row->min || row->max)
        text_add(line, " from %lld to %lld", row->min, row->max);
    if (row->type == OPTION_LIMIT)
        text_add(line, ", perhaps with K, M or G behind it, or \"unlimited\"%s", padded ? "," : "");
    if (padded)
        text_add(line, " without leading zeroes");
}

/* Reads a number, perhaps with a minus sign. `rest` is set to the text behind it. */
static bool read_digits(const char *text, int base, long long *value, const char **rest)
{
    char *end;
    if (!isdigit((unsigned char)text[text[0] == '-']) || (base == 10 && digits_padded(text)))
        return false;
    errno = 0;
    *value = strtoll(text, &end, base);
    *rest = end;
    return errno == 0;
}

static bool read_int(const struct option_row *row, const char *text, int *field)
{
    long long value;
    const char *rest;
    if (!read_digits(text, row->type == OPTION_MODE ? 8 : 10, &value, &rest) || *rest)
        return false;
    if (value < INT_MIN || value > INT_MAX || !in_range(row, value))
        return false;
    *field = (int)value;
    return true;
}

static bool read_bool(const char *text, bool *field)
{
    static const char *const words[] = {"false", "true", "no", "yes", "off", "on", NULL};
    int i = 0;
    while (words[i] && strcasecmp(text, words[i]) != 0)
        i++;
    if (words[i])
        *field = i % 2;
    return words[i] != NULL;
}

static bool read_choice(const struct option_row *row, const char *text, int *field)
{
    int i = 0;
    while (row->choices[i] && strcmp(text, row->choices[i]) != 0)
        i++;
    if (row->choices[i])
        *field = i;
    return row->choices[i] != NULL;
}

static bool read_limit(const struct option_row *row, const char *text, long long *field)
{
    static const char units[] = "kmg";
    long long value = OPTION_UNLIMITED;
    if (strcmp(text, "unlimited") != 0) {
        const char *rest;
        if (!read_digits(text, 10, &value, &rest) || value < 0)
            return false;
        const char *unit = *rest ? strchr(units, tolower((unsigned char)*rest)) : NULL;
        int shift = unit ? 10 * (int)(unit - units + 1) : 0;
        if ((unit ? rest[1] : *rest) || value > LLONG_MAX >> shift ||
            !in_range(row, value << shift))
            return false;
        value <<= shift;
    }
    *field = value;
    return true;
}

static bool read_text(const struct option_row *row, const char *text, const char **field,
                      struct arena *arena)
{
    if (!in_range(row, (long long)strlen(text)))
        return false;
    *field = arena_text(arena, text);
    return true;
}

static void read_words(const char *const *values, int count, struct words *field,
                       struct arena *arena)
{
    const char **at = arena_take(arena, ((size_t)count + 1) * sizeof *at);
    for (int i = 0; i < count; i++)
        at[i] = arena_text(arena, values[i]);
    *field = (struct words){.at = at, .count = count};
}

/* False if the text is not a value of this row. */
static bool read_value(const struct option_row *row, void *field, const char *text,
                       struct arena *arena)
{
    switch (row->type) {
    case OPTION_NUMBER:
    case OPTION_SECONDS:
    case OPTION_MODE: return read_int(row, text, field);
    case OPTION_BOOL: return read_bool(text, field);
    case OPTION_CHOICE: return read_choice(row, text, field);
    case OPTION_LIMIT: return read_limit(row, text, field);
    case OPTION_TEXT: return read_text(row, text, field, arena);
    case OPTION_WORDS: break;
    }
    return false;
}

void option_read(const struct option_row *row, void *section, const char *const *values, int count,
                 struct faults *faults, const char *file, int line)
{
    char allowed[256] = "one value", got[80];
    struct text_line takes = {.at = allowed, .room = sizeof allowed};
    struct text_line shown = {.at = got, .room = sizeof got};
    bool list = row->type == OPTION_WORDS;
    bool decimal =
        row->type == OPTION_NUMBER || row->type == OPTION_SECONDS || row->type == OPTION_LIMIT;
    if (list && in_range(row, count)) {
        read_words(values, count, field_of(row, section), faults->arena);
        return;
    }
    if (!list && count == 1 && read_value(row, field_of(row, section), values[0], faults->arena))
        return;
    if (list || count == 1)
        put_allowed(&takes, row, decimal && digits_padded(values[0]));
    if (list ? count == 0 : count == 1 && !*values[0]) {
        faults_add(faults, file, line, "%s is empty; it takes %s", row->name, allowed);
        return;
    }
    if (list || count != 1)
        text_add(&shown, "%d", count);
    else
        put_quoted(&shown, values[0]);
    faults_add(faults, file, line, "%s takes %s, not %s%s", row->name, allowed, got,
               shown.length < sizeof got ? "" : "...");
}

void option_defaults(const struct option_row *rows, void *section, struct arena *arena)
{
    struct faults faults;
    faults_init(&faults, arena);
    for (const struct option_row *row = rows; row->name; row++) {
        if (row->fallback)
            option_read(row, section, &row->fallback, 1, &faults, row->name, 0);
        else if (row->type == OPTION_LIMIT)
            *(long long *)field_of(row, section) = OPTION_UNSET;
    }
    assert(faults.count == 0);
}

/* --- comparing ----------------------------------------------------------------------------- */

static bool texts_equal(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool words_equal(const struct words *a, const struct words *b)
{
    for (int i = 0; i < a->count && i < b->count; i++)
        if (strcmp(a->at[i], b->at[i]) != 0)
            return false;
    return a->count == b->count;
}

bool option_equal(const struct option_row *row, const void *a, const void *b)
{
    const void *left = field_of(row, a), *right = field_of(row, b);
    switch (row->type) {
    case OPTION_NUMBER:
    case OPTION_SECONDS:
    case OPTION_MODE:
    case OPTION_CHOICE: return *(const int *)left == *(const int *)right;
    case OPTION_BOOL: return *(const bool *)left == *(const bool *)right;
    case OPTION_LIMIT: return *(const long long *)left == *(const long long *)right;
    case OPTION_TEXT: return texts_equal(*(const char *const *)left, *(const char *const *)right);
    case OPTION_WORDS: return words_equal(left, right);
    }
    return false;
}
