/*
 * background - processes of a program that put itself into the background, in a session of their own.
 *
 * Nothing in the kernel leads from them to the worker that started them: neither parent, nor group,
 * nor session. But they have its listener, and nobody has that but by inheritance: whoever has it, and
 * is no descendant of the master, was left behind.
 * Knows not: what is made of it.
 * Called by: maintain.
 * Runs in:   the master.
 */
#ifndef PREFORKD_MASTER_BACKGROUND_H
#define PREFORKD_MASTER_BACKGROUND_H

#include "process_groups.h"

/* One that was born after the worker `after`, has a listener where programs get it, is no descendant of
 * the master, and in none of the groups that are followed: those have time to finish. 0: there is none,
 * or none that is shown to us. Looks at each process that is younger than the worker. */
pid_t background_find(pid_t master, pid_t after, int listener_fd, const struct groups *followed);

#endif
