/*
 * token - the words of a configuration file, one after the other.
 *
 * Owns:      blanks, comments, quotes, and the count of lines.
 * Knows not: what a statement is.
 * Called by: syntax.
 * Runs in:   the checking child.
 */
#ifndef PREFORKD_CONFIG_TOKEN_H
#define PREFORKD_CONFIG_TOKEN_H

#include "../base/faults.h"

#include <stdbool.h>
#include <stddef.h>

enum token_type {
    TOKEN_END,    /* of the file */
    TOKEN_BROKEN, /* a fault is noted: nothing behind it can be trusted */
    TOKEN_WORD,   /* without quotes */
    TOKEN_STRING, /* with them */
    TOKEN_OPEN,   /* { */
    TOKEN_CLOSE,  /* } */
    TOKEN_LEFT,   /* ( */
    TOKEN_RIGHT,  /* ) */
    TOKEN_EQUAL,  /* = */
    TOKEN_APPEND, /* += */
    TOKEN_COMMA,
};

struct token {
    enum token_type type;
    int line;         /* where it begins */
    const char *text; /* quotes included; not ended by NUL */
    size_t size;
};

struct tokens {
    const char *at, *end;
    int line;
    const char *file;
    struct faults *faults;
};

struct token token_next(struct tokens *tokens);

#endif
