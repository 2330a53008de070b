/*
 * obituary - how a worker ended, as one line. Pure: facts in, text out.
 *
 * Called by: pool.
 * Runs in:   the master.
 */
#ifndef PREFORKD_MASTER_OBITUARY_H
#define PREFORKD_MASTER_OBITUARY_H

#include "../base/clock.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Whose doing it was. The numbers go over to a program that replaces us: new ones come last. */
enum death_cause {
    DEATH_OWN,       /* nobody told it to */
    DEATH_RETIRED,   /* told to finish */
    DEATH_NOT_READY, /* killed by us: not ready within ready_timeout */
    DEATH_OVERDUE,   /* killed by us: not done within graceful_timeout */
    DEATH_STOPPED,   /* killed by us: stopped at once */
    DEATH_TIMEOUT,   /* ended by us: its request took more than request_timeout */
};

struct obituary {
    const char *pool;
    pid_t pid;
    int status; /* as waitpid(2) tells it */
    enum death_cause cause;
    bool ready;          /* whether it ever was */
    uint64_t served;     /* connections, in this life */
    usec age;            /* from its birth */
    const char *reason;  /* what it said before it gave up; empty: nothing */
    const char *last;    /* its last line of standard error; empty: none */
    const char *no_core; /* why a signal that dumps core left none; NULL: it is not asked */
    pid_t replacement;   /* 0: none yet */
    usec delay;          /* until the replacement is tried, where there is to be one */
    bool replaced;       /* whether there is to be one */
};

/* The level that the line belongs to. */
int obituary_level(const struct obituary *obituary);

/* Whether this signal writes a core by default (signal(7)). */
bool obituary_signal_dumps(int number);

/* Writes the line. Returns its length, as snprintf does. */
int obituary_print(const struct obituary *obituary, char *text, size_t size);

#endif
