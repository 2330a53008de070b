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

/* -EAGAIN is what the timeout of a blocking socket looks like (socket(7)). */
ssize_t conn_read(struct conn *conn, void *data, size_t size)
{
    ssize_t n = receive(conn, data, size, 0);
    return n == -EAGAIN ? -ETIMEDOUT : n;
}

int conn_write(struct conn *conn, const void *data, size_t size)
{
    const char *at = data;
    while (size) {
        ssize_t n = transmit(conn, at, size, 0);
        if (n < 0)
            return n == -EAGAIN ? -ETIMEDOUT : (int)n;
        at += n;
        size -= (size_t)n;
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
    struct pollfd input = {.fd = conn->fd, .events = POLLIN};
    usec deadline = clock_now() + LINGER_USEC;
    uint64_t most = conn->in + LINGER_BYTES;
    if (shutdown(conn->fd, SHUT_WR) != 0)
        return;
    for (;;) {
        usec left = deadline - clock_now();
        if (left <= 0 || conn->in > most)
            return;
        int ready = poll(&input, 1, (int)(left / 1000) + 1);
        if (ready < 0 && errno == EINTR)
            continue;
        if (ready <= 0 || conn_read(conn, unread, sizeof unread) <= 0)
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

/* States as <netinet/tcp.h> numbers them, which can't stand beside <linux/tcp.h>. */
enum { TIME_WAIT = 6, CLOSE_WAIT = 8, LAST_ACK = 9, CLOSING = 11 };

void conn_ask_counts(struct conn *conn)
{
    struct tcp_info info;
    socklen_t size = sizeof info;
    if (conn->fd < 0 || conn->counted || conn->peer.sa.sa_family == AF_UNIX ||
        getsockopt(conn->fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0 ||
        size < offsetof(struct tcp_info, tcpi_bytes_retrans) + sizeof info.tcpi_bytes_retrans)
        return;
    /* What the kernel counts as received holds the end of the stream too, as a byte of its own. */
    bool ended = info.tcpi_state == CLOSE_WAIT || info.tcpi_state == LAST_ACK ||
                 info.tcpi_state == CLOSING || info.tcpi_state == TIME_WAIT;
    conn->in = info.tcpi_bytes_received - ended;
    conn->out = info.tcpi_bytes_sent - info.tcpi_bytes_retrans + info.tcpi_notsent_bytes;
    conn->counted = true;
}

/* The most that is looked at before the size is known: room for a line, and for the binary form
 * with Unix addresses. */
enum { FIRST_LOOK = 256 };

/* Waits for the next byte. NULL, or why there is none to wait for. */
static const char *await_bytes(int fd, usec deadline)
{
    struct pollfd input = {.fd = fd, .events = POLLIN};
    for (;;) {
        usec left = deadline - clock_now();
        int ready = left > 0 ? poll(&input, 1, (int)((left + 999) / 1000)) : 0;
        if (ready > 0)
            return NULL;
        if (ready == 0)
            return "it was not complete in time";
        if (errno != EINTR)
            return strerror(errno);
    }
}

/* Looks at what has come, without taking it: how many bytes, or -1 with the reason. */
static ssize_t look(int fd, uint8_t *bytes, size_t room, usec deadline, const char **why)
{
    for (;;) {
        ssize_t n = recv(fd, bytes, room, MSG_PEEK | MSG_DONTWAIT);
        if (n > 0)
            return n;
        if (n == 0)
            *why = "the connection ended before it";
        else if (errno == EAGAIN)
            *why = await_bytes(fd, deadline);
        else if (errno != EINTR)
            *why = strerror(errno);
        if (*why)
            return -1;
    }
}

/* Bytes are taken only once they are known to be the header's: what was looked at and not taken is
 * the next reader's. */
static const char *take_bytes(int fd, uint8_t *bytes, usec deadline, size_t *size)
{
    struct proxy_extent extent = {0};
    const char *why = NULL;
    while (!extent.whole) {
        size_t have = extent.ours, most = extent.whole_size ? extent.whole_size : FIRST_LOOK;
        ssize_t seen = look(fd, bytes + have, most - have, deadline, &why);
        if (seen < 0)
            return why;
        if (!proxy_measure(bytes, have + (size_t)seen, &extent))
            return "what came is none";
        size_t wanted = extent.ours - have;
        if (recv(fd, bytes + have, wanted, MSG_DONTWAIT) != (ssize_t)wanted)
            return "the received data disappeared";
    }
    *size = extent.ours;
    return NULL;
}

const char *conn_take_proxy(struct conn *conn, usec deadline)
{
    static uint8_t bytes[PROXY_MAX]; /* pages that are never touched cost nothing */
    struct proxy_header header;
    size_t size;
    const char *why = take_bytes(conn->fd, bytes, deadline, &size);
    if (!why)
        why = proxy_read(bytes, size, &header);
    if (why || !header.proxied)
        return why;
    conn->peer = header.source;
    conn->local = header.destination;
    conn->proxied = true;
    return NULL;
}
