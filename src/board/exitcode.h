/*
 * exitcode - what an exit status says: of preforkd to the process that started it, of a worker to
 * its master.
 */
#ifndef PREFORKD_BOARD_EXITCODE_H
#define PREFORKD_BOARD_EXITCODE_H

/* Of preforkd itself; preforkd(8) lists them. */
enum exit_code {
    EXIT_STOPPED = 0,      /* as asked */
    EXIT_CONFIG = 1,       /* whatever -t finds */
    EXIT_USAGE = 2,        /* of the command line */
    EXIT_START_FAILED = 3, /* an address in use, a lock, no worker becomes ready */
    EXIT_BUG = 70,         /* EX_SOFTWARE of sysexits(3) */
};

/* Of a worker. Programs never exit with these in its place: they are its children. */
enum worker_exit {
    WORKER_RETIRED = 0,     /* told to, or after max_requests */
    WORKER_CANT_START = 71, /* the slot's `reason` says why; nothing was accepted */
    WORKER_LISTENER = 72,   /* accept() says that its listener is none any more */
    WORKER_ENDED = 73,      /* QUIT: ended with what it ran */
    WORKER_SHORT = 74,      /* accept() failed for long, for want of what is this process's own */
};

#endif
