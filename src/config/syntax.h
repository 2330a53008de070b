/*
 * syntax - splits the text of one file into statements, in one pass.
 *
 * libconfuse 3.3 accepts open strings, lists and sections, skips junk, miscounts lines at comments,
 * expands ${NAME} and stops at its first error. So preforkd reads the syntax itself, and notes
 * every fault with its line. It then rewrites the good options for libconfuse in the few forms that
 * libconfuse reads correctly: no comments, every value quoted.
 *
 * Must not know: which options exist, what values mean.
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
    const char *text; /* quoted for libconfuse */
};

struct statement {
    struct statement *next;  /* in the same section or file */
    struct statement *first; /* inside this section */
    enum statement_kind kind;
    const char *name;
    const char *title; /* of a section, NULL: none; the pattern of an include */
    struct value *values;
    int line;
    bool open;    /* the syntax broke inside this section: statements may be missing */
    bool spoiled; /* a fault of its characters is noted: the value is not the intended one */
};

struct syntax {
    struct statement *first;
    bool broken; /* the statements end where the syntax broke */
};

enum { SYNTAX_LINE_MAX = 64 * 1024 }; /* bytes of one line */

/* Reads the text of a file. The statements lie in the arena. */
void syntax_read(struct syntax *syntax, const char *text, size_t size, const char *file,
                 struct arena *arena, struct faults *faults);

/* Writes an option for libconfuse. */
void syntax_print(const struct statement *statement, FILE *out);

#endif
