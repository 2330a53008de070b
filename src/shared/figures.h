/*
 * figures - what a reporter asks the kernel, beside what stands in the scoreboard: how many
 * connections wait at each listener.
 *
 * Owns:      what was last heard. Each reporter has its own.
 * Knows not: how it is shown.
 * Called by: those who make reports.
 * Runs in:   any process that has the scoreboard mapped, be it for reading alone.
 */
#ifndef PREFORKD_SHARED_FIGURES_H
#define PREFORKD_SHARED_FIGURES_H

#include "queue.h"
#include "scoreboard.h"

struct figures {
    struct queues queues;
};

/* Asks again. */
void figures_look(struct figures *figures, const struct scoreboard *board, usec now);
void figures_done(struct figures *figures);

#endif
