/*
 * source - reads the files of a configuration: the named one and its includes. Each must be a
 * regular file of bounded size, and must not include itself.
 *
 * Must not know: what the statements mean.
 * Called by load, in the checking child.
 */
#ifndef PREFORKD_CONFIG_SOURCE_H
#define PREFORKD_CONFIG_SOURCE_H

#include "syntax.h"

enum { SOURCE_SIZE_MAX = 1024 * 1024 };                  /* bytes of one file */
enum { SOURCE_TOTAL_MAX = 4 * SOURCE_SIZE_MAX };         /* bytes of all files */
enum { SOURCE_DEPTH_MAX = 16, SOURCE_FILES_MAX = 1000 }; /* nested includes; files */

struct source {
    struct source *next;
    const char *file; /* as faults name it */
    struct syntax syntax;
};

/* Reads a file, then the files that it includes, in order, into a list in the arena. A file that
 * can't be read is a fault of the line that includes it, and is not in the list. NULL: the list is
 * empty. `whole` tells whether every file could be read to its end. */
struct source *source_read(const char *file, struct arena *arena, struct faults *faults,
                           bool *whole);

#endif
