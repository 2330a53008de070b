/*
 * conn - one accepted connection, in a worker: read, write, count, take a PROXY header off it.
 *
 * The socket blocks. Its deadline is SO_RCVTIMEO and SO_SNDTIMEO, which TCP inherits from the
 * listener (tcp(7)) and serve sets on a Unix socket: so waiting costs no system call. A connection
 * that shares its thread with others has a waiter in their place, and no call of its socket blocks.
 */
#ifndef PREFORKD_CONN_CONN_H
#define PREFORKD_CONN_CONN_H

#include "../base/addr.h"
#include "../base/clock.h"
#include "waiter.h"

#include <stdint.h>
#include <sys/types.h>

struct conn {
    int fd;                /* -1: the handler has given it to a program, and closed it */
    int nowait;            /* MSG_DONTWAIT if there is a waiter; else 0 */
    struct waiter *waiter; /* NULL: the socket blocks */
    bool drained;          /* with a waiter: the last read took all that was there */
    bool late;             /* it waited longer than queue_timeout to be accepted */
    bool proxied;          /* a PROXY header told `peer`, and `local`; else the socket knows both */
    struct addr peer;      /* the client */
    uint64_t in, out;      /* bytes that a handler inside the worker read and wrote */
    bool counted; /* whether `in` and `out` are known: a program that has the socket counts none */
    bool has_status;   /* whether a program served it, */
    int status;        /* and how that ended, as waitpid(2) tells it */
    void *lane, *own;  /* a module's, of its lane and of this connection */
    struct addr local; /* if `proxied`, the address that the peer connected to; else not set */
};

/* Reads what is there, up to `size` bytes: how many, 0 at the end of the stream, -ETIMEDOUT after
 * idle_timeout, or -errno. */
ssize_t conn_read(struct conn *conn, void *data, size_t size);

/* Writes all of it. 0, -ETIMEDOUT if there was no room for idle_timeout, or -errno. */
int conn_write(struct conn *conn, const void *data, size_t size);

/* The same without waiting: -EAGAIN if nothing is there, or no room; of what is to be written
 * perhaps a part. */
ssize_t conn_read_now(struct conn *conn, void *data, size_t size);
ssize_t conn_write_now(struct conn *conn, const void *data, size_t size);

/* Waits for an event of poll(2), until the deadline at the latest: 0, -ETIMEDOUT, or another
 * -errno. */
int conn_wait(const struct conn *conn, short events, usec deadline);

/* Says that no more will come, and takes in what the peer still sends, for 2 s and 64 KiB at most:
 * closing a socket with unread bytes would reset it, and could take back what was just written
 * (RFC 1122, 4.2.2.13). */
void conn_finish(struct conn *conn);

/* Asks the kernel how long a connection that was just accepted had been there: since the last that
 * came of its client, be it data or the opening. In usec, to the kernel's tick, a few milliseconds;
 * -1 if it doesn't know: TCP alone does. A client that goes on sending looks as if it had just
 * come: nothing is gained by that but what it would have where nobody asked. */
int64_t conn_waited(const struct conn *conn);

/* Asks the kernel what went in and out of a connection that is still ours: of TCP alone it knows.
 * */
void conn_ask_counts(struct conn *conn);

/* Takes the header, until the deadline at the latest, into PROXY_MAX bytes that nobody else uses
 * meanwhile. If it is about another connection, the peer becomes that one's, and `local` the
 * address that it came to. NULL, or in words why not. */
const char *conn_take_proxy(struct conn *conn, uint8_t *bytes, usec deadline);

#endif
