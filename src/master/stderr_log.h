/*
 * stderr_log - the standard error of workers: a pipe each, read by the master, line by line into
 * the log.
 *
 * A worker that waits for its program reads no pipe, and a program that wrote 64 KiB of errors
 * would block for ever: so the master reads, whatever the rate, and logs so many lines a second a
 * pool at most; the rest is counted.
 * Owns:      the pipes, those of ended workers too: what a program left in the background would die
 *            of SIGPIPE if a pipe ended before its last writer.
 * Knows not: workers; it is given the pool's name and the pid.
 * Called by: spawn, exits, pool, maintain, handoff, upgrade, master, in the master.
 */
#ifndef PREFORKD_MASTER_STDERR_LOG_H
#define PREFORKD_MASTER_STDERR_LOG_H

#include "../base/log.h"
#include "../base/loop.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    STDERR_LOG_LENGTH = 512, /* bytes of a line that are logged; the rest of it is cut */
    STDERR_LOG_LAST = 120,   /* bytes of the last line that are kept */

    /* Lines a second, a pool: of what programs and workers complain of; of all that programs print
     * which are workers of the pool, which may be a line a request. */
    STDERR_LOG_A_SECOND = 100,
    STDERR_LOG_A_SECOND_OUTPUT = 10000,

    /* Pipes of a pool without their workers, at the least: as many as the pool may have workers if
     * that is more, so that one restart of all leaves no background part without its pipe. They
     * take no more descriptors then than the workers do. */
    STDERR_LOG_DETACHED = 64,
};

/* All the pipes that there are; and what a pool has to do with its own. */
struct stderr_log_set;

struct stderr_log_rate {
    usec window; /* when the second began */
    unsigned logged, missed;
    bool *changed;        /* set when the first line is left out, so that it is logged; or NULL */
    bool is_output;       /* of workers that are programs: all that they print */
    int most_workers;     /* that the pool may have */
    struct log_rate full; /* of the log line that too many are detached */
};

struct stderr_log {
    struct loop_watch watch; /* its fd is the reading end; -1: closed */
    struct stderr_log_set *set;
    const char *pool;
    struct stderr_log_rate *rate;
    pid_t pid;
    /* How many connections the worker has taken, by its own word; NULL: unknown. */
    const _Atomic uint64_t *accepted;
    /* What they took so far, usec: it grows at the end of each, and of each request on one; or
     * NULL. */
    const _Atomic uint64_t *took;
    char *line; /* STDERR_LOG_LENGTH bytes, there once something was written */
    int length;
    bool cutting;                      /* behind STDERR_LOG_LENGTH bytes, until the line's end */
    char last[STDERR_LOG_LAST];        /* escaped */
    uint64_t turn;                     /* the sum of both, when what is unfinished was read */
    usec due;                          /* when the unfinished line is logged; 0: there is none */
    struct stderr_log *sooner, *later; /* of the unfinished */
};

/* NULL with errno set. `loop` need not be open yet. */
struct stderr_log_set *stderr_log_set_new(struct loop *loop);
void stderr_log_set_free(struct stderr_log_set *set); /* and closes what is detached */

/* Opens the pipe. The writing end, close-on-exec, is the caller's; or -errno. */
int stderr_log_open(struct stderr_log *lines, struct stderr_log_set *set, const char *pool,
                    struct stderr_log_rate *rate);

/* Goes on with a reading end, which it closes if that fails; -1: it was closed before. 0 or
 * -errno. */
int stderr_log_adopt(struct stderr_log *lines, struct stderr_log_set *set, const char *pool,
                     struct stderr_log_rate *rate, int fd);

/* Of a worker that has ended: reads what is there, ends an unfinished line, and lets the pipe go.
 * It is closed if no process holds the other end; else it lives on, detached, until none does. */
void stderr_log_close(struct stderr_log *lines);

/* Detached ones, the oldest first: the one behind another; NULL behind the last, and the first
 * behind NULL. Of them, `watch.fd`, `pool` and `pid` are for the handoff. */
const struct stderr_log *stderr_log_next_detached(const struct stderr_log_set *set,
                                                  const struct stderr_log *lines);

/* Goes on with one, whose pool may be gone: `rate` is NULL then. Closes it if that fails. */
void stderr_log_adopt_detached(struct stderr_log_set *set, int fd, pid_t pid, const char *pool,
                               struct stderr_log_rate *rate);

/* The pool is gone: its detached pipes go on without it. */
void stderr_log_leave(struct stderr_log_set *set, const struct stderr_log_rate *rate);

/* Ends all unfinished lines: the binary that goes on reading does not know how they began. */
void stderr_log_flush(struct stderr_log_set *set);

/* Ends unfinished lines to which nothing was added for a second. Returns when to ask again. */
usec stderr_log_step(struct stderr_log_set *set, usec now);

/* Logs how many lines were left out in a second that is over. Returns when to ask again. */
usec stderr_log_rate_step(struct stderr_log_rate *rate, const char *pool, usec now);

#endif
