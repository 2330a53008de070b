#include "lane.h"

#include "../base/fd.h"
#include "../base/log.h"
#include "../board/exitcode.h"
#include "model.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

/* --- what a failed accept() means ------------------------------------------------------------- */

enum {
    PAUSE_FIRST_MSEC = 10,
    PAUSE_MOST_MSEC = 500,
};

/* After so long without an accepted connection, a new process is tried. */
#define SHORTAGE_TIMEOUT (10 * USEC_SECOND)

/* accept(2) lists the transient errors. */
enum accept_error accept_error_of(int error)
{
    switch (error) {
    case EAGAIN:
    case EINTR: return ACCEPT_NONE;
    case ECONNABORTED:
    case EPROTO:
    case ECONNRESET:
    case ETIMEDOUT:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case EOPNOTSUPP:
    case ENETUNREACH: return ACCEPT_TRANSIENT;
    case EBADF:
    case EINVAL:
    case ENOTSOCK:
    case EFAULT: return ACCEPT_BROKEN;
    default: return ACCEPT_SHORTAGE;
    }
}

int accept_error_pause(int in_a_row)
{
    int most = PAUSE_FIRST_MSEC << (in_a_row < 6 ? in_a_row : 6);
    if (most > PAUSE_MOST_MSEC)
        most = PAUSE_MOST_MSEC;
    unsigned seed = (unsigned)clock_now() ^ (unsigned)getpid();
    return most / 2 + rand_r(&seed) % (most / 2 + 1);
}

int accept_error_shortage(const struct serve *serve, int error, usec since)
{
    static struct log_rate logged;
    unsigned missed;
    bool whole_machine = error == ENFILE || error == ENOBUFS || error == ENOMEM;
    if (log_rate_ok(&logged, 60 * USEC_SECOND, &missed))
        log_warning("pool %s: can't accept connections for now: %s pool=%s errno=%d missed=%u",
                    serve->pool->name, strerror(error), serve->pool->name, error, missed);
    if (whole_machine || clock_now() - since <= SHORTAGE_TIMEOUT || !serve_all_free(serve->worker))
        return 0;
    snprintf(serve->worker->head->reason, SCOREBOARD_REASON, "%s", strerror(error));
    return WORKER_SHORT;
}

int accept_error_broken(const struct serve *serve, const char *call, int error)
{
    snprintf(serve->worker->head->reason, SCOREBOARD_REASON, "%s: %s", call, strerror(error));
    return WORKER_LISTENER;
}

/* --- the listeners' queues -------------------------------------------------------------------- */

/* 0 or -errno. If the worker was told to finish just now, the null device is in the listener's
 * place: epoll refuses it, and the lane needs no queue any more. */
static int join_queues(const struct lane *lane)
{
    for (int i = 0; i < lane->count; i++) {
        struct epoll_event event = {.events = EPOLLIN | EPOLLEXCLUSIVE,
                                    .data.fd = lane->listeners[i]};
        if (epoll_ctl(lane->epoll_fd, EPOLL_CTL_ADD, lane->listeners[i], &event) != 0 &&
            errno != EEXIST)
            return lane->serve->worker->stopping ? 0 : -errno;
    }
    return 0;
}

/* From here on no connection wakes this lane, and one that did must wake another worker. A lane
 * that blocks in accept() need not do this: the kernel takes a descriptor before it waits, so a
 * lane without one was never woken. */
static void leave_queues(const struct lane *lane)
{
    if (lane->wake_fd < 0)
        return;
    for (int i = 0; i < lane->count; i++)
        epoll_ctl(lane->epoll_fd, EPOLL_CTL_DEL, lane->listeners[i], NULL);
    wakeup_unserved(&lane->serve->wakeup);
}

/* Until the shortage is over, the lane stays out of the queues and tries now and then. 0, or the
 * worker's exit status. */
static int wait_for_resources(struct lane *lane, int error)
{
    if (lane->failures == 0) {
        lane->failing_since = clock_now();
        leave_queues(lane);
    }
    int status = accept_error_shortage(lane->serve, error, lane->failing_since);
    if (status == 0)
        poll(NULL, 0, accept_error_pause(lane->failures++));
    return status;
}

/* The shortage, if there was one, is over: the lane joins the queues again. */
static void recover(struct lane *lane)
{
    if (lane->failures == 0)
        return;
    lane->failures = 0;
    if (lane->wake_fd >= 0 && join_queues(lane) != 0)
        poll(NULL, 0, accept_error_pause(++lane->failures)); /* out of memory again: stay out */
}

/* --- the accept loop -------------------------------------------------------------------------- */

/* No connection is waiting. Either the listener's timeout, which is meant for connections, expired;
 * or another process that has the socket made it non-blocking. accept() would spin then, so the
 * lane polls first. */
static void await_connection(struct lane *lane, int listener)
{
    struct pollfd input = {.fd = listener, .events = POLLIN};
    recover(lane);
    if (lane->wake_fd < 0 && fd_is_nonblocking(listener))
        poll(&input, 1, -1);
}

/* Handles a failed accept(): 0 to go on, or the worker's exit status. */
static int accept_failed(struct lane *lane, int listener, int error)
{
    enum accept_error kind = accept_error_of(error);
    if (lane->serve->worker->stopping || error == EINTR)
        return 0;
    if (kind == ACCEPT_NONE) {
        await_connection(lane, listener);
        return 0;
    }
    if (kind == ACCEPT_BROKEN)
        return accept_error_broken(lane->serve, "accept", error);
    lane->serve->slot->errors++;
    if (kind == ACCEPT_SHORTAGE)
        return wait_for_resources(lane, error);
    recover(lane);
    return 0;
}

void lane_release(struct lane *lane)
{
    int at = lane->accepting;
    if (lane->wake_fd < 0 || !at || lane->released)
        return;
    int spare = lane->beside_others ? at : fcntl(at, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    if (spare < 0)
        return; /* out of descriptors: accept4() has one, and waits for the next client */
    lane->released = spare;
    dup3(STDIN_FILENO, at, O_CLOEXEC);
}

/* accept4(). A connection or -errno. Where it may wait, a lane beside others calls it at a
 * descriptor of its own, which lane_release may spoil. The end of the worker may have been told
 * before that descriptor was shown: by `stopping`, and then by a signal. */
static int accept_at(struct lane *lane, int listener, struct addr *peer)
{
    int own = -1;
    if (lane->beside_others && serve_shares_listeners(lane->serve) && !fd_is_nonblocking(listener))
        own = fcntl(listener, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    int at = own < 0 ? listener : own;
    lane->accepting = lane->beside_others && own < 0 ? 0 : at;
    if (own >= 0 && lane->serve->worker->stopping)
        lane_release(lane);
    int fd = accept4(at, &peer->sa, &peer->len, SOCK_CLOEXEC);
    int result = fd < 0 ? -errno : fd;
    lane->accepting = 0;
    if (fd < 0 && lane->released)
        result = -EAGAIN;
    if (own < 0 && lane->released) {
        dup3(lane->released, listener, O_CLOEXEC);
        close(lane->released);
    }
    lane->released = 0;
    fd_cleanup(&own);
    return result;
}

/* Accepts one connection, if one is waiting, and serves it. 0 to go on, or an exit status. */
static int serve_one(struct lane *lane, int listener)
{
    struct conn *conn = &lane->conn;
    conn->peer.len = sizeof conn->peer - offsetof(struct addr, sa);
    conn->fd = accept_at(lane, listener, &conn->peer);
    if (conn->fd < 0)
        return accept_failed(lane, listener, -conn->fd);
    int status = lane->drop_calls ? lane->drop_calls() : 0;
    if (status)
        return status;
    lane->drop_calls = NULL;
    recover(lane);
    conn->nowait = 0;
    conn->waiter = NULL;
    conn->drained = false;
    conn->in = conn->out = 0;
    conn->proxied = false;
    conn->counted = true;
    conn->has_status = conn->was_reset = false;
    serve_connection(lane->serve, conn);
    return 0;
}

/* The master has woken this lane, because a connection is waiting and woke no worker. The lane
 * polls first: a listener that was lent to programs may block. */
static int look_at_listeners(struct lane *lane)
{
    uint64_t wakes;
    int status = 0;
    if (read(lane->wake_fd, &wakes, sizeof wakes) < 0)
        return 0;
    for (int i = 0; i < lane->count && status == 0 && serve_may_accept(lane->serve); i++) {
        struct pollfd input = {.fd = lane->listeners[i], .events = POLLIN};
        if (poll(&input, 1, 0) == 1)
            status = serve_one(lane, lane->listeners[i]);
    }
    return status;
}

/* Takes one event at a time: other workers can take what else is ready while this lane serves. A
 * lane that leaves this loop may have been woken for a connection. So the master looks at the
 * listeners after each death, and before it if the handler's `stop`, or another seat, may delay the
 * death. */
static int run_polling(struct lane *lane)
{
    int status = 0, error = join_queues(lane);
    if (error) {
        snprintf(lane->serve->worker->head->reason, SCOREBOARD_REASON, "epoll: %s",
                 strerror(-error));
        return WORKER_CANT_START;
    }
    while (status == 0 && serve_may_accept(lane->serve)) {
        struct epoll_event event;
        if (lane->failures) {
            status = serve_one(lane, lane->listeners[0]);
            continue;
        }
        int n = epoll_wait(lane->epoll_fd, &event, 1, -1);
        if (n == 1 && event.data.fd != lane->wake_fd)
            status = serve_one(lane, event.data.fd);
        else if (n == 1)
            status = look_at_listeners(lane);
        else if (n < 0 && errno != EINTR) /* foreign code closed the set */
            status = accept_error_broken(lane->serve, "epoll_wait", errno);
    }
    if (lane->serve->handler->stop || lane->serve->worker->count > 1)
        wakeup_unserved(&lane->serve->wakeup);
    return status;
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
    if (lane->epoll_fd < 0)
        return -errno;
    wake.data.fd = lane->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (lane->wake_fd < 0)
        return -errno;
    return epoll_ctl(lane->epoll_fd, EPOLL_CTL_ADD, lane->wake_fd, &wake) == 0 ? 0 : -errno;
}

int lane_run(struct lane *lane)
{
    int status = 0;
    if (lane->wake_fd >= 0)
        return run_polling(lane);
    while (status == 0 && serve_may_accept(lane->serve))
        status = serve_one(lane, lane->listeners[0]);
    return status;
}

/* --- the process model: the worker is one lane ------------------------------------------------ */

static struct lane only = {.wake_fd = -1};

static int open_lane(const struct model_start *start, char *why, size_t size)
{
    only.serve = start->worker->seats;
    only.listeners = start->listeners;
    only.count = start->count;
    only.drop_calls = start->drop_calls;
    int error = lane_open(&only, start->polls);
    if (error == 0)
        return serve_open_lane(only.serve, why, size);
    snprintf(why, size, "epoll: %s", strerror(-error));
    return -1;
}

static int run(void)
{
    int status = lane_run(&only);
    serve_close_lane(only.serve);
    return status;
}

static void wake(void)
{
    lane_release(&only);
    wakeup_eventfd(only.wake_fd);
}

static void stop(const struct model_start *start)
{
    lane_leave_listeners(start->listeners, start->count);
    wake();
}

const struct model model_process = {
    .open = open_lane,
    .run = run,
    .wake = wake,
    .stop = stop,
};
