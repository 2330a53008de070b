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
    const char *word; /* NULL: by signal alone */
    int signal;
    void (*run)(struct master *master); /* NULL: nothing but to wake up */
    const char *help;
};

/* Ended by a row without a signal. */
extern const struct verb verbs[];

/* The signals of all verbs. */
void verbs_signals(sigset_t *set);

const struct verb *verbs_by_signal(int number); /* NULL: none */

#endif
