/*
 * orders - what the master does when it is told to: a function a verb, and what a caller waits for.
 *
 * Called by a signal, there is no request, and no argument.
 * Owns:      what an order means, and what is said of it.
 * Knows not: which signal or word it belongs to (verbs).
 * Called by: verbs, supervisor.
 * Runs in:   the master.
 */
#ifndef PREFORKD_MASTER_ORDERS_H
#define PREFORKD_MASTER_ORDERS_H

#include "master.h"

void orders_reload(struct master *master, struct request *request);
void orders_restart(struct master *master, struct request *request);
void orders_upgrade(struct master *master, struct request *request);
void orders_stop(struct master *master, struct request *request); /* the second time now */
void orders_stop_now(struct master *master, struct request *request);

void orders_drain(struct master *master, struct request *request);
void orders_resume(struct master *master, struct request *request);
void orders_scale(struct master *master, struct request *request);
void orders_more(struct master *master, struct request *request); /* a worker, in every pool */
void orders_fewer(struct master *master, struct request *request);

void orders_status(struct master *master, struct request *request);
void orders_deaths(struct master *master, struct request *request);
void orders_ping(struct master *master, struct request *request);
void orders_tell(struct master *master, struct request *request); /* to the log */

/* In a program that replaced another: takes over those who asked that one for it. */
void orders_adopt_callers(struct master *master, const struct state *state);

/* Whether a request has its answer: what it waited for is there, or can't come any more. */
bool orders_settled(struct master *master, struct request *request);

#endif
