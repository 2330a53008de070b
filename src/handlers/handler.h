/*
 * handler - what a worker does with a connection: the interface, and the list of those built in.
 *
 * A handler knows conn, wire and its own section of the configuration; never the pool, the worker
 * or the model that it serves in: what it needs of them comes in struct service.
 * Called by: main and master/check (sections, check), worker (start), the lane (serve).
 * Runs in:   check in a short-lived child with the pool's user; start and serve in a worker.
 */
#ifndef PREFORKD_HANDLERS_HANDLER_H
#define PREFORKD_HANDLERS_HANDLER_H

#include "../config/option.h"
#include "../conn/conn.h"

#include <stdatomic.h>
#include <sys/types.h>

/* What a worker lends to its handler, from the worker's birth to its end. */
struct service {
    const char *pool;         /* its name, for the log */
    const void *config;       /* the handler's section, as its rows filled it */
    char *const *environment; /* of programs, ended by NULL; NULL for a handler that runs none */
    _Atomic(pid_t) *program;  /* where the process group of a running program is written, else 0 */
    unsigned seats;           /* how many connections the pool serves at once, at most */
    int idle_timeout;    /* seconds; conn keeps it for whoever waits in conn_read, conn_write */
    int request_timeout; /* seconds, 0 none: kept by the master, but for handlers that do so */
    int log_level;       /* of a line about each request; -1: none */

    /* For a handler that serves requests in turn on one connection. `rest`: none is in hand from here
     * on, or one is again. `crowded`: whether a connection at rest should be given up, because no
     * seat is free, or the worker is told to finish. */
    void (*rest)(struct service *service, bool resting);
    bool (*crowded)(struct service *service);
};

struct handler {
    struct handler_section section; /* first, so that a section's address is its handler's */

    bool runs_programs; /* the socket is theirs: no timeout may be left on it */

    /* Looks whether the world has what the section needs: as the pool's user, in its chroot and
     * directory. NULL: nothing to look for. */
    void (*check)(const char *pool, const void *config, const struct origin *origin,
                  struct faults *faults);

    /* Serves one connection to its end; whoever called closes it. 0, or -errno for the log. */
    int (*serve)(struct service *service, struct conn *conn);
};

extern const struct handler handler_echo, handler_discard, handler_daytime, handler_time,
    handler_chargen, handler_exec, handler_cgi;

/* The sections of all handlers, ended by NULL. */
extern const struct handler_section *const handler_sections[];

static inline const struct handler *handler_of(const struct handler_section *section)
{
    return (const struct handler *)section;
}

#endif
