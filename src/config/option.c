#include "option.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

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
    int index = option_find(rows, name);
    return index >= 0 && origin->lines && origin->lines[index] ? origin->lines[index]
                                                               : origin->line;
}

const char *option_file(const struct option_row *rows, const struct origin *origin,
                        const char *name)
{
    int index = option_find(rows, name);
    return index >= 0 && origin->files && origin->files[index] ? origin->files[index]
                                                               : origin->file;
}

static void *field_of(const struct option_row *row, void *section)
{
    return (char *)section + row->offset;
}

static const void *value_of(const struct option_row *row, const void *section)
{
    return (const char *)section + row->offset;
}

/* --- writing ------------------------------------------------------------------------------- */

/* A text that grows into a buffer and, where that is full, just counts: as snprintf does. */
struct sink {
    char *text;
    size_t size, used;
};

static void put(struct sink *sink, char c)
{
    if (sink->used + 1 < sink->size) {
        sink->text[sink->used] = c;
        sink->text[sink->used + 1] = '\0';
    }
    sink->used++;
}

static void put_text(struct sink *sink, const char *text)
{
    while (*text)
        put(sink, *text++);
}

static void put_format(struct sink *sink, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void put_format(struct sink *sink, const char *format, ...)
{
    char text[160];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    put_text(sink, text);
}

/* In quotes, as screen and libconfuse read it back. */
static void put_quoted(struct sink *sink, const char *text)
{
    put(sink, '"');
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '\n')
            put_text(sink, "\\n");
        else if (c == '\t')
            put_text(sink, "\\t");
        else if (c < 0x20 || c == 0x7f)
            put_format(sink, "\\x%02x", c);
        else if (strchr("\"\\$", c))
            put_format(sink, "\\%c", c);
        else
            put(sink, *text);
    }
    put(sink, '"');
}

static void put_words(struct sink *sink, const struct words *words)
{
    put_text(sink, "{ ");
    for (int i = 0; i < words->count; i++) {
        if (i)
            put_text(sink, ", ");
        put_quoted(sink, words->at[i]);
    }
    put_text(sink, words->count ? " }" : "}");
}

static void put_limit(struct sink *sink, long long value)
{
    if (value == OPTION_UNLIMITED)
        put_text(sink, "\"unlimited\"");
    else if (value != OPTION_UNSET)
        put_format(sink, "%lld", value);
}

static void put_value(struct sink *sink, const struct option_row *row, const void *value)
{
    switch (row->type) {
    case OPTION_NUMBER:
    case OPTION_SECONDS: put_format(sink, "%d", *(const int *)value); break;
    case OPTION_MODE: put_format(sink, "%#o", (unsigned)*(const int *)value); break;
    case OPTION_BOOL: put_text(sink, *(const bool *)value ? "true" : "false"); break;
    case OPTION_CHOICE: put_quoted(sink, row->choices[*(const int *)value]); break;
    case OPTION_LIMIT: put_limit(sink, *(const long long *)value); break;
    case OPTION_TEXT:
        if (*(const char *const *)value)
            put_quoted(sink, *(const char *const *)value);
        break;
    case OPTION_WORDS:
        if (((const struct words *)value)->at)
            put_words(sink, value);
        break;
    }
}

size_t option_print(const struct option_row *row, const void *section, char *text, size_t size)
{
    struct sink sink = {.text = text, .size = size};
    if (size)
        text[0] = '\0';
    put_value(&sink, row, value_of(row, section));
    return sink.used;
}

/* --- reading ------------------------------------------------------------------------------- */

/* Where a value stands, for its fault. */
struct spot {
    const struct option_row *row;
    struct faults *faults;
    const char *file;
    int line;
};

static bool is_bounded(const struct option_row *row)
{
    return row->min != 0 || row->max != 0;
}

static bool in_range(const struct option_row *row, long long value)
{
    return !is_bounded(row) || (value >= row->min && value <= row->max);
}

static void put_choices(struct sink *sink, const struct option_row *row)
{
    for (const char *const *choice = row->choices; *choice; choice++) {
        if (choice != row->choices)
            put_text(sink, choice[1] ? ", " : " or ");
        put_text(sink, *choice);
    }
}

static void put_range(struct sink *sink, const struct option_row *row)
{
    if (is_bounded(row))
        put_format(sink, row->type == OPTION_MODE ? " from %#llo to %#llo" : " from %lld to %lld",
                   row->min, row->max);
}

/* What a row allows, for a sentence that begins with "takes". */
static void put_allowed(struct sink *sink, const struct option_row *row)
{
    static const char *const kinds[] = {
        [OPTION_NUMBER] = "a number",
        [OPTION_SECONDS] = "a number of seconds",
        [OPTION_BOOL] = "true or false",
        [OPTION_MODE] = "an octal number",
        [OPTION_CHOICE] = "",
        [OPTION_LIMIT] = "a number, with K, M or G behind it or not,",
        [OPTION_TEXT] = "a text with a length",
        [OPTION_WORDS] = "a list with a number of words",
    };
    put_text(sink, kinds[row->type]);
    if (row->type == OPTION_CHOICE)
        put_choices(sink, row);
    else if (row->type == OPTION_LIMIT && row->max == LLONG_MAX)
        put_format(sink, " from %lld", row->min);
    else
        put_range(sink, row);
    if (row->type == OPTION_LIMIT)
        put_text(sink, " or \"unlimited\"");
}

static void fault(const struct spot *spot, const char *value)
{
    char allowed[256], quoted[80];
    struct sink sink = {.text = allowed, .size = sizeof allowed};
    put_allowed(&sink, spot->row);
    struct sink shown = {.text = quoted, .size = sizeof quoted};
    put_quoted(&shown, value);
    const char *cut = shown.used < sizeof quoted ? "" : "...";
    faults_add(spot->faults, spot->file, spot->line, "%s takes %s, not %s%s", spot->row->name,
               allowed, quoted, cut);
}

static void fault_count(const struct spot *spot, int count)
{
    char allowed[256];
    struct sink sink = {.text = allowed, .size = sizeof allowed};
    put_allowed(&sink, spot->row);
    faults_add(spot->faults, spot->file, spot->line, "%s takes %s, not %d", spot->row->name,
               allowed, count);
}

/* Digits of a base, with a sign before them or not, and nothing else but what `rest` is set to. */
static bool read_digits(const char *text, int base, long long *value, const char **rest)
{
    char *end;
    const char *digits = text[0] == '-' ? text + 1 : text;
    if (!isdigit((unsigned char)*digits))
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
    static const char *const words[] = {"false", "true", "no", "yes", "off", "on"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcasecmp(text, words[i]) == 0) {
            *field = i % 2;
            return true;
        }
    }
    return false;
}

static bool read_choice(const struct option_row *row, const char *text, int *field)
{
    for (int i = 0; row->choices[i]; i++) {
        if (strcmp(text, row->choices[i]) == 0) {
            *field = i;
            return true;
        }
    }
    return false;
}

/* How many bits a K, M or G shifts; -1: it is something else. */
static int unit_shift(const char *unit)
{
    static const char units[] = "kmg";
    if (*unit == '\0')
        return 0;
    const char *found = strchr(units, tolower((unsigned char)*unit));
    return found && unit[1] == '\0' ? 10 * (int)(found - units + 1) : -1;
}

static bool read_limit(const struct option_row *row, const char *text, long long *field)
{
    long long value;
    const char *rest;
    if (strcmp(text, "unlimited") == 0) {
        *field = OPTION_UNLIMITED;
        return true;
    }
    if (!read_digits(text, 10, &value, &rest) || value < 0)
        return false;
    int shift = unit_shift(rest);
    if (shift < 0 || value > LLONG_MAX >> shift || !in_range(row, value << shift))
        return false;
    *field = value << shift;
    return true;
}

static void read_words(const struct spot *spot, const char *const *values, int count,
                       struct words *field)
{
    if (!in_range(spot->row, count)) {
        fault_count(spot, count);
        return;
    }
    const char **at = arena_take(spot->faults->arena, ((size_t)count + 1) * sizeof *at);
    for (int i = 0; i < count; i++)
        at[i] = arena_text(spot->faults->arena, values[i]);
    *field = (struct words){.at = at, .count = count};
}

static bool read_text(const struct spot *spot, const char *text, const char **field)
{
    if (!in_range(spot->row, (long long)strlen(text)))
        return false;
    *field = arena_text(spot->faults->arena, text);
    return true;
}

/* False where it is wrong. */
static bool read_value(const struct spot *spot, void *field, const char *text)
{
    switch (spot->row->type) {
    case OPTION_NUMBER:
    case OPTION_SECONDS:
    case OPTION_MODE: return read_int(spot->row, text, field);
    case OPTION_BOOL: return read_bool(text, field);
    case OPTION_CHOICE: return read_choice(spot->row, text, field);
    case OPTION_LIMIT: return read_limit(spot->row, text, field);
    case OPTION_TEXT: return read_text(spot, text, field);
    case OPTION_WORDS: break;
    }
    return true;
}

void option_read(const struct option_row *row, void *section, const char *const *values, int count,
                 struct faults *faults, const char *file, int line)
{
    struct spot spot = {.row = row, .faults = faults, .file = file, .line = line};
    if (row->type == OPTION_WORDS)
        read_words(&spot, values, count, field_of(row, section));
    else if (count != 1)
        faults_add(faults, file, line, "%s takes one value, not %d", row->name, count);
    else if (!read_value(&spot, field_of(row, section), values[0]))
        fault(&spot, values[0]);
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
    if (a->count != b->count)
        return false;
    for (int i = 0; i < a->count; i++)
        if (strcmp(a->at[i], b->at[i]) != 0)
            return false;
    return true;
}

bool option_equal(const struct option_row *row, const void *a, const void *b)
{
    const void *left = value_of(row, a), *right = value_of(row, b);
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
