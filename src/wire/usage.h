/*
 * usage - the commands that preforkctl knows: how each is written, and what it does.
 *
 * Owns:      the words, for the daemon and for preforkctl.
 * Knows not: how a command is carried out.
 * Called by: master/commands, preforkctl.
 * Runs in:   the master, preforkctl.
 */
#ifndef PREFORKD_WIRE_USAGE_H
#define PREFORKD_WIRE_USAGE_H

#include <stdbool.h>

struct usage {
    const char *word;
    const char *arguments; /* "POOL N"; those in brackets may be left out */
    const char *help;
    const char *example; /* a command line; NULL: none is needed */
    bool is_local;       /* preforkctl carries it out without the daemon's control socket */
};

/* Ended by a row without a word. */
extern const struct usage usage_table[];

const struct usage *usage_find(const char *word); /* NULL: none */

/* Whether so many arguments are as many as it takes. */
bool usage_fits(const struct usage *usage, int count);

/* Writes the word, its arguments and its help: a line of a list, without a newline. */
enum { USAGE_LINE = 120 };
const char *usage_line(const struct usage *usage, char line[static USAGE_LINE]);

#endif
