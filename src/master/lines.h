/*
 * lines - a worker's standard error: a pipe, read by the master, line by line into the log.
 *
 * A worker that waits for its program reads no pipe, and a program that wrote 64 KiB of errors
 * would block for ever: so the master reads, whatever the rate, and logs 100 lines a second a pool
 * at most; the rest is counted.
 * Knows not: workers; it is told the pool's name and the pid.
 * Called by: spawn, pool.
 * Runs in:   the master.
 */
#ifndef PREFORKD_MASTER_LINES_H
#define PREFORKD_MASTER_LINES_H

#include "../base/loop.h"

#include <stdbool.h>
#include <sys/types.h>

enum {
    LINES_LENGTH = 512,   /* bytes of a line that are logged; the rest of it is cut */
    LINES_A_SECOND = 100, /* a pool */
    LINES_LAST = 120,     /* bytes of the last line that are kept */
};

/* The rate of a pool. */
struct lines_rate {
    usec window; /* when the second began */
    unsigned said, missed;
    bool *changed; /* set when the first line is left out: that is to be told; NULL: by nobody */
};

struct lines {
    struct loop_watch watch; /* its fd is the reading end; -1: closed */
    struct loop *loop;
    const char *pool;
    struct lines_rate *rate;
    pid_t pid;
    char *line; /* LINES_LENGTH bytes, there once something was written */
    int length;
    bool cutting;          /* behind LINES_LENGTH bytes, until the line's end */
    char last[LINES_LAST]; /* escaped */
};

/* Opens the pipe. The writing end, close-on-exec, is the caller's; or -errno. */
int lines_open(struct lines *lines, struct loop *loop, const char *pool, struct lines_rate *rate);

/* Goes on with a reading end, which it closes where that fails; -1: it was closed before. 0 or
 * -errno. */
int lines_adopt(struct lines *lines, struct loop *loop, const char *pool, struct lines_rate *rate,
                int fd);

/* Ends an unfinished line: whoever goes on reading does not know how it began. */
void lines_flush(struct lines *lines);

/* Reads what is there, ends an unfinished line, and closes. */
void lines_close(struct lines *lines);

/* Tells how many lines were not logged in a second that is over. Returns when to ask again. */
usec lines_rate_tell(struct lines_rate *rate, const char *pool, usec now);

#endif
