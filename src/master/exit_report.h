/*
 * exit_report - how a worker ended, as a line of the log and as an entry of the ledger. Pure: facts
 * in, text out. Called by exits and maintain.
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
    int status; /* of waitpid(2) */
    enum death_cause cause;
    bool ready;                /* whether it ever was */
    bool program;              /* it had become one: how many it served is not known */
    bool hung;                 /* killed because it asked for that, by WATCHDOG=trigger */
    int ready_timeout;         /* seconds, that it had to become ready; 0: not known */
    bool left_group;           /* it left processes running */
    bool ended_early;          /* it had not stayed ready for min_ready_time, but was to */
    usec ready_for;            /* how long it was ready, if it was */
    int min_ready_time;        /* seconds */
    int stop_signal;           /* by which a program is told to finish */
    uint64_t served;           /* connections, by this process */
    usec age;                  /* from its start */
    usec cpu_user, cpu_system; /* with the programs that it waited for */
    int64_t memory;            /* peak, bytes */
    bool out_of_memory;        /* the kernel killed it for that */
    uint32_t in_hand;          /* connections; and */
    struct slot_peer peer;     /* of the only one; family 0: none */
    const char *reason;        /* what it wrote before it gave up; empty: nothing */
    const char *last;          /* its last line of standard error; empty: none */
    const char *no_core;       /* why a signal that dumps core left none; NULL: it is not asked */
    pid_t replacement;         /* 0: none yet */
    usec delay;                /* until the respawn, if there is to be one */
    bool delay_grew;           /* it is longer than that of the exit before */
    bool replaced;             /* whether there is to be a respawn */
};

/* The level that the line belongs to. */
int exit_report_level(const struct exit_report *report);

/* Whether this signal writes a core by default (signal(7)). */
bool exit_report_signal_dumps(int number);

/* Writes the line. Returns its length, as snprintf does. */
int exit_report_print(const struct exit_report *report, char *text, size_t size);

/* Whether a program ended by itself and in order, as many do after so many requests: with status 0,
 * and nothing of it left behind. One that went into the background leaves something. */
bool exit_report_is_orderly(const struct exit_report *report);

/* Whether its exit is no news: it retired, ended in order, or was killed by a stop. */
bool exit_report_is_expected(const struct exit_report *report);

/* Whether it could not start, ended by its own doing before it was ready, or was not ready for as
 * long as it was to; and that as a sentence. The exit of a worker that was told to go before it was
 * ready says nothing of why others don't become ready. */
bool exit_report_is_trouble(const struct exit_report *report);
void exit_report_print_trouble(const struct exit_report *report, char *text, size_t size);

/* Makes an entry of the ledger. */
void exit_report_record(const struct exit_report *report, usec when, struct death *death);

#endif
