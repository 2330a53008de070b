/*
 * notify - the socket on which a program says that it is ready, that it is alive, and its status,
 * as sd_notify(3) does. Each worker has its own socket, and gets its address as NOTIFY_SOCKET.
 *
 * The address is a path that only the pool's user can write to: anybody else could fill the
 * socket's queue, and the program's notices would be lost. A program in another root directory
 * can't see such a path, and gets an abstract address, which everybody can reach. On both, a
 * datagram counts only if its sender is the worker's process or one of its process group.
 * Knows not: what follows from a notice (stop).
 * Called by: spawn, stop, in the master.
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
    pid_t pid;                    /* only its process group is heard; 0: nobody */
    uid_t uid;
    char *status; /* the text of STATUS= is copied here, `room` bytes */
    size_t room;

    bool *changed; /* set at each notice; or NULL */
    bool ready, hung;
    usec watchdog; /* the longest time from one WATCHDOG=1 to the next */
    usec alive_at; /* the last WATCHDOG=1; 0: none */
};

/* Opens a socket. The program is heard once `pid` is set. `elsewhere`: the program will be in
 * another root directory. NULL with errno set. */
struct notify *notify_open(struct loop *loop, uid_t uid, bool elsewhere, char *status, size_t room);

/* Goes on with a socket of the binary before an upgrade. NULL with errno set, and then the
 * descriptor stays the caller's. */
struct notify *notify_adopt(struct loop *loop, int fd, uid_t uid, char *status, size_t room);

/* NULL is allowed. */
void notify_close(struct notify *notify);

#endif
