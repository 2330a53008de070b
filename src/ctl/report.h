/*
 * report - the reports that preforkctl formats itself: it asks the daemon for JSON, and turns that
 * into tables. A build without jansson shows the daemon's text instead.
 *
 * Called by: preforkctl, top.
 * Runs in:   preforkctl.
 */
#ifndef PREFORKD_CTL_REPORT_H
#define PREFORKD_CTL_REPORT_H

#include "../wire/message.h"
#include "arrange.h"

/* The longest reply that is kept, in bytes; the daemon's are shorter. */
enum { REPORT_MAX = 32 * 1024 * 1024 };

/* Whether the reply to this command is for report_show. If so, changes the request: it asks for
 * JSON, and for no more than is shown. */
bool report_ask(struct message_request *request);

/* Formats such a reply, a report or a refusal, as a text from malloc(). NULL: the reply is neither,
 * or memory is short. */
char *report_show(const char *json, size_t size, const struct view_options *options);

#endif
