#include "lane.h"

#include "../base/fd.h"
#include "../board/exitcode.h"
#include "accept_errors.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

/* 0 or -errno. A worker that is told to finish just now has the null device there: it is to join
 * nothing. */
static int join_queues(const struct lane *lane)
{
    for (int i = 0; i < lane->count; i++) {
        struct epoll_event event = {.events = EPOLLIN | EPOLLEXCLUSIVE,
                                    .data.fd = lane->listeners[i]};
        if (epoll_ctl(lane->epoll_fd, EPOLL_CTL_ADD, lane->listeners[i], &event) != 0 &&
            errno != EEXIST)
            return lane->serve->life->stopping ? 0 : -errno;
    }
    return 0;
}

/* No connection is to wake us any more, and one that did is to wake another worker. A worker that
 * blocks in accept() needs none of this: the kernel finds no room before it waits, so it was never
 * woken. */
static void step_aside(const struct lane *lane)
{
    if (lane->wake_fd < 0)
        return;
    for (int i = 0; i < lane->count; i++)
        epoll_ctl(lane->epoll_fd, EPOLL_CTL_DEL, lane->listeners[i], NULL);
    wakeup_hand_on(&lane->serve->wakeup);
}

/* Until that is over we stand aside, and try now and then. 0, or the worker's exit status. */
static int accept_is_short(struct lane *lane, int error)
{
    if (lane->failures == 0) {
        lane->failing_since = clock_now();
        step_aside(lane);
    }
    int status = accept_error_short(lane->serve, error, lane->failing_since);
    if (status == 0)
        poll(NULL, 0, accept_error_pause(lane->failures++));
    return status;
}

/* There was room for a connection: a worker that stood aside joins the queues again. */
static void recover(struct lane *lane)
{
    if (lane->failures == 0)
        return;
    lane->failures = 0;
    if (lane->wake_fd >= 0 && join_queues(lane) != 0)
        poll(NULL, 0, accept_error_pause(++lane->failures)); /* memory again: still aside */
}

/* Nobody is there. Either the listener's timeout passed, which is meant for connections, or a
 * process that shares it made it non-blocking. Then accept() would spin. */
static void await_connection(struct lane *lane, int listener)
{
    struct pollfd input = {.fd = listener, .events = POLLIN};
    recover(lane);
    if (lane->wake_fd < 0 && fd_is_nonblocking(listener))
        poll(&input, 1, -1);
}

/* What is to be done about a failed accept(): 0 to go on, or the worker's exit status. */
static int accept_failed(struct lane *lane, int listener, int error)
{
    enum accept_error kind = accept_error_of(error);
    if (lane->serve->life->stopping || error == EINTR)
        return 0;
    if (kind == ACCEPT_NOBODY) {
        await_connection(lane, listener);
        return 0;
    }
    if (kind == ACCEPT_BROKEN)
        return accept_error_broken(lane->serve, error);
    lane->serve->slot->errors++;
    if (kind == ACCEPT_SHORT)
        return accept_is_short(lane, error);
    recover(lane);
    return 0;
}

/* Takes one connection if there is one, and serves it. 0 to go on, or an exit status. */
static int serve_one(struct lane *lane, int listener)
{
    struct conn conn;
    conn.peer.len = sizeof conn.peer - offsetof(struct addr, sa);
    conn.fd = accept4(listener, &conn.peer.sa, &conn.peer.len, SOCK_CLOEXEC);
    if (conn.fd < 0)
        return accept_failed(lane, listener, errno);
    int status = lane->first ? lane->first() : 0;
    if (status)
        return status;
    lane->first = NULL;
    recover(lane);
    conn.nowait = 0;
    conn.waiter = NULL;
    conn.drained = false;
    conn.in = conn.out = 0;
    conn.proxied = false;
    conn.counted = true;
    conn.has_status = false;
    serve_connection(lane->serve, &conn);
    return 0;
}

/* The master has woken us: a connection waits, for which nobody was. The poll is for a listener
 * that blocks, since it is lent to programs. */
static int look_around(struct lane *lane)
{
    uint64_t wakes;
    int status = 0;
    if (read(lane->wake_fd, &wakes, sizeof wakes) < 0)
        return 0;
    for (int i = 0; i < lane->count && status == 0 && serve_open(lane->serve); i++) {
        struct pollfd input = {.fd = lane->listeners[i], .events = POLLIN};
        if (poll(&input, 1, 0) == 1)
            status = serve_one(lane, lane->listeners[i]);
    }
    return status;
}

/* One event at a time: what else is ready is another worker's to take while we serve. A worker that
 * leaves this loop may have an event in hand: so the master looks at the listeners after each
 * death, or sooner if the death takes its time. */
static int run_polling(struct lane *lane)
{
    int status = 0, error = join_queues(lane);
    if (error) {
        snprintf(lane->serve->life->head->reason, SCOREBOARD_REASON, "epoll: %s", strerror(-error));
        return WORKER_CANT_START;
    }
    while (status == 0 && serve_open(lane->serve)) {
        struct epoll_event event;
        if (lane->failures) {
            status = serve_one(lane, lane->listeners[0]);
            continue;
        }
        int n = epoll_wait(lane->epoll_fd, &event, 1, -1);
        if (n == 1 && event.data.fd != lane->wake_fd)
            status = serve_one(lane, event.data.fd);
        else if (n == 1)
            status = look_around(lane);
    }
    if (lane->serve->handler->stop)
        wakeup_hand_on(&lane->serve->wakeup);
    return status;
}

void lane_wake(const struct lane *lane)
{
    static const uint64_t one = 1;
    ssize_t written = lane->wake_fd < 0 ? 0 : write(lane->wake_fd, &one, sizeof one);
    (void)written;
}

void lane_leave_listeners(const int *listeners, int count)
{
    for (int i = 0; i < count; i++)
        dup3(STDIN_FILENO, listeners[i], O_CLOEXEC);
}

int lane_open(struct lane *lane, bool polls)
{
    struct epoll_event wake = {.events = EPOLLIN};
    lane->wake_fd = -1;
    if (!polls)
        return 0;
    lane->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    wake.data.fd = lane->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return epoll_ctl(lane->epoll_fd, EPOLL_CTL_ADD, lane->wake_fd, &wake) == 0 ? 0 : -errno;
}

int lane_run(struct lane *lane)
{
    int status = 0;
    if (lane->wake_fd >= 0)
        return run_polling(lane);
    while (status == 0 && serve_open(lane->serve))
        status = serve_one(lane, lane->listeners[0]);
    return status;
}
