/*
 * terminal - the terminal as top has it: another page of it, without a cursor, given back as it was.
 *
 * Owns:      the terminal's state, and the one in which it was found.
 * Knows not: what is shown.
 * Called by: top.
 * Runs in:   preforkctl.
 */
#ifndef PREFORKD_CTL_TERMINAL_H
#define PREFORKD_CTL_TERMINAL_H

#include <stddef.h>

/* Takes the terminal. 0 or -errno. */
int screen_enter(void);

/* Gives it back. May be called twice, and from a signal's handler. */
void screen_leave(void);

/* Shows lines from the top left corner on, each cut to the terminal's width, and no more than it has
 * room for; what is below them is cleared. */
void screen_show(const char *text, size_t size);

#endif
