#include "conn.h"

#include "../base/clock.h"
#include "../wire/proxy.h"

#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

enum {
    LINGER_USEC = 2 * 1000 * 1000,
    LINGER_BYTES = 64 * 1024,
};

static ssize_t receive(struct conn *conn, void *data, size_t size, int flags)
{
    ssize_t n;
    do
        n = recv(conn->fd, data, size, flags);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    conn->in += (uint64_t)n;
    return n;
}

static ssize_t transmit(struct conn *conn, const void *data, size_t size, int flags)
{
    ssize_t n;
    do
        n = send(conn->fd, data, size, flags | MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    conn->out += (uint64_t)n;
    return n;
}

/* A client that never makes its connection wait must not keep the thread to itself. */
static void share(const struct conn *conn)
{
    if (conn->waiter && --conn->waiter->left == 0)
        conn->waiter->yield(conn->waiter);
}

int conn_wait(struct conn *conn, short events, usec deadline)
{
    struct pollfd ready = {.fd = conn->fd, .events = events};
    for (;;) {
        usec left = deadline - clock_now();
        int n = poll(&ready, 1, conn->waiter ? 0 : clock_msec(left)), error = 0;
        if (n > 0) {
            share(conn);
            return 0;
        }
        if (n < 0 && errno != EINTR)
            return -errno;
        if (left <= 0)
            return -ETIMEDOUT;
        /* The waiter reports new events only, but poll has found that there is no old one. And it
         * reports each once, so the next read must not ask it for the same one. */
        conn->drained = false;
        if (conn->waiter)
            error = conn->waiter->wait(conn->waiter, conn->fd, events, deadline);
        if (error)
            return error;
    }
}

/* Waits after EAGAIN. On a blocking socket, EAGAIN means that SO_RCVTIMEO or SO_SNDTIMEO expired
 * (socket(7)). */
static int await_turn(const struct conn *conn, short events)
{
    struct waiter *waiter = conn->waiter;
    return waiter ? waiter->wait(waiter, conn->fd, events, clock_now() + waiter->idle) : -ETIMEDOUT;
}

/* A read that returns less than asked for has emptied the socket's buffer, unless it may have
 * stopped early; and epoll reports new data to the waiter. So the next read asks the waiter first,
 * and saves a call that would fail. */
ssize_t conn_read(struct conn *conn, void *data, size_t size)
{
    ssize_t n = conn->drained && size ? -EAGAIN : receive(conn, data, size, conn->nowait);
    while (n == -EAGAIN) {
        int error = await_turn(conn, POLLIN);
        if (error)
            return error;
        n = receive(conn, data, size, conn->nowait);
    }
    conn->drained = conn->waiter && !conn->waiter->stops && n > 0 && (size_t)n < size;
    share(conn);
    return n;
}

int conn_write(struct conn *conn, const void *data, size_t size)
{
    const char *at = data;
    while (size) {
        ssize_t n = transmit(conn, at, size, conn->nowait);
        if (n == -EAGAIN)
            n = await_turn(conn, POLLOUT);
        if (n < 0)
            return (int)n;
        at += n;
        size -= (size_t)n;
        share(conn);
    }
    return 0;
}

ssize_t conn_read_now(struct conn *conn, void *data, size_t size)
{
    return receive(conn, data, size, MSG_DONTWAIT);
}

ssize_t conn_write_now(struct conn *conn, const void *data, size_t size)
{
    return transmit(conn, data, size, MSG_DONTWAIT);
}

void conn_finish(struct conn *conn)
{
    char unread[4096];
    usec deadline = clock_now() + LINGER_USEC;
    uint64_t most = conn->in + LINGER_BYTES;
    if (shutdown(conn->fd, SHUT_WR) != 0)
        return;
    while (conn->in <= most && conn_wait(conn, POLLIN, deadline) == 0) {
        ssize_t n = receive(conn, unread, sizeof unread, conn->nowait);
        conn->was_reset = n == -ECONNRESET;
        if (n <= 0 && n != -EAGAIN)
            return;
    }
}

int64_t conn_waited(const struct conn *conn)
{
    struct tcp_info info;
    socklen_t size = sizeof info;
    if (conn->peer.sa.sa_family == AF_UNIX ||
        getsockopt(conn->fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0 ||
        size < offsetof(struct tcp_info, tcpi_last_data_recv) + sizeof info.tcpi_last_data_recv)
        return -1;
    return (int64_t)info.tcpi_last_data_recv * 1000;
}

/* From <netinet/tcp.h>, which can't be included together with <linux/tcp.h>. */
enum { CLOSE = 7, CLOSE_WAIT = 8, LAST_ACK = 9, CLOSING = 11 };

void conn_ask_counts(struct conn *conn)
{
    struct tcp_info info;
    socklen_t size = sizeof info;
    if (conn->fd < 0 || conn->counted || conn->peer.sa.sa_family == AF_UNIX ||
        getsockopt(conn->fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0 ||
        size < offsetof(struct tcp_info, tcpi_bytes_retrans) + sizeof info.tcpi_bytes_retrans)
        return;
    /* The kernel counts the end of the stream as one more byte received. A socket whose both
     * directions have ended is closed; TIME_WAIT is a state of its remains. */
    bool closed = info.tcpi_state == CLOSE && info.tcpi_bytes_received > 0 && !conn->was_reset;
    bool ended = closed || info.tcpi_state == CLOSE_WAIT || info.tcpi_state == LAST_ACK ||
                 info.tcpi_state == CLOSING;
    conn->in = info.tcpi_bytes_received - ended;
    conn->out = info.tcpi_bytes_sent - info.tcpi_bytes_retrans + info.tcpi_notsent_bytes;
    conn->counted = true;
}

/* How much to peek before the header's size is known: room for a line, and for the binary header
 * with Unix addresses. */
enum { FIRST_PEEK = 256 };

/* Waits for the next byte. NULL, or why none can be expected. */
static const char *await_bytes(struct conn *conn, usec deadline)
{
    int error = conn_wait(conn, POLLIN, deadline);
    if (error == -ETIMEDOUT)
        return "it was not complete in time";
    return error ? strerror(-error) : NULL;
}

/* Peeks at the received bytes, at least one. Returns how many; or -1, with the reason in *why. */
static ssize_t peek(struct conn *conn, uint8_t *bytes, size_t room, usec deadline, const char **why)
{
    for (;;) {
        ssize_t n = recv(conn->fd, bytes, room, MSG_PEEK | MSG_DONTWAIT);
        if (n > 0)
            return n;
        if (n == 0)
            *why = "the connection ended before it";
        else if (errno == EAGAIN)
            *why = await_bytes(conn, deadline);
        else if (errno != EINTR)
            *why = strerror(errno);
        if (*why)
            return -1;
    }
}

/* Reads only bytes that are known to belong to the header; bytes that were peeked but not read stay
 * in the socket for the handler. */
static const char *read_header(struct conn *conn, uint8_t *bytes, usec deadline, size_t *size)
{
    struct proxy_extent extent = {0};
    const char *why = NULL;
    while (!extent.whole) {
        size_t have = extent.certain, most = extent.whole_size ? extent.whole_size : FIRST_PEEK;
        ssize_t seen = peek(conn, bytes + have, most - have, deadline, &why);
        if (seen < 0)
            return why;
        if (!proxy_measure(bytes, have + (size_t)seen, &extent))
            return "what came is none";
        size_t wanted = extent.certain - have;
        if (recv(conn->fd, bytes + have, wanted, MSG_DONTWAIT) != (ssize_t)wanted)
            return "the received data disappeared";
    }
    *size = extent.certain;
    return NULL;
}

const char *conn_take_proxy(struct conn *conn, uint8_t *bytes, usec deadline)
{
    struct proxy_header header;
    size_t size;
    const char *why = read_header(conn, bytes, deadline, &size);
    if (!why)
        why = proxy_read(bytes, size, &header);
    if (why || !header.proxied)
        return why;
    conn->peer = header.source;
    conn->local = header.destination;
    conn->proxied = true;
    return NULL;
}
