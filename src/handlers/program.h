/*
 * program - whether a program of the configuration is there, and may be run by the pool's user.
 *
 * Called by: the checks of handlers that run programs.
 * Runs in:   a short-lived child with the pool's user.
 */
#ifndef PREFORKD_HANDLERS_PROGRAM_H
#define PREFORKD_HANDLERS_PROGRAM_H

#include "../base/faults.h"

/* Notes what is wrong with it. `handler` begins the sentence, `line` is where it was named. */
void program_check(const char *path, const char *pool, const char *handler, const char *file,
                   int line, struct faults *faults);

#endif
