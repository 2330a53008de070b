/*
 * syntax - the text of one file into statements, in one pass.
 *
 * libconfuse 3.3 accepts what is left open, skips junk, loses count of the lines at comments,
 * expands ${NAME} and stops at its first error. So preforkd reads the syntax itself, and notes
 * every fault with its line. The options that are right are then written anew for libconfuse, in
 * the few forms that libconfuse reads right: no comments, every value quoted.
 *
 * Must not know: which options there are, what values mean.
 * Called by source and parser, in the checking child.
 */
#ifndef PREFORKD_CONFIG_SYNTAX_H
#define PREFORKD_CONFIG_SYNTAX_H

#include "../base/faults.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum statement_kind {
    STATEMENT_VALUE,   /* name = value */
    STATEMENT_LIST,    /* name = { value, ... } */
    STATEMENT_SECTION, /* name title { ... } */
    STATEMENT_INCLUDE, /* include("pattern") */
};

struct value {
    struct value *next;
    const char *text; /* in quotes, as libconfuse takes it */
};

struct statement {
    struct statement *next;  /* in its section, or its file */
    struct statement *first; /* of those in a section */
    enum statement_kind kind;
    const char *name;
    const char *title; /* of a section, NULL: it has none; the pattern of an include */
    struct value *values;
    int line;
    bool open;    /* the syntax broke inside this section: it may lack something */
    bool spoiled; /* a fault of its characters is noted: its value is not what was meant */
};

struct syntax {
    struct statement *first;
    bool broken; /* the statements end where the syntax broke */
};

enum { SYNTAX_LINE_MAX = 64 * 1024 }; /* bytes of one line */

/* Reads a file's text. All that it makes lies in the arena. */
void syntax_read(struct syntax *syntax, const char *text, size_t size, const char *file,
                 struct arena *arena, struct faults *faults);

/* Writes a value or a list for libconfuse. */
void syntax_print(const struct statement *statement, FILE *out);

#endif
