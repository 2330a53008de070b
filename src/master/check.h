/*
 * check - is a configuration right, and is the world as it needs it? Asked in a child, which may
 * hang on a lookup, or crash, and is then lost alone.
 *
 * The child fills the configuration's arena, which it shares with us: so what it parsed is ours
 * without a second reading. It is ours once the child has been reaped, and not before: a child that
 * is late is killed first. In it, for each pool, one more child becomes what the pool's workers
 * would become, and the handler looks at the world with their eyes.
 * Called by: main (and waits), reload (and does not), in the master; its children are checks.
 */
#ifndef PREFORKD_MASTER_CHECK_H
#define PREFORKD_MASTER_CHECK_H

#include "../config/config.h"

/* Starts the child that fills `config` from the file. Its pid, or -errno. */
pid_t check_start(struct config *config, const char *file);

/* The fault of a child that does not end though it was killed: then nothing of it may be read. */
#define CHECK_STUCK "the check took too long, and can't be ended: it waits in the kernel"

/* The child was reaped with this status of waitpid(2): whether the configuration may be used. If
 * not, its faults say why. `late`: it was killed after so many seconds; else 0. */
bool check_passed(struct config *config, const char *file, int status, int late);

/* In a forked child: this is no master, and ends with the one that forked it. */
void check_become_child(pid_t parent);

/* Both, and waits in between, but not for ever. */
bool check_config(struct config *config, const char *file);

#endif
