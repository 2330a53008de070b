/*
 * notify - the socket on which a program says that it is ready, alive, and how it is: one of each
 * worker's own, whose address it gets as NOTIFY_SOCKET.
 *
 * The address is a path that the pool's user alone can write to: anybody else could fill the
 * socket's queue, and what the program says would be lost. In another root directory there is no
 * such path: the address is an abstract one then, which everybody reaches. A sender that is neither
 * the worker's process nor one of its group is not heard by either.
 * Knows not: what follows from it (stop). Called by: spawn, stop, in the master.
 */
#ifndef PREFORKD_MASTER_NOTIFY_H
#define PREFORKD_MASTER_NOTIFY_H

#include "../base/loop.h"

#include <stdbool.h>
#include <sys/types.h>

enum { NOTIFY_ADDRESS = 108 };

struct notify {
    struct loop_watch watch; /* its fd is the socket */
    struct loop *loop;
    char address[NOTIFY_ADDRESS]; /* "/run/preforkd/notify/4711-1" or "@0001f" */
    pid_t pid;                    /* its process group is heard */
    uid_t uid;
    char *status; /* where STATUS= goes, `room` bytes */
    size_t room;

    bool *changed; /* set when something was heard; or NULL */
    bool ready, hung;
    usec watchdog; /* between two signs of life */
    usec alive_at; /* the last one; 0: it never gave any */
};

/* Opens one; the program is heard once `pid` is set. `elsewhere`: it will be in another root
 * directory. NULL with errno set. */
struct notify *notify_open(struct loop *loop, uid_t uid, bool elsewhere, char *status, size_t room);

/* Goes on with a socket that the binary before had. NULL with errno set: the descriptor stays the
 * caller's then. */
struct notify *notify_adopt(struct loop *loop, int fd, uid_t uid, char *status, size_t room);

/* NULL is let pass. */
void notify_close(struct notify *notify);

#endif
