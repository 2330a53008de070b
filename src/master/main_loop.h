/*
 * main_loop - the master's loop: wait, obey, reap, step, announce.
 *
 * Every round acts on the present state, so a lost or merged signal changes nothing. Nothing here
 * sleeps or blocks, but for the wait.
 * Called by: main.
 * Runs in:   the master.
 */
#ifndef PREFORKD_MASTER_MAIN_LOOP_H
#define PREFORKD_MASTER_MAIN_LOOP_H

#include "master.h"

/* Runs until the master was stopped and the last worker has ended. Returns the exit status. */
int main_loop_run(struct master *master);

#endif
