/*
 * commands - what the master can be told to do, one row of a table each: word, signal and
 * function; and what a caller waits for. What the words mean is in wire/usage.
 *
 * Called by: main_loop, main (the signals to take).
 * Runs in:   the master.
 */
#ifndef PREFORKD_MASTER_COMMANDS_H
#define PREFORKD_MASTER_COMMANDS_H

#include "master.h"

struct command {
    const char *word; /* NULL: by signal alone */
    int signal;       /* 0: by word alone */
    /* By a signal there is no request. NULL: the signal does nothing but wake us. */
    void (*run)(struct master *master, struct request *request);
    const char *help; /* of a signal that has no word */
    bool asks;        /* changes nothing: it is not logged */
};

/* Ended by a row without word and signal. */
extern const struct command commands_table[];

const char *commands_help(const struct command *command); /* what it does, in a few words */

/* The signals of all commands. */
void commands_signals(sigset_t *set);

const struct command *commands_by_signal(int number); /* NULL: none */

/* The command of a request's words. NULL if there is none, or its arguments are wrong: the
 * request says so. */
const struct command *commands_by_request(struct request *request);

/* After an upgrade: takes over the requests for it. */
void commands_adopt_callers(struct master *master, const struct state *state);

/* Whether a request has its answer: what it waited for is there, or can't come any more. */
bool commands_settled(struct master *master, struct request *request);

#endif
