/*
 * exit_report - how a worker ended, as a line of the log and as an entry of the ledger. Pure: facts in,
 * text out.
 *
 * Called by: exits, maintain.
 * Runs in:   the master.
 */
#ifndef PREFORKD_MASTER_EXIT_REPORT_H
#define PREFORKD_MASTER_EXIT_REPORT_H

#include "../base/clock.h"
#include "../board/overview.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct exit_report {
    const char *pool;
    pid_t pid;
    unsigned generation;
    int status; /* as waitpid(2) tells it */
    enum death_cause cause;
    bool ready;                /* whether it ever was */
    bool program;              /* it had become one: what it served is not known */
    bool hung;                 /* killed for having said so itself, by WATCHDOG=trigger */
    int ready_timeout;         /* seconds, that it had to become ready; 0: not known */
    bool left_group;           /* it left processes running */
    bool ended_early;          /* it had not stayed ready for min_ready_time, but was to */
    usec ready_for;            /* how long it was ready, where it was */
    int min_ready_time;        /* seconds */
    int stop_signal;           /* by which a program is told to finish */
    uint64_t served;           /* connections, in this life */
    usec age;                  /* from its start */
    usec cpu_user, cpu_system; /* with the programs that it waited for */
    int64_t memory;            /* peak, bytes */
    bool out_of_memory;        /* the kernel killed it for that */
    struct slot_peer peer;     /* in hand; family 0: none */
    const char *reason;        /* what it said before it gave up; empty: nothing */
    const char *last;          /* its last line of standard error; empty: none */
    const char *no_core;       /* why a signal that dumps core left none; NULL: it is not asked */
    pid_t replacement;         /* 0: none yet */
    usec delay;                /* until the replacement is tried, where there is to be one */
    bool delay_grew;           /* it is longer than that of the death before */
    bool replaced;             /* whether there is to be one */
};

/* The level that the line belongs to. */
int exit_report_level(const struct exit_report *report);

/* Whether this signal writes a core by default (signal(7)). */
bool exit_report_signal_dumps(int number);

/* Writes the line. Returns its length, as snprintf does. */
int exit_report_print(const struct exit_report *report, char *text, size_t size);

/* Whether it is a program that ended by itself and in order, as many do after so many requests: with
 * status 0, and nothing of it left behind. One that went into the background leaves something. */
bool exit_report_is_orderly(const struct exit_report *report);

/* Whether its end was asked for, or is such a one: it retired, or was killed by a stop. */
bool exit_report_is_expected(const struct exit_report *report);

/* Whether it could not start, died by its own doing before it was ready, or was not ready for as long
 * as it was to; and that as a sentence. Whoever is told to go before it is ready tells nothing of why
 * others don't become it. */
bool exit_report_is_trouble(const struct exit_report *report);
void exit_report_tell_trouble(const struct exit_report *report, char *text, size_t size);

/* Makes an entry of the ledger of it. */
void exit_report_record(const struct exit_report *report, usec when, struct death *death);

#endif
