/*
 * answer - what preforkctl says itself, in the form of the daemon's answers: text, or with --json
 * an object on standard output.
 *
 * Called by: preforkctl, local.
 * Runs in:   preforkctl.
 */
#ifndef PREFORKD_CTL_ANSWER_H
#define PREFORKD_CTL_ANSWER_H

#include "../wire/message.h"

/* Looks for --json, before anything is said. */
void answer_begin(const struct message_request *request);

bool answer_is_json(void);

/* Says what was asked for. The exit status, which is MESSAGE_REFUSED if it could not be written. */
int answer_say(const char *text);

/* Says why that can't be had. `status`. */
int answer_fail(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Whether all that was printed has arrived; if not, says so. */
bool answer_is_out(void);

#endif
