/*
 * worker - the life of a worker process, from fork to _exit.
 */
#ifndef PREFORKD_WORKER_WORKER_H
#define PREFORKD_WORKER_WORKER_H

#include "../board/source_limits.h"
#include "../config/config.h"

enum {
    WORKER_LISTENERS_MAX = 256, /* of one pool */
    WORKER_OTHERS_MAX = 5, /* more descriptors: two of the log, the eventfd, the boards' socket */
    WORKER_TITLE = 64,
};

/* "preforkd: pool NAME, idle": the last word changes. */
#define WORKER_TITLE_BEGIN "preforkd: pool "
#define WORKER_TITLE_END   ", idle"

struct listener;

/* What the master hands to a new worker. */
struct worker_start {
    const struct pool_config *pool;
    const struct log_config *log; /* the log's new configuration; NULL: the one in force */
    pid_t master;
    char title[WORKER_TITLE];
    size_t title_length;
    int listeners[WORKER_LISTENERS_MAX + WORKER_OTHERS_MAX]; /* the worker appends what it keeps */
    int listener_count;
    bool polls;        /* the worker waits for connections in epoll, as its whole generation does */
    bool own_timeouts; /* connections may inherit other timeouts than the worker's pool has */
    uint32_t seat;     /* the first of its consecutive slots in the scoreboard, and of its notes in
                      the limits */
    struct scoreboard *board; /* of the worker's pool and generation: the only one it has */
    struct limits *limits;    /* per source, of the pool; NULL: none */
    int overview_fd;          /* the overview, if the handler `reads_board`; else -1 */
    int boards_fd;            /* a socket on which to ask the master for scoreboards; else -1 */
    int wakeup;               /* an eventfd that wakes the master */
    int error_fd;             /* becomes standard error */

    /* For a handler that becomes a program: see struct service. */
    unsigned generation;
    struct listener *const *sockets; /* whose descriptors the listeners are */
    int number;
    const char *notify;
    usec watchdog;
};

/* The master calls this once, before the first fork. It prepares what all workers share. */
void worker_prepare(void);

/* Runs in the child, which starts with every signal blocked. */
_Noreturn void worker_run(struct worker_start *start);

#endif
