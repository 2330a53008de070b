/*
 * reload - from one configuration to the next, one job at a time: everything that can fail, fails
 * before anything visible changes.
 *
 * check (in a child) -> try (open new listeners, fork a canary for each changed pool) -> apply (put
 * in force, close what is not wanted any more) -> roll (the next generation is forked; when it is
 * ready the old one retires). Until it is applied, a rollback leaves all as it was; and a canary
 * must have stayed ready for min_ready_time by then. If the others don't, the roll stops, the old
 * ones go on, and the job has failed; what is in force stays so. A dry run ends when the plan is
 * made; a restart begins there, with the configuration in force.
 * Owns:      the jobs that wait, the one under way, and the results of the last ones.
 * Knows not: signals, and which caller asked.
 * Called by: master, commands, upgrade, in the master.
 */
#ifndef PREFORKD_MASTER_RELOAD_H
#define PREFORKD_MASTER_RELOAD_H

#include "../base/buffer.h"
#include "plan.h"

enum job_kind {
    JOB_RELOAD,
    JOB_DRY_RUN, /* says what a reload would do */
    JOB_RESTART, /* replaces workers of the configuration in force */
};

struct job {
    enum job_kind kind;
    uint64_t number;              /* from 1 on, in the order in which they are done */
    char pool[POOL_NAME_MAX + 1]; /* of a restart; empty: all that aren't drained */
};

/* How one ended. */
struct reload_result {
    uint64_t number;
    bool refused;         /* or it failed */
    struct buffer lines;  /* what it changed */
    struct buffer faults; /* lines too: why it was refused, or has failed */
};

enum reload_state {
    RELOAD_NONE,
    RELOAD_CHECKING, /* the child runs */
    RELOAD_CANARIES, /* not all are ready */
    RELOAD_ROLLING,  /* in force; stale workers are there still */
};

enum {
    RELOAD_QUEUE = 16,  /* jobs that may wait */
    RELOAD_RESULTS = 4, /* kept; no round of the master brings as many */
};

struct reload {
    enum reload_state state;
    struct job job; /* under way */
    struct job queue[RELOAD_QUEUE];
    int queued;
    uint64_t last; /* number given to a job */

    struct config *config; /* the one to come; of a restart the one in force */
    struct arena *notes;   /* holds those faults that the configuration can't take; NULL else */
    struct faults faults;  /* them: of a restart, as it is in force; of a check that hangs */
    pid_t checker;         /* 0: none */
    int late;              /* it was killed after so many seconds; 0: not so */
    usec deadline;         /* of the check; of idle old workers, once the new ones serve */
    usec began;
    struct plans plans;
    struct reload_result results[RELOAD_RESULTS];
};

/* The start: puts a checked configuration (taken over) in force. 0; or -1 with its faults noted. */
int reload_first(struct reload *reload, struct runtime *runtime, struct config *config);

/* Asks for a job, which begins when those before it are done. Jobs alike that wait are one. The
 * number of the job; 0 if too many wait. */
uint64_t reload_ask(struct reload *reload, enum job_kind kind, const char *pool);

/* How a job ended; NULL: it has not yet. To be asked for in every round, or it is gone. */
const struct reload_result *reload_result(const struct reload *reload, uint64_t number);

/* A child that is no worker ended. True if it was the checking one. */
bool reload_reaped(struct reload *reload, struct runtime *runtime, pid_t pid, int status);

/* Goes on as far as it can. Returns when it wants to be called again. */
usec reload_step(struct reload *reload, struct runtime *runtime, usec now);

/* The daemon stops: nothing is reloaded any more. */
void reload_abandon(struct reload *reload, struct runtime *runtime);

/* Frees what it holds. */
void reload_close(struct reload *reload);

#endif
