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

#include <stdbool.h>
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

/* A key is its byte, or one of these. */
enum key {
    KEY_NONE = 256, /* no further one was typed */
    KEY_UP,
    KEY_DOWN,
    KEY_PAGE_UP,
    KEY_PAGE_DOWN,
    KEY_HOME,
    KEY_END,
    KEY_ESCAPE,
    KEY_OTHER, /* one that has no name here */
};

struct keys {
    char bytes[64];
    size_t count, taken;
};

/* Reads what was typed. A key that comes in pieces is waited for, but not for long. False: the
 * terminal is gone. */
bool keys_read(struct keys *keys, int fd);

/* Takes the next key, or KEY_NONE. */
int keys_next(struct keys *keys);

enum colour { COLOUR_NONE, COLOUR_HEAD, COLOUR_GOOD, COLOUR_ODD, COLOUR_BAD, PAINTS };

/* The sequences before and behind a text of this colour; both empty for COLOUR_NONE. */
static inline const char *colour_begin(enum colour paint)
{
    static const char *const begins[PAINTS] = {"", "\033[1m", "\033[32m", "\033[33m", "\033[31m"};
    return begins[paint];
}

static inline const char *colour_end(enum colour paint)
{
    return paint == COLOUR_NONE ? "" : "\033[0m";
}

/* Bytes of such a sequence if one begins here; else 0. */
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
