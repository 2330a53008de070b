/*
 * check - is a configuration right, and is the world as it needs it? Asked in a child, which may
 * hang on a lookup, or crash, and is then lost alone.
 *
 * The child fills the configuration's arena, which it shares with us: so what it parsed is ours
 * without a second reading. In it, for each pool, one more child becomes what the pool's workers
 * would become, and the handler looks at the world with their eyes.
 * Called by: main (and waits), reload (and does not).
 * Runs in:   the master; its children are checks.
 */
#ifndef PREFORKD_MASTER_CHECK_H
#define PREFORKD_MASTER_CHECK_H

#include "../config/config.h"

/* Starts the child that fills `config` from the file. Its pid, or -errno. */
pid_t check_start(struct config *config, const char *file);

/* The child ended with this status of waitpid(2): whether the configuration may be used. If not,
 * its faults say why. */
bool check_passed(struct config *config, const char *file, int status);

/* In a forked child: this is no master, and ends with the one that it was forked of. */
void check_become_child(pid_t parent);

/* Both, and waits in between. */
bool check_config(struct config *config, const char *file);

#endif
