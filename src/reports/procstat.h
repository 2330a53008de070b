/*
 * procstat - what a reporter asks the kernel, in addition to the overview: how many connections
 * wait at each listener, and the processor time and memory of each worker.
 *
 * Owns:      the last answers. Each reporter has its own.
 * Knows not: pools, and how the answers are shown.
 * Called by: the handler status, and master/commands for the queues alone; snapshot, which adds the
 *            answers up.
 * Runs in:   any process that has the overview mapped, even if only for reading. The master does
 *            not read processes, because that takes time.
 *
 * Reading ten thousand processes takes half a second. So each look reads some of them in turn, and
 * each reading has an age.
 */
#ifndef PREFORKD_REPORTS_PROCSTAT_H
#define PREFORKD_REPORTS_PROCSTAT_H

#include "../board/overview.h"
#include "../listeners/accept_queue.h"

#include <stdbool.h>

enum { PROCSTAT_A_LOOK = 256 }; /* processes at most; fewer if they take more than 5 ms */

/* A worker, with its templates and the program that it runs. */
struct procstat_process {
    pid_t pid;
    usec born;               /* tells the worker from a later one with the same pid */
    usec read_at;            /* 0: not yet; -1: hidden from us */
    usec user, system;       /* processor time, with that of children it waited for */
    int64_t memory;          /* bytes, without file pages and shared mappings */
    int64_t template_memory; /* the templates' share of it */
};

struct procstat {
    bool processes; /* whether to read processes; set before the first look */
    /* In the reporter's own scoreboard: the processor times shown so far, so that no reporter of
     * the pool shows less than another did before. NULL: not recorded. */
    struct shown_time *shown;
    usec looked_at;
    struct accept_queues queues;
    struct procstat_process *list; /* by worker */
    uint32_t room;
    int next; /* the worker to read next */
};

/* Asks the kernel again. */
void procstat_look(struct procstat *procstat, const struct view *view, usec now);
void procstat_done(struct procstat *procstat);

/* What is known about a worker, by its number; NULL: not read yet. Then only its birth is known,
 * when it had used nothing. */
const struct procstat_process *procstat_process(const struct procstat *procstat,
                                                const struct overview *overview, int worker);

#endif
