/*
 * fiber - a function with a stack of its own, which can suspend itself and be resumed later.
 *
 * It knows nothing of connections. The switch is a few lines of assembler on x86-64 and aarch64,
 * and ucontext(3) on other machines. Runs in a worker of the event model, on one thread.
 *
 * A stack's pages exist once they are touched. Below the stack is a guard page: a function that
 * overflows its stack crashes the worker, and never writes to another fiber's stack.
 */
#ifndef PREFORKD_WORKER_FIBER_H
#define PREFORKD_WORKER_FIBER_H

#include <stdbool.h>
#include <stddef.h>

enum { FIBER_STACK = 60 * 1024 }; /* bytes; more if they fill no whole pages */

struct fiber {
    void *sp;    /* the stack pointer where the fiber is suspended; unused with ucontext(3) */
    char *stack; /* the lowest byte; NULL: no stack yet */
    char *top;   /* just above the highest byte in use */
    void (*run)(void *argument);
    void *argument;
    struct fiber *back; /* the fiber that resumed this one last */
    bool ended;
    unsigned starts;   /* on this stack */
    void *fake;        /* the address sanitizer's fake stack */
    unsigned valgrind; /* valgrind's number for the stack */
};

/* Makes the stack, without touching it. 0 or -errno. */
int fiber_open(struct fiber *fiber);
void fiber_close(struct fiber *fiber);

/* Prepares the fiber to run the function. Its former function must have ended. */
void fiber_start(struct fiber *fiber, void (*run)(void *argument), void *argument);

/* Runs the fiber until it suspends itself or ends. `here` is the caller's own fiber. */
void fiber_resume(struct fiber *here, struct fiber *fiber);

/* Suspends the fiber that calls it; returns when the fiber is resumed. */
void fiber_suspend(struct fiber *fiber);

/* Gives back the memory of an ended fiber's stack, which comes back, zeroed, when it is touched. */
void fiber_shrink(struct fiber *fiber);

#endif
