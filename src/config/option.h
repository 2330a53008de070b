/*
 * option - one option by its row: name, type, range, default, and which handlers honour it.
 * Reading, printing, comparing, and the manual's check follow from the row.
 *
 * Must not know: pools, what options mean together (rules).
 * Called by config, by handlers for their own rows, and by the master. The checking child reads
 * values, the master compares and prints them.
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
    OPTION_TEXT,    /* const char *, NULL: not set, no default */
    OPTION_WORDS,   /* struct words */
};

#define OPTION_UNLIMITED (-1LL)
#define OPTION_UNSET     (-2LL) /* a limit that is not set and has no default */

/* A list of texts. `at` ends with a NULL that is not counted, and is NULL if the option is not
 * set. */
struct words {
    const char *const *at;
    int count;
};

enum option_flags {
    OPTION_REQUIRED = 1, /* missing is a fault, at the line of the section */
    OPTION_LIVE = 2,     /* a change takes effect in place: no worker is replaced for it */
    OPTION_RESIZE = 4,   /* a change resizes the pool */
    OPTION_DYNAMIC = 8,  /* only for a pool whose size follows the load */
    OPTION_SOCKET = 16,  /* only for a socket that preforkd makes: systemd sets up passed ones */
};

/* Which handlers honour an option of a pool. A handler lists the scopes that it honours, and a file
 * that sets an option of any other scope is refused. Every handler honours SCOPE_ANY. */
enum option_scope {
    SCOPE_ANY = 0,         /* the worker or the master applies the option */
    SCOPE_CONNECTIONS = 1, /* the worker must accept the connections, one by one */
    SCOPE_CLIENT = 2,      /* the worker must wait for the client; a program can't do it instead */
};

/* How a worker serves connections. */
enum serve_model {
    MODEL_PROCESS, /* one at a time */
    MODEL_THREAD,  /* one in each of its threads */
    MODEL_EVENT,   /* up to `connections` in one loop */
    SERVE_MODELS,
};
extern const char *const serve_model_words[]; /* ended by NULL */

struct option_row {
    const char *name;
    enum option_type type;
    size_t offset;      /* of the field in the section's struct */
    long long min, max; /* of the value, of a text's length, of a list's words; both 0: no bound */
    const char *fallback;       /* the default as a file would have it, unquoted; NULL: none */
    const char *const *choices; /* for OPTION_CHOICE, ended by NULL */
    unsigned flags;             /* enum option_flags */
    enum option_scope scope;    /* for an option of a pool */
};

/* The row of a field, with its type's last word: OPTION_ROW(exec_config, errors, "stderr", CHOICE,
 * .choices = words). */
#define OPTION_ROW(of, field, option, kind, ...)                                                   \
    {                                                                                              \
        .name = option, .type = OPTION_##kind, .offset = offsetof(struct of, field), __VA_ARGS__   \
    }

/* A table of rows ends with a row without a name. */
#define OPTION_END                                                                                 \
    {                                                                                              \
        .name = NULL                                                                               \
    }

/* Where a section and its options stand. */
struct origin {
    const char *file;
    int line;                 /* the section opens here; 1 for the global options */
    const int *lines;         /* by row: the line that sets the option; 0: not set */
    const char *const *files; /* by row: the file that sets the option, because the global options
                                 may stand in several; NULL: all stand in `file` */
};

/* The value of a pool's option, as a file would have it. */
struct option_default {
    const char *name, *value;
};

/* What config knows of a handler: the section that names it. */
struct handler_section {
    const char *name;
    const struct option_row *rows; /* ended by OPTION_END; never NULL */
    size_t size;                   /* of the struct that the rows fill, zeroed before */
    unsigned scopes; /* bits of enum option_scope that the handler honours, beside SCOPE_ANY */
    unsigned models; /* bits by enum serve_model that the handler supports, beside MODEL_PROCESS */
    const char *process_only;              /* a sentence: why it supports no other model */
    const struct option_default *defaults; /* pool options whose default differs with this handler,
                                              ended by a NULL name; NULL: none */
    int descriptors;                       /* that the master may hold per worker, beside a pipe */
    const char *const *not_live; /* pool options that are OPTION_LIVE, but that this handler's
                                    workers get only at their start; ended by NULL; NULL: none */
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

/* The index of the row of this name, or -1. */
int option_find(const struct option_row *rows, const char *name);
int option_count(const struct option_row *rows);

/* Whether the option is set; the file and the line that set it, or else those of the section. */
bool option_is_set(const struct option_row *rows, const struct origin *origin, const char *name);
int option_line(const struct option_row *rows, const struct origin *origin, const char *name);
const char *option_file(const struct option_row *rows, const struct origin *origin,
                        const char *name);

/* Fills the struct with the defaults of its rows. */
void option_defaults(const struct option_row *rows, void *section, struct arena *arena);

/* Reads a value into its field: `count` texts for OPTION_WORDS, else one. A value of the wrong type
 * or out of range is a fault that says what is allowed. */
void option_read(const struct option_row *row, void *section, const char *const *values, int count,
                 struct faults *faults, const char *file, int line);

/* Writes a value as a file has it, quoted if necessary, so that it reads back to the same; "" if
 * the option is not set. Returns the whole length, as snprintf does. */
size_t option_print(const struct option_row *row, const void *section, char *text, size_t size);

/* Whether two sections hold the same value. */
bool option_equal(const struct option_row *row, const void *a, const void *b);

#endif
