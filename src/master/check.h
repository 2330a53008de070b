/*
 * check - whether a configuration is right, and the system has what it needs. A child checks, so
 * that a lookup that hangs or a crash costs only the child.
 *
 * The child fills the configuration's arena, which it shares with us, so the file is read once. The
 * arena is ours only after the child was reaped: a child that takes too long is killed first. For
 * each pool, the child forks a probe, which takes the privileges of the pool's workers and calls
 * the handler's check.
 * Called by: main (and waits), reload (and does not), upgrade, in the master.
 */
#ifndef PREFORKD_MASTER_CHECK_H
#define PREFORKD_MASTER_CHECK_H

#include "../config/config.h"

/* Starts the child that fills `config` from the file. Returns its pid, or -errno. */
pid_t check_start(struct config *config, const char *file);

/* The fault if the child does not end although it was killed. `config` must not be read then. */
#define CHECK_STUCK "the check took too long, and can't be ended: it waits in the kernel"

/* A check is limited by its steps, not as a whole: a lookup of one name, or the probe of one pool,
 * ends within this time, and a file may need many. */
enum { CHECK_STEP_SECONDS = 60 };

/* Call CHECK_STEP_SECONDS after the start, and again after the last call: whether the child has
 * made a step since. If not, kill it. `seen` is 0 at the start. */
bool check_goes_on(const struct config *config, unsigned *seen);

/* Call when the child was reaped, with its waitpid(2) status. Returns whether the configuration may
 * be used; if not, its faults say why. `late`: the child was killed because it made no step. */
bool check_passed(struct config *config, const char *file, int status, bool late);

/* In a forked child: blocks the master's signals, and makes the child end with its parent. */
void check_become_child(pid_t parent);

/* Starts a check and waits for it while it makes steps. */
bool check_config(struct config *config, const char *file);

#endif
