/*
 * local - the commands that preforkctl carries out without the daemon's control socket: help,
 * version, logs.
 *
 * Called by: preforkctl.
 * Runs in:   preforkctl.
 */
#ifndef PREFORKD_CTL_LOCAL_H
#define PREFORKD_CTL_LOCAL_H

#include "../wire/message.h"

/* Carries out the command if it is one of these: its exit status. -1: it is another one. */
int local_run(const struct message_request *request);

#endif
