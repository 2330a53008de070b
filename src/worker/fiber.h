/*
 * fiber - a function with a stack of its own, which leaves off in the middle and goes on later.
 *
 * Knows nothing of connections. A few lines of assembler for x86-64 and aarch64; ucontext(3) on
 * other machines. In a worker of the event model, on one thread.
 *
 * A stack is memory that exists once it is touched, with a page below it that can't be: a function
 * that needs more than there is crashes the worker, and writes to nobody else's stack.
 */
#ifndef PREFORKD_WORKER_FIBER_H
#define PREFORKD_WORKER_FIBER_H

#include <stdbool.h>
#include <stddef.h>

enum { FIBER_STACK = 64 * 1024 }; /* the guard page included */

struct fiber {
    void *sp;    /* where it left off; of ucontext(3) its context */
    char *stack; /* the lowest byte; NULL: none yet */
    char *top;   /* above the highest one that is used */
    void (*run)(void *argument);
    void *argument;
    struct fiber *back; /* who started it, or went on with it last */
    bool ended;
    unsigned starts;   /* on this stack */
    void *fake;        /* what the address sanitizer keeps of it */
    unsigned valgrind; /* what valgrind calls its stack */
};

/* Makes the stack, of which nothing is touched yet. 0 or -errno. */
int fiber_open(struct fiber *fiber);
void fiber_close(struct fiber *fiber);

/* Prepares it to run the function; one that runs, or has left off, must have ended first. */
void fiber_start(struct fiber *fiber, void (*run)(void *argument), void *argument);

/* Goes on with it, until it leaves off or ends: then returns. `here` is the caller's own. */
void fiber_resume(struct fiber *here, struct fiber *fiber);

/* Leaves off, in the fiber itself; returns once it is gone on with. */
void fiber_leave(struct fiber *fiber);

/* Gives back the memory of the stack of one that has ended; it is there again once touched. */
void fiber_shrink(struct fiber *fiber);

#endif
