/*
 * exitcode - exit statuses: preforkd's, for the process that started it, and a worker's, for its
 * master.
 */
#ifndef PREFORKD_BOARD_EXITCODE_H
#define PREFORKD_BOARD_EXITCODE_H

/* Exit statuses of preforkd itself; preforkd(8) lists them. */
enum exit_code {
    EXIT_STOPPED = 0,      /* as asked */
    EXIT_CONFIG = 1,       /* the configuration is wrong */
    EXIT_USAGE = 2,        /* the command line is wrong */
    EXIT_START_FAILED = 3, /* an address in use, a lock, no worker becomes ready */
    EXIT_BUG = 70,         /* EX_SOFTWARE of sysexits(3) */
};

/* Exit statuses of a worker. A program's can't be mistaken for them: it is the worker's child. */
enum worker_exit {
    WORKER_RETIRED = 0,     /* as told, or after max_requests */
    WORKER_CANT_START = 71, /* the slot's `reason` says why; nothing was accepted */
    WORKER_LISTENER = 72,   /* a listener, or the epoll set, is none any more */
    WORKER_ENDED = 73,      /* by QUIT, with the program that it ran */
    WORKER_SHORT = 74,      /* accept() failed for long: the process is short of a resource */
};

#endif
