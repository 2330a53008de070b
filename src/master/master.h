/*
 * master - the one process that opens the sockets, forks and supervises: its state, how it begins,
 * goes on after an upgrade, and stops.
 *
 * Owns:      the runtime, the reload, the control socket, the overview, the phase of its life.
 * Knows not: commands and signals (commands), its rounds (main_loop).
 * Called by: main, commands, main_loop.
 * Runs in:   the master.
 */
#ifndef PREFORKD_MASTER_MASTER_H
#define PREFORKD_MASTER_MASTER_H

#include "control.h"
#include "exits.h"
#include "export.h"
#include "upgrade.h"

enum master_phase {
    PHASE_STARTING, /* not every pool serves yet */
    PHASE_SERVING,
    PHASE_STOPPING, /* no new connection; those in hand may end */
    PHASE_ENDED,
};

struct master {
    struct loop loop;
    struct runtime runtime;
    struct reload reload;
    struct upgrade upgrade;
    struct control control;
    enum master_phase phase;
    bool stopping_now;
    int exit_status;
    usec start_deadline;          /* of the first workers */
    void (*serving)(void *owner); /* called once, when every pool serves */
    void *owner;
    struct export export;
    /* SIGUSR1 came. Signals come by their numbers: first what the others of this round ask for. */
    bool log_state;
    struct oom oom;
    usec watchdog_at;
};

/* Takes the signals, makes the overview. `self` is copied. 0 or -errno. */
int master_open(struct master *master, const sigset_t *signals, const struct upgrade_self *self);

/* Opens the listeners of a checked configuration, which it takes over, and makes the pools. 0; or
 * -1 with the faults noted in it. */
int master_start(struct master *master, struct config *config);

/* Before it starts: these sockets are open already, from before an upgrade; taken over. */
void master_inherit(struct master *master, struct listener *listeners, struct listener *control);

/* In a trial: does what master_resume does, without being the master. 0 or -errno. */
int master_try(const struct state *state, const char *file);

/* Goes on from a state in its place: what it says is in force at once, and the configuration is
 * read then. 0 or -errno. */
int master_resume(struct master *master, const struct state *state);
void master_close(struct master *master);

/* Stops: no new connection; those in hand may end within their graceful_timeout, or end now. */
void master_stop(struct master *master);
void master_stop_now(struct master *master);

#endif
