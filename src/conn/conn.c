#include "conn.h"

#include "../base/clock.h"

#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

enum {
    LINGER_USEC = 2 * 1000 * 1000,
    LINGER_BYTES = 64 * 1024,
};

/* What the timeout of a blocking socket looks like (socket(7)). */
static int as_timeout(int error)
{
    return error == EAGAIN ? -ETIMEDOUT : -error;
}

ssize_t conn_read(struct conn *conn, void *data, size_t size)
{
    for (;;) {
        ssize_t n = recv(conn->fd, data, size, 0);
        if (n >= 0) {
            conn->in += (uint64_t)n;
            return n;
        }
        if (errno != EINTR)
            return as_timeout(errno);
    }
}

int conn_write(struct conn *conn, const void *data, size_t size)
{
    const char *at = data;
    while (size) {
        ssize_t n = send(conn->fd, at, size, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return as_timeout(errno);
        conn->out += (uint64_t)n;
        at += n;
        size -= (size_t)n;
    }
    return 0;
}

ssize_t conn_read_now(struct conn *conn, void *data, size_t size)
{
    ssize_t n;
    do
        n = recv(conn->fd, data, size, MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    conn->in += (uint64_t)n;
    return n;
}

ssize_t conn_write_now(struct conn *conn, const void *data, size_t size)
{
    ssize_t n;
    do
        n = send(conn->fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    conn->out += (uint64_t)n;
    return n;
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

/* What the kernel counts as received holds the end of the stream too, as a byte of its own. */
static bool has_ended(unsigned state)
{
    return state == CLOSE_WAIT || state == LAST_ACK || state == CLOSING || state == TIME_WAIT;
}

void conn_ask_counts(struct conn *conn)
{
    struct tcp_info info;
    socklen_t size = sizeof info;
    if (conn->fd < 0 || conn->counted || conn->peer.sa.sa_family == AF_UNIX ||
        getsockopt(conn->fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0 ||
        size < offsetof(struct tcp_info, tcpi_bytes_retrans) + sizeof info.tcpi_bytes_retrans)
        return;
    conn->in = info.tcpi_bytes_received - has_ended(info.tcpi_state);
    conn->out = info.tcpi_bytes_sent - info.tcpi_bytes_retrans + info.tcpi_notsent_bytes;
    conn->counted = true;
}
