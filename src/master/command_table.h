/*
 * command_table - what the master can be told to do: one table of word, signal, function and help, so that
 * a signal and a word that mean the same are the same row.
 *
 * Called by: main_loop, main (the signals to take).
 * Runs in:   the master.
 */
#ifndef PREFORKD_MASTER_COMMAND_TABLE_H
#define PREFORKD_MASTER_COMMAND_TABLE_H

#include "master.h"

struct command {
    const char *word;                                            /* NULL: by signal alone */
    int signal;                                                  /* 0: by word alone */
    void (*run)(struct master *master, struct request *request); /* NULL: nothing but to wake up */
    const char *help;
    const char *arguments; /* of the word: "POOL N"; those in brackets may be left out */
    bool asks;             /* changes nothing: the log is not told of it */
};

/* Ended by a row without both. */
extern const struct command command_table[];

/* The signals of all command_table. */
void command_table_signals(sigset_t *set);

const struct command *command_table_by_signal(int number); /* NULL: none */

/* The command of a request's words. NULL where there is none, or its arguments are wrong: the request
 * says so. */
const struct command *command_table_of_request(struct request *request);

#endif
