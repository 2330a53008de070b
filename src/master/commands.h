/*
 * commands - what the master does when it is told to: a function a command, and what a caller waits for.
 *
 * Called by a signal, there is no request, and no argument.
 * Owns:      what an order means, and what is said of it.
 * Knows not: which signal or word it belongs to (command_table).
 * Called by: command_table, main_loop.
 * Runs in:   the master.
 */
#ifndef PREFORKD_MASTER_COMMANDS_H
#define PREFORKD_MASTER_COMMANDS_H

#include "master.h"

void commands_reload(struct master *master, struct request *request);
void commands_restart(struct master *master, struct request *request);
void commands_upgrade(struct master *master, struct request *request);
void commands_stop(struct master *master, struct request *request); /* the second time now */
void commands_stop_now(struct master *master, struct request *request);

void commands_drain(struct master *master, struct request *request);
void commands_resume(struct master *master, struct request *request);
void commands_scale(struct master *master, struct request *request);
void commands_more(struct master *master, struct request *request); /* a worker, in every pool */
void commands_fewer(struct master *master, struct request *request);

void commands_status(struct master *master, struct request *request);
void commands_deaths(struct master *master, struct request *request);
void commands_ping(struct master *master, struct request *request);
void commands_tell(struct master *master, struct request *request); /* to the log */

/* In a program that replaced another: takes over those who asked that one for it. */
void commands_adopt_callers(struct master *master, const struct state *state);

/* Whether a request has its answer: what it waited for is there, or can't come any more. */
bool commands_settled(struct master *master, struct request *request);

#endif
