/*
 * top - the daemon's status, live in a terminal, until a key or a signal ends it.
 *
 * Called by: preforkctl.
 * Runs in:   preforkctl.
 */
#ifndef PREFORKD_CTL_TOP_H
#define PREFORKD_CTL_TOP_H

#include "../wire/message.h"

/* Repeats the request each second, and shows the answer. 0, or -errno if no daemon was there
 * (*where is then what was tried) or the terminal can't be had. A signal that ends it ends the
 * process. */
int top_run(const char *path, struct message_request *request, bool coloured, const char **where);

#endif
