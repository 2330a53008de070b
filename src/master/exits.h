/*
 * exits - what follows from a worker's exit: it is counted, entered in the ledger and logged, and
 * the time of the respawn is set. Also whether the kernel's OOM killer ended the worker.
 *
 * The report and the back-off are pure: facts in, text or a time out; no clock, no process.
 * Owns:      the last value of `oom_kill` in memory.events of our control group (version 2).
 * Knows not: whether a worker is respawned, and how one is started. maintain does that between
 *            exits_begin and exits_end, because the fork is urgent and the log line is not.
 * Called by: master, maintain, in the master.
 */
#ifndef PREFORKD_MASTER_EXITS_H
#define PREFORKD_MASTER_EXITS_H

#include "spawn.h"

#include <stdbool.h>
#include <stddef.h>

/* Out of memory. */

enum { OOM_PATH = 512 };

struct oom {
    char path[OOM_PATH]; /* of memory.events; empty: there is none */
    long long seen;
    long long unclaimed; /* new kills that no exit has claimed yet; dropped at `until` */
    usec until;
};

/* Finds our control group. `own` is a file like /proc/self/cgroup, `mounted` the directory where
 * the control groups are mounted. */
void oom_open(struct oom *oom, const char *own, const char *mounted);

/* Call it for a child that was just reaped, killed by a SIGKILL that we did not send. Whether the
 * OOM killer did it. The kernel does not say which process it killed: so each kill counts for one
 * child, reaped at about that time; a kill that no child claims was another process. */
bool oom_claim(struct oom *oom, usec now);

/* The report: how a worker ended, as a line of the log and as an entry of the ledger. */

struct exit_report {
    const char *pool;
    pid_t pid;
    unsigned generation;
    int status; /* of waitpid(2) */
    enum death_cause cause;
    bool ready;                /* it had become ready */
    bool program;              /* it had become a program: how many it served is unknown */
    bool hung;                 /* killed because it sent WATCHDOG=trigger */
    int ready_timeout;         /* seconds; 0: unknown */
    bool left_group;           /* it left processes running */
    bool ended_early;          /* before it had been ready for min_ready_time */
    usec ready_for;            /* how long it was ready */
    int min_ready_time;        /* seconds */
    int max_requests;          /* 0: no limit */
    int stop_signal;           /* tells the program to finish */
    uint64_t served;           /* connections, by this process */
    usec age;                  /* from its start */
    usec cpu_user, cpu_system; /* with the programs that it waited for */
    int64_t memory;            /* peak, bytes */
    bool out_of_memory;        /* killed by the kernel's OOM killer */
    uint32_t in_hand;          /* connections it was serving */
    struct slot_peer peer;     /* the client, if it was serving just one; family 0: none */
    const char *last;          /* its last line of standard error; empty: none */
    const char *no_core;       /* why there is no core; NULL: none is expected, or there is one */
    pid_t replacement;         /* 0: none yet */
    usec delay;                /* until the respawn */
    bool delay_grew;           /* it is longer than after the exit before */
    bool replaced;             /* the worker is respawned, now or after `delay` */
    /* Why it gave up, in its own words; empty: none. */
    char reason[SCOREBOARD_REASON];
};

/* The syslog level of the line. */
int exit_report_level(const struct exit_report *report);

/* Whether this signal writes a core by default (signal(7)). */
bool exit_report_signal_dumps(int number);

/* Writes the line. Returns its length, as snprintf(3) does. */
int exit_report_print(const struct exit_report *report, char *text, size_t size);

/* Whether the exit is no news: the worker retired, ended in order, or was killed by a stop. */
bool exit_report_is_expected(const struct exit_report *report);

/* Whether the exit explains why a pool's workers don't become or stay ready: the worker could not
 * start, ended by itself before it was ready, or was not ready for min_ready_time. The exit of a
 * worker that was told to finish before it was ready explains nothing. The second function writes
 * the explanation as a sentence. */
bool exit_report_is_trouble(const struct exit_report *report);
void exit_report_print_trouble(const struct exit_report *report, char *text, size_t size);

/* Makes an entry of the ledger. */
void exit_report_record(const struct exit_report *report, usec when, struct death *death);

/* The back-off: how long the respawn waits.
 *
 * An exit is early if the worker had accepted nothing and had been ready for less than a second.
 * After the first early exit the respawn is immediate. Each further one in a row delays it: by 100
 * ms at first, then by twice as much each time, up to 10 s. Connections served are no measure: a
 * client that can crash a worker could then starve the pool. A program that accepts by itself and
 * ends in order is respawned at once, but at most once in 100 ms. Its life counts for its
 * successor: a chain of programs that each live for a moment is as ready, and as sound, as one
 * program that lives on. */

#define BACKOFF_EARLY  USEC_SECOND
#define BACKOFF_FIRST  (USEC_SECOND / 10)
#define BACKOFF_MOST   (10 * USEC_SECOND)
#define BACKOFF_HEALED (10 * USEC_SECOND) /* a worker that was ready for so long is sound */

/* A worker ended. `ready_for` is how long it had been ready, negative if it never was. Returns the
 * delay of the respawn; *grew: it is longer than the last one. */
usec backoff_death(struct backoff *backoff, bool accepted, usec ready_for, bool *grew);

/* A program ended in order, `life` after its start, and had been ready for `ready_for`, negative if
 * it never was. Returns the delay of the respawn. */
usec backoff_orderly(struct backoff *backoff, usec life, usec ready_for);

/* A worker lives on: ends the back-off if the worker is sound. */
void backoff_alive(struct backoff *backoff, bool accepted, usec ready_for);

/* An exit, in three steps. */

/* Fills the report, whose `last` stays the worker's, and counts the exit. */
void exits_begin(struct worker *worker, struct overview *overview, struct exit_report *report);

/* Sets the time of the respawn. Only for a worker that is to be respawned. */
void exits_set_respawn(struct worker *worker, struct exit_report *report, usec now);

/* Logs the exit. */
void exits_end(const struct exit_report *report);

#endif
