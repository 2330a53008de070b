/*
 * terminal - the terminal while top runs: the alternate screen, without a cursor.
 *
 * Owns:      the terminal's state, and the state to restore.
 * Knows not: what is shown.
 * Called by: top.
 * Runs in:   preforkctl.
 */
#ifndef PREFORKD_CTL_TERMINAL_H
#define PREFORKD_CTL_TERMINAL_H

#include <stddef.h>

/* 0 or -errno. */
int screen_enter(void);

/* Restores the terminal. May be called twice, and from a signal's handler. */
void screen_leave(void);

/* How many lines and columns it has now. */
void screen_size(int *rows, int *columns);

/* Shows lines from the top left corner on, cut to the terminal's width and height. The rest of the
 * screen is cleared. */
void screen_show(const char *text, size_t size);

#endif
