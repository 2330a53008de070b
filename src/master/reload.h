/*
 * reload - from one configuration to the next: everything that can fail, fails before anything
 * visible changes.
 *
 * check (in a child) -> prepare (open new listeners, fork a canary for each changed pool) ->
 * commit (put in force, close what nobody wants) -> roll (the next generation is forked; when it
 * is ready the old one retires). Until the commit, a rollback leaves all as it was.
 * Owns:      struct realm: the configuration in force, its pools and listeners; and the reload's
 *            state.
 * Knows not: signals, who asked.
 * Called by: master.
 * Runs in:   the master.
 */
#ifndef PREFORKD_MASTER_RELOAD_H
#define PREFORKD_MASTER_RELOAD_H

#include "plan.h"
#include "pool.h"

/* What is in force. */
struct realm {
    struct spawner spawner;
    struct config *config;
    unsigned generation;
    struct pool *pools;
    struct listener *listeners;
};

enum reload_state {
    RELOAD_NONE,
    RELOAD_CHECKING, /* the child runs */
    RELOAD_CANARIES, /* not all are ready */
    RELOAD_ROLLING,  /* in force; outdated workers are there still */
};

struct reload {
    enum reload_state state;
    bool again;            /* asked for while one is under way */
    struct config *config; /* the one to come */
    pid_t checker;         /* 0: none */
    usec deadline;         /* of the check; of idle old workers, once the new ones serve */
    usec began;
    struct plans plans;
    unsigned done, refused; /* how many were */
};

/* The start: puts a checked configuration (taken over) in force. 0; or -1 with its faults noted. */
int reload_first(struct reload *reload, struct realm *realm, struct config *config);

/* Begins one; or notes that another is wanted after the one under way. */
void reload_begin(struct reload *reload, const struct realm *realm);

/* A child that is no worker ended. True where it was the checking one. */
bool reload_reaped(struct reload *reload, struct realm *realm, pid_t pid, int status);

/* Goes on as far as it can. Returns when it wants to be called again. */
usec reload_step(struct reload *reload, struct realm *realm, usec now);

/* The daemon stops: nothing is reloaded any more. */
void reload_abandon(struct reload *reload);

/* All listeners, closed. */
void reload_close_listeners(struct realm *realm);

#endif
