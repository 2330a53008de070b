/*
 * conn - one accepted connection, in a worker: read, write, count, read its PROXY header.
 *
 * The socket blocks. Its deadlines are SO_RCVTIMEO and SO_SNDTIMEO, which a TCP connection inherits
 * from the listener (tcp(7)), and which serve sets on a Unix socket. So waiting costs no extra
 * system call. A connection that shares its thread with others has a waiter instead, and no call on
 * its socket blocks.
 */
#ifndef PREFORKD_CONN_CONN_H
#define PREFORKD_CONN_CONN_H

#include "../base/addr.h"
#include "../base/clock.h"

#include <stdint.h>
#include <sys/types.h>

enum { WAITER_TURN = 16 }; /* reads, writes and waits, before other connections get their turn */

/* How a connection waits that shares its thread with others: in a worker of the event model, whose
 * model owns one waiter for each connection. Only conn calls it. */
struct waiter {
    /* Called after a call that would have blocked; serves other connections meanwhile. 0 once the
     * socket has one of these events (poll(2)), or has ended, or spuriously; -ETIMEDOUT at the
     * deadline; or another -errno. */
    int (*wait)(struct waiter *waiter, int fd, short events, usec deadline);

    /* Serves the other connections that can go on, and returns. */
    void (*yield)(struct waiter *waiter);

    usec idle;     /* idle_timeout */
    unsigned left; /* reads, writes and waits, before the connection has to yield */
    bool stops;    /* a read may stop at urgent data (tcp(7)) or descriptors (unix(7)) */
};

struct conn {
    int fd;                /* -1: the handler has given it to a program, and closed it */
    int nowait;            /* MSG_DONTWAIT if there is a waiter; else 0 */
    struct waiter *waiter; /* NULL: the socket blocks */
    bool drained;          /* with a waiter: the last read emptied the socket's buffer */
    bool late;             /* it waited longer than queue_timeout to be accepted */
    bool proxied;          /* a PROXY header gave `peer` and `local` */
    struct addr peer;      /* the client */
    uint64_t in, out;      /* bytes that a handler inside the worker read and wrote */
    bool counted;          /* `in` and `out` are known: not if a program has the socket */
    bool was_reset;        /* conn_finish saw the client end it so */
    bool has_status;       /* a program served it; and */
    int status;            /* the program's exit status, as waitpid(2) returns it */
    void *lane, *own;      /* a module's pointers, for its lane and for this connection */
    struct addr local; /* if `proxied`, the address that the client connected to; else not set */
};

/* Reads up to `size` bytes, at least one. Returns how many; 0 at the end of the stream; -ETIMEDOUT
 * after idle_timeout; or another -errno. */
ssize_t conn_read(struct conn *conn, void *data, size_t size);

/* Writes all of it. 0; -ETIMEDOUT if there was no room for idle_timeout; or another -errno. */
int conn_write(struct conn *conn, const void *data, size_t size);

/* The same without waiting. -EAGAIN if there is nothing to read, or no room; conn_write_now may
 * write a part. */
ssize_t conn_read_now(struct conn *conn, void *data, size_t size);
ssize_t conn_write_now(struct conn *conn, const void *data, size_t size);

/* Waits for an event of poll(2) until the deadline. 0, -ETIMEDOUT, or another -errno. */
int conn_wait(struct conn *conn, short events, usec deadline);

/* Shuts down writing, and discards what the peer still sends, for 2 s and 64 KiB at most. To close
 * a socket with unread bytes would reset the connection, and could destroy what was just written
 * (RFC 1122, 4.2.2.13). */
void conn_finish(struct conn *conn);

/* Asks the kernel how long a connection that was just accepted had waited: since the client's last
 * packet, of data or of the handshake. In usec, with the kernel's tick as precision, a few
 * milliseconds; -1 if unknown, because only TCP measures it. A client that goes on sending seems to
 * have just arrived; it gains no more than it would have without queue_timeout. */
int64_t conn_waited(const struct conn *conn);

/* Asks the kernel how many bytes went in and out, if the socket is still open. Only TCP knows. */
void conn_ask_counts(struct conn *conn);

/* Reads the PROXY header, until the deadline, into `bytes`, which are PROXY_MAX bytes. If the
 * header describes a proxied connection, sets the peer to the client, and `local` to the address
 * that the client connected to. NULL; or a sentence why it failed. */
const char *conn_take_proxy(struct conn *conn, uint8_t *bytes, usec deadline);

#endif
