/*
 * handler - what a worker does with a connection: the interface, and the list of the built-in ones.
 *
 * A handler knows conn, wire and its own section of the configuration. It never knows the pool, the
 * worker or the model of serving: what it needs of them is in struct service. load and check run in
 * a short-lived child; load, start, serve and stop in a worker.
 */
#ifndef PREFORKD_HANDLERS_HANDLER_H
#define PREFORKD_HANDLERS_HANDLER_H

#include "../base/clock.h"
#include "../base/entry.h"
#include "../board/overview.h"
#include "../config/option.h"
#include "../conn/conn.h"

#include <signal.h>
#include <stdatomic.h>
#include <sys/types.h>

struct listener;

/* What a worker lends to its handler, from the worker's start to its end. */
struct service {
    const char *pool;         /* for the log */
    int model;                /* enum serve_model */
    void *lane;               /* the handler's own data of this lane: see lane_start */
    const void *config;       /* the handler's section, filled by its rows */
    char *const *environment; /* of programs, ended by NULL; NULL if the handler runs none */
    /* The process group of a running program, else 0: `program` for this worker's own use, `shown`
     * in the slot, for the master (see launch.h). */
    _Atomic(pid_t) *program, *shown;
    /* For reports, which call the pool degraded: how many programs in a row could not be started, 0
     * once one could; and the errno of the last. */
    _Atomic uint32_t *failed_starts, *start_error;
    struct slot_templates *templates; /* for reports: the templates' pids and counters */
    const int *listeners;             /* the listeners that connections come from */
    int listener_count;
    /* How many connections from the present peer's address the pool serves, this one included.
     * Reads all slots to find out. */
    unsigned (*same_peer)(const struct service *service);
    int pause_msec; /* set by serve: for how long the worker should accept no other connection */
    const struct file_id *file_id;  /* of the handler's `file` when it was checked */
    const _Atomic int *stopping;    /* not 0: the connection in hand is the last one */
    const struct view *view;        /* of all pools, if the handler `reads_board`; else NULL */
    struct shown_time *shown_times; /* in the worker's own scoreboard, writable; else NULL */
    unsigned seats;                 /* how many connections the pool can serve at once */
    int idle_timeout;               /* seconds; conn_read and conn_write enforce it */
    int request_timeout; /* seconds, 0: none; the master enforces it, unless the handler does */
    int log_level;       /* of the line about each request; -1: no line */

    /* For a handler that becomes a program. */
    struct listener *const *sockets; /* what `listeners` refer to, in the same order */
    unsigned generation;
    int number;         /* among the workers of its pool and generation, from 0 on */
    const char *notify; /* the address for NOTIFY_SOCKET; NULL: none */
    usec watchdog;      /* how often the program may have to report there that it is alive */

    /* For a handler that serves one request after the other on a connection. `renew`: there is no
     * request in hand, or the next one begins: its time starts now. `count_request`: the request
     * that began at `began` is done; for handlers that count_requests. `crowded`: whether to give
     * up a connection without a request, because no seat is free or the worker was told to
     * finish. */
    void (*renew)(struct service *service);
    void (*count_request)(struct service *service, usec began);
    bool (*crowded)(struct service *service);
};

/* What the master must know of a program that a worker becomes, which has none of our code to write
 * into the slot or to obey. */
struct app_policy {
    int stop_signal;  /* tells the program to finish; 0: the worker stays a worker */
    bool notifies;    /* it reports when it is ready; else it counts as ready after a second */
    int roll_at_once; /* how many are replaced at the same time; 0: all */
};

/* Which system calls its workers make once they have a connection; worker/seccomp_build.c has the
 * lists. */
enum handler_calls {
    CALLS_ANY,    /* any: the handler runs foreign code */
    CALLS_SERVE,  /* those of serving from and into existing memory */
    CALLS_REPORT, /* besides, those of looking at processes and queues */
};

/* To be called when the present connection's program has ended, before it is reaped: from then on
 * another process group may get its number. */
static inline void service_end_program(struct service *service)
{
    *service->program = 0;
    *service->shown = 0;
}

/* What is checked: the section of a pool, and where its faults go. */
struct handler_check {
    const char *pool;
    const struct handler_section *section;
    const struct origin *origin; /* of the section */
    const void *config;          /* the section, filled by its rows */
    int model;
    struct faults *faults;
};

/* Adds a fault at the line of the option; if that is "" or not set, at the line of the section. */
#define HANDLER_FAULT(check, option, format, ...)                                                  \
    faults_add((check)->faults, (check)->origin->file,                                             \
               option_line((check)->section->rows, (check)->origin, option),                       \
               "pool %s: %s: " format, (check)->pool, (check)->section->name, ##__VA_ARGS__)

struct handler {
    struct handler_section section; /* first, so that a section's address is its handler's */

    enum handler_calls calls;
    bool counts_requests; /* it reports each request's duration; else the connection's counts */
    bool runs_programs;   /* they use the socket, so no timeout may be set on it */
    bool gives_away;      /* they alone have it: the client may see its end before the worker */
    bool has_environment; /* code that it loads must see the pool's `environment` only */
    bool reads_board; /* its worker can read the overview and all scoreboards, since it reports on
                             all pools; a drain of everything would silence it, so leaves it out */
    usec grace;       /* if it enforces request_timeout itself: how long after that the master
                             ends the worker */

    /* The option that is blamed if a check crashes or hangs. NULL: the section. */
    const char *checked_option;

    /* The path of a file that each worker loads at its start: a reload replaces the workers if the
     * file has changed. NULL: there is none. */
    const char *(*file)(const void *config);

    /* Loads a shared object of ours. Runs before the worker, or the child that checks, becomes the
     * pool's user, because a chroot does not contain the object. 0, or -errno with a sentence in
     * `why`. NULL: nothing to load. */
    int (*load)(char *why, size_t size);

    /* Checks that the system has what the section needs, and that the handler can serve in that
     * model. Runs as the pool's user, in its chroot and directory. NULL: nothing to check. */
    void (*check)(const struct handler_check *check);

    /* Prepares everything that does not depend on a connection. Runs as the pool's user, in its
     * chroot. 0, or -errno with a sentence in `why`: the worker can't start. It may leave the
     * signals' handlers and mask in any state. NULL: nothing to prepare. */
    int (*start)(struct service *service, char *why, size_t size);

    /* Prepare and end a lane: the data shared by connections that never run at the same time, in a
     * worker of one thread by all of them. Run in the lane's own thread. lane_start stores its data
     * in service->lane. 0, or -errno with a sentence in `why`. NULL: nothing to prepare or to
     * end. */
    int (*lane_start)(struct service *service, char *why, size_t size);
    void (*lane_stop)(struct service *service);

    /* Serves one connection to its end; the caller closes it. 0, or -errno for the log. */
    int (*serve)(struct service *service, struct conn *conn);

    /* Tells the client of a connection that waited too long that it will not be served; the caller
     * closes it. Must not wait for the request, because other connections wait behind this one.
     * NULL: closing says enough. */
    void (*refuse)(struct service *service, struct conn *conn);

    /* Runs at the worker's orderly end, after its last connection. NULL: nothing to do. */
    void (*stop)(struct service *service);

    /* Instead of serving, the worker becomes a program that accepts connections itself.
     * `app_policy` fills in what the master must know of it. `exec` is the last thing that the
     * worker does; it finds every signal blocked, and returns only if it failed, with a sentence in
     * `why`. Both NULL: the worker serves. */
    void (*app_policy)(const void *config, struct app_policy *app_policy);
    void (*exec)(struct service *service, char *why, size_t size);
};

extern const struct handler handler_echo, handler_discard, handler_daytime, handler_time,
    handler_chargen, handler_exec, handler_module, handler_cgi, handler_app, handler_status,
    handler_agent;

/* The sections of all handlers, ended by NULL. */
extern const struct handler_section *const handler_sections[];

static inline const struct handler *handler_of(const struct handler_section *section)
{
    return (const struct handler *)section;
}

/* The app_policy of a section; zeroed if its workers serve. */
static inline struct app_policy handler_app_policy(const struct handler_section *section,
                                                   const void *config)
{
    struct app_policy app_policy = {0};
    if (handler_of(section)->app_policy)
        handler_of(section)->app_policy(config, &app_policy);
    return app_policy;
}

/* The timeouts that connections need, in seconds; 0: none, because programs would inherit them. */
static inline int handler_timeouts(const struct handler_section *section, int idle_timeout)
{
    return handler_of(section)->runs_programs ? 0 : idle_timeout;
}

#endif
