/*
 * report - the reports of the daemon that preforkctl shows in a form of its own: it asks for their
 * JSON, and makes tables of it. A build without jansson shows what the daemon answers instead.
 *
 * Called by: preforkctl, top.
 * Runs in:   preforkctl.
 */
#ifndef PREFORKD_CTL_REPORT_H
#define PREFORKD_CTL_REPORT_H

#include "../wire/message.h"
#include "arrange.h"

/* Bytes of an answer that are kept; the daemon's have less. */
enum { REPORT_MAX = 32 * 1024 * 1024 };

/* Whether the answer to this command is to be shown by report_show. Then it asks for JSON now, and
 * for no more of it than is shown. */
bool report_ask(struct message_request *request);

/* The text of such an answer, be it a report or a refusal; from malloc(), ended by a NUL. NULL: the
 * answer is neither, or there is no memory. */
char *report_show(const char *json, size_t size, const struct wish *wish);

#endif
