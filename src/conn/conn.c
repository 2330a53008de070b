#include "conn.h"

#include "../base/clock.h"

#include <errno.h>
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
