/*
 * faults - what is wrong in a configuration: sentences with file and line, collected, not logged.
 *
 * They lie in an arena, so that the child that checks can note them, and the master or main prints
 * them.
 */
#ifndef PREFORKD_BASE_FAULTS_H
#define PREFORKD_BASE_FAULTS_H

#include "arena.h"

struct fault {
    struct fault *next;
    const char *file; /* never NULL */
    int line;         /* from 1; 0: the file as a whole */
    const char *text; /* what is wrong and what to do, no full stop */
};

enum { FAULTS_MAX = 200 }; /* more are counted, not kept */

struct faults {
    struct arena *arena;
    struct fault *first; /* in the order of files as first noted, then of lines */
    unsigned count;      /* all noted, those beyond FAULTS_MAX too */
};

enum { FAULT_PLACE = 4200 }; /* bytes: a path and a line */

/* Writes "FILE:LINE", or "FILE" if it is the file as a whole. */
const char *fault_place(const struct fault *fault, char text[static FAULT_PLACE]);

void faults_init(struct faults *faults, struct arena *arena);

/* Notes one. The same sentence at the same place is noted once. */
void faults_add(struct faults *faults, const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#endif
