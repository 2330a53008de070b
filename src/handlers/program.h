/*
 * program - what handlers that run programs have in common: whether one is there, and may be run by
 * the pool's user; what it leaves in the pipe of standard error.
 *
 * Called by: handlers that run programs.
 * Runs in:   a short-lived child with the pool's user (check), a worker (the rest).
 */
#ifndef PREFORKD_HANDLERS_PROGRAM_H
#define PREFORKD_HANDLERS_PROGRAM_H

#include "../base/faults.h"

/* Notes what is wrong with it. `handler` begins the sentence, `line` is where it was named. */
void program_check(const char *path, const char *pool, const char *handler, const char *file,
                   int line, struct faults *faults);

/* After the end of a program whose standard error was ours: where its last line has no end, and is not
 * read yet, ends it, so that the next program's is not taken for the rest of it. */
void program_end_line(void);

#endif
