/*
 * colour - colours of a terminal.
 *
 * Owns:      which colour means what, and their escape sequences: "\033[", digits, "m".
 * Called by: table, status_view, terminal.
 * Runs in:   preforkctl.
 */
#ifndef PREFORKD_CTL_COLOUR_H
#define PREFORKD_CTL_COLOUR_H

#include <stddef.h>

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
