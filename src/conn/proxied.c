#include "proxied.h"

#include "../wire/proxy.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

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

/* How many bytes may be looked at next: never more than are wanted, where that is known. */
static size_t room_for(const struct proxy_extent *extent)
{
    size_t most = extent->whole_size ? extent->whole_size : FIRST_LOOK;
    return most - extent->ours;
}

/* Bytes are taken only once they are known to be the header's: what was looked at and not taken is
 * the next reader's. */
static const char *take_bytes(int fd, uint8_t *bytes, usec deadline, size_t *size)
{
    struct proxy_extent extent = {0};
    const char *why = NULL;
    while (!extent.whole) {
        size_t have = extent.ours;
        ssize_t seen = look(fd, bytes + have, room_for(&extent), deadline, &why);
        if (seen < 0)
            return why;
        if (!proxy_measure(bytes, have + (size_t)seen, &extent))
            return "what came is none";
        size_t wanted = extent.ours - have;
        if (recv(fd, bytes + have, wanted, MSG_DONTWAIT) != (ssize_t)wanted)
            return "what had come went away";
    }
    *size = extent.ours;
    return NULL;
}

const char *proxied_take(struct conn *conn, usec deadline)
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
