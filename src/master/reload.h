/*
 * reload - from one configuration to the next, one job at a time. Everything that can fail fails
 * before anything visible changes.
 *
 * check (in a child) -> try (open new listeners, fork a canary of each changed pool) -> apply (put
 * the configuration in force, close what it does not want) -> roll (fork the next generation; when
 * it is ready, retire the old one). A failure before apply is rolled back and changes nothing; each
 * canary must have stayed ready for min_ready_time by then. If the workers of the roll don't stay
 * ready, the roll stops, the old workers go on, and the job has failed, but the configuration stays
 * in force. A dry run ends with the plan. A restart begins with the plan, of the configuration in
 * force.
 * Owns:      the queue of jobs, the job under way, and the results of the last jobs.
 * Knows not: signals, and which client asked.
 * Called by: master, main_loop, commands, upgrade, in the master.
 */
#ifndef PREFORKD_MASTER_RELOAD_H
#define PREFORKD_MASTER_RELOAD_H

#include "../base/text.h"
#include "plan.h"

enum job_kind {
    JOB_RELOAD,
    JOB_DRY_RUN, /* prints what a reload would do */
    JOB_RESTART, /* replaces workers, under the configuration in force */
};

struct job {
    enum job_kind kind;
    uint64_t number;              /* from 1 on, in the order of the queue */
    char pool[POOL_NAME_MAX + 1]; /* to restart; empty: all pools that aren't drained */
};

/* How a job ended. */
struct reload_result {
    uint64_t number;
    bool refused;         /* or failed */
    struct buffer lines;  /* what the job changed */
    struct buffer faults; /* lines: why the job was refused or failed */
};

enum reload_state {
    RELOAD_NONE,
    RELOAD_CHECKING, /* the child runs */
    RELOAD_CANARIES, /* some are not ready */
    RELOAD_ROLLING,  /* the configuration is in force; stale workers are being replaced */
};

enum {
    RELOAD_QUEUE = 16, /* jobs that may wait */
    /* Restarts that may wait. One reload and one dry run always find room beside them. */
    RELOAD_RESTARTS = RELOAD_QUEUE - 2,
    RELOAD_RESULTS = 4, /* kept; no round of the master ends so many jobs */
};

struct reload {
    enum reload_state state;
    struct job job; /* under way */
    struct job queue[RELOAD_QUEUE];
    int queued;
    uint64_t last; /* job number given out */

    struct config *config; /* to come; in a restart, the one in force */
    /* Faults that the configuration must not take: in a restart, because it is sealed; after a
     * check that hangs, because the child shares it. NULL if they go into the configuration. */
    struct arena *fault_arena;
    struct faults faults;
    pid_t checker;        /* 0: none */
    bool check_killed;    /* because it made no step */
    unsigned check_steps; /* see check_goes_on */
    usec deadline;        /* of the check; once the new workers serve, of idle old ones */
    usec began;
    usec extend_at; /* when systemd is asked for more time */
    struct plans plans;
    struct reload_result results[RELOAD_RESULTS];
};

/* Whether no job is under way or waits. */
static inline bool reload_is_idle(const struct reload *reload)
{
    return reload->state == RELOAD_NONE && !reload->queued;
}

/* At the start: puts a checked configuration, which it takes over, in force. 0; or -1 with the
 * faults in the configuration. */
int reload_first(struct reload *reload, struct runtime *runtime, struct config *config);

/* Queues a job, or joins the same job if that waits already. Returns the job's number, or 0 if too
 * many restarts wait. A reload is never turned away: SIGHUP has nobody who could ask again. */
uint64_t reload_ask(struct reload *reload, enum job_kind kind, const char *pool);

/* How a job ended; NULL: it has not ended. Ask in every round: only the last results are kept. */
const struct reload_result *reload_result(const struct reload *reload, uint64_t number);

/* Call for a child that is no worker. True if it was the check. */
bool reload_reaped(struct reload *reload, struct runtime *runtime, pid_t pid, int status);

/* Advances as far as possible. Returns the time of the next call. */
usec reload_step(struct reload *reload, struct runtime *runtime, usec now);

/* The daemon stops: drops all jobs. */
void reload_abandon(struct reload *reload, struct runtime *runtime);

/* Frees the results. */
void reload_close(struct reload *reload);

#endif
