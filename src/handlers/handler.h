/*
 * handler - what a worker does with a connection: the interface, and the list of those built in.
 *
 * A handler knows conn, wire and its own section of the configuration; never the pool, the worker
 * or the model that it serves in: what it needs of them comes in struct service. load and check run
 * in a short-lived child; load, start, serve, stop in a worker.
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
    const char *pool;         /* its name, for the log */
    int model;                /* enum serve_model: how it serves */
    void *lane;               /* the handler's own, by lane: see lane_start */
    const void *config;       /* the handler's section, as its rows filled it */
    char *const *environment; /* of programs, ended by NULL; NULL for a handler that runs none */
    _Atomic(pid_t) *program;  /* the process group of a running program, else 0: for this worker's
                                 own use, and */
    _Atomic(pid_t) *shown;    /* the same in the slot, for the master: see launch.h */
    _Atomic uint32_t *failed_starts;  /* how many programs in a row could not be started, 0 once one
                                        could, and why: for reports, which call the pool degraded */
    _Atomic uint32_t *start_error;    /* an errno */
    struct slot_templates *templates; /* for reports: what they do, and which they are */
    const int *listeners;             /* that its connections come from */
    int listener_count;
    /* How many connections the pool serves of the present one's address, this one included; slots
     * are looked at for it. */
    unsigned (*same_peer)(const struct service *service);
    int pause_msec; /* set by serve: how long the worker should take no other connection */
    const struct file_id *file_id;  /* of the handler's `file`, as it was when it was checked */
    const _Atomic int *stopping;    /* the connection in hand is the last one */
    const struct view *view;        /* of all pools, if the handler `reads_board`; else NULL */
    struct shown_time *shown_times; /* of the own scoreboard, which can be written to; the same */
    unsigned seats;                 /* how many connections the pool serves at once, at most */
    int idle_timeout;               /* seconds; conn_read and conn_write keep it */
    int request_timeout; /* seconds, 0 none: kept by the master, but for handlers that do so */
    int log_level;       /* of a line about each request; -1: none */

    /* For a handler that becomes a program. */
    struct listener *const *sockets; /* what the listeners are; as many */
    unsigned generation;
    int number;         /* among the workers of its pool and generation, from 0 on */
    const char *notify; /* an address for NOTIFY_SOCKET; NULL: none */
    usec watchdog;      /* how often it may be asked to say there that it is alive */

    /* For a handler that serves requests in turn on one connection. `renew`: none is in hand, or
     * the next: its time counts from here. `count_request`: one that began then is done with; for
     * those that count_requests. `crowded`: whether a connection without a request should be given
     * up, because no seat is free, or the worker is told to finish. */
    void (*renew)(struct service *service);
    void (*count_request)(struct service *service, usec began);
    bool (*crowded)(struct service *service);
};

/* What the master must know of a program that a worker becomes: none of our code is left in it, to
 * write into its slot or to obey. */
struct app_policy {
    int stop_signal;  /* by which it is told to finish; 0: the worker stays what it is */
    bool notifies;    /* it says when it is ready; else it is once it has lived for a second */
    int roll_at_once; /* how many are replaced together; 0: all */
};

/* Which system calls its workers make once they have a connection; worker/seccomp_build.c has the
 * lists. */
enum handler_calls {
    CALLS_ANY,    /* what it runs is somebody else's: nobody knows */
    CALLS_SERVE,  /* to serve, from and into memory that is there */
    CALLS_REPORT, /* to look at processes and queues besides */
};
/* What ran for the present connection has ended, and was not waited for yet: from here on its
 * group's number may be another's. */
static inline void service_end_program(struct service *service)
{
    *service->program = 0;
    *service->shown = 0;
}

struct handler {
    struct handler_section section; /* first, so that a section's address is its handler's */

    enum handler_calls calls;
    bool counts_requests; /* tells of each how long it took; else it is the connection's time */
    bool runs_programs;   /* the socket is theirs: no timeout may be left on it */
    bool gives_away;      /* and theirs alone: the client may see the end before its worker does */
    usec grace;           /* beyond request_timeout, before the master ends the worker: for one that
                             keeps to request_timeout by itself */
    bool has_environment; /* what it brings into the worker sees the pool's `environment` alone */
    bool reads_board;     /* it tells of all pools: its worker can read the overview and every
                         scoreboard; and no drain of everything is meant for it, since that would
                         silence it */

    /* The option at which a check is told that crashes or hangs. NULL: the section. */
    const char *checked_option;

    /* The path of a file that each worker loads at its start, so that a reload replaces the workers
     * if it has changed. NULL: there is none. */
    const char *(*file)(const void *config);

    /* Loads a shared object of ours: before the worker, or the child that checks, becomes the
     * pool's user, since a chroot doesn't have it. 0, or -errno with a sentence in `why`. NULL:
     * nothing to load. */
    int (*load)(char *why, size_t size);

    /* Looks whether the world has what the section needs, and whether it can live in that model: as
     * the pool's user, in its chroot and directory. NULL: nothing to look for. */
    void (*check)(const char *pool, int model, const void *config, const struct origin *origin,
                  struct faults *faults);

    /* Prepares, before the first connection, whatever does not depend on one; as the pool's user,
     * in its chroot. 0, or -errno with a sentence in `why`: then the worker can't start. It may
     * leave signals as it likes. NULL: nothing to prepare. */
    int (*start)(struct service *service, char *why, size_t size);

    /* Prepares a lane, and ends it: what connections share that never run at the same time. In the
     * lane's own thread. All of a worker's, if it has one thread. It leaves its word in
     * service->lane. 0, or -errno with a sentence in `why`. NULL: nothing to prepare, or to end. */
    int (*lane_start)(struct service *service, char *why, size_t size);
    void (*lane_stop)(struct service *service);

    /* Serves one connection to its end; the caller closes it. 0, or -errno for the log. */
    int (*serve)(struct service *service, struct conn *conn);

    /* Tells the client of a connection that waited too long that it is not served; the caller
     * closes it. Must not wait for the request: others wait behind it. NULL: to be closed says as
     * much. */
    void (*refuse)(struct service *service, struct conn *conn);

    /* At the worker's orderly end, after its last connection. NULL: nothing to do. */
    void (*stop)(struct service *service);

    /* Instead of serving: the worker becomes a program, which accepts by itself. On which
     * app_policy; and how, as the last thing that the worker does: it returns only where it could
     * not, with a sentence in `why`. It finds every signal blocked. NULL, both: the worker serves.
     * */
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

#endif
