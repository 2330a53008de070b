/*
 * program - what handlers that run programs have in common. program_check runs in a short-lived
 * child that has become the pool's user, the rest in a worker.
 */
#ifndef PREFORKD_HANDLERS_PROGRAM_H
#define PREFORKD_HANDLERS_PROGRAM_H

#include "../base/faults.h"
#include "../config/config.h"

/* Notes what keeps the pool's user from running it. `handler` begins the sentence, `line` is where
 * the program was named. */
void program_check(const char *path, const char *pool, const char *handler, const char *file,
                   int line, struct faults *faults);

/* How long to wait after so many starts in a row that failed: not at all after the first one, then
 * doubling; the half of it by chance (rand_r), so that no two workers go in step. */
int program_pause_msec(int failed, unsigned *chance);

/* After the end of a program whose standard error was ours: if its last line has no end, and is not
 * read yet, ends it, so that the next program's is not taken for the rest of it. */
void program_end_line(void);

/* The environment of a pool's programs: PATH, TZ, LANG, HOME, USER, LOGNAME and what the pool's
 * `environment` says, which wins. Ended by NULL, for the worker's life; NULL: no memory. */
char **program_environment(const struct pool_config *pool);

#endif
