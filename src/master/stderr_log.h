/*
 * stderr_log - the standard error of workers: the master reads one pipe for each worker, line by
 * line, into the log.
 *
 * A worker that waits for its program reads no pipe, and a program that wrote 64 KiB of errors
 * would block for ever. So the master reads all that is written, but logs only so many lines a
 * second for each pool; it counts the rest.
 * Owns:      the pipes, those of ended workers too. If the master closed such a pipe, a program
 *            left in the background would die of SIGPIPE.
 * Knows not: workers: it is given the pool's name and the pid.
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

    /* Lines a second for each pool: of errors; and of all output, if the workers are programs,
     * which may print a line for each request. */
    STDERR_LOG_A_SECOND = 100,
    STDERR_LOG_A_SECOND_OUTPUT = 10000,

    /* A pool may have so many pipes of ended workers, or as many as it may have workers, if that is
     * more. So a restart of all workers cuts no background process off its pipe, and these pipes
     * take no more descriptors than the workers do. */
    STDERR_LOG_DETACHED = 64,
};

/* The longest time that a pipe is in flight. */
#define STDERR_LOG_FLIGHT (10 * USEC_SECOND)

/* All pipes. */
struct stderr_log_set;

/* The rate of one pool's lines. */
struct stderr_log_rate {
    usec window; /* when the second began */
    unsigned logged, missed;
    bool *changed;        /* set when the first line is left out; or NULL */
    bool is_output;       /* the workers are programs, and this is all of their output */
    int most_workers;     /* that the pool may have */
    struct log_rate full; /* of the warning about too many detached pipes */
};

struct stderr_log {
    struct loop_watch watch; /* its fd is the reading end; -1: closed, or in flight */
    struct stderr_log_set *set;
    const char *pool;
    struct stderr_log_rate *rate;
    pid_t pid;
    /* How many connections the worker accepted, by its own word; NULL: unknown. */
    const _Atomic uint64_t *accepted;
    /* The sum of their service times, usec, by its own word; NULL: unknown. It grows at the end of
     * each connection, and of each request on one. */
    const _Atomic uint64_t *took;
    char *line; /* STDERR_LOG_LENGTH bytes; NULL: nothing was written yet */
    int length;
    bool cutting;                      /* the rest of the line, beyond STDERR_LOG_LENGTH, is cut */
    char last[STDERR_LOG_LAST];        /* the last line, escaped */
    uint64_t turn;                     /* *accepted + *took before the unfinished line was read */
    usec due;                          /* when the unfinished line is logged; 0: there is none */
    struct stderr_log *sooner, *later; /* neighbours in the list of unfinished lines */
    bool in_flight;
    struct stderr_log *next_in_flight; /* in the order in which they were sent */
};

/* `loop` need not be open yet. NULL with errno set. */
struct stderr_log_set *stderr_log_set_new(struct loop *loop);
void stderr_log_set_free(struct stderr_log_set *set); /* closes the detached pipes too */

/* Opens the pipe. Returns the writing end, close-on-exec, which the caller owns; or -errno. */
int stderr_log_open(struct stderr_log *lines, struct stderr_log_set *set, const char *pool,
                    struct stderr_log_rate *rate);

/* Goes on with a reading end, and closes it on failure; -1: it was closed before. 0 or -errno. */
int stderr_log_adopt(struct stderr_log *lines, struct stderr_log_set *set, const char *pool,
                     struct stderr_log_rate *rate, int fd);

/* Call it when the worker has ended. Reads the rest, and ends an unfinished line. The pipe is
 * closed if no process holds the other end; else it stays open, detached, until none does. */
void stderr_log_close(struct stderr_log *lines);

/* The detached pipe behind another, the oldest first: the first one behind NULL, and NULL behind
 * the last. The handoff uses their `watch.fd`, `pool` and `pid`. */
const struct stderr_log *stderr_log_next_detached(const struct stderr_log_set *set,
                                                  const struct stderr_log *lines);

/* Goes on with a detached pipe, and closes it on failure. `rate` NULL: its pool is gone. */
void stderr_log_adopt_detached(struct stderr_log_set *set, int fd, pid_t pid, const char *pool,
                               struct stderr_log_rate *rate);

/* The pool with this rate is gone: its detached pipes get the rate of removed pools. */
void stderr_log_leave(struct stderr_log_set *set, const struct stderr_log_rate *rate);

/* Ends all unfinished lines, before an upgrade: the next binary does not know how they began. */
void stderr_log_flush(struct stderr_log_set *set);

/* Call it in each round, once its workers are forked. If the next round follows at once and forks
 * more, the reading ends of this round's pipes are put in flight; else all are taken back. */
void stderr_log_end_round(struct stderr_log_set *set, bool forks_more, usec now);

/* Takes back all reading ends that are in flight: from now on `watch.fd` is a descriptor again. */
void stderr_log_take_back(struct stderr_log_set *set);

/* Ends unfinished lines to which nothing was added for a second. Returns when to call it again. */
usec stderr_log_step(struct stderr_log_set *set, usec now);

/* Logs how many lines were left out, once the second is over. Returns when to call it again. */
usec stderr_log_rate_step(struct stderr_log_rate *rate, const char *pool, usec now);

#endif
