/*
 * source - the files of a configuration: the one that is named and all that it includes, each
 * regular, bounded, and once at a time.
 *
 * Must not know: what the statements mean.
 * Called by config, in the checking child.
 */
#ifndef PREFORKD_CONFIG_SOURCE_H
#define PREFORKD_CONFIG_SOURCE_H

#include "syntax.h"

enum { SOURCE_SIZE_MAX = 1024 * 1024 };                  /* bytes of one file */
enum { SOURCE_TOTAL_MAX = 4 * SOURCE_SIZE_MAX };         /* of all together */
enum { SOURCE_DEPTH_MAX = 16, SOURCE_FILES_MAX = 1000 }; /* includes in includes; files */

struct source {
    struct source *next;
    const char *file; /* as a fault names it */
    struct syntax syntax;
};

/* Reads a file and, behind it, the files that it includes, in the order of the files. A file that
 * can't be read is a fault, where it is included, and not in the list. All lies in the arena; NULL:
 * there is none. `whole` is set to whether every file could be read to its end. */
struct source *source_read(const char *file, struct arena *arena, struct faults *faults,
                           bool *whole);

#endif
