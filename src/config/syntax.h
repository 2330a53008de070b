/*
 * syntax - the text of one file, checked and made fit for libconfuse.
 *
 * libconfuse 3.3 accepts what is left open, skips junk, loses count of the lines at comments,
 * expands ${NAME} and stops at its first error. So this room reads the syntax first: it notes
 * every fault of it with its line, lists the statements with theirs, and writes the text anew in
 * the few forms that libconfuse reads right: no comments, every value quoted, each line where it
 * was. A section's title is not written: the statement has it.
 *
 * Owns:      the syntax: characters, strings, comments, braces, statements.
 * Knows not: which options there are, what values mean.
 * Called by: source; config drops statements that libconfuse must not see.
 * Runs in:   the checking child.
 */
#ifndef PREFORKD_CONFIG_SYNTAX_H
#define PREFORKD_CONFIG_SYNTAX_H

#include "../base/faults.h"

#include <stdbool.h>
#include <stddef.h>

enum statement_kind {
    STATEMENT_VALUE,   /* name = value */
    STATEMENT_LIST,    /* name = { value, ... } */
    STATEMENT_SECTION, /* name title { ... } */
    STATEMENT_INCLUDE, /* include("pattern"); nothing of it is in the text */
};

struct statement {
    struct statement *next;  /* in its section, or its file */
    struct statement *first; /* of those in a section */
    enum statement_kind kind;
    const char *name;
    const char *title; /* of a section, NULL where it has none; the pattern of an include */
    int line;
    bool open;         /* the syntax broke inside this section: it may lack something */
    bool spoiled;      /* a fault of its characters is noted: its value is not what was meant */
    bool dropped;      /* by syntax_drop */
    void *place;       /* what the reader makes of a section */
    size_t begin, end; /* in the text */
};

struct syntax {
    char *text;
    size_t size;
    struct statement *first;
    bool broken; /* the rest of the file was not read */
};

enum { SYNTAX_LINE_MAX = 64 * 1024 }; /* bytes of one line */

/* Reads a file's text. All that it makes lies in the arena. */
void syntax_read(struct syntax *screened, const char *text, size_t size, const char *file,
                 struct arena *arena, struct faults *faults);

/* Takes a statement out of the text: its lines stay, blank. */
void syntax_drop(struct syntax *screened, struct statement *statement);

#endif
