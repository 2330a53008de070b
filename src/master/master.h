/*
 * master - the state of the one process that opens the sockets, forks and supervises; how it
 * starts, resumes after an upgrade, and stops; and what it publishes: in the overview, which all
 * reports read, and as the status that systemd shows.
 *
 * Owns:      the runtime, the reload, the upgrade, the control socket, the master's phase.
 * Knows not: commands and signals (commands), the rounds (main_loop).
 * Called by: main, commands, main_loop.
 * Runs in:   the master.
 */
#ifndef PREFORKD_MASTER_MASTER_H
#define PREFORKD_MASTER_MASTER_H

#include "control.h"
#include "exits.h"
#include "upgrade.h"

enum master_phase {
    PHASE_STARTING, /* not every pool serves yet */
    PHASE_SERVING,
    PHASE_STOPPING, /* no new connections; workers finish those in hand */
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
    usec start_deadline;             /* of the first workers */
    void (*on_serving)(void *owner); /* called once, when every pool serves */
    void *owner;
    struct {
        unsigned generation; /* of the listeners in the overview; 0: publish them again */
        char status[512];    /* the last STATUS= */
        usec status_at;      /* when it was made */
        bool changed;        /* a pool was published since then */
    } published;
    /* Set by SIGUSR1. The state is logged at the end of the round, because signals arrive in the
     * order of their numbers: it must show what the others ask for. */
    bool log_state;
    struct oom oom;
    usec watchdog_at;
    bool look_everywhere; /* a wake-up may be lost at any pool's listener: see struct wakeups */
    usec look_at;         /* when all pools may look next */
};

/* Routes the signals into the loop, makes the overview. `self` is copied. 0 or -errno. */
int master_open(struct master *master, const sigset_t *signals, const struct upgrade_self *self);

/* Opens the listeners of a checked configuration, which it takes over, and makes the pools. Uses
 * listeners that the runtime has already. 0; or -1 with the faults in the configuration. */
int master_start(struct master *master, struct config *config);

/* In the trial of an upgrade: adopts the state as master_resume does, without being the master.
 * 0 or -errno. */
int master_try(const struct state *state, const char *file);

/* After an upgrade, in the place of master_start: adopts the state, and reads the configuration
 * later, by a reload. 0 or -errno. */
int master_resume(struct master *master, const struct state *state);
void master_close(struct master *master);

/* Stops: accepts no new connection. Workers finish those in hand within graceful_timeout, or end
 * now. */
void master_stop(struct master *master);
void master_stop_now(struct master *master);

/* Publishes one pool, after a step. */
void master_publish_pool(struct master *master, struct pool *pool, usec now);

/* Publishes the listeners, the generation and the host. */
void master_publish_listeners(struct master *master);

/* Sends READY=1 and a line of status to systemd; later, a changed line: once a second at most, or
 * at once if someone may look at it now. Returns the time of the next call. */
void master_publish_ready(struct master *master, usec now);
usec master_publish_status(struct master *master, usec now, bool at_once);

/* Logs the state of each pool. */
void master_log_state(struct master *master);

#endif
