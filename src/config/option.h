/*
 * option - one option by its row: name, type, range, default, and which handlers honour it.
 * Reading, printing, comparing, and the manual's check follow from the row.
 *
 * Must not know: pools, what options mean together (rules). Called by config, by handlers for rows
 * of their own, by the master. The checking child reads values, the master compares and prints.
 */
#ifndef PREFORKD_CONFIG_OPTION_H
#define PREFORKD_CONFIG_OPTION_H

#include "../base/faults.h"

#include <stdbool.h>
#include <stddef.h>

enum option_type {
    OPTION_NUMBER,  /* int */
    OPTION_SECONDS, /* int, whole seconds */
    OPTION_BOOL,    /* bool: true false yes no on off */
    OPTION_MODE,    /* int, octal: 0660 */
    OPTION_CHOICE,  /* int, the index of a word in .choices */
    OPTION_LIMIT,   /* long long, bytes or a count, K M G; "unlimited" is OPTION_UNLIMITED */
    OPTION_TEXT,    /* const char *, NULL: not set, and without default */
    OPTION_WORDS,   /* struct words */
};

#define OPTION_UNLIMITED (-1LL)
#define OPTION_UNSET     (-2LL) /* of a limit without default that the file does not set */

/* A list of texts, ended by a NULL that is not counted; NULL and 0: not set. */
struct words {
    const char *const *at;
    int count;
};

enum option_flags {
    OPTION_REQUIRED = 1, /* missing is a fault, told at the line of its section */
    OPTION_LIVE = 2,     /* a change takes effect in place: no worker is replaced for it */
    OPTION_RESIZE = 4,   /* a change is a new size of the pool */
    OPTION_DYNAMIC = 8,  /* only of a pool whose size follows the load */
    OPTION_SOCKET = 16,  /* of a socket that preforkd makes: a passed one has it from systemd */
};

/* Which handlers honour an option of a pool. A handler lists the scopes that it honours; an option
 * of any other scope is refused with it. So a handler that lists none takes SCOPE_ANY alone. */
enum option_scope {
    SCOPE_ANY = 0,         /* every handler honours it: the worker or the master applies it */
    SCOPE_CONNECTIONS = 1, /* is about connections: the worker must accept them, one by one */
    SCOPE_CLIENT = 2, /* is about waiting for the client: the worker must do so, not a program */
};

/* How a worker serves: one connection at a time; one in each of its threads; as many as it has room
 * for, in one loop. */
enum serve_model {
    MODEL_PROCESS,
    MODEL_THREAD,
    MODEL_EVENT,
    SERVE_MODELS,
};
extern const char *const serve_model_words[]; /* ended by NULL */

struct option_row {
    const char *name;
    enum option_type type;
    size_t offset;        /* of the field in the section's struct */
    long long min, max;   /* of a number, seconds, mode, limit; of a text or a list: its length
                             and its count of words; both 0: not bounded */
    const char *fallback; /* the default as a file would have it, unquoted; NULL: none */
    const char *const *choices; /* of OPTION_CHOICE, ended by NULL */
    unsigned flags;             /* enum option_flags */
    enum option_scope scope;    /* of an option of a pool */
};

/* A table of rows ends with a row without a name. */
#define OPTION_END                                                                                 \
    {                                                                                              \
        .name = NULL                                                                               \
    }

/* Where a section stands, and each of its options. */
struct origin {
    const char *file;
    int line; /* of the section's opening; of the file's first line for the global options */
    const int *lines;         /* by row: where the option is set, 0: it is not */
    const char *const *files; /* by row: the file that sets it (the global options may be anywhere);
                                 NULL: all stand in `file` */
};

/* A value of an option of the pool, as a file would have it. */
struct option_default {
    const char *name, *value;
};

/* A section that names a handler: what config must know of the handler. */
struct handler_section {
    const char *name;
    const struct option_row *rows; /* ended by OPTION_END; never NULL */
    size_t size;                   /* of its struct, made zeroed and filled by the rows */
    unsigned scopes; /* enum option_scope: whose options it honours, beside SCOPE_ANY */
    unsigned models; /* bits by enum serve_model: models that it supports, beside MODEL_PROCESS */
    const char *process_only;              /* if there is none: why, as a sentence */
    const struct option_default *defaults; /* of pool options, if they are other ones with this
                                              handler; ended by a NULL name; NULL: none */
    int descriptors;         /* that the master may hold for each worker, beside a pipe */
    const char *const *kept; /* names of pool options that a change could give to workers in place,
                                but not with this handler: they have it from their start. Ended by
                                NULL; NULL: none */
};

static inline bool model_is_possible(enum serve_model model, const struct handler_section *handler)
{
    return model == MODEL_PROCESS || handler->models >> model & 1;
}

static inline bool option_is_honoured(const struct option_row *row,
                                      const struct handler_section *handler)
{
    return (row->scope & ~handler->scopes) == 0;
}

/* The index of a row by its option's name; -1: there is none. */
int option_find(const struct option_row *rows, const char *name);
int option_count(const struct option_row *rows);

/* Whether it is set; where it is set, or else where its section stands. */
bool option_is_set(const struct option_row *rows, const struct origin *origin, const char *name);
int option_line(const struct option_row *rows, const struct origin *origin, const char *name);
const char *option_file(const struct option_row *rows, const struct origin *origin,
                        const char *name);

/* Fills the struct with its rows' defaults. */
void option_defaults(const struct option_row *rows, void *section, struct arena *arena);

/* Reads a value (`count` texts; one but for OPTION_WORDS) into its field. A value of the wrong type
 * or out of range is a fault that says what is allowed. */
void option_read(const struct option_row *row, void *section, const char *const *values, int count,
                 struct faults *faults, const char *file, int line);

/* Writes a value as a file has it, quoted if it must be, that reads back to the same; empty if it
 * is not set. Returns the length that it has, as snprintf does. */
size_t option_print(const struct option_row *row, const void *section, char *text, size_t size);

/* Whether two sections hold the same value. */
bool option_equal(const struct option_row *row, const void *a, const void *b);

#endif
