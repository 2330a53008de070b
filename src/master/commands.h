/*
 * commands - the table of commands: word, signal and function; the functions, and when the answer
 * of each is complete. The help texts are in wire/message.
 *
 * Called by: main_loop, main (the signals to take, and to hold until then).
 * Runs in:   the master.
 */
#ifndef PREFORKD_MASTER_COMMANDS_H
#define PREFORKD_MASTER_COMMANDS_H

#include "master.h"

struct command {
    const char *word; /* NULL: a signal alone */
    int signal;       /* 0: a word alone */
    /* `request` is NULL for a signal. No function: the signal only wakes the master. */
    void (*run)(struct master *master, struct request *request);
    const char *help; /* of a row without a word */
    bool read_only;   /* logged at debug level */
};

/* Ends with a row that has neither word nor signal. */
extern const struct command commands_table[];

/* What the command does, in a few words. */
const char *commands_help(const struct command *command);

/* All signals in the table. */
void commands_signals(sigset_t *set);

const struct command *commands_by_signal(int number); /* NULL: none */

/* The command that a request's words name. NULL if the command is unknown or its arguments are
 * wrong: the request is refused then. */
const struct command *commands_by_request(struct request *request);

/* After an upgrade, takes over the clients that wait for its result. */
void commands_adopt_callers(struct master *master, const struct state *state);

/* Whether a request's answer is complete: what it waits for has happened, or never will. */
bool commands_settled(struct master *master, struct request *request);

#endif
