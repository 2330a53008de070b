#include "model_process.h"

#include "../base/fd.h"
#include "../base/log.h"
#include "../board/exitcode.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    PAUSE_FIRST_MSEC = 10, /* after an accept() that failed for want of something */
    PAUSE_MOST_MSEC = 500,
};

/* After so long without a connection accepted, a new process is tried. */
#define SHORT_TIMEOUT (10 * USEC_SECOND)

/* What accept() says of a connection that is gone already, or of the network beneath it: nothing is
 * wrong with the listener (accept(2)). */
static bool is_passing(int error)
{
    switch (error) {
    case ECONNABORTED:
    case EPROTO:
    case ECONNRESET:
    case ETIMEDOUT:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case EOPNOTSUPP:
    case ENETUNREACH: return true;
    default: return false;
    }
}

/* Longer each time in a row, and not all workers in step. */
static void pause_awhile(int in_a_row)
{
    int most = PAUSE_FIRST_MSEC << (in_a_row < 6 ? in_a_row : 6);
    if (most > PAUSE_MOST_MSEC)
        most = PAUSE_MOST_MSEC;
    unsigned seed = (unsigned)clock_now() ^ (unsigned)getpid();
    poll(NULL, 0, most / 2 + rand_r(&seed) % (most / 2 + 1));
}

/* 0 or -errno. A worker that is told to finish just now has the null device there: it is to join
 * nothing. */
static int join_queues(const struct process_model *model)
{
    for (int i = 0; i < model->count; i++) {
        struct epoll_event event = {.events = EPOLLIN | EPOLLEXCLUSIVE,
                                    .data.fd = model->listeners[i]};
        if (epoll_ctl(model->epoll_fd, EPOLL_CTL_ADD, model->listeners[i], &event) != 0 &&
            errno != EEXIST)
            return model->serve->stopping ? 0 : -errno;
    }
    return 0;
}

/* No connection is to wake us any more, and one that did is to wake another worker. A worker that
 * blocks in accept() needs none of this: the kernel finds no room before it waits, so it was never
 * woken. */
static void step_aside(const struct process_model *model)
{
    if (model->wake_fd < 0)
        return;
    for (int i = 0; i < model->count; i++)
        epoll_ctl(model->epoll_fd, EPOLL_CTL_DEL, model->listeners[i], NULL);
    wakeup_hand_on(&model->serve->wakeup);
}

/* Descriptors or memory are wanting, or a firewall says no. Until that is over we stand aside, and
 * try now and then. 0, or an exit status if it goes on for long, and a new process may do
 * better. */
static int accept_is_short(struct process_model *model, int error)
{
    static struct log_rate said;
    unsigned missed;
    struct serve *serve = model->serve;
    usec now = clock_now();
    if (model->failures == 0) {
        model->failing_since = now;
        step_aside(model);
    }
    if (log_rate_ok(&said, 60 * USEC_SECOND, &missed))
        log_warning("pool %s: can't accept connections for now: %s pool=%s errno=%d missed=%u",
                    serve->pool->name, strerror(error), serve->pool->name, error, missed);
    bool for_all = error == ENFILE || error == ENOBUFS || error == ENOMEM; /* in this machine */
    if (!for_all && now - model->failing_since > SHORT_TIMEOUT) {
        snprintf(serve->slot->reason, SCOREBOARD_REASON, "%s", strerror(error));
        return WORKER_SHORT;
    }
    pause_awhile(model->failures++);
    return 0;
}

/* There was room for a connection: a worker that stood aside joins the queues again. */
static void recover(struct process_model *model)
{
    if (model->failures == 0)
        return;
    model->failures = 0;
    if (model->wake_fd >= 0 && join_queues(model) != 0)
        pause_awhile(++model->failures); /* memory again: still aside */
}

/* What is to be done about a failed accept(): 0 to go on, or the worker's exit status. */
static int accept_failed(struct process_model *model, int listener, int error)
{
    struct serve *serve = model->serve;
    if (serve->stopping || error == EINTR)
        return 0;
    if (error == EAGAIN) {
        /* Either the listener's timeout passed, which is meant for connections, or a process that
         * shares it made it non-blocking. Then accept() would spin. */
        struct pollfd input = {.fd = listener, .events = POLLIN};
        recover(model);
        if (model->wake_fd < 0 && fd_is_nonblocking(listener))
            poll(&input, 1, -1);
        return 0;
    }
    if (error == EBADF || error == EINVAL || error == ENOTSOCK || error == EFAULT) {
        snprintf(serve->slot->reason, sizeof serve->slot->reason, "accept: %s", strerror(error));
        return WORKER_LISTENER;
    }
    serve->slot->errors++;
    if (!is_passing(error))
        return accept_is_short(model, error);
    recover(model);
    return 0;
}

/* Takes one connection if there is one, and serves it. 0 to go on, or an exit status. */
static int serve_one(struct process_model *model, int listener)
{
    struct conn conn;
    conn.peer.len = sizeof conn.peer - offsetof(struct addr, sa);
    conn.fd = accept4(listener, &conn.peer.sa, &conn.peer.len, SOCK_CLOEXEC);
    if (conn.fd < 0)
        return accept_failed(model, listener, errno);
    int status = model->first ? model->first() : 0;
    if (status)
        return status;
    model->first = NULL;
    recover(model);
    conn.in = conn.out = 0;
    conn.proxied = false;
    conn.counted = true;
    conn.has_status = false;
    serve_connection(model->serve, &conn);
    return 0;
}

/* The master has woken us: a connection waits, for which nobody was. The poll is for a listener
 * that blocks, since it is lent to programs. */
static int look_around(struct process_model *model)
{
    uint64_t wakes;
    int status = 0;
    if (read(model->wake_fd, &wakes, sizeof wakes) < 0)
        return 0;
    for (int i = 0; i < model->count && status == 0 && serve_open(model->serve); i++) {
        struct pollfd input = {.fd = model->listeners[i], .events = POLLIN};
        if (poll(&input, 1, 0) == 1)
            status = serve_one(model, model->listeners[i]);
    }
    return status;
}

/* One event at a time: what else is ready is another worker's to take while we serve. A worker that
 * leaves this loop may have an event in hand: so the master looks at the listeners after each
 * death, or sooner if the death takes its time. */
static int run_polling(struct process_model *model)
{
    struct epoll_event wake = {.events = EPOLLIN, .data.fd = model->wake_fd};
    model->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    int status = 0, error = epoll_ctl(model->epoll_fd, EPOLL_CTL_ADD, model->wake_fd, &wake) == 0
                                ? join_queues(model)
                                : -errno;
    if (error) {
        snprintf(model->serve->slot->reason, SCOREBOARD_REASON, "epoll: %s", strerror(-error));
        return WORKER_CANT_START;
    }
    while (status == 0 && serve_open(model->serve)) {
        struct epoll_event event;
        if (model->failures) {
            status = serve_one(model, model->listeners[0]);
            continue;
        }
        int n = epoll_wait(model->epoll_fd, &event, 1, -1);
        if (n == 1 && event.data.fd != model->wake_fd)
            status = serve_one(model, event.data.fd);
        else if (n == 1)
            status = look_around(model);
    }
    if (model->serve->handler->stop)
        wakeup_hand_on(&model->serve->wakeup);
    return status;
}

int model_process_run(struct process_model *model)
{
    int status = 0;
    if (model->wake_fd >= 0)
        return run_polling(model);
    while (status == 0 && serve_open(model->serve))
        status = serve_one(model, model->listeners[0]);
    return status;
}
