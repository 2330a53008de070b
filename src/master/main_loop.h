/*
 * main_loop - the loop of the master: wait, obey, reap, step, announce.
 *
 * Every round looks at the present state, so a lost or merged signal changes nothing. Nothing in it
 * sleeps, and nothing in it blocks.
 * Called by: main.
 * Runs in:   the master.
 */
#ifndef PREFORKD_MASTER_MAIN_LOOP_H
#define PREFORKD_MASTER_MAIN_LOOP_H

#include "master.h"

/* Runs until the last worker is gone after a stop. Returns the exit status. */
int main_loop_run(struct master *master);

#endif
