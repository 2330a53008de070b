/*
 * terminal - the terminal while top runs: the alternate screen, its colours, and the keys.
 *
 * Owns:      the terminal's state and the state to restore; which colour means what, and the escape
 *            sequences of colours: "\033[", digits, "m".
 * Knows not: what is shown.
 * Called by: top; table and status_view for the colours.
 * Runs in:   preforkctl.
 */
#ifndef PREFORKD_CTL_TERMINAL_H
#define PREFORKD_CTL_TERMINAL_H

#include <stdbool.h>
#include <stddef.h>

/* Enters the alternate screen, without a cursor. 0 or -errno. */
int screen_enter(void);

/* Restores the terminal. May be called twice, and from a signal handler. */
void screen_leave(void);

/* The current size of the terminal. */
void screen_size(int *rows, int *columns);

/* Shows lines from the top left corner on, cut to the size of the terminal, and clears the rest of
 * the screen. */
void screen_show(const char *text, size_t size);

/* A key is its byte, or one of these. */
enum key {
    KEY_NONE = 256, /* no key is left */
    KEY_UP,
    KEY_DOWN,
    KEY_PAGE_UP,
    KEY_PAGE_DOWN,
    KEY_HOME,
    KEY_END,
    KEY_ESCAPE,
    KEY_OTHER, /* any key without a name here */
};

struct keys {
    char bytes[64];
    size_t count, taken;
};

/* Reads what was typed. Waits briefly for the rest of a key that arrives in pieces. False: the
 * terminal is gone. */
bool keys_read(struct keys *keys);

/* Takes the next key, or KEY_NONE. */
int keys_next(struct keys *keys);

enum colour { COLOUR_NONE, COLOUR_HEAD, COLOUR_GOOD, COLOUR_ODD, COLOUR_BAD, COLOURS };

/* The sequences before and after a text of this colour; both empty for COLOUR_NONE. */
static inline const char *colour_begin(enum colour colour)
{
    static const char *const begins[COLOURS] = {"", "\033[1m", "\033[32m", "\033[33m", "\033[31m"};
    return begins[colour];
}

static inline const char *colour_end(enum colour colour)
{
    return colour == COLOUR_NONE ? "" : "\033[0m";
}

/* The length of a colour sequence that begins at `at`; 0 if none does. */
static inline size_t colour_length(const char *at, size_t most)
{
    size_t length = 2;
    if (most < 3 || at[0] != '\033' || at[1] != '[')
        return 0;
    while (length < most && at[length] >= '0' && at[length] <= '9')
        length++;
    return length < most && at[length] == 'm' ? length + 1 : 0;
}

#endif
