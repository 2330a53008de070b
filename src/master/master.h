/*
 * master - the one process that opens the sockets, forks, supervises: its state and its verbs.
 *
 * Owns:      the realm, the reload, the scoreboard, the phase of its life.
 * Knows not: which signal or word asked for a verb (verbs), when it is called (supervisor).
 * Called by: main, verbs, supervisor.
 * Runs in:   the master.
 */
#ifndef PREFORKD_MASTER_MASTER_H
#define PREFORKD_MASTER_MASTER_H

#include "oom.h"
#include "publish.h"
#include "upgrade.h"

enum master_phase {
    PHASE_STARTING, /* not every pool serves yet */
    PHASE_SERVING,
    PHASE_STOPPING, /* no new connection; those in hand may end */
    PHASE_ENDED,
};

struct master {
    struct loop loop;
    struct loop_watch bell; /* an eventfd: workers ring it when they are ready */
    int board_fd;
    struct realm realm;
    struct reload reload;
    struct upgrade upgrade;
    enum master_phase phase;
    bool stopping_now;
    int exit_status;
    usec start_deadline;          /* of the first workers */
    void (*serving)(void *owner); /* called once, when every pool serves */
    void *owner;
    struct publish publish;
    struct oom oom;
    usec watchdog_at;
};

/* Takes the signals, makes the scoreboard; or goes on with that of a state, where it is not NULL.
 * `self` is copied. 0 or -errno. */
int master_open(struct master *master, const sigset_t *signals, const struct upgrade_self *self,
                const struct state *state);

/* Opens the listeners of a checked configuration, which it takes over, and makes the pools. 0; or
 * -1 with the faults noted in it. */
int master_start(struct master *master, struct config *config);

/* Goes on from a state in its place: what it says is in force at once, and the configuration is read
 * then. 0 or -errno. */
int master_resume(struct master *master, const struct state *state);
void master_close(struct master *master);

/* The verbs. */
void master_reload(struct master *master);
void master_stop(struct master *master); /* gracefully; the second time now */
void master_stop_now(struct master *master);
void master_tell(struct master *master);  /* each pool's state to the log */
void master_more(struct master *master);  /* a worker more in every pool */
void master_fewer(struct master *master); /* and one fewer */
void master_drain(struct master *master);
void master_upgrade(struct master *master);

/* The parts of a round of the supervisor. */
void master_reap(struct master *master);
usec master_step(struct master *master, usec now); /* when the next round must be */
usec master_announce(struct master *master, usec now);

#endif
