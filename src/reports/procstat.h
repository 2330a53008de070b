/*
 * procstat - what a reporter asks the kernel, beside what stands in the overview: how many
 * connections wait at each listener; what processor time and memory each worker has taken.
 *
 * Owns:      what was last heard. Each reporter has its own.
 * Knows not: pools, and how it is shown.
 * Called by: the makers of reports; snapshot, which adds it up.
 * Runs in:   any process that has the overview mapped, be it for reading alone. The master does not
 *            read processes, since that takes time.
 *
 * To look at ten thousand processes takes half a second. So they are read in turns, some at each
 * look, and each has its age.
 */
#ifndef PREFORKD_REPORTS_PROCSTAT_H
#define PREFORKD_REPORTS_PROCSTAT_H

#include "../board/overview.h"
#include "../listeners/accept_queue.h"

#include <stdbool.h>

enum { PROCSTAT_A_LOOK = 256 }; /* processes, and as many as 5 ms are enough for */

/* A worker, its templates, and the program that it runs. */
struct procstat_process {
    pid_t pid;
    usec born;         /* of the worker: a later process of this pid was born later */
    usec read_at;      /* 0: not yet; -1: it isn't shown to us */
    usec user, system; /* processor time, with that of what it ran and waited for */
    int64_t memory;    /* bytes: pages that no file backs and that aren't shared by intention */
    int64_t template_memory; /* of it, that of the worker's templates */
};

struct procstat {
    bool processes; /* are read: to be set before the first look */
    /* Of the reporter's own scoreboard: what is shown of processor time is noted there, so that no
     * reporter shows less than another of its pool did before. NULL: nowhere. */
    struct shown_time *shown;
    usec looked_at;
    struct accept_queues queues;
    struct procstat_process *list; /* by worker */
    int room;
    int next; /* the worker to begin with */
};

/* Asks again. */
void procstat_look(struct procstat *figures, const struct view *view, usec now);
void procstat_done(struct procstat *figures);

/* What is known of the worker of this number; NULL: nothing yet, but that it had used nothing
 * when it was born. */
const struct procstat_process *procstat_process(const struct procstat *figures,
                                                const struct overview *overview, int worker);

#endif
