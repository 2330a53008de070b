/*
 * top - shows the daemon's status live in a terminal, until a key or a signal ends it.
 *
 * Called by: preforkctl.
 * Runs in:   preforkctl.
 */
#ifndef PREFORKD_CTL_TOP_H
#define PREFORKD_CTL_TOP_H

#include "../wire/message.h"

/* Repeats the request each second, and shows the reply. 0, or -errno if there is no daemon, or the
 * terminal can't be used; then *where is what failed. A fatal signal ends the process. */
int top_run(const char *path, struct message_request *request, bool coloured, const char **where);

#endif
