/*
 * faults - what is wrong in a configuration: sentences with file and line, collected, not logged.
 *
 * They lie in an arena: the child that checks the file adds them, and the master or main prints
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

enum { FAULTS_MAX = 200 }; /* faults beyond are counted, not kept */

struct faults {
    struct arena *arena;
    struct fault *first; /* by file, in the order of their first faults, then by line */
    unsigned count;      /* including those beyond FAULTS_MAX */
};

enum { FAULT_PLACE = 4200 }; /* bytes for a path and a line */

/* Writes "FILE:LINE", or "FILE" if the fault has no line. */
const char *fault_place(const struct fault *fault, char text[static FAULT_PLACE]);

void faults_init(struct faults *faults, struct arena *arena);

/* Adds a fault, unless the same sentence is there for the same place. */
void faults_add(struct faults *faults, const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#endif
