/*
 * exits - what is done about a worker's exit, but for the next one itself: it is counted, the time
 * of the respawn is set, and it is logged; and whether the kernel killed for want of memory.
 *
 * Owns:      the count of `oom_kill` in memory.events of our control group (version 2), as last
 *            seen.
 * Knows not: whether there is to be a next worker, and how one is started (maintain): that comes in
 *            between, because it is in a hurry, and log lines are not.
 * Called by: master, maintain, in the master.
 */
#ifndef PREFORKD_MASTER_EXITS_H
#define PREFORKD_MASTER_EXITS_H

#include "spawn.h"

#include <stdbool.h>
#include <stddef.h>

enum { OOM_PATH = 512 };

struct oom {
    char path[OOM_PATH]; /* of memory.events; empty: there is none */
    long long seen;
    long long unclaimed; /* of those seen: by no exit yet; for a moment */
    usec until;
};

/* Finds our control group, by a file as /proc/self/cgroup, below the place where they are
 * mounted. */
void oom_open(struct oom *oom, const char *own, const char *mounted);

/* Whether a child that was reaped now, killed by a SIGKILL that we did not send, is one of those
 * that the kernel killed. The kernel does not say which it was: each kill is claimed by one child,
 * at once, or else it was none of ours. */
bool oom_claim(struct oom *oom, usec now);

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

#define BACKOFF_EARLY  USEC_SECOND
#define BACKOFF_FIRST  (USEC_SECOND / 10)
#define BACKOFF_MOST   (10 * USEC_SECOND)
#define BACKOFF_HEALED (10 * USEC_SECOND) /* ready for as long, a worker is sound */

/* A worker ended. `ready_for` is how long it had been ready, negative if it never was. Returns how
 * long the respawn waits; *grew tells whether that is longer than the last time. */
usec backoff_death(struct backoff *backoff, bool accepted, usec ready_for, bool *grew);

/* A program ended in order, after it lived for `life`, and was ready for `ready_for` of that,
 * negative if it never was. Returns how long the respawn waits. */
usec backoff_orderly(struct backoff *backoff, usec life, usec ready_for);

/* The slot's worker goes on: notes whether the slot is sound again. */
void backoff_alive(struct backoff *backoff, bool accepted, usec ready_for);

/* Takes the facts, and puts them into the ledger. */
void exits_begin(struct worker *worker, struct overview *overview, struct exit_report *report);

/* It is to be respawned, at a time that depends on how it lived. */
void exits_set_respawn(struct worker *worker, struct exit_report *report, usec now);

/* Logs it. */
void exits_end(const struct exit_report *report);

#endif
