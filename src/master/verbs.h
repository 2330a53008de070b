/*
 * verbs - what the master can be told to do: one table of word, signal, function and help, so that
 * a signal and a word that mean the same are the same row.
 *
 * Called by: supervisor, main (the signals to take).
 * Runs in:   the master.
 */
#ifndef PREFORKD_MASTER_VERBS_H
#define PREFORKD_MASTER_VERBS_H

#include "master.h"

struct verb {
    const char *word;                                            /* NULL: by signal alone */
    int signal;                                                  /* 0: by word alone */
    void (*run)(struct master *master, struct request *request); /* NULL: nothing but to wake up */
    const char *help;
    const char *arguments; /* of the word: "POOL N"; those in brackets may be left out */
    bool asks;             /* changes nothing: the log is not told of it */
};

/* Ended by a row without both. */
extern const struct verb verbs[];

/* The signals of all verbs. */
void verbs_signals(sigset_t *set);

const struct verb *verbs_by_signal(int number); /* NULL: none */

/* The verb of a request's words. NULL where there is none, or its arguments are wrong: the request
 * says so. */
const struct verb *verbs_of_request(struct request *request);

#endif
