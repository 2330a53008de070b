/*
 * worker - a child's life, from fork to _exit.
 */
#ifndef PREFORKD_WORKER_WORKER_H
#define PREFORKD_WORKER_WORKER_H

#include "../board/source_limits.h"
#include "../config/config.h"

enum {
    WORKER_LISTENERS_MAX = 256, /* of one pool */
    WORKER_OTHERS_MAX = 5, /* descriptors: two of the log, the wakeup, the wake-up, the boards */
    WORKER_TITLE = 64,
};

/* "preforkd: pool NAME, idle": the last word changes. */
#define WORKER_TITLE_BEGIN "preforkd: pool "
#define WORKER_TITLE_END   ", idle"

struct listener;

/* What the master hands to a child at its start. */
struct worker_start {
    const struct pool_config *pool;
    const struct log_config *log; /* if it is not the one in force; else NULL */
    pid_t master;
    char title[WORKER_TITLE];
    size_t title_length;
    int listeners[WORKER_LISTENERS_MAX + WORKER_OTHERS_MAX]; /* the worker appends what it keeps */
    int listener_count;
    bool polls;    /* waits in epoll, as all of its generation do */
    uint32_t seat; /* its first slot in the scoreboard, and its note in the limits: it has as
                                 many of both as its pool says, one after another */
    struct scoreboard *board; /* of its pool and generation: the only one that it has */
    struct limits *limits;    /* per source, of its pool; NULL: it has none */
    int overview_fd;          /* the overview, if the handler `reads_board`; else -1; and */
    int boards_fd;            /* a socket by which it asks the master for scoreboards */
    int wakeup;               /* an eventfd that wakes the master */
    int error_fd;             /* becomes its standard error */

    /* Of a handler that becomes a program: see struct service. */
    unsigned generation;
    struct listener *const *sockets; /* of which the listeners are the descriptors */
    int number;
    const char *notify;
    usec watchdog;
};

/* Called once in the master, before the first start: what is the same for all, is made ready here,
 * at the price of one. */
void worker_prepare(void);

/* Called in the child with every signal blocked. */
_Noreturn void worker_run(struct worker_start *start);

#endif
